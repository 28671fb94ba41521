"""The custom channel: functions and webhooks of the customer's deliver to endpoints, a batch with each call.

Source: Pinpoint's developer guide, "Creating custom channels in Amazon Pinpoint": the payload, at most 50 endpoints in
a call, and a reply that may have `EventAttributes` for each endpoint. A reply may also say in EndpointMessageResult's
words (DeliveryStatus, StatusCode, StatusMessage) what became of one: without that, who was in a call that succeeded
was delivered to.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from repoint.bindings.functions import FunctionError, Functions, RestingError
from repoint.delivery.payloads import divide, sound
from repoint.delivery.provider import CalledOutcome, CustomMessage, DeliveryStatus, Outcome, left_alone

EVENT_ATTRIBUTES_MAX = 5
ATTRIBUTE_CHARACTERS_MAX = 128
CUSTOM_DELIVERY_FAILURE = "CUSTOM_DELIVERY_FAILURE"
SENT_CODE = 200
FAILED_CODE = 502
CODE_MAX = 999


class CalledProvider:
    """Makes the calls; those of one batch at the same time."""

    def __init__(self, functions: Functions, *, endpoints_max: int) -> None:
        self._functions = functions
        self._endpoints_max = endpoints_max

    async def send(self, messages: Sequence[CustomMessage]) -> list[Outcome]:
        """An outcome for each, in order."""
        calls = []
        for group in _by_head(messages):
            by_id = {message.endpoint_id: message for message in group}
            endpoints = {message.endpoint_id: message.endpoint for message in group}
            divided = divide(group[0].head, endpoints, self._endpoints_max)
            calls += [self._call([by_id[endpoint_id] for endpoint_id in part]) for part in divided]
        outcomes: dict[str, Outcome] = {}
        for found in await asyncio.gather(*calls):
            outcomes |= found
        return [outcomes[message.message_id] for message in messages]

    async def _call(self, call: Sequence[CustomMessage]) -> dict[str, Outcome]:
        """Outcomes by message id."""
        uri = call[0].uri
        payload = {**call[0].head, "Endpoints": {message.endpoint_id: message.endpoint for message in call}}
        try:
            reply = await self._functions.call(uri, payload, needs_answer=False)
        except RestingError as error:
            resting = left_alone(str(error), CUSTOM_DELIVERY_FAILURE)
            return dict.fromkeys((message.message_id for message in call), resting)
        except FunctionError as error:
            failure = CalledOutcome(
                DeliveryStatus.PERMANENT_FAILURE, FAILED_CODE, str(error), send_status=CUSTOM_DELIVERY_FAILURE
            )
            return dict.fromkeys((message.message_id for message in call), failure)
        replies = reply if isinstance(reply, dict) else {}
        return {message.message_id: outcome_of(uri, replies.get(message.endpoint_id)) for message in call}


def _by_head(messages: Sequence[CustomMessage]) -> list[list[CustomMessage]]:
    """Messages that may share a call: of one activity, to one far end."""
    groups: dict[int, list[CustomMessage]] = {}
    for message in messages:
        groups.setdefault(id(message.head), []).append(message)
    return list(groups.values())


def outcome_of(uri: str, reply: Any) -> CalledOutcome:
    """What a reply says of one endpoint; when that is nothing, it was delivered to."""
    said: Mapping[str, Any] = reply if isinstance(reply, dict) else {}
    attributes, left_out = _event_attributes(said.get("EventAttributes"))
    given, code, text = said.get("DeliveryStatus"), said.get("StatusCode"), said.get("StatusMessage")
    status = _status(given)
    is_sent = status is DeliveryStatus.SUCCESSFUL
    if not isinstance(code, int) or not 0 <= code <= CODE_MAX:
        code = SENT_CODE if is_sent else FAILED_CODE
    remarks = [sound(text) if isinstance(text, str) and text else f"{'Delivered' if is_sent else 'Refused'} by {uri}"]
    if attributes:
        remarks.append("EventAttributes: " + ", ".join(f"{name}={value}" for name, value in attributes.items()))
    if left_out:
        remarks.append(f"EventAttributes left out: {left_out}")
    if status is DeliveryStatus.UNKNOWN_FAILURE and given != status:
        remarks.append(f"its DeliveryStatus is unknown: {sound(str(given))[:ATTRIBUTE_CHARACTERS_MAX]!r}")
    return CalledOutcome(
        status,
        int(code),
        "; ".join(remarks),
        event_attributes=attributes,
    )


def _status(given: Any) -> DeliveryStatus:
    """The status a reply names; one that Pinpoint does not have is no success."""
    if given is None:
        return DeliveryStatus.SUCCESSFUL
    try:
        return DeliveryStatus(given)
    except ValueError:
        return DeliveryStatus.UNKNOWN_FAILURE


def _event_attributes(given: Any) -> tuple[dict[str, str], int]:
    """The attributes that can be kept, as text, and how many cannot: there are too many, or they are too long."""
    if not isinstance(given, dict):
        return {}, int(given is not None)
    kept: dict[str, str] = {}
    for name, value in given.items():
        if len(kept) == EVENT_ATTRIBUTES_MAX or not isinstance(value, str | int | float):
            continue
        text = sound(value if isinstance(value, str) else msgspec.json.encode(value).decode())
        if 0 < len(name) <= ATTRIBUTE_CHARACTERS_MAX and len(text) <= ATTRIBUTE_CHARACTERS_MAX:
            kept[sound(name)] = text
    return kept, len(given) - len(kept)
