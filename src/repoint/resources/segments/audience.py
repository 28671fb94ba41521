"""What a segment holds right now: how many, who for example, and why one endpoint is in it or not."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from repoint.db import Connection, Database, allow_scans
from repoint.resources.endpoints.store import Endpoint, fold, get
from repoint.resources.segments.compile import Condition, compile_node
from repoint.resources.segments.predicates import Predicates
from repoint.resources.segments.sources import load_sources, tree_of
from repoint.resources.segments.store import StoredSegment
from repoint.resources.segments.tree import Node, leaves_of
from repoint.resources.segments.verdict import Verdict, judge
from repoint.wire.exceptions import NotFoundException

SAMPLE_MAX = 1_000
ESTIMATE_ROWS = 20_000
"""An estimate reads about so many endpoints."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many endpoints are members, and how many of them could be sent to: active, not opted out, with an address."""

    total: int
    eligible: int
    is_exact: bool


async def load_tree(connection: Connection, segment: StoredSegment, now: datetime) -> Node:
    """Everything a segment asks of an endpoint, its source segments' conditions included.

    Raises:
        BadRequestException: when it rests on a segment that is gone.
    """
    return tree_of(segment, await load_sources(connection, segment.app_id, segment.criteria), now)


async def load_condition(connection: Connection, segment: StoredSegment, now: datetime) -> Condition:
    """The SQL condition that a segment's members meet at this moment; for whoever selects them.

    Raises:
        BadRequestException: when it rests on a segment that is gone.
    """
    return compile_node(await load_tree(connection, segment, now))


async def count(db: Database, segment: StoredSegment, now: datetime) -> Size:
    """A segment's exact size."""
    async with db.transaction() as connection:
        condition = await load_condition(connection, segment, now)
        return await _count(connection, segment.app_id, condition, percent=None)


async def estimate(db: Database, segment: StoredSegment, now: datetime) -> Size:
    """A segment's size, from a sample of the endpoints; exact while PostgreSQL thinks that the application has few."""
    async with db.transaction() as connection:
        condition = await load_condition(connection, segment, now)
        cursor = await connection.execute(
            "EXPLAIN (FORMAT JSON) SELECT FROM endpoint WHERE app_id = %s", [segment.app_id], prepare=False
        )
        row = await cursor.fetchone()
        assert row is not None
        percent = 100 * ESTIMATE_ROWS / max(1, row[0][0]["Plan"]["Plan Rows"])
        return await _count(connection, segment.app_id, condition, percent=percent if percent < 100 else None)  # noqa: PLR2004


async def _count(connection: Connection, app_id: str, condition: Condition, *, percent: float | None) -> Size:
    await allow_scans(connection)
    part = sql.SQL("" if percent is None else "TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (1)")
    cursor = await connection.execute(
        sql.SQL(
            """SELECT count(*), count(*) FILTER (WHERE e.is_active AND NOT e.is_opted_out AND e.address IS NOT NULL)
               FROM endpoint AS e {} WHERE e.app_id = %(app_id)s AND {}"""
        ).format(part, condition.text),
        {"app_id": app_id, "percent": percent, **condition.parameters},
        prepare=False,
    )
    row = await cursor.fetchone()
    assert row is not None
    if percent is None:
        return Size(row[0], row[1], is_exact=True)
    return Size(round(row[0] * 100 / percent), round(row[1] * 100 / percent), is_exact=False)


async def sample(db: Database, segment: StoredSegment, now: datetime, *, limit: int) -> list[Endpoint]:
    """Some of a segment's members: the first that are found."""
    async with db.transaction() as connection:
        condition = await load_condition(connection, segment, now)
        await allow_scans(connection)
        cursor = await connection.execute(
            sql.SQL(
                """SELECT e.app_id, e.endpoint_id, e.given_id, e.channel_type, e.address, e.is_active, e.is_opted_out,
                          e.cohort_id, e.created_at, e.effective_at, e.request_id, e.user_id, e.attributes, e.metrics,
                          e.demographic, e.location, e.user_attributes
                   FROM endpoint AS e WHERE e.app_id = %(app_id)s AND {} LIMIT %(limit)s"""
            ).format(condition.text),
            {"app_id": segment.app_id, "limit": min(limit, SAMPLE_MAX), **condition.parameters},
            prepare=False,
        )
        return [Endpoint(*row) for row in await cursor.fetchall()]


async def count_conditions(db: Database, segment: StoredSegment, now: datetime) -> tuple[Node, list[int]]:
    """A segment's tree, and how many endpoints meet each of `leaves_of` it by itself; one pass over all of them."""
    async with db.transaction() as connection:
        tree = await load_tree(connection, segment, now)
        await allow_scans(connection)
        predicates = Predicates()
        parts = [sql.SQL("count(*) FILTER (WHERE {})").format(predicates.leaf(leaf)) for leaf in leaves_of(tree)]
        cursor = await connection.execute(
            sql.SQL("SELECT ARRAY[{}]::bigint[] FROM endpoint AS e WHERE e.app_id = %(app_id)s").format(
                sql.SQL(", ").join(parts)
            ),
            {"app_id": segment.app_id, **predicates.parameters},
            prepare=False,
        )
        row = await cursor.fetchone()
        assert row is not None
        return tree, row[0]


async def why(db: Database, segment: StoredSegment, endpoint_id: str, now: datetime) -> Verdict:
    """Which conditions let an endpoint in, or keep it out. The database answers each, as it would for the whole.

    Raises:
        NotFoundException: when there is no such endpoint.
    """
    endpoint = await get(db, segment.app_id, endpoint_id)
    async with db.transaction() as connection:
        tree = await load_tree(connection, segment, now)
        predicates = Predicates()
        parts = [sql.SQL("({}) IS TRUE").format(predicates.leaf(leaf)) for leaf in leaves_of(tree)]
        parameters: dict[str, Any] = {"app_id": segment.app_id, "endpoint_id": fold(endpoint_id)}
        cursor = await connection.execute(
            sql.SQL(
                """SELECT ARRAY[{}]::boolean[] FROM endpoint AS e
                   WHERE e.app_id = %(app_id)s AND e.endpoint_id = %(endpoint_id)s"""
            ).format(sql.SQL(", ").join(parts)),
            {**parameters, **predicates.parameters},
            prepare=False,
        )
        row = await cursor.fetchone()
    if endpoint is None or row is None:
        raise NotFoundException(f"there is no endpoint {endpoint_id} in application {segment.app_id}")
    return judge(tree, endpoint, row[0])
