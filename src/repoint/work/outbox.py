"""The outbox: messages to be sent, leased in batches, removed in the transaction that records their outcomes.

A lease is `due_at` moved into the future. A worker that dies leaves its rows as they are; when the lease has run out
they are due again, for anyone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from repoint.db import Connection, Database


@dataclass(frozen=True, slots=True)
class Leased:
    """A row of the outbox, ours for a while."""

    outbox_id: int
    app_id: str
    activity_id: str
    endpoint_id: str
    message_id: str
    channel_type: str
    address: str
    personal: dict[str, Any]
    attempts: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a leased row: a final state, or a time to try again."""

    outbox_id: int
    app_id: str
    activity_id: str
    endpoint_id: str
    state: str
    status_code: int
    status_message: str
    attempts: int
    retry_at: datetime | None


async def claim(db: Database, now: datetime, limit: int, *, lease_seconds: float) -> list[Leased]:
    """Lease up to `limit` due messages, the longest due first."""
    rows = await db.fetch_all(
        """UPDATE outbox SET due_at = %s, attempts = attempts + 1
           WHERE outbox_id IN (
               SELECT outbox_id FROM outbox WHERE due_at <= %s ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)
           RETURNING outbox_id, app_id, activity_id, endpoint_id, message_id, channel_type, address, personal,
                     attempts, expires_at""",
        [now + timedelta(seconds=lease_seconds), now, limit],
    )
    return sorted((Leased(*row) for row in rows), key=lambda leased: leased.outbox_id)


async def extend(db: Database, outbox_ids: Sequence[int], now: datetime, *, lease_seconds: float) -> None:
    """Keep a lease that is still being worked on."""
    await db.execute(
        "UPDATE outbox SET due_at = %s WHERE outbox_id = ANY(%s)",
        [now + timedelta(seconds=lease_seconds), list(outbox_ids)],
    )


async def settle(connection: Connection, settled: Sequence[Settled], now: datetime) -> None:
    """Record outcomes: final ones leave the outbox for the ledger, the others are due again later."""
    await connection.execute(
        """
        WITH item AS (
            SELECT * FROM json_to_recordset(%s::json) AS item (
                outbox_id bigint, app_id text, activity_id text, endpoint_id text, state text,
                status_code smallint, status_message text, attempts smallint, retry_at timestamptz)
        ), gone AS (
            DELETE FROM outbox USING item WHERE outbox.outbox_id = item.outbox_id AND item.retry_at IS NULL
        ), later AS (
            UPDATE outbox SET due_at = item.retry_at FROM item
            WHERE outbox.outbox_id = item.outbox_id AND item.retry_at IS NOT NULL
        )
        UPDATE message SET state = item.state, status_code = item.status_code,
            status_message = item.status_message, attempts = item.attempts, modified_at = %s
        FROM item
        WHERE message.app_id = item.app_id AND message.activity_id = item.activity_id
          AND message.endpoint_id = item.endpoint_id
        """,
        [msgspec.json.encode(settled).decode(), now],
    )


async def next_due(db: Database) -> datetime | None:
    """When the next message is due; None when none is waiting."""
    row = await db.fetch_one("SELECT min(due_at) FROM outbox")
    return row[0] if row else None


async def measure(db: Database, now: datetime) -> tuple[int, float]:
    """How many messages wait, and for how many seconds the oldest due one has."""
    row = await db.fetch_one(
        "SELECT count(*), coalesce(extract(epoch FROM %s - min(due_at)), 0)::float FROM outbox", [now]
    )
    assert row is not None
    return row[0], max(0.0, row[1])
