"""The ledger of messages, and the work each leaves in the outbox."""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from psycopg import sql

from repoint.db import Connection, DatabaseUnavailableError
from repoint.resources.endpoints.store import Endpoint
from repoint.work.outbox import Leased, wake
from repoint.work.slices import Slice

ID_BYTES = 25


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message accepted for one recipient."""

    endpoint_id: str
    message_id: str
    channel_type: str
    address: str
    personal: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewActivity:
    """What is sent (`content`), and to whom."""

    activity_id: str
    app_id: str
    content: dict[str, Any]
    messages: Sequence[NewMessage]
    created_at: datetime
    expires_at: datetime


def message_id_of(activity_id: str, key: str) -> str:
    """Forty characters of [0-9a-v], as Pinpoint's look: the same for the same recipient of the same activity."""
    digest = hashlib.sha256(f"{activity_id}/{key}".encode()).digest()
    return base64.b32hexencode(digest[:ID_BYTES]).decode().lower()


# What is done with NewActivity objects, as JSON.
ACTIVITIES = sql.SQL(
    """
    INSERT INTO activity (activity_id, app_id, content, created_at)
    SELECT activity_id, app_id, content, created_at
    FROM json_to_recordset(%(given)s::json) AS given (
        activity_id text, app_id text, content jsonb, created_at timestamptz)
    ON CONFLICT DO NOTHING
    """
)
ITEM = sql.SQL(
    """
    item AS (
        SELECT given.activity_id, given.app_id, given.created_at, given.expires_at, one.*
        FROM json_to_recordset(%(given)s::json) AS given (
                activity_id text, app_id text, messages json, created_at timestamptz, expires_at timestamptz),
            json_to_recordset(given.messages) AS one (
                endpoint_id text, message_id text, channel_type text, address text, personal jsonb))
    """
)
MESSAGES = sql.SQL(
    """
    INSERT INTO message (app_id, activity_id, endpoint_id, message_id, channel_type, address, state, created_at,
        modified_at)
    SELECT app_id, activity_id, endpoint_id, message_id, channel_type, address, 'ACCEPTED', created_at, created_at
    FROM item
    ON CONFLICT DO NOTHING
    RETURNING message_id
    """
)
WORK = sql.SQL(
    """
    INSERT INTO outbox (app_id, activity_id, endpoint_id, message_id, channel_type, address, personal, due_at,
        expires_at)
    SELECT app_id, activity_id, endpoint_id, message_id, channel_type, address, personal, created_at, expires_at
    FROM item
    """
)
ACCEPTED = (
    sql.SQL(
        """
    WITH new_activity AS ({activities}), {item}, new_message AS ({messages}),
        new_work AS ({work} WHERE message_id IN (SELECT message_id FROM new_message))
    SELECT pg_notify('outbox', '')
    """
    )
    .format(activities=ACTIVITIES, item=ITEM, messages=MESSAGES, work=WORK)
    .as_bytes()
)
NEW_MESSAGES = sql.SQL("WITH {} {}").format(ITEM, MESSAGES).as_bytes()
NEW_WORK = sql.SQL("WITH {} {} WHERE message_id = ANY (%(message_ids)s)").format(ITEM, WORK).as_bytes()


async def insert(connection: Connection, activities: Sequence[NewActivity]) -> list[None]:
    """Accept messages: content, ledger and outbox rows in one statement; for `Database.gather`.

    Safe to repeat: what an earlier, unanswered attempt has inserted is left as it is.
    """
    each_once = {activity.activity_id: activity for activity in activities}
    given = {"given": msgspec.json.encode(list(each_once.values())).decode()}
    if connection.is_cluster:  # which cannot write inside a WITH
        async with connection.transaction():
            await connection.execute(ACTIVITIES, given)
            new = await (await connection.execute(NEW_MESSAGES, given)).fetchall()
            await connection.execute(NEW_WORK, {**given, "message_ids": [message_id for (message_id,) in new]})
            await wake(connection)
    else:
        await connection.execute(ACCEPTED, given)
    return [None] * len(activities)


def id_prefix(now: datetime) -> str:
    """How the ids begin of messages that one statement writes down; it numbers them, in 12 digits.

    The time comes first: the index of ids grows at one end, and a number more is all that a message adds to it.
    """
    return f"{int(now.timestamp()):08x}{secrets.token_hex(10)}"


READ: Final = """
    SELECT m.endpoint_id, m.message_id, m.channel_type, m.address,
           e.given_id, e.channel_type, e.address, e.is_active, e.is_opted_out, e.cohort_id, e.created_at,
           e.effective_at, e.request_id, e.user_id,
           concat('[', e.attributes, ',', e.metrics, ',', e.demographic, ',', e.location, ',', e.user_attributes, ']')
    FROM message m LEFT JOIN endpoint e ON e.app_id = m.app_id AND e.endpoint_id = m.endpoint_id
    WHERE m.app_id = %s AND m.activity_id = %s AND m.endpoint_id {which} AND m.state = 'ACCEPTED'
    ORDER BY m.endpoint_id
"""
READ_RANGE: Final = READ.format(which="BETWEEN %s AND %s")
READ_SINGLE: Final = READ.format(which="= ANY (%s::text[])")


async def read_slices(connection: Connection, some: Sequence[Slice]) -> list[tuple[Leased, Endpoint | None]]:
    """The messages of a slice, or of an activity's slices of one each, that are still to be sent; and their endpoints.

    Raises:
        DatabaseUnavailableError: when not all of a slice is to be seen yet; see `_all_there`.
    """
    if connection.is_cluster and not all([await _all_there(connection, one) for one in some]):
        raise DatabaseUnavailableError("a node of the cluster has not committed all of the slice yet")
    first, cursor = some[0], connection.cursor(binary=True)  # times are read faster than from text
    app_id, activity_id = first.app_id, first.activity_id
    if len(some) == 1:
        await cursor.execute(READ_RANGE, [app_id, activity_id, first.first_endpoint_id, first.last_endpoint_id])
    else:
        await cursor.execute(READ_SINGLE, [app_id, activity_id, [one.first_endpoint_id for one in some]])
    slice_of = {one.first_endpoint_id: one for one in some} if len(some) > 1 else None
    found: list[tuple[Leased, Endpoint | None]] = []
    for row in await cursor.fetchall():
        one = slice_of[row[0]] if slice_of else first
        leased = Leased(
            None,
            app_id,
            activity_id,
            row[0],
            row[1],
            row[2],
            row[3],
            FROM_ENDPOINT,
            one.attempts,
            one.expires_at,
            one.slice_id,
        )
        known = Endpoint(app_id, row[0], *row[4:-1], *msgspec.json.decode(row[-1])) if row[4] is not None else None
        found.append((leased, known))
    return found


async def _all_there(connection: Connection, one: Slice) -> bool:
    """Whether each node shows its part of a slice: the coordinator commits a moment before the others."""
    cut = await connection.execute("SELECT messages FROM outbox_slice WHERE slice_id = %s", [one.slice_id])
    row = await cut.fetchone()
    for _ in range(LOOKS_MAX):
        found = await connection.execute(
            """SELECT count(*) FROM message
               WHERE app_id = %s AND activity_id = %s AND endpoint_id BETWEEN %s AND %s""",
            [one.app_id, one.activity_id, one.first_endpoint_id, one.last_endpoint_id],
        )
        there = await found.fetchone()
        if row is None or (there is not None and there[0] >= row[0]):
            return True
        await asyncio.sleep(LOOK_SECONDS)
    return False


LOOKS_MAX = 20
LOOK_SECONDS = 0.1
FROM_ENDPOINT: dict[str, Any] = {"IsEndpoint": True}
