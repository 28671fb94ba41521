"""Requests and imports that write one user at the same moment, and how it comes right before the import ends.

A chunk of an import writes tens of thousands of endpoints in a transaction, and looks at their users before it commits:
too many for a lock each, and too long to keep requests waiting. So a request that touches a user while an import is
under way leaves a note of it. When all chunks have committed, and all requests that may have missed one of them, the
noted users whose endpoints differ are found and put right.
"""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from psycopg.types.json import Jsonb

from repoint.db import Connection, Database
from repoint.resources.endpoints.order import Turn, lock_users
from repoint.resources.endpoints.write import ENDPOINTS_PER_USER_MAX, PUSH_TYPES

USERS_AT_ONCE: Final = 100


async def note(connection: Connection, turn: Turn, written: Collection[int]) -> None:
    """Remember which users these updates touched and what they said, where an import is under way."""
    if not turn.importing:
        return
    words = [
        {"app_id": update.app_id, "user_id": owner, "user_attributes": update.user_attributes}
        for position in sorted(written)
        if (update := turn.updates[position]).app_id in turn.importing and (owner := turn.owners[position]) is not None
    ]
    await connection.execute(
        """INSERT INTO user_update (app_id, user_id, user_attributes)
           SELECT * FROM json_to_recordset(%s::json) AS word (app_id text, user_id text, user_attributes jsonb)""",
        [msgspec.json.encode(words).decode()],
    )


async def wait_for_writers(db: Database, app_id: str) -> None:
    """Return when no request is under way that began to write the application's users before this was called."""
    await db.atomically(partial(exclude_writers, app_id=app_id))


async def exclude_writers(connection: Connection, *, app_id: str) -> None:
    """Wait for requests that write the application's endpoints, and keep others out until the transaction ends.

    Only for who holds no rows yet: they may be waiting for these.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('users/' || %s, 0))", [app_id])


async def settle_users(db: Database, app_id: str) -> None:
    """Put right the noted users whose endpoints differ, or are too many; all chunks have been committed.

    Requests that begin now see what the chunks have written, and need no more than each other's locks.
    """
    await wait_for_writers(db, app_id)
    rows = await db.fetch_all(
        """SELECT user_id FROM endpoint
           WHERE app_id = (SELECT %s::text)
             AND user_id = ANY(ARRAY(SELECT DISTINCT user_id FROM user_update WHERE app_id = %s))
           GROUP BY user_id
           HAVING min(jsonb_hash_extended(user_attributes, 0)) <> max(jsonb_hash_extended(user_attributes, 0))
             OR count(*) > %s
           ORDER BY user_id""",
        [app_id, app_id, ENDPOINTS_PER_USER_MAX],
    )
    users = [user_id for (user_id,) in rows]
    for begin in range(0, len(users), USERS_AT_ONCE):
        await db.atomically(partial(_settle, app_id=app_id, users=users[begin : begin + USERS_AT_ONCE]))


async def forget(db: Database, app_id: str) -> None:
    """Drop the notes of an application that has no import under way, those included that are being written."""
    await wait_for_writers(db, app_id)
    await db.execute(
        """DELETE FROM user_update WHERE app_id = %s AND NOT EXISTS (
               SELECT FROM job WHERE app_id = %s AND job_type = 'IMPORT' AND completed_at IS NULL)""",
        [app_id, app_id],
    )


async def _settle(connection: Connection, *, app_id: str, users: Sequence[str]) -> None:
    await lock_users(connection, {(app_id, user_id) for user_id in users})
    await _dismiss(connection, app_id, users)
    known = await _known(connection, app_id, users)
    await connection.execute(
        """UPDATE endpoint o SET user_attributes = known.attributes, revision = o.revision + 1
           FROM unnest(%s::text[], %s::jsonb[]) AS known (user_id, attributes)
           WHERE o.app_id = (SELECT %s::text) AND o.user_id = known.user_id
             AND o.user_attributes <> known.attributes""",
        [list(known), [Jsonb(attributes) for attributes in known.values()], app_id],
    )


async def _dismiss(connection: Connection, app_id: str, users: Sequence[str]) -> None:
    """Who is one too many leaves the user: as ever the oldest push endpoints, and then who came last."""
    cursor = await connection.execute(
        """SELECT endpoint_id FROM (
               SELECT endpoint_id, count(*) OVER (PARTITION BY user_id) AS endpoints, row_number() OVER (
                   PARTITION BY user_id ORDER BY is_push DESC, CASE WHEN is_push THEN effective_at END,
                       created_at DESC, endpoint_id) AS place
               FROM (SELECT *, coalesce(channel_type = ANY(%s), false) AS is_push FROM endpoint
                     WHERE app_id = %s AND user_id = ANY(%s)) AS one) AS placed
           WHERE place <= endpoints - %s""",
        [PUSH_TYPES, app_id, list(users), ENDPOINTS_PER_USER_MAX],
    )
    leaving = [endpoint_id for (endpoint_id,) in await cursor.fetchall()]
    if leaving:
        await connection.execute(
            """UPDATE endpoint SET is_active = false, user_id = NULL, user_attributes = '{}', revision = revision + 1
               WHERE app_id = %s AND endpoint_id = ANY(%s)""",
            [app_id, leaving],
        )


async def _known(connection: Connection, app_id: str, users: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What is known of users: their endpoints' attributes, under what requests said meanwhile, in order."""
    known: dict[str, dict[str, Any]] = {}
    cursor = await connection.execute(
        """SELECT user_id, user_attributes FROM endpoint WHERE app_id = %s AND user_id = ANY(%s)
           ORDER BY effective_at, endpoint_id""",
        [app_id, list(users)],
    )
    for user_id, attributes in await cursor.fetchall():
        known.setdefault(user_id, {}).update(attributes)
    cursor = await connection.execute(
        """SELECT user_id, user_attributes FROM user_update
           WHERE app_id = %s AND user_id = ANY(%s) AND user_attributes IS NOT NULL ORDER BY update_id""",
        [app_id, list(known)],
    )
    for user_id, attributes in await cursor.fetchall():
        known[user_id].update(attributes)
    return {
        user_id: {name: value for name, value in attributes.items() if value is not None}
        for user_id, attributes in known.items()
    }
