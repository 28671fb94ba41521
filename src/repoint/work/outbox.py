"""The outbox: messages to be sent, leased in batches, removed in the transaction that records their outcomes.

A lease is `due_at` moved into the future. A worker that dies leaves its rows as they are; when the lease has run out
they are due again, for anyone. Activities with many recipients have slices instead (`slices`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from repoint.db import Connection, Database

MAY_BE_SENT = "May have been sent: a worker died, or a connection broke, while it was on the wire"


@dataclass(slots=True)
class Leased:
    """A message that is ours for a while: a row of the outbox, or one of a slice's; the other's id is None."""

    outbox_id: int | None
    app_id: str
    activity_id: str
    endpoint_id: str
    message_id: str
    channel_type: str
    address: str
    personal: dict[str, Any]
    attempts: int
    expires_at: datetime
    slice_id: int | None = None


@dataclass(slots=True)
class Settled:
    """What became of a leased message: a final state, or a time to try again and for how long."""

    outbox_id: int | None
    app_id: str
    activity_id: str
    endpoint_id: str
    state: str
    status_code: int
    status_message: str
    attempts: int
    retry_at: datetime | None
    expires_at: datetime
    is_called: bool = False  # a function has to be asked again before another try
    is_known: bool = True  # False when the far end was given it whole and did not answer, or was not tried
    mail: dict[str, Any] | None = None  # what an email had of its own, for the events still to come


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
    return [Leased(*row) for row in sorted(rows)]


async def extend(db: Database, outbox_ids: Sequence[int], now: datetime, *, lease_seconds: float) -> None:
    """Keep a lease that is still being worked on."""
    await db.execute(
        "UPDATE outbox SET due_at = %s WHERE outbox_id = ANY(%s)",
        [now + timedelta(seconds=lease_seconds), list(outbox_ids)],
    )


async def hold(connection: Connection, leased: Sequence[Leased]) -> set[int]:
    """Which of these rows are still ours, by outbox_id, locked for the transaction that says what became of them.

    Of the others the lease ran out and somebody else has taken them, or this very transaction has committed before and
    the answer was lost.
    """
    cursor = await connection.execute(
        """SELECT outbox_id FROM outbox JOIN unnest(%s::bigint[], %s::int[]) AS leased (outbox_id, attempts)
             USING (outbox_id, attempts) FOR UPDATE OF outbox""",
        [[row.outbox_id for row in leased], [row.attempts for row in leased]],
    )
    return {outbox_id for (outbox_id,) in await cursor.fetchall()}


async def settle(connection: Connection, settled: Sequence[Settled], now: datetime) -> None:
    """Record outcomes: final ones leave the outbox for the ledger, the others are due again later.

    A slice's message that is to be tried again gets a row of its own in the outbox, or a slice that is called. Until
    it is settled, the ledger's `attempts` are those whose end is known; see `doubted`.
    """
    gone = [one.outbox_id for one in settled if one.outbox_id is not None and one.retry_at is None]
    if gone:
        await connection.execute("DELETE FROM outbox WHERE outbox_id = ANY(%s)", [gone])
    later = [one for one in settled if one.retry_at is not None]
    if later:
        await _put_off(connection, later)
    await connection.execute(
        """UPDATE message SET state = item.state, status_code = item.status_code,
               status_message = item.status_message, modified_at = %s, mail = coalesce(item.mail, message.mail),
               attempts = CASE WHEN item.state = 'ACCEPTED' THEN message.attempts + item.is_known::int
                               ELSE item.attempts END
           FROM json_to_recordset(%s::json) AS item (
               app_id text, activity_id text, endpoint_id text, state text, status_code smallint, status_message text,
               attempts smallint, is_known boolean, mail jsonb)
           WHERE message.app_id = item.app_id AND message.activity_id = item.activity_id
             AND message.endpoint_id = item.endpoint_id""",
        [now, msgspec.json.encode(settled).decode()],
    )


async def doubted(connection: Connection, settled: Sequence[Settled]) -> set[tuple[str, str]]:
    """Those of these, by activity and endpoint, of which nobody knows how an attempt before this one ended."""
    cursor = await connection.execute(
        """SELECT activity_id, endpoint_id
           FROM json_to_recordset(%s::json) AS item (
               app_id text, activity_id text, endpoint_id text, attempts smallint)
           JOIN message USING (app_id, activity_id, endpoint_id)
           WHERE message.attempts < item.attempts - 1""",
        [msgspec.json.encode(settled).decode()],
    )
    return {(activity_id, endpoint_id) for activity_id, endpoint_id in await cursor.fetchall()}


async def _put_off(connection: Connection, later: Sequence[Settled]) -> None:
    """To be tried again: those of the outbox where they are, those of a slice by themselves from now on."""
    items = msgspec.json.encode(later).decode()
    await connection.execute(
        """UPDATE outbox SET due_at = item.retry_at
           FROM json_to_recordset(%s::json) AS item (outbox_id bigint, retry_at timestamptz)
           WHERE outbox.outbox_id = item.outbox_id""",
        [items],
    )
    if any(one.outbox_id is None and not one.is_called for one in later):
        await connection.execute(
            """INSERT INTO outbox (app_id, activity_id, endpoint_id, message_id, channel_type, address, personal,
                   attempts, due_at, expires_at)
               SELECT app_id, activity_id, endpoint_id, message_id, channel_type, address, '{"IsEndpoint": true}',
                   item.attempts, item.retry_at, item.expires_at
               FROM json_to_recordset(%s::json) AS item (
                   outbox_id bigint, app_id text, activity_id text, endpoint_id text, attempts smallint,
                   retry_at timestamptz, expires_at timestamptz, is_called boolean)
               JOIN message USING (app_id, activity_id, endpoint_id)
               WHERE item.outbox_id IS NULL AND NOT item.is_called""",
            [items],
        )
    if any(one.outbox_id is None and one.is_called for one in later):
        await connection.execute(
            """INSERT INTO outbox_slice (app_id, activity_id, first_endpoint_id, last_endpoint_id, messages, attempts,
                   due_at, expires_at, is_called)
               SELECT app_id, activity_id, endpoint_id, endpoint_id, 1, attempts, retry_at, expires_at, true
               FROM json_to_recordset(%s::json) AS item (
                   outbox_id bigint, app_id text, activity_id text, endpoint_id text, attempts smallint,
                   retry_at timestamptz, expires_at timestamptz, is_called boolean)
               WHERE outbox_id IS NULL AND is_called""",
            [items],
        )


async def wake(connection: Connection) -> None:
    """Tell the workers, once this transaction commits, that there is work."""
    await connection.execute("SELECT pg_notify('outbox', '')")


async def settle_sent(
    connection: Connection, sent: Sequence[Leased], texts: Sequence[str], subjects: Sequence[str] | None, now: datetime
) -> None:
    """Record that neighbours in the ledger, messages of one activity, were sent; `texts` are the far end's words.

    `subjects` are the emails' own, if they differ. One walk over their range, with each row's texts looked up in
    objects: there is no join to be planned wrongly for a table that is too new to have statistics.
    """
    first, last = sent[0], sent[-1]
    given = {row.endpoint_id: text for row, text in zip(sent, texts, strict=True)}
    mails = {row.endpoint_id: {"Subject": subject} for row, subject in zip(sent, subjects or (), strict=bool(subjects))}
    await connection.execute(
        """UPDATE message SET state = 'SENT', status_code = 200, status_message = %(given)s::jsonb ->> endpoint_id,
               mail = coalesce(%(mails)s::jsonb -> endpoint_id, mail),
               attempts = %(attempts)s, modified_at = %(now)s
           WHERE app_id = %(app_id)s AND activity_id = %(activity_id)s
             AND endpoint_id BETWEEN %(first)s AND %(last)s AND %(given)s::jsonb ? endpoint_id""",
        {
            "given": msgspec.json.encode(given).decode(),
            "mails": msgspec.json.encode(mails).decode(),
            "attempts": first.attempts,
            "now": now,
            "app_id": first.app_id,
            "activity_id": first.activity_id,
            "first": first.endpoint_id,
            "last": last.endpoint_id,
        },
    )


async def next_due(db: Database) -> datetime | None:
    """When the next message is due; None when none is waiting."""
    row = await db.fetch_one("SELECT min(due_at) FROM outbox")
    return row[0] if row else None


async def measure(db: Database, now: datetime) -> tuple[int, float]:
    """How many messages wait, and for how many seconds the oldest due one has."""
    row = await db.fetch_one(
        """SELECT sum(messages)::bigint, coalesce(extract(epoch FROM %s - min(due_at)), 0)::float
           FROM (SELECT count(*) AS messages, min(due_at) AS due_at FROM outbox
                 UNION ALL SELECT coalesce(sum(messages), 0), min(due_at) FROM outbox_slice) AS waiting""",
        [now],
    )
    assert row is not None
    return row[0], max(0.0, row[1])
