"""Slices: the outbox of an activity with many recipients. One row stands for a range of the ledger.

A slice is leased as one, its messages are delivered together, and it is removed in the transaction that records their
outcomes. Messages to be tried again move to the outbox, each on its own. A worker that dies leaves its slice to the end
of the lease; whoever takes it then finds in the ledger which messages are still to be sent.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from repoint.db import Connection, Database

SLICE_MESSAGES_MAX = 500


@dataclass(frozen=True, slots=True)
class Slice:
    """A range of an activity's messages, ours for a while; both ends are inclusive."""

    slice_id: int
    app_id: str
    activity_id: str
    first_endpoint_id: str
    last_endpoint_id: str
    attempts: int
    expires_at: datetime


async def claim(db: Database, now: datetime, *, lease_seconds: float) -> Slice | None:
    """Lease the slice that has been due longest."""
    row = await db.fetch_one(
        """UPDATE outbox_slice SET due_at = %s, attempts = attempts + 1
           WHERE slice_id = (
               SELECT slice_id FROM outbox_slice WHERE due_at <= %s
               ORDER BY due_at, slice_id LIMIT 1 FOR UPDATE SKIP LOCKED)
           RETURNING slice_id, app_id, activity_id, first_endpoint_id, last_endpoint_id, attempts, expires_at""",
        [now + timedelta(seconds=lease_seconds), now],
    )
    return Slice(*row) if row else None


async def extend(db: Database, one: Slice, now: datetime, *, lease_seconds: float) -> None:
    """Keep a lease that is still being worked on."""
    await db.execute(
        "UPDATE outbox_slice SET due_at = %s WHERE slice_id = %s",
        [now + timedelta(seconds=lease_seconds), one.slice_id],
    )


async def remove(connection: Connection, one: Slice) -> None:
    """The slice is done with, in the transaction that says what became of its messages."""
    await connection.execute("DELETE FROM outbox_slice WHERE slice_id = %s", [one.slice_id])


async def scatter(connection: Connection, one: Slice, now: datetime) -> None:
    """Put what is left of a slice into the outbox, message by message: one of them spoils the others."""
    await connection.execute(
        """WITH gone AS (DELETE FROM outbox_slice WHERE slice_id = %s RETURNING slice_id)
           INSERT INTO outbox (app_id, activity_id, endpoint_id, message_id, channel_type, address, personal, attempts,
               due_at, expires_at)
           SELECT app_id, activity_id, endpoint_id, message_id, channel_type, address, '{"IsEndpoint": true}',
               %s::smallint, %s, %s
           FROM message, gone
           WHERE app_id = %s AND activity_id = %s AND endpoint_id BETWEEN %s AND %s AND state = 'ACCEPTED'""",
        [
            one.slice_id,
            one.attempts,
            now,
            one.expires_at,
            one.app_id,
            one.activity_id,
            one.first_endpoint_id,
            one.last_endpoint_id,
        ],
    )


async def next_due(db: Database) -> datetime | None:
    """When the next slice is due; None when none is waiting."""
    row = await db.fetch_one("SELECT min(due_at) FROM outbox_slice")
    return row[0] if row else None
