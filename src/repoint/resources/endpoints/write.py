"""One round of a merge, written: which updates can be, what each becomes, and those rows.

On one PostgreSQL that is one statement. On a cluster no node sees all endpoints, so the ones that matter are fetched to
the coordinator first, judged there by the same words, and then written where they belong.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString, NamedTuple

import msgspec
from psycopg import AsyncRawCursor, sql

from repoint.db import Connection
from repoint.resources.endpoints.order import EndpointUpdate

ENDPOINTS_PER_USER_MAX = 15
ENDPOINT_BYTES_MAX = 15 * 1024
PUSH_TYPES = ["GCM", "ADM", "BAIDU", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX"]


class Remark(NamedTuple):
    """What is to be said of one update, where there is more to it than that it was written.

    `problem` says why it was not written ("reach": alone it may not, see `write`). `taken_address` is an address that
    other active endpoints have, too; `shared_user` a user whose other endpoints are to have `shared_attributes`.
    """

    position: int
    problem: str | None
    is_written: bool
    channel_type: str | None
    taken_address: str | None
    shared_user: str | None
    shared_attributes: dict[str, list[str]] | None


class Holder(NamedTuple):
    """An endpoint to which its address belongs, on its channel: it claimed it last."""

    app_id: str
    endpoint_id: str
    address: str
    channel_type: str | None


@dataclass(frozen=True, slots=True)
class Companion:
    """What is written in the same statement as the endpoints, from them as they are then.

    `statement` may read `settled`: for each update the endpoint's columns, whether it `is_written`, and as `companion`
    the JSON document that `document` says belongs to the update at a position.
    """

    statement: LiteralString
    document: Callable[[int], Any]


# The statements' parameters: $1 the updates, $2 their companions' documents.
# OFFSET 0 keeps PostgreSQL from working out an expression once for each place it is read at.
CHECKED = sql.SQL(
    """
    SELECT r.*, CASE
        WHEN r.problem IS NOT NULL THEN r.problem
        WHEN octet_length(r.attributes::text) + octet_length(r.metrics::text)
            + octet_length(r.user_attributes::text) + octet_length(r.demographic::text)
            + octet_length(r.location::text) + coalesce(octet_length(r.address), 0) > {bytes_max} THEN 'size'
        WHEN {is_alone} AND (r.reaches_address OR r.reaches_user) THEN 'reach' END AS stop
    FROM (
        SELECT m.*,
            {reaches_address} AS reaches_address,
            {reaches_user} AS reaches_user
        FROM (
            SELECT i.n, i.companion, i.app_id, i.endpoint_id, coalesce(e.given_id, i.given_id) AS given_id,
                coalesce(e.revision, 0) + 1 AS revision,
                coalesce(i.channel_type, e.channel_type) AS channel_type,
                coalesce(i.address, e.address) AS address,
                i.is_active,
                coalesce(i.is_opted_out, e.is_opted_out,
                    i.address IS NULL AND i.channel_type IS DISTINCT FROM 'IN_APP') AS is_opted_out,
                coalesce(e.cohort_id, floor(random() * 100)::smallint) AS cohort_id,
                coalesce(e.created_at, i.now) AS created_at,
                i.effective_at, i.request_id,
                coalesce(i.user_id, e.user_id) AS user_id,
                CASE WHEN i.attributes IS NULL THEN coalesce(e.attributes, '{{}}')
                     ELSE jsonb_strip_nulls(coalesce(e.attributes, '{{}}') || i.attributes) END AS attributes,
                CASE WHEN i.metrics IS NULL THEN coalesce(e.metrics, '{{}}')
                     ELSE jsonb_strip_nulls(coalesce(e.metrics, '{{}}') || i.metrics) END AS metrics,
                coalesce(e.demographic || i.demographic, i.demographic, e.demographic, '{{}}') AS demographic,
                coalesce(e.location || i.location, i.location, e.location, '{{}}') AS location,
                CASE WHEN i.user_id IS DISTINCT FROM e.user_id AND i.user_id IS NOT NULL
                     THEN jsonb_strip_nulls(coalesce(family.attributes, '{{}}') || coalesce(i.user_attributes, '{{}}'))
                     WHEN i.user_attributes IS NULL THEN coalesce(e.user_attributes, '{{}}')
                     ELSE jsonb_strip_nulls(coalesce(e.user_attributes, '{{}}') || i.user_attributes)
                END AS user_attributes,
                i.user_id IS NOT NULL AND i.user_id IS DISTINCT FROM e.user_id AS joins_user,
                coalesce(i.address, e.address) IS NOT NULL AND i.is_active AND (
                    e.endpoint_id IS NULL OR NOT e.is_active OR i.address <> e.address
                    OR e.address IS NULL OR coalesce(i.channel_type <> e.channel_type, e.channel_type IS NULL)
                ) AS takes_address,
                i.address IS NOT NULL AS names_address,
                i.user_attributes IS NOT NULL AND coalesce(i.user_id, e.user_id) IS NOT NULL AS changes_user,
                CASE WHEN e.endpoint_id IS NULL AND i.address IS NOT NULL AND i.channel_type IS NULL
                     THEN 'channel'
                     WHEN family.endpoints >= {endpoints_max} THEN 'user' END AS problem
            FROM ROWS FROM (
                json_to_recordset($1::json) AS (
                    app_id text, endpoint_id text, given_id text, channel_type text, address text,
                    is_active boolean, is_opted_out boolean, effective_at timestamptz, now timestamptz,
                    request_id text, user_id text, attributes jsonb, metrics jsonb, demographic jsonb,
                    location jsonb, user_attributes jsonb),
                json_array_elements($2::json)
            ) WITH ORDINALITY AS i (
                app_id, endpoint_id, given_id, channel_type, address, is_active, is_opted_out, effective_at, now,
                request_id, user_id, attributes, metrics, demographic, location, user_attributes, companion, n)
            LEFT JOIN {endpoint} e USING (app_id, endpoint_id)
            CROSS JOIN {family}
            OFFSET 0
        ) m
        OFFSET 0
    ) r
    """
)
# Whom a user's new endpoint joins (nobody, where it has been theirs before), and whether others must be told.
FAMILY = sql.SQL(
    """LATERAL (
                SELECT count(*) AS endpoints, (array_agg(u.user_attributes))[1] AS attributes
                FROM {endpoint} u
                WHERE u.app_id = i.app_id AND u.user_id = i.user_id AND i.user_id IS DISTINCT FROM e.user_id
            ) family"""
)
REACHES_USER = sql.SQL(
    """m.changes_user AND EXISTS (
                SELECT 1 FROM {endpoint} o WHERE o.app_id = m.app_id AND o.user_id = m.user_id
                  AND o.endpoint_id <> m.endpoint_id AND o.user_attributes <> m.user_attributes)"""
)
REACHES_ADDRESS = sql.SQL(
    """m.takes_address AND EXISTS (
                SELECT 1 FROM {endpoint} o WHERE o.app_id = m.app_id AND o.address = m.address
                  AND o.endpoint_id <> m.endpoint_id AND o.is_active)"""
)
# The same for who writes alone: nobody may be joined or told, or have the address, and that is asked under the user's
# and the address's locks. Who comes to an address without naming it might share it with another of the statement.
# Whoever writes holds the application's lock, shared: a chunk of an import that has lost a deadlock wants to be alone.
NO_FAMILY = sql.SQL("(SELECT 0 AS endpoints, NULL::jsonb AS attributes) family")
COMES_UNNAMED = sql.SQL("m.takes_address AND NOT m.names_address")
IS_NOT_ALONE = sql.SQL(
    """CASE WHEN m.joins_user OR m.changes_user OR m.takes_address
                THEN NOT may_write_alone(
                    m.app_id, m.endpoint_id, CASE WHEN m.takes_address THEN m.address END,
                    CASE WHEN m.joins_user OR m.changes_user THEN m.user_id END, m.joins_user, m.user_attributes)
                ELSE NOT pg_try_advisory_xact_lock_shared(hashtextextended('users/' || m.app_id, 0)) END"""
)
WRITTEN = sql.SQL(
    """
    INSERT INTO endpoint AS e (app_id, endpoint_id, given_id, revision, channel_type, address, is_active,
        is_opted_out, cohort_id, created_at, effective_at, request_id, user_id, attributes, metrics,
        demographic, location, user_attributes)
    SELECT app_id, endpoint_id, given_id, revision, channel_type, address, is_active,
        is_opted_out, cohort_id, created_at, effective_at, request_id, user_id, attributes, metrics,
        demographic, location, user_attributes
    FROM checked WHERE stop IS NULL ORDER BY app_id, endpoint_id
    ON CONFLICT (app_id, endpoint_id) DO UPDATE SET
        revision = excluded.revision, channel_type = excluded.channel_type,
        address = excluded.address, is_active = excluded.is_active,
        is_opted_out = excluded.is_opted_out, effective_at = excluded.effective_at,
        request_id = excluded.request_id, user_id = excluded.user_id,
        attributes = excluded.attributes, metrics = excluded.metrics,
        demographic = excluded.demographic, location = excluded.location,
        user_attributes = excluded.user_attributes
    WHERE e.revision = excluded.revision - 1
    RETURNING app_id, endpoint_id
    """
)
REMARKS = sql.SQL(
    """
    SELECT jsonb_build_array(n, stop, is_written, channel_type, CASE WHEN reaches_address THEN address END,
        CASE WHEN reaches_user THEN user_id END, CASE WHEN reaches_user THEN user_attributes END)
    FROM settled WHERE NOT is_written OR reaches_address OR reaches_user
    """
)
NOTHING: Final = "SELECT"


def _checked(endpoint: str, *, is_alone: bool = False) -> sql.Composed:
    """What becomes of each update; `endpoint` is the table with all endpoints that matter."""
    table = sql.Identifier(endpoint)
    return CHECKED.format(
        endpoint=table,
        bytes_max=ENDPOINT_BYTES_MAX,
        endpoints_max=ENDPOINTS_PER_USER_MAX,
        is_alone=is_alone,
        family=NO_FAMILY if is_alone else FAMILY.format(endpoint=table),
        reaches_address=COMES_UNNAMED if is_alone else REACHES_ADDRESS.format(endpoint=table),
        reaches_user=IS_NOT_ALONE if is_alone else REACHES_USER.format(endpoint=table),
    )


@functools.cache
def _at_once(companion: LiteralString, *, is_alone: bool) -> bytes:
    """The merge, and what goes with it, as one statement."""
    # Asked for in the list of columns, who is written is looked up in a hash table.
    return (
        sql.SQL(
            """
    WITH checked AS ({checked}), written AS ({written}), settled AS (
        SELECT checked.*, (app_id, endpoint_id) IN (SELECT app_id, endpoint_id FROM written) AS is_written FROM checked
    ), companion AS ({companion})
    {remarks}
    """
        )
        .format(
            checked=_checked("endpoint", is_alone=is_alone),
            written=WRITTEN,
            companion=sql.SQL(companion),
            remarks=REMARKS,
        )
        .as_bytes()
    )


async def write(
    connection: Connection,
    updates: Sequence[EndpointUpdate],
    positions: Sequence[int],
    companion: Companion | None,
    *,
    is_alone: bool,
) -> list[Remark]:
    """Write what can be written of the updates at some positions; what is not remarked on is.

    With `is_alone`, only what needs no other endpoint changed, and locks its users and addresses. Without, and on a
    cluster, the caller has locked them. No two of the updates are of the same endpoint. What another process changes at
    the same moment is not written, and has no problem.
    """
    given = [updates[position] for position in positions]
    documents = [companion.document(position) for position in positions] if companion else []
    parameters = [msgspec.json.encode(given).decode(), msgspec.json.encode(documents).decode()]
    statement: LiteralString = companion.statement if companion else NOTHING
    if connection.is_cluster:
        rows = await _write_in_steps(connection, given, statement, parameters)
    else:
        # As PostgreSQL wants it: psycopg would look for its own placeholders each time.
        cursor = await AsyncRawCursor(connection).execute(_at_once(statement, is_alone=is_alone), parameters)
        rows = await cursor.fetchall()
    return [Remark(positions[n - 1], *rest) for ((n, *rest),) in rows]


async def deactivate_others(connection: Connection, holders: Sequence[Holder]) -> None:
    """Who else is active at these addresses, is no longer."""
    await connection.execute(
        """UPDATE endpoint o SET is_active = false, revision = o.revision + 1
           FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])
               AS holder (app_id, endpoint_id, address, channel_type)
           WHERE o.app_id = holder.app_id AND o.address = holder.address
             AND o.channel_type IS NOT DISTINCT FROM holder.channel_type
             AND o.endpoint_id <> holder.endpoint_id AND o.is_active""",
        [
            [one.app_id for one in holders],
            [one.endpoint_id for one in holders],
            [one.address for one in holders],
            [one.channel_type for one in holders],
        ],
    )


async def _write_in_steps(
    connection: Connection, updates: Sequence[EndpointUpdate], companion: LiteralString, parameters: Sequence[Any]
) -> list[tuple[Any, ...]]:
    cursor = AsyncRawCursor(connection)
    async with connection.transaction():
        await _fetch_near(connection, updates)
        kept = sql.SQL("CREATE TEMP TABLE checked ON COMMIT DROP AS {}").format(_checked("near_endpoint"))
        await cursor.execute(kept, parameters)
        written = await (await connection.execute(WRITTEN)).fetchall()
        await connection.execute(
            """CREATE TEMP TABLE settled ON COMMIT DROP AS
               SELECT checked.*,
                   (app_id, endpoint_id) IN (SELECT * FROM unnest(%s::text[], %s::text[])) AS is_written
               FROM checked""",
            [[app_id for app_id, _ in written], [endpoint_id for _, endpoint_id in written]],
        )
        await connection.execute(companion)
        rows = await (await connection.execute(REMARKS)).fetchall()
        await connection.execute("DROP TABLE near_endpoint, checked, settled")
    return rows


async def _fetch_near(connection: Connection, updates: Sequence[EndpointUpdate]) -> None:
    """The endpoints themselves, those at their addresses, old and new, and those of their users."""
    await connection.execute("CREATE TEMP TABLE near_endpoint (LIKE endpoint) ON COMMIT DROP")
    apps = list({update.app_id for update in updates})
    ids = list({update.endpoint_id for update in updates})
    await connection.execute(
        "INSERT INTO near_endpoint SELECT * FROM endpoint WHERE app_id = ANY(%s) AND endpoint_id = ANY(%s)", [apps, ids]
    )
    known = await (await connection.execute("SELECT address, user_id FROM near_endpoint")).fetchall()
    addresses = {update.address for update in updates} | {address for address, _ in known}
    users = {update.user_id for update in updates} | {user_id for _, user_id in known}
    await connection.execute(
        """INSERT INTO near_endpoint SELECT * FROM endpoint
           WHERE app_id = ANY(%s) AND (address = ANY(%s) OR user_id = ANY(%s)) AND endpoint_id <> ALL(%s)""",
        [apps, list(addresses - {None}), list(users - {None}), ids],
    )
    await connection.execute(
        """CREATE INDEX ON near_endpoint (app_id, endpoint_id); CREATE INDEX ON near_endpoint (app_id, user_id);
           CREATE INDEX ON near_endpoint (app_id, address)""",
        prepare=False,
    )
