"""Slices: the outbox of an activity with many recipients. One row stands for a range of the ledger.

A slice is leased as one, its messages are delivered together, and it is removed in the transaction that records their
outcomes. Messages to be tried again move to the outbox, each on its own. A worker that dies leaves its slice to the end
of the lease; whoever takes it then finds in the ledger which messages are still to be sent.

Slices whose messages a function or webhook delivers are called: they are as small as one call, many are worked on at
once, and activities take turns at them. Those of a single message, which events trigger, share a call with others of
their activity that are due at the same moment: they are leased, worked on and removed together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

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
    messages: int
    attempts: int
    expires_at: datetime


# A slice of the activity whose turn it is; the index is read from one activity to the next, however many each has.
CLAIM: Final = """
    WITH RECURSIVE waiting AS (
        (SELECT activity_id FROM outbox_slice WHERE {lane} ORDER BY activity_id LIMIT 1)
        UNION ALL
        SELECT (SELECT next.activity_id FROM outbox_slice next
                WHERE {lane} AND next.activity_id > waiting.activity_id ORDER BY next.activity_id LIMIT 1)
        FROM waiting WHERE waiting.activity_id IS NOT NULL
    )
    UPDATE outbox_slice SET due_at = %(until)s, attempts = attempts + 1
    WHERE slice_id = (
        SELECT first.slice_id FROM waiting
        CROSS JOIN LATERAL (
            SELECT slice_id, due_at, expires_at FROM outbox_slice
            WHERE {lane} AND outbox_slice.activity_id = waiting.activity_id AND due_at <= %(now)s
            ORDER BY due_at, slice_id LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS first
        {turn} LIMIT 1)
    RETURNING slice_id, app_id, activity_id, first_endpoint_id, last_endpoint_id, messages, attempts, expires_at
"""
CLAIM_FOR_THE_WIRE: Final = CLAIM.format(
    lane="NOT is_called", turn="ORDER BY hashtextextended(waiting.activity_id, %(draw)s)"
)
CLAIM_CALLED: Final = CLAIM.format(
    lane="is_called",
    turn="""WHERE waiting.activity_id <> ALL (%(full)s::text[])
              AND (waiting.activity_id <> ALL (%(resting)s::text[]) OR first.expires_at <= %(now)s)
            ORDER BY coalesce((%(busy)s::jsonb ->> waiting.activity_id)::int, 0), first.due_at""",
)


async def claim(db: Database, now: datetime, *, lease_seconds: float, draw: int) -> Slice | None:
    """Lease a slice for the wire: of any activity that has one due, the one of its slices that has been due longest.

    `draw`, a random number, decides whose turn it is, so that a small campaign does not wait for the end of a large one
    that began before it.
    """
    row = await db.fetch_one(
        CLAIM_FOR_THE_WIRE, {"until": now + timedelta(seconds=lease_seconds), "now": now, "draw": draw}
    )
    return Slice(*row) if row else None


async def claim_called(
    db: Database,
    now: datetime,
    *,
    lease_seconds: float,
    busy: Mapping[str, int],
    full: Sequence[str],
    resting: Sequence[str],
) -> Slice | None:
    """Lease a called slice, of the activity with the fewest calls at the moment; `busy` has how many each has.

    Those that are `full` wait, so that a far end that hangs holds up nobody but its own callers; of those `resting`,
    only what is past its deadline is taken, to be given up.
    """
    row = await db.fetch_one(
        CLAIM_CALLED,
        {
            "until": now + timedelta(seconds=lease_seconds),
            "now": now,
            "busy": msgspec.json.encode(busy).decode(),
            "full": list(full),
            "resting": list(resting),
        },
    )
    return Slice(*row) if row else None


async def claim_more(db: Database, one: Slice, now: datetime, *, lease_seconds: float, limit: int) -> list[Slice]:
    """Lease more called slices of a single message that can share a call with one that was just claimed."""
    rows = await db.fetch_all(
        """UPDATE outbox_slice SET due_at = %s, attempts = attempts + 1
           WHERE slice_id IN (
               SELECT slice_id FROM outbox_slice
               WHERE is_called AND activity_id = %s AND messages = 1 AND due_at <= %s
               ORDER BY due_at, slice_id LIMIT %s FOR UPDATE SKIP LOCKED)
           RETURNING slice_id, app_id, activity_id, first_endpoint_id, last_endpoint_id, messages, attempts, expires_at
        """,
        [now + timedelta(seconds=lease_seconds), one.activity_id, now, limit],
    )
    return [Slice(*row) for row in rows]


async def extend(db: Database, some: Sequence[Slice], now: datetime, *, lease_seconds: float) -> None:
    """Keep leases that are still being worked on, of slices that nobody else has taken since."""
    await db.execute(
        """UPDATE outbox_slice SET due_at = %s
           FROM unnest(%s::bigint[], %s::int[]) AS leased (slice_id, attempts)
           WHERE outbox_slice.slice_id = leased.slice_id AND outbox_slice.attempts = leased.attempts""",
        [now + timedelta(seconds=lease_seconds), *_leases(some)],
    )


async def put_back(db: Database, one: Slice, due_at: datetime) -> None:
    """Leave a slice for later, but not past its deadline, as if it had not been taken."""
    await db.execute(
        """UPDATE outbox_slice SET due_at = least(%s, expires_at), attempts = attempts - 1
           WHERE slice_id = %s AND attempts = %s""",
        [due_at, one.slice_id, one.attempts],
    )


async def split(connection: Connection, one: Slice, endpoint_ids: Sequence[str], now: datetime) -> None:
    """A called slice becomes one for each message that is left of it, as if it had not been taken."""
    if await remove(connection, [one]):
        await connection.execute(
            """INSERT INTO outbox_slice (app_id, activity_id, first_endpoint_id, last_endpoint_id, messages, attempts,
                   due_at, expires_at, is_called)
               SELECT %s, %s, endpoint_id, endpoint_id, 1, %s, %s, %s, true FROM unnest(%s::text[]) AS endpoint_id""",
            [one.app_id, one.activity_id, one.attempts - 1, now, one.expires_at, list(endpoint_ids)],
        )


async def remove(connection: Connection, some: Sequence[Slice]) -> set[int]:
    """These slices are done with, in the transaction that says what became of their messages; returns which.

    One is not among them when it is not ours any more: its lease ran out and somebody else has taken it, or this very
    transaction has committed before and the answer was lost. Then there is nothing to say.
    """
    cursor = await connection.execute(
        """DELETE FROM outbox_slice
           USING unnest(%s::bigint[], %s::int[]) AS leased (slice_id, attempts)
           WHERE outbox_slice.slice_id = leased.slice_id AND outbox_slice.attempts = leased.attempts
           RETURNING outbox_slice.slice_id""",
        _leases(some),
    )
    return {slice_id for (slice_id,) in await cursor.fetchall()}


def _leases(some: Sequence[Slice]) -> list[list[int]]:
    """What a statement knows leases by: a slice and how often it was taken."""
    return [[one.slice_id for one in some], [one.attempts for one in some]]


async def scatter(connection: Connection, some: Sequence[Slice], now: datetime, *, is_begun: bool = False) -> None:
    """Put what is left of slices into the outbox, message by message: one of them spoils the others.

    It counts as an attempt if some may have been on the wire.
    """
    held = await remove(connection, some)
    for one in some:
        if one.slice_id in held:
            await _post(connection, one, now, attempts=one.attempts if is_begun else one.attempts - 1)


async def _post(connection: Connection, one: Slice, now: datetime, *, attempts: int) -> None:
    """What is left of a slice, into the outbox."""
    await connection.execute(
        """INSERT INTO outbox (app_id, activity_id, endpoint_id, message_id, channel_type, address, personal, attempts,
               due_at, expires_at)
           SELECT app_id, activity_id, endpoint_id, message_id, channel_type, address, '{"IsEndpoint": true}',
               %s::smallint, %s, %s
           FROM message
           WHERE app_id = %s AND activity_id = %s AND endpoint_id BETWEEN %s AND %s AND state = 'ACCEPTED'""",
        [attempts, now, one.expires_at, one.app_id, one.activity_id, one.first_endpoint_id, one.last_endpoint_id],
    )


async def next_due(db: Database) -> datetime | None:
    """When the next slice for the wire is due; None when none is waiting."""
    row = await db.fetch_one("SELECT min(due_at) FROM outbox_slice WHERE NOT is_called")
    return row[0] if row else None


async def next_called_due(db: Database, *, but_of: Sequence[str]) -> datetime | None:
    """When the next called slice is due, but of some activities; None when none is waiting."""
    row = await db.fetch_one(
        "SELECT min(due_at) FROM outbox_slice WHERE is_called AND activity_id <> ALL (%s::text[])", [list(but_of)]
    )
    return row[0] if row else None
