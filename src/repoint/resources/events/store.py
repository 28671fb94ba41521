"""The event log's writer."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from repoint.db import Connection


class Event(msgspec.Struct, frozen=True):
    """One thing that happened; `document` holds what its type adds to the common envelope."""

    app_id: str
    endpoint_id: str
    event_type: str
    event_at: datetime
    arrival_at: datetime
    document: dict[str, Any]


async def append(connection: Connection, events: Sequence[Event]) -> None:
    """Add to the log, within the transaction of what the events report."""
    if not events:
        return
    await connection.execute(
        """INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
           SELECT arrival_at, app_id, endpoint_id, event_type, event_at, document
           FROM json_to_recordset(%s::json) AS given (
               arrival_at timestamptz, app_id text, endpoint_id text, event_type text, event_at timestamptz,
               document jsonb)""",
        [msgspec.json.encode(events).decode()],
    )


async def append_lines(connection: Connection, lines: bytes) -> None:
    """Add to the log what `copy_line` and `copy_alike` wrote, within the transaction of what the events report."""
    async with connection.cursor().copy(
        "COPY event (arrival_at, app_id, endpoint_id, event_type, event_at, document, stands_for, fills) FROM STDIN"
    ) as copy:
        await copy.write(lines)


NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def copy_line(event: Event) -> bytes:
    """An event as a line of COPY's text format."""
    document = msgspec.json.encode(event.document)
    if b"\\u0000" in document:  # jsonb cannot hold it
        document = NUL.sub(rb"\1", document)
    return _copy_row(event, copy_text(event.endpoint_id), document, b"1\t\\N")


def copy_alike(event: Event, places: Sequence[str], fills: Sequence[bytes]) -> bytes:
    """Many events that differ in some places, as one line of COPY's text format.

    `places` are the strings in the event that stand for what differs; `fills` are the events' own values, an event
    each, in the order of `places`, the endpoint's id first, as `fill_line` writes them.
    """
    document = msgspec.json.encode(event.document).replace(b"%", b"%%")
    for number, place in enumerate(places, 1):
        document = document.replace(place.encode(), b"%%%d$s" % number)
    return _copy_row(event, "", document, b"%d\t%b" % (len(fills), FILL_NEWLINE.join(fills)))


def _copy_row(event: Event, endpoint_id: str, document: bytes, rest: bytes) -> bytes:
    head = f"{event.arrival_at.isoformat()}\t{copy_text(event.app_id)}\t{endpoint_id}\t"
    tail = f"{event.event_type}\t{event.event_at.isoformat()}\t"
    return b"%b%b\t%b\n" % ((head + tail).encode(), document.replace(b"\\", b"\\\\"), rest)


FILL_NEWLINE = rb"\n"  # as COPY's text format has them inside a column
SEPARATOR = "\x7f"  # JSON and COPY let it stand for itself
PLAIN = re.compile(r"[ !#-\[\]-\x7f]*\Z")  # what stands for itself in JSON, and in COPY


def fill_line(values: Sequence[str]) -> bytes:
    """What one event puts in its places; jsonb cannot hold NUL."""
    joined = SEPARATOR.join(values)
    if joined.count(SEPARATOR) >= len(values) or "\x00" in joined:
        return rb"\t".join([_escaped(value.replace("\x00", "")) for value in values])
    return (joined.encode() if PLAIN.match(joined) else _escaped(joined)).replace(b"\x7f", rb"\t")


def _escaped(value: str) -> bytes:
    """A string of JSON, as COPY's text format has it inside a column."""
    return msgspec.json.encode(value)[1:-1].replace(b"\\", b"\\\\")


def copy_text(value: str) -> str:
    """A column of COPY's text format: what would end it is escaped."""
    if value.isalnum():
        return value
    for plain, escaped in COPY_ESCAPES:
        value = value.replace(plain, escaped)
    return value


COPY_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\x00", ""))
