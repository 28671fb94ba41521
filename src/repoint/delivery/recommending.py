"""Recommended items, for messages whose template is connected to a recommender model.

The model is asked for each endpoint's items; a function may then make something more of them. Source: Pinpoint's
developer guide, "Customizing recommendations with AWS Lambda", and the quotas for machine learning models.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repoint.bindings.functions import FunctionError, RestingError
from repoint.bindings.models import Models
from repoint.delivery.asking import AnswerFaultError, Answers, Asker, Failure, given_id, groups_of
from repoint.delivery.payloads import Documents, activity_members, endpoint_document, sound
from repoint.delivery.pipeline import Delivery
from repoint.resources.recommenders import Recommender

RECOMMENDATION_FAILURE = "RECOMMENDATION_FAILURE"
ITEM_CHARACTERS_MAX = 100
ITEMS, VALUES = "RecommendationItems", "Recommendations"


@dataclass(frozen=True, slots=True)
class Question:
    """What a recommender is asked: endpoints, by their ids, their definitions and how the model calls their users."""

    recommender: Recommender
    head: Mapping[str, Any]
    documents: Documents
    users: Mapping[str, str]


class Recommending:
    """Asks models, and the functions that make more of their items."""

    def __init__(self, asker: Asker, models: Models) -> None:
        self._asker = asker
        self._models = models

    async def recommend(self, deliveries: Sequence[Delivery]) -> None:
        """Give deliveries what their templates' recommenders have for them; an outcome to those who can have none."""
        groups = groups_of(deliveries, lambda delivery: (delivery.row.activity_id, delivery.plan.recommender_id))
        await asyncio.gather(*(self._recommend(group) for group in groups))

    async def _recommend(self, group: Sequence[Delivery]) -> None:
        """The deliveries of one activity with one recommender."""
        first = group[0]
        recommender = first.plan.recommender
        if recommender is None:
            for delivery in group:
                text = f"the template's recommender {delivery.plan.recommender_id} was deleted"
                delivery.outcome = Failure(text).outcome(RECOMMENDATION_FAILURE)
            return
        users = {given_id(one): user for one in group if (user := _user_of(recommender, one))}
        documents = {
            one.endpoint.given_id: endpoint_document(one.endpoint)
            for one in group
            if one.endpoint is not None and one.endpoint.given_id in users
        }
        head = activity_members(first.plan.shared, first.row.app_id, first.now)
        answers = await self.answers(Question(recommender, head, documents, users))
        for delivery in group:
            endpoint_id = given_id(delivery)
            if endpoint_id not in users:
                text = "the endpoint has no UserId, by which the model knows its users"
                delivery.outcome = Failure(text).outcome(RECOMMENDATION_FAILURE)
            elif endpoint_id in answers.failures:
                delivery.outcome = answers.failures[endpoint_id].outcome(RECOMMENDATION_FAILURE)
            else:
                delivery.recommended = answers.said[endpoint_id]

    async def answers(self, question: Question) -> Answers:
        """Each endpoint's variables."""
        recommender = question.recommender
        items = await self._items(question)
        found = Answers({one: {ITEMS: own} for one, own in items.said.items()}, items.failures)
        sent = {one: {**question.documents[one], ITEMS: own} for one, own in items.said.items() if own}
        if not recommender.transformer or not sent:
            return found
        transformed = await self._asker.ask(recommender.transformer, question.head, sent)
        found.failures |= transformed.failures
        for endpoint_id in sent.keys() - transformed.failures.keys():
            try:
                values = recommendations_in(recommender, sent[endpoint_id], transformed.said.get(endpoint_id))
                found.said[endpoint_id][VALUES] = values
            except AnswerFaultError as error:
                found.failures[endpoint_id] = Failure(f"{recommender.transformer}: {endpoint_id}: {error}")
        return found

    async def _items(self, question: Question) -> Answers:
        """Each endpoint's items, the best first: no more than are configured, none where the model has none."""
        model, number = question.recommender.model, question.recommender.number
        try:
            if await self._models.is_personalize(model):
                said, failures = await self._models.each(model, number, question.users)
                answers = Answers(dict(said), {one: _failure(error) for one, error in failures.items()})
            else:
                head = {**question.head, "RecommendationsPerMessage": number}
                answers = await self._asker.ask(model, head, question.documents)
        except FunctionError as error:
            return Answers(failures=dict.fromkeys(question.documents, _failure(error)))
        found = Answers(failures=answers.failures)
        for endpoint_id in question.documents.keys() - answers.failures.keys():
            try:
                found.said[endpoint_id] = _items(answers.said.get(endpoint_id) or [])[:number]
            except AnswerFaultError as error:
                found.failures[endpoint_id] = Failure(f"{model}: {endpoint_id}: {error}")
        return found


def _failure(error: FunctionError) -> Failure:
    return Failure(str(error), is_resting=isinstance(error, RestingError))


def _user_of(recommender: Recommender, delivery: Delivery) -> str | None:
    """How the model calls the endpoint's user."""
    assert delivery.endpoint is not None
    return delivery.endpoint.user_id if recommender.is_by_user else delivery.endpoint.given_id


def _items(given: Any) -> list[str]:
    if not isinstance(given, list):
        raise AnswerFaultError("must be a list of items")
    items = []
    for item in given:
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise AnswerFaultError("items must be text")
        if len(str(item)) > ITEM_CHARACTERS_MAX:
            raise AnswerFaultError(f"items must be at most {ITEM_CHARACTERS_MAX} characters")
        items.append(sound(str(item)))
    return items


def recommendations_in(recommender: Recommender, sent: Mapping[str, Any], said: Any) -> dict[str, str | list[str]]:
    """The attributes a transformer has given an endpoint, wherever in its definition it has put them.

    Raises:
        AnswerFaultError: when there are none or others than configured, or anything else was changed.
    """
    if not isinstance(said, dict):
        raise AnswerFaultError("the endpoint was left out of the answer")
    found: list[Any] = []
    rest = _without_recommendations(said, found)
    if len(found) != 1 or not isinstance(found[0], dict) or not found[0]:
        raise AnswerFaultError(f"must have one {VALUES} object")
    for member, value in rest.items():
        if value is not None and sent.get(member, {}) != value:
            raise AnswerFaultError(f"{member}: cannot be changed")
    return {_configured(recommender, name): _value(name, value) for name, value in found[0].items()}


def _without_recommendations(document: Mapping[str, Any], found: list[Any]) -> dict[str, Any]:
    """The document less its Recommendations objects, which go to `found`."""
    rest = {}
    for name, value in document.items():
        if name == VALUES:
            found.append(value)
        else:
            rest[name] = _without_recommendations(value, found) if isinstance(value, dict) else value
    return rest


def _configured(recommender: Recommender, name: str) -> str:
    if name not in recommender.attributes:
        raise AnswerFaultError(f"{VALUES}.{name[:100]}: is not among the recommender's Attributes")
    return name


def _value(name: str, value: Any) -> str | list[str]:
    if isinstance(value, str):
        return sound(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [sound(one) for one in value]
    raise AnswerFaultError(f"{VALUES}.{name}: must be a string or a list of strings")
