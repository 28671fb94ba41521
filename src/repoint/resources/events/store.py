"""The event log's writer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from repoint.db import Connection


@dataclass(frozen=True, slots=True)
class Event:
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
    """Add many events to the log, as `copy_line` wrote them, within the transaction of what they report."""
    async with connection.cursor().copy(
        "COPY event (arrival_at, app_id, endpoint_id, event_type, event_at, document) FROM STDIN"
    ) as copy:
        await copy.write(lines)


NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def copy_line(event: Event) -> bytes:
    """An event as a line of COPY's text format."""
    document = msgspec.json.encode(event.document)
    if b"\\u0000" in document:  # jsonb cannot hold it
        document = NUL.sub(rb"\1", document)
    head = f"{event.arrival_at.isoformat()}\t{copy_text(event.app_id)}\t{copy_text(event.endpoint_id)}\t"
    tail = f"{event.event_type}\t{event.event_at.isoformat()}\t"
    return (head + tail).encode() + document.replace(b"\\", b"\\\\") + b"\n"


def copy_text(value: str) -> str:
    """A column of COPY's text format: what would end it is escaped."""
    if value.isalnum():
        return value
    for plain, escaped in COPY_ESCAPES:
        value = value.replace(plain, escaped)
    return value


COPY_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\x00", ""))
