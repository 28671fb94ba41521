"""Requests and imports that write one user or claim one address at the same moment, until the import ends.

A chunk of an import writes tens of thousands of endpoints in a transaction, and looks at their users and addresses
before it commits: too many for a lock each, and too long to keep requests waiting. So a request that touches a user, or
claims an address, while an import is under way leaves a note of it. When all chunks have committed, and all requests
that may have missed one of them, the noted users whose endpoints differ, and the noted addresses that several active
endpoints have, are found and put right.
"""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from psycopg.types.json import Jsonb

from repoint.db import Connection, Database
from repoint.resources.endpoints.order import Touched, Turn, lock_touched
from repoint.resources.endpoints.write import ENDPOINTS_PER_USER_MAX, PUSH_TYPES, Holder, deactivate_others

AT_ONCE: Final = 100


async def note(connection: Connection, turn: Turn, written: Collection[int]) -> None:
    """Remember what these updates said of users, and where they left endpoints, where an import is under way."""
    if not turn.importing:
        return
    await connection.execute(
        """WITH word AS (
               SELECT * FROM json_to_recordset(%s::json) AS word (
                   n int, app_id text, user_id text, user_attributes jsonb, address text, endpoint_id text)
           ), of_user AS (
               INSERT INTO user_update (app_id, user_id, user_attributes)
               SELECT app_id, user_id, user_attributes FROM word WHERE user_id IS NOT NULL ORDER BY n
           )
           INSERT INTO address_update (app_id, address, endpoint_id)
           SELECT app_id, address, endpoint_id FROM word WHERE address IS NOT NULL ORDER BY n""",
        [msgspec.json.encode(_words(turn, written)).decode()],
    )


def _words(turn: Turn, written: Collection[int]) -> list[dict[str, Any]]:
    return [
        {
            "n": n,
            "app_id": update.app_id,
            "user_id": turn.touched[n].user_id,
            "user_attributes": update.user_attributes,
            "address": turn.touched[n].address if update.is_active else None,
            "endpoint_id": update.endpoint_id,
        }
        for n in sorted(written)
        if (update := turn.updates[n]).app_id in turn.importing
    ]


async def wait_for_writers(db: Database, app_id: str) -> None:
    """Return when no request is under way that began to write the application's users before this was called."""
    await db.atomically(partial(exclude_writers, app_id=app_id))


async def exclude_writers(connection: Connection, *, app_id: str) -> None:
    """Wait for requests that write the application's endpoints, and keep others out until the transaction ends.

    Only for who holds no rows yet: they may be waiting for these.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('users/' || %s, 0))", [app_id])


async def settle(db: Database, app_id: str) -> None:
    """Put right what an import and requests have done without seeing each other; all chunks have been committed.

    Requests that begin now see what the chunks have written, and need no more than each other's locks.
    """
    await wait_for_writers(db, app_id)
    await _settle_users(db, app_id)
    await _settle_addresses(db, app_id)


async def _settle_users(db: Database, app_id: str) -> None:
    """The noted users whose endpoints differ, or are too many."""
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
    for begin in range(0, len(users), AT_ONCE):
        await db.atomically(partial(_unite, app_id=app_id, users=users[begin : begin + AT_ONCE]))


async def _settle_addresses(db: Database, app_id: str) -> None:
    """The noted addresses that several active endpoints of one channel have."""
    rows = await db.fetch_all(
        """SELECT DISTINCT address FROM (
               SELECT address FROM endpoint
               WHERE app_id = (SELECT %s::text) AND is_active
                 AND address = ANY(ARRAY(SELECT DISTINCT address FROM address_update WHERE app_id = %s))
               GROUP BY address, channel_type HAVING count(*) > 1) AS shared
           ORDER BY address""",
        [app_id, app_id],
    )
    addresses = [address for (address,) in rows]
    for begin in range(0, len(addresses), AT_ONCE):
        await db.atomically(partial(_give_to_last, app_id=app_id, addresses=addresses[begin : begin + AT_ONCE]))


async def forget(db: Database, app_id: str) -> None:
    """Drop the notes of an application that has no import under way, those included that are being written."""
    await wait_for_writers(db, app_id)
    await db.execute(
        """WITH ended AS (
               SELECT %s::text AS app_id WHERE NOT EXISTS (
                   SELECT FROM job WHERE app_id = %s AND job_type = 'IMPORT' AND completed_at IS NULL)
           ), of_users AS (DELETE FROM user_update WHERE app_id = (SELECT app_id FROM ended))
           DELETE FROM address_update WHERE app_id = (SELECT app_id FROM ended)""",
        [app_id, app_id],
    )


async def _unite(connection: Connection, *, app_id: str, users: Sequence[str]) -> None:
    await lock_touched(connection, [Touched(app_id, user_id, None) for user_id in users])
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


async def _give_to_last(connection: Connection, *, app_id: str, addresses: Sequence[str]) -> None:
    """Of the endpoints that are active at an address, on a channel, it belongs to the one that a request named last."""
    await lock_touched(connection, [Touched(app_id, None, address) for address in addresses])
    cursor = await connection.execute(
        """SELECT endpoint_id, address, channel_type FROM endpoint
           WHERE app_id = %s AND address = ANY(%s) AND is_active""",
        [app_id, list(addresses)],
    )
    channels = {(endpoint_id, address): channel for endpoint_id, address, channel in await cursor.fetchall()}
    cursor = await connection.execute(
        """SELECT endpoint_id, address FROM address_update WHERE app_id = %s AND address = ANY(%s)
           ORDER BY update_id""",
        [app_id, list(addresses)],
    )
    last: dict[tuple[str, str | None], Holder] = {}
    for endpoint_id, address in await cursor.fetchall():
        if (endpoint_id, address) in channels:
            channel = channels[endpoint_id, address]
            last[address, channel] = Holder(app_id, endpoint_id, address, channel)
    if last:
        await deactivate_others(connection, list(last.values()))
