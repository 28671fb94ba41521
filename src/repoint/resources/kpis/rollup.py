"""The reader of the log that keeps the metrics: each event is counted once, in the transaction that says so."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import msgspec
import psycopg

from repoint.db import Connection, Database, DatabaseUnavailableError
from repoint.resources.events.reader import (
    BEGINNING,
    Position,
    current_snapshot,
    load_position,
    read,
    save_position,
)
from repoint.resources.kpis.measure import PATTERN, Counted, counted

logger = logging.getLogger(__name__)

READER: Final = "metrics"
LOCK: Final = 0x6D657472696373
POLL_SECONDS = 1.0
IDLE_TRANSACTIONS_MAX = 5_000
BATCH_EVENTS_MAX = 5_000


async def roll(db: Database) -> int | None:
    """Count the next events; how many, or None when another process is at it."""
    return await db.atomically(_roll)


async def rebuild(db: Database) -> int:
    """Forget all metrics and count the whole log again; returns how many events counted."""

    async def reset(connection: Connection) -> None:
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        await save_position(connection, READER, Position(BEGINNING))
        await connection.execute("TRUNCATE metric_hour, metric_once, metric_endpoint")

    await db.atomically(reset)
    total = 0
    while (count := await roll(db)) is None or count > 0:
        total += count or 0
    return total


async def keep(db: Database) -> None:
    """Count events as they come, until cancelled; every worker runs this, one at a time counts."""
    seen = ""
    while True:
        try:
            snapshot = await current_snapshot(db)
            if snapshot != seen and await _catch_up(db):
                seen = snapshot
        except (DatabaseUnavailableError, psycopg.Error) as error:
            logger.warning("metrics wait: %s", error)
        await asyncio.sleep(POLL_SECONDS)


async def _catch_up(db: Database) -> bool:
    """Count all there is; False when another process is at it."""
    count: int | None = BATCH_EVENTS_MAX
    while count:
        count = await roll(db)
    return count is not None


async def _roll(connection: Connection) -> int | None:
    locked = await (await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])).fetchone()
    if locked is None or not locked[0]:
        return None
    position = await load_position(connection, READER) or Position(BEGINNING)
    events, after = await read(connection, position, BATCH_EVENTS_MAX, pattern=PATTERN)
    await _add(connection, [one for event in events for one in counted(event)])
    if events or _is_far(position, after):
        await save_position(connection, READER, after)
    return len(events)


def _is_far(position: Position, after: Position) -> bool:
    """Whether so much has been looked at in vain that it should not be again. Each save is a write; idling is not."""
    return int(after.done.split(":")[1]) - int(position.done.split(":")[1]) > IDLE_TRANSACTIONS_MAX


async def _add(connection: Connection, found: Sequence[Counted]) -> None:
    """Add to the hours; what counts once is looked up first."""
    again = [one for one in found if one.once]
    new = await _first_times(connection, again)
    counting = [one for one in found if not one.once or (one.measure, one.app_id, one.once, one.once_hour) in new]
    counting = _without_repeats(counting)
    if counting:
        items = msgspec.json.encode(counting).decode()
        await _add_hours(connection, items)
        await _add_endpoints(connection, msgspec.json.encode([one for one in counting if one.is_distinct]).decode())


def _without_repeats(counting: Sequence[Counted]) -> list[Counted]:
    """Within one batch, too, a message counts once."""
    seen: set[tuple[object, ...]] = set()
    kept = []
    for one in counting:
        key = (one.app_id, one.measure, one.once, one.once_hour)
        if one.once and key in seen:
            continue
        seen.add(key)
        kept.append(one)
    return kept


async def _first_times(connection: Connection, found: Sequence[Counted]) -> set[tuple[object, ...]]:
    """Which of what counts once is seen for the first time."""
    if not found:
        return set()
    cursor = await connection.execute(
        """INSERT INTO metric_once (app_id, measure, message_id, hour, seen_at)
           SELECT DISTINCT app_id, measure, once, once_hour, hour
           FROM json_to_recordset(%s::json) AS found (
               app_id text, measure text, once text, once_hour timestamptz, hour timestamptz)
           ON CONFLICT DO NOTHING RETURNING measure, app_id, message_id, hour""",
        [msgspec.json.encode(found).decode()],
    )
    return {tuple(row) for row in await cursor.fetchall()}


async def _add_hours(connection: Connection, items: str) -> None:
    await connection.execute(
        """INSERT INTO metric_hour AS m (app_id, hour, measure, campaign_id, campaign_activity_id, journey_id,
               journey_activity_id, country, status, count, parts, millicents)
           SELECT app_id, hour, measure, campaign_id, campaign_activity_id, journey_id, journey_activity_id, country,
                  status, count(*), sum(parts), sum(millicents)
           FROM json_to_recordset(%s::json) AS found (
               app_id text, hour timestamptz, measure text, campaign_id text, campaign_activity_id text,
               journey_id text, journey_activity_id text, country text, status text, parts bigint,
               millicents double precision)
           GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
           ON CONFLICT (app_id, measure, hour, campaign_id, campaign_activity_id, journey_id, journey_activity_id,
                        country, status)
           DO UPDATE SET count = m.count + excluded.count, parts = m.parts + excluded.parts,
               millicents = m.millicents + excluded.millicents""",
        [items],
    )


async def _add_endpoints(connection: Connection, items: str) -> None:
    await connection.execute(
        """INSERT INTO metric_endpoint (app_id, measure, hour, campaign_id, campaign_activity_id, endpoint_id)
           SELECT DISTINCT app_id, measure, hour, campaign_id, campaign_activity_id, endpoint_id
           FROM json_to_recordset(%s::json) AS found (
               app_id text, measure text, hour timestamptz, campaign_id text, campaign_activity_id text,
               endpoint_id text)
           ON CONFLICT DO NOTHING""",
        [items],
    )
