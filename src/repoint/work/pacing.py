"""Slices in time: cut from the ledger so that so many messages a second become due, and taken back.

The rate of a campaign is in the slices' due times, so any number of workers keep it together without a word. Who was
held up does not make up for it: `catch_up` moves what is overdue, and all that follows, to now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import msgspec

from repoint.db import Connection
from repoint.work.outbox import wake
from repoint.work.slices import SLICE_MESSAGES_MAX

NONE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Range:
    """Part of the ledger that nobody will send any more; both ends are inclusive. `attempts` are those begun."""

    app_id: str
    activity_id: str
    first_endpoint_id: str
    last_endpoint_id: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Pace:
    """When messages become due: from `start`, `rate` a second (None: at once), tried until `seconds` later or `end`."""

    start: datetime
    rate: int | None
    seconds: float
    end: datetime | None

    @property
    def slice_messages(self) -> int:
        """How many messages are leased together: fewer when few may be sent in a second."""
        return SLICE_MESSAGES_MAX if self.rate is None else max(1, min(SLICE_MESSAGES_MAX, self.rate // 2))


async def cut(
    connection: Connection, app_id: str, activity_ids: Sequence[str], pace: Pace, *, called: Mapping[str, int] = NONE
) -> int:
    """Cut slices from all messages of these activities, which take turns; returns how many messages there are.

    Slices of activities in `called` are called ones, of at most so many messages.
    """
    cursor = await connection.execute(
        """
        WITH numbered AS (
            SELECT activity_id, endpoint_id,
                (row_number() OVER (PARTITION BY activity_id ORDER BY endpoint_id) - 1) / CASE
                    WHEN %(called)s::jsonb = '{}' THEN %(size)s
                    ELSE least(%(size)s, (%(called)s::jsonb ->> activity_id)::int)
                END AS number
            FROM message WHERE app_id = %(app_id)s AND activity_id = ANY (%(activity_ids)s::text[])
        ), piece AS (
            SELECT activity_id, number, min(endpoint_id) AS first, max(endpoint_id) AS last, count(*) AS messages
            FROM numbered GROUP BY activity_id, number
        ), paced AS (
            SELECT *, %(start)s + coalesce((sum(messages) OVER (
                ORDER BY number, activity_id ROWS UNBOUNDED PRECEDING) - messages) / %(rate)s::float, 0)
                * interval '1 second' AS due_at
            FROM piece
        )
        INSERT INTO outbox_slice (app_id, activity_id, first_endpoint_id, last_endpoint_id, messages, due_at,
            expires_at, is_called)
        SELECT %(app_id)s, activity_id, first, last, messages, due_at,
            least(due_at + %(seconds)s * interval '1 second', %(end)s::timestamptz), %(called)s::jsonb ? activity_id
        FROM paced ORDER BY number, activity_id
        RETURNING messages
        """,
        {
            "size": pace.slice_messages,
            "called": msgspec.json.encode(dict(called)).decode(),
            "app_id": app_id,
            "activity_ids": list(activity_ids),
            "start": pace.start,
            "rate": pace.rate,
            "seconds": pace.seconds,
            "end": pace.end,
        },
    )
    rows = await cursor.fetchall()
    await wake(connection)
    return sum(messages for (messages,) in rows)


async def catch_up(connection: Connection, activity_ids: Sequence[str], now: datetime, *, late_seconds: float) -> None:
    """Move slices nobody has begun so that the first of them is due now, if it is late by more than so much."""
    await connection.execute(
        """WITH waiting AS (
               SELECT slice_id, due_at FROM outbox_slice
               WHERE activity_id = ANY (%(activity_ids)s::text[]) AND attempts = 0 ORDER BY slice_id FOR UPDATE
           ), late AS (SELECT %(now)s - min(due_at) AS by FROM waiting)
           UPDATE outbox_slice SET due_at = outbox_slice.due_at + late.by FROM waiting, late
           WHERE outbox_slice.slice_id = waiting.slice_id AND late.by > %(late)s * interval '1 second'""",
        {"activity_ids": list(activity_ids), "now": now, "late": late_seconds},
    )


async def withdraw(connection: Connection, activity_ids: Sequence[str], now: datetime) -> list[Range]:
    """Take back the slices that nobody is working on; what is on its way goes on."""
    cursor = await connection.execute(
        """DELETE FROM outbox_slice
           WHERE activity_id = ANY (%s::text[]) AND (attempts = 0 OR due_at <= %s)
           RETURNING app_id, activity_id, first_endpoint_id, last_endpoint_id, attempts""",
        [list(activity_ids), now],
    )
    return [Range(*row) for row in await cursor.fetchall()]


async def is_idle(connection: Connection, activity_ids: Sequence[str]) -> bool:
    """Whether nothing of these activities waits to be sent, or tried again."""
    cursor = await connection.execute(
        """SELECT EXISTS (SELECT 1 FROM outbox_slice WHERE activity_id = ANY (%(ids)s::text[]))
               OR EXISTS (SELECT 1 FROM outbox WHERE activity_id = ANY (%(ids)s::text[]))""",
        {"ids": list(activity_ids)},
    )
    row = await cursor.fetchone()
    assert row is not None
    return not row[0]
