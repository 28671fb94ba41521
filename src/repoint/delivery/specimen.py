"""The events of many sent messages that differ in a few places: written once, and filled in for each.

A specimen of the deliveries, with a mark wherever they differ, goes through `pipeline.events_of` like any other; its
events are cut at the marks. So there is one description of an event, and a line of COPY for a message is one join.
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from secrets import token_hex

import msgspec

from repoint.delivery.campaigning import context_of
from repoint.delivery.pipeline import Delivery, events_of
from repoint.resources.events.store import copy_line, copy_text

# In the order of `lines`.
NAMES = ("endpoint_id", "given_id", "message_id", "address", "subject", "response", "context")


def write_lines(deliveries: Sequence[Delivery], now: datetime) -> list[bytes]:
    """The lines of all the events of deliveries of one plan that were sent, and have nothing else of their own."""
    events = Specimen(deliveries[0], now)
    return [events.lines(delivery) for delivery in deliveries]


class Specimen:
    """The cut events of one delivery."""

    def __init__(self, model: Delivery, now: datetime) -> None:
        assert model.outcome is not None
        marks = {name: f"mark{token_hex(12)}" for name in NAMES}
        row = replace(
            model.row,
            endpoint_id=marks["endpoint_id"],
            message_id=marks["message_id"],
            address=marks["address"],
        )
        endpoint = replace(model.endpoint, given_id=marks["given_id"]) if model.endpoint else None
        rendered = {**model.rendered, "Subject": marks["subject"]}
        outcome = replace(model.outcome, status_message=marks["response"])
        context = marks["context"]
        specimen = replace(
            model, row=row, endpoint=endpoint, rendered=rendered, outcome=outcome, client_context=context
        )
        text = b"".join(copy_line(event) for event in events_of(specimen, now))
        pieces = re.split(b"(" + b"|".join(mark.encode() for mark in marks.values()) + b")", text)
        order = {mark.encode(): name for name, mark in marks.items()}
        pattern = b"%b".join(piece.replace(b"%", b"%%") for piece in pieces[::2])
        self._has_context = marks["context"].encode() in pieces
        places = operator.itemgetter(*(NAMES.index(order[piece]) for piece in pieces[1::2]))
        self._fill: Callable[[Sequence[bytes]], bytes] = lambda values: pattern % places(values)

    def lines(self, delivery: Delivery) -> bytes:
        """The lines for one delivery."""
        row = delivery.row
        assert delivery.outcome is not None
        return self._fill(
            (
                copy_text(row.endpoint_id).encode(),
                _inside_json(delivery.endpoint.given_id if delivery.endpoint else row.endpoint_id),
                row.message_id.encode(),
                _inside_json(row.address),
                _inside_json(delivery.rendered.get("Subject", "")),
                _inside_json(delivery.outcome.status_message),
                _inside_json(context_of(delivery.endpoint)) if self._has_context else b"",
            )
        )


SAFE = re.compile(r"[ !#-\[\]-~]*\Z")  # what stands for itself in JSON, and in COPY


def _inside_json(text: str) -> bytes:
    """A value as it stands inside a JSON string inside COPY's text format; jsonb cannot hold NUL."""
    if SAFE.match(text):
        return text.encode()
    return msgspec.json.encode(text.replace("\x00", ""))[1:-1].replace(b"\\", b"\\\\")
