"""Campaign hooks: a function looks over the endpoints just before their messages are made.

It may leave endpoints out, and may change what is known of others, for this message alone. Source: Pinpoint's developer
guide, "Customizing segments with AWS Lambda".
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs

from repoint.bindings.webhooks import shown
from repoint.delivery.asking import AnswerFaultError, Answers, Asker, Failure, given_id, groups_of
from repoint.delivery.payloads import endpoint_document, hook_head, sound
from repoint.delivery.pipeline import Delivery, stopped
from repoint.delivery.provider import Outcome
from repoint.resources.campaigns.rules import FILTERED_OUT
from repoint.resources.endpoints.store import COORDINATES, Endpoint
from repoint.resources.messages.recipients import PUSH_TYPES

HOOK_FAILURE = "HOOK_FAILURE"
OVERRIDES = ("BodyOverride", "TitleOverride")
OVERRIDDEN_TYPES = frozenset({"SMS", *PUSH_TYPES})


async def consult(asker: Asker, deliveries: Sequence[Delivery]) -> None:
    """Ask the hooks of these deliveries' campaigns: an outcome for those left out, changes to the others."""
    groups = groups_of(deliveries, lambda delivery: delivery.row.activity_id)
    await asyncio.gather(*(_consult(asker, group) for group in groups))


async def _consult(asker: Asker, group: Sequence[Delivery]) -> None:
    """The deliveries of one activity."""
    first = group[0]
    sent = {given_id(one): endpoint_document(one.endpoint) for one in group if one.endpoint is not None}
    head = hook_head(first.plan.shared, first.row.app_id, first.now)
    answers = await asker.ask(first.plan.hook, head, sent)
    for delivery in group:
        delivery.outcome = _heed(delivery, answers)


def _heed(delivery: Delivery, answers: Answers) -> Outcome | None:
    """Do as the hook says of one endpoint."""
    endpoint_id = given_id(delivery)
    if endpoint_id in answers.failures:
        return answers.failures[endpoint_id].outcome(HOOK_FAILURE)
    said = answers.said.get(endpoint_id)
    if said is None:
        return stopped(400, FILTERED_OUT)
    assert delivery.endpoint is not None
    try:
        changed = changed_endpoint(delivery.endpoint, said)
        overrides = _overrides(said) if delivery.plan.channel_type in OVERRIDDEN_TYPES else {}
    except AnswerFaultError as error:
        return Failure(f"{shown(delivery.plan.hook)}: {endpoint_id}: {error}").outcome(HOOK_FAILURE)
    if changed.is_opted_out or not changed.is_active:
        return stopped(400, FILTERED_OUT)
    delivery.endpoint = changed
    if overrides:
        delivery.row.personal = {**delivery.row.personal, **overrides}
    return None


def changed_endpoint(endpoint: Endpoint, said: Any) -> Endpoint:
    """The endpoint as the hook wants it: members it gives replace those we have, others stay.

    Raises:
        AnswerFaultError: for what is no endpoint, and for another address: where a message goes is settled.
    """
    given = _mapping("the endpoint", said)
    for member, known in {"Address": endpoint.address, "ChannelType": endpoint.channel_type}.items():
        if given.get(member) not in (None, known):
            raise AnswerFaultError(f"{member}: cannot be changed")
    user = _mapping("User", given.get("User") or {})
    return structs.replace(
        endpoint,
        attributes=_lists("Attributes", given, endpoint.attributes, left_out="CohortId"),
        metrics=_numbers("Metrics", given, endpoint.metrics),
        demographic=_texts("Demographic", given, endpoint.demographic),
        location=_location(given, endpoint.location),
        user_id=_text("User.UserId", user["UserId"]) if user.get("UserId") else endpoint.user_id,
        user_attributes=_lists("UserAttributes", user, endpoint.user_attributes),
        is_opted_out=endpoint.is_opted_out or given.get("OptOut") == "ALL",
        is_active=endpoint.is_active and given.get("EndpointStatus") != "INACTIVE",
    )


def _overrides(said: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(name, said[name]) for name in OVERRIDES if said.get(name)}


def _mapping(member: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise AnswerFaultError(f"{member}: must be a map")
    return given


def _text(member: str, value: Any) -> str:
    """A single value as text; a number is one, too, as in the guide's own example."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise AnswerFaultError(f"{member}: must be text")
    return sound(str(value))


def _lists(
    member: str, given: Mapping[str, Any], known: dict[str, list[str]], *, left_out: str = ""
) -> dict[str, list[str]]:
    if given.get(member) is None:
        return known
    found = {}
    for name, values in _mapping(member, given[member]).items():
        if name != left_out:
            several = values if isinstance(values, list) else [values]
            found[sound(name)] = [_text(f"{member}.{name}", value) for value in several if value is not None]
    if left_out in known:
        found[left_out] = known[left_out]
    return found


def _texts(member: str, given: Mapping[str, Any], known: dict[str, str]) -> dict[str, str]:
    if given.get(member) is None:
        return known
    found = _mapping(member, given[member])
    return {sound(name): _text(f"{member}.{name}", value) for name, value in found.items() if value is not None}


def _numbers(member: str, given: Mapping[str, Any], known: dict[str, float]) -> dict[str, float]:
    if given.get(member) is None:
        return known
    found = _mapping(member, given[member])
    return {sound(name): _number(f"{member}.{name}", value) for name, value in found.items() if value is not None}


def _number(member: str, value: Any) -> float:
    """A finite number: a local function may answer with any, and JSON's may be of any size."""
    if not isinstance(value, bool) and isinstance(value, int | float) and abs(value) <= sys.float_info.max:
        return float(value)
    raise AnswerFaultError(f"{member}: must be a number")


def _location(given: Mapping[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    if given.get("Location") is None:
        return known
    found = _mapping("Location", given["Location"])
    return {
        sound(name): (_number if name in COORDINATES else _text)(f"Location.{name}", value)
        for name, value in found.items()
        if value is not None
    }
