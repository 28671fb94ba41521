"""Functions and webhooks that are asked about endpoints, many in a call, before messages are made for them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from repoint.bindings.functions import FunctionError, Functions, RestingError
from repoint.bindings.webhooks import shown
from repoint.delivery.payloads import Documents, divide, sound
from repoint.delivery.pipeline import Delivery
from repoint.delivery.provider import CalledOutcome, DeliveryStatus, left_alone

CALL_FAILED_CODE = 424  # below what far ends of messages answer: nobody's address is to blame


class Failure(NamedTuple):
    """Why nothing could be learned of an endpoint; `is_resting` if its far end is left alone, and was not asked."""

    text: str
    is_resting: bool = False

    def outcome(self, send_status: str) -> CalledOutcome:
        """What becomes of the endpoint's message: it is not made, and the log says why; or it waits."""
        text = sound(f"{send_status}: {self.text}")
        if self.is_resting:
            return left_alone(text, send_status)
        return CalledOutcome(DeliveryStatus.PERMANENT_FAILURE, CALL_FAILED_CODE, text, send_status=send_status)


class AnswerFaultError(Exception):
    """What a function says of an endpoint cannot be; the text names the member and the rule."""


@dataclass(slots=True)
class Answers:
    """What was said of endpoints, by their ids, and why nothing could be learned of the others that were asked about.

    Who is in neither was left out of an answer.
    """

    said: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)


class Asker:
    """Asks: so many endpoints in a call, no more bytes than a function takes, all calls at the same time."""

    def __init__(self, functions: Functions, *, endpoints_max: int) -> None:
        self._functions = functions
        self._endpoints_max = endpoints_max

    async def ask(self, uri: str, head: Mapping[str, Any], endpoints: Documents) -> Answers:
        """The answers to `head` with its Endpoints, which are definitions by id; faults of the far end are answers."""
        answers = Answers()
        calls = divide(head, endpoints, self._endpoints_max)
        await asyncio.gather(*(self._call(uri, head, call, answers) for call in calls))
        return answers

    async def _call(self, uri: str, head: Mapping[str, Any], endpoints: Documents, answers: Answers) -> None:
        try:
            reply = await self._functions.call(uri, {**head, "Endpoints": endpoints})
            answers.said.update(said_of(endpoints, reply))
        except RestingError as error:
            answers.failures.update(dict.fromkeys(endpoints, Failure(str(error), is_resting=True)))
        except (FunctionError, AnswerFaultError) as error:
            answers.failures.update(dict.fromkeys(endpoints, Failure(told(uri, error))))


def told(uri: str, error: Exception) -> str:
    """What is wrong with a far end, which the text names once, without its password."""
    return str(error) if shown(uri) in str(error) else f"{shown(uri)}: {error}"


def said_of(endpoints: Documents, reply: Any) -> Mapping[str, Any]:
    """The part of a reply that is about endpoints that were asked about; what it says of others is nothing to us.

    Raises:
        AnswerFaultError: when it is not a map of endpoints by id.
    """
    if not isinstance(reply, dict):
        raise AnswerFaultError("answered no map of endpoints")
    said = {endpoint_id: reply[endpoint_id] for endpoint_id in endpoints if endpoint_id in reply}
    if not said and "Endpoints" in reply:
        raise AnswerFaultError("answered a map in Endpoints; it must be the map of endpoints itself")
    return said


def groups_of(deliveries: Iterable[Delivery], key: Callable[[Delivery], object]) -> list[list[Delivery]]:
    """Deliveries that may share calls."""
    groups: dict[object, list[Delivery]] = {}
    for delivery in deliveries:
        groups.setdefault(key(delivery), []).append(delivery)
    return list(groups.values())


def given_id(delivery: Delivery) -> str:
    """The id a function knows the endpoint by."""
    assert delivery.endpoint is not None
    return delivery.endpoint.given_id
