"""The event log's writer."""

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
