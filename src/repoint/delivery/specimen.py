"""The events of many sent messages that differ in a few places: described once, and filled in for each.

A specimen of the deliveries, with a mark wherever they differ, goes through `settlement.events_of` like any other. So
there is one description of an event, and the log holds it once, with the messages' own values beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from secrets import token_hex

from msgspec import structs

from repoint.delivery.campaigning import context_of
from repoint.delivery.pipeline import Delivery
from repoint.delivery.settlement import events_of
from repoint.resources.events.store import copy_alike, fill_line

ROW_EVENTS_MAX = 250  # readers take whole rows: no more than this come at once

# What deliveries of one plan differ in, in the order of `_values`.
NAMES = ("endpoint_id", "given_id", "message_id", "address", "subject", "response", "context")


def write_lines(deliveries: Sequence[Delivery], now: datetime) -> list[bytes]:
    """The log's lines for deliveries of one plan that were sent, and have nothing else to tell of."""
    marks = {name: f"mark{token_hex(12)}" for name in NAMES}
    events = events_of(_specimen(deliveries[0], marks), now)
    has_context = any(marks["context"] in repr(event.document) for event in events)
    lines = []
    for some in _cut(deliveries):
        fills = [fill_line(_values(delivery, has_context=has_context)) for delivery in some]
        lines += [copy_alike(event, list(marks.values()), fills) for event in events]
    return lines


def _cut(deliveries: Sequence[Delivery]) -> Iterator[Sequence[Delivery]]:
    for start in range(0, len(deliveries), ROW_EVENTS_MAX):
        yield deliveries[start : start + ROW_EVENTS_MAX]


def _specimen(model: Delivery, marks: dict[str, str]) -> Delivery:
    """A delivery with marks for values."""
    assert model.outcome is not None
    row = replace(
        model.row,
        endpoint_id=marks["endpoint_id"],
        message_id=marks["message_id"],
        address=marks["address"],
    )
    return replace(
        model,
        row=row,
        endpoint=structs.replace(model.endpoint, given_id=marks["given_id"]) if model.endpoint else None,
        rendered={**model.rendered, "Subject": marks["subject"]},
        outcome=replace(model.outcome, status_message=marks["response"]),
        client_context=marks["context"],
    )


def _values(delivery: Delivery, *, has_context: bool) -> Sequence[str]:
    """In the order of NAMES, for all of the events."""
    row = delivery.row
    assert delivery.outcome is not None
    return (
        row.endpoint_id,
        delivery.endpoint.given_id if delivery.endpoint else row.endpoint_id,
        row.message_id,
        row.address,
        delivery.rendered.get("Subject", ""),
        delivery.outcome.status_message,
        context_of(delivery.endpoint) if has_context else "",
    )
