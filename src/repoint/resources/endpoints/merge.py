"""The endpoint table's one writer: many partial updates merged into many endpoints, set by set.

The rules are Pinpoint's: what a request leaves out keeps its value; a name given null or an empty list is removed; an
address has one active endpoint a channel; a user has at most 15 endpoints, who share the user's attributes.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import msgspec
from psycopg import AsyncCursor, sql
from psycopg.rows import TupleRow

from repoint.db import Connection
from repoint.resources.endpoints.order import EndpointUpdate, locked_rounds, rounds_of
from repoint.wire.exceptions import BadRequestException

ENDPOINTS_PER_USER_MAX = 15
ENDPOINT_BYTES_MAX = 15 * 1024
ROUNDS_MAX = 400
PROBLEMS = {
    "channel": "Missing ChannelType: a new endpoint with an Address needs one",
    "size": f"The endpoint would be larger than {ENDPOINT_BYTES_MAX} bytes",
}
PUSH_TYPES = ["GCM", "ADM", "BAIDU", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX"]


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of one update."""

    position: int
    problem: str | None
    is_written: bool
    channel_type: str | None
    takes_address: bool
    changes_user: bool


@dataclass(frozen=True, slots=True)
class Companion:
    """What is written in the same statement as the endpoints, from them as they are then.

    `statement` may read `settled`: the position `n` of each update that is written, and the endpoint's columns. It has
    one parameter, which `parameter` makes of the positions at hand.
    """

    statement: LiteralString
    parameter: Callable[[Sequence[int]], str]


async def merge_endpoints(connection: Connection, updates: Sequence[EndpointUpdate]) -> list[Exception | None]:
    """Merge updates of many callers; for `Database.gather`.

    Returns, for each update, None or the BadRequestException its caller should see.
    """
    results: list[Exception | None] = [None] * len(updates)

    def report(position: int, problem: Exception | None) -> None:
        results[position] = problem

    await merge_with(connection, updates, None, report)
    return results


async def merge_with(
    connection: Connection,
    updates: Sequence[EndpointUpdate],
    companion: Companion | None,
    report: Callable[[int, Exception | None], None],
) -> None:
    """Merge updates of many callers, each in one commit with what belongs to it.

    What touches only itself is one statement, which commits by itself. What must look at other endpoints, or change
    them (another holder of the address, the user's others), is left out of it and done in a transaction, under locks.

    `report(position, problem)` is told of each update once it has been committed, or refused for good: a repeated batch
    can leave it out.
    """
    results: list[Exception | None] = [None] * len(updates)
    first = (await rounds_of(connection, updates))[0]
    merged = await _merged(await _write(connection, updates, first, companion, is_alone=True))
    settled = {one.position for one in merged if _is_settled(one, results)}
    for position in sorted(settled):
        report(position, results[position])
    left = [position for position in range(len(updates)) if position not in settled]
    if not left:
        return
    async with connection.transaction():
        rounds = await locked_rounds(connection, updates, left)
        await _merge_rounds(connection, updates, rounds, results, companion)
    for position in left:
        report(position, results[position])


async def merge_in_transaction(connection: Connection, updates: Sequence[EndpointUpdate]) -> list[Exception | None]:
    """Merge one caller's updates, in order, within the caller's transaction; results as `merge_endpoints`."""
    results: list[Exception | None] = [None] * len(updates)
    await _merge_rounds(connection, updates, await locked_rounds(connection, updates, range(len(updates))), results)
    return results


async def merge_unlocked(connection: Connection, updates: Sequence[EndpointUpdate]) -> list[Exception | None]:
    """As `merge_in_transaction`, for a caller with more users than there can be locks, who holds one lock on all."""
    results: list[Exception | None] = [None] * len(updates)
    await _merge_rounds(connection, updates, await rounds_of(connection, updates), results)
    return results


async def _merge_rounds(
    connection: Connection,
    updates: Sequence[EndpointUpdate],
    rounds: list[list[int]],
    results: list[Exception | None],
    companion: Companion | None = None,
) -> None:
    for _ in range(ROUNDS_MAX):
        if not rounds:
            return
        again = await _merge_round(connection, updates, rounds.pop(0), results, companion)
        if again:
            rounds.insert(0, again)
    raise AssertionError("updates of one batch keep losing to each other")


def _is_settled(one: Merged, results: list[Exception | None]) -> bool:
    """Whether an update is done with: written, or refused for good."""
    if one.problem in PROBLEMS:
        results[one.position] = BadRequestException(PROBLEMS[one.problem])
        return True
    return one.is_written


async def _merge_round(
    connection: Connection,
    updates: Sequence[EndpointUpdate],
    positions: list[int],
    results: list[Exception | None],
    companion: Companion | None,
) -> list[int]:
    """Merge updates that do not touch each other; returns those to be tried again."""
    again = []
    merged = await _merged(await _write(connection, updates, positions, companion, is_alone=False))
    takers = [updates[one.position] for one in merged if one.is_written and one.takes_address]
    if takers:
        await _deactivate_others(connection, takers)
    sharers = [updates[one.position] for one in merged if one.is_written and one.changes_user]
    if sharers:
        await _share_user_attributes(connection, sharers)
    for one in merged:
        if _is_settled(one, results):
            continue
        if one.problem == "user" and not await _evict(connection, updates[one.position], one.channel_type):
            results[one.position] = BadRequestException(
                f"Exceeded maximum endpoint per user count: {ENDPOINTS_PER_USER_MAX}"
            )
        else:
            again.append(one.position)  # there is room now, or another process wrote this endpoint meanwhile
    return again


async def _merged(cursor: AsyncCursor[TupleRow]) -> list[Merged]:
    return [Merged(*row) for row in await cursor.fetchall()]


def _item(update: EndpointUpdate, position: int) -> dict[str, Any]:
    return {
        "n": position,
        "app_id": update.app_id,
        "endpoint_id": update.endpoint_id,
        "given_id": update.given_id,
        "channel_type": update.channel_type,
        "address": update.address,
        "is_active": update.is_active,
        "is_opted_out": update.is_opted_out,
        "effective_at": update.effective_at or update.now,
        "now": update.now,
        "request_id": update.request_id,
        "user_id": update.user_id,
        "attributes": update.attributes,
        "metrics": update.metrics,
        "demographic": update.demographic,
        "location": update.location,
        "user_attributes": update.user_attributes,
    }


async def _write(
    connection: Connection,
    updates: Sequence[EndpointUpdate],
    positions: Sequence[int],
    companion: Companion | None,
    *,
    is_alone: bool,
) -> AsyncCursor[TupleRow]:
    """Write what can be written; with `is_alone`, only what needs no other endpoint changed."""
    items = msgspec.json.encode([_item(updates[position], position) for position in positions]).decode()
    given = [items, ENDPOINTS_PER_USER_MAX, ENDPOINT_BYTES_MAX, is_alone]
    if companion is None:
        return await connection.execute(_statement(NOTHING), given)
    return await connection.execute(_statement(companion.statement), [*given, companion.parameter(positions)])


NOTHING: Final = "SELECT"


@functools.cache
def _statement(companion: LiteralString) -> bytes:
    """The merge, and what goes with it."""
    return (
        sql.SQL(
            """
        WITH item AS (
            SELECT * FROM json_to_recordset(%s::json) AS item (
                n int, app_id text, endpoint_id text, given_id text, channel_type text, address text,
                is_active boolean, is_opted_out boolean, effective_at timestamptz, now timestamptz,
                request_id text, user_id text, attributes jsonb, metrics jsonb, demographic jsonb,
                location jsonb, user_attributes jsonb)
        ), merged AS (
            SELECT i.n, i.app_id, i.endpoint_id, coalesce(e.given_id, i.given_id) AS given_id,
                coalesce(e.revision, 0) + 1 AS revision,
                coalesce(i.channel_type, e.channel_type) AS channel_type,
                coalesce(i.address, e.address) AS address,
                i.is_active,
                coalesce(i.is_opted_out, e.is_opted_out, i.address IS NULL) AS is_opted_out,
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
                coalesce(i.address, e.address) IS NOT NULL AND i.is_active AND (
                    e.endpoint_id IS NULL OR NOT e.is_active OR i.address <> e.address
                    OR e.address IS NULL OR coalesce(i.channel_type <> e.channel_type, e.channel_type IS NULL)
                ) AS takes_address,
                i.user_attributes IS NOT NULL AND coalesce(i.user_id, e.user_id) IS NOT NULL AS changes_user,
                family.endpoints > 0 AS joins_others,
                CASE WHEN e.endpoint_id IS NULL AND i.address IS NOT NULL AND i.channel_type IS NULL
                     THEN 'channel'
                     WHEN family.endpoints >= %s THEN 'user' END AS problem
            FROM item i LEFT JOIN endpoint e USING (app_id, endpoint_id)
            CROSS JOIN LATERAL (  -- whom a user's new endpoint joins; nobody, where it has been theirs before
                SELECT count(*) AS endpoints, (array_agg(u.user_attributes))[1] AS attributes
                FROM endpoint u
                WHERE u.app_id = i.app_id AND u.user_id = i.user_id AND i.user_id IS DISTINCT FROM e.user_id
            ) family
        ), reaching AS MATERIALIZED (
            SELECT m.*,
                m.takes_address AND EXISTS (
                    SELECT 1 FROM endpoint o WHERE o.app_id = m.app_id AND o.address = m.address
                      AND o.endpoint_id <> m.endpoint_id AND o.is_active) AS reaches_address,
                m.changes_user AND EXISTS (
                    SELECT 1 FROM endpoint o WHERE o.app_id = m.app_id AND o.user_id = m.user_id
                      AND o.endpoint_id <> m.endpoint_id AND o.user_attributes <> m.user_attributes) AS reaches_user
            FROM merged m
        ), checked AS (
            SELECT r.*, CASE
                WHEN r.problem IS NOT NULL THEN r.problem
                WHEN octet_length(r.attributes::text) + octet_length(r.metrics::text)
                    + octet_length(r.user_attributes::text) + octet_length(r.demographic::text)
                    + octet_length(r.location::text) + coalesce(octet_length(r.address), 0) > %s THEN 'size'
                WHEN %s AND (r.reaches_address OR r.reaches_user OR r.joins_others) THEN 'reach' END AS stop
            FROM reaching r
        ), written AS (
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
        ), settled AS (
            SELECT checked.* FROM checked JOIN written USING (app_id, endpoint_id)
        ), companion AS ({companion})
        SELECT c.n, c.stop, w.endpoint_id IS NOT NULL, c.channel_type, c.reaches_address, c.reaches_user
        FROM checked c LEFT JOIN written w USING (app_id, endpoint_id)
        """
        )
        .format(companion=sql.SQL(companion))
        .as_bytes()
    )


async def _deactivate_others(connection: Connection, takers: Sequence[EndpointUpdate]) -> None:
    """An address belongs, on its channel, to the endpoint that claimed it last."""
    await connection.execute(
        """UPDATE endpoint o SET is_active = false, revision = o.revision + 1
           FROM unnest(%s::text[], %s::text[]) AS taker (app_id, endpoint_id)
           JOIN endpoint e USING (app_id, endpoint_id)
           WHERE o.app_id = e.app_id AND o.address = e.address AND o.channel_type IS NOT DISTINCT FROM e.channel_type
             AND o.endpoint_id <> e.endpoint_id AND o.is_active""",
        [[one.app_id for one in takers], [one.endpoint_id for one in takers]],
    )


async def _share_user_attributes(connection: Connection, sharers: Sequence[EndpointUpdate]) -> None:
    """All endpoints of a user carry the same user attributes."""
    await connection.execute(
        """UPDATE endpoint o SET user_attributes = e.user_attributes, revision = o.revision + 1
           FROM unnest(%s::text[], %s::text[]) AS sharer (app_id, endpoint_id)
           JOIN endpoint e USING (app_id, endpoint_id)
           WHERE o.app_id = e.app_id AND o.user_id = e.user_id AND o.endpoint_id <> e.endpoint_id
             AND o.user_attributes <> e.user_attributes""",
        [[one.app_id for one in sharers], [one.endpoint_id for one in sharers]],
    )


async def _evict(connection: Connection, update: EndpointUpdate, channel_type: str | None) -> bool:
    """Make room for a push endpoint: the user's oldest push endpoint leaves the user and goes inactive."""
    if channel_type not in PUSH_TYPES:
        return False
    cursor = await connection.execute(
        """UPDATE endpoint SET is_active = false, user_id = NULL, user_attributes = '{}', revision = revision + 1
           WHERE (app_id, endpoint_id) = (
               SELECT app_id, endpoint_id FROM endpoint
               WHERE app_id = %s AND user_id = %s AND channel_type = ANY(%s)
               ORDER BY effective_at, endpoint_id LIMIT 1)""",
        [update.app_id, update.user_id, PUSH_TYPES],
    )
    return cursor.rowcount == 1
