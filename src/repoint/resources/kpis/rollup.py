"""The reader of the log that keeps the metrics: each event is counted once, in the transaction that says so.

Events are counted where they are, by one statement for a whole range of the log; the more is waiting, the larger.
A row that stands for many events (migration 0018) is never one of what counts once.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import psycopg

from repoint.clock import Clock
from repoint.db import Connection, Database, DatabaseUnavailableError
from repoint.resources.events.reader import (
    BEGINNING,
    Position,
    current_snapshot,
    in_round,
    load_position,
    save_position,
    span,
)
from repoint.resources.kpis.measure import DISTINCT, OTHER_CHANNELS, RULES
from repoint.work.periodic import METRICS_LOCK

logger = logging.getLogger(__name__)

READER: Final = "metrics"
POLL_SECONDS = 1.0
IDLE_TRANSACTIONS_MAX = 5_000
BATCH_EVENTS_MIN = 5_000
BATCH_EVENTS_MAX = 50_000
BATCH_MEMORY = "64MB"
CHUNK_BITS: Final = 512  # of metric_set
SEEN_DAYS: Final = 30  # for how long nothing is written when an endpoint is seen again
Observe = Callable[[str, float], None]
COUNT: Final = """
WITH picked AS MATERIALIZED (
    SELECT p.xid, p.event_id, p.arrival_at, p.app_id, p.endpoint_id, p.event_type, p.stands_for, p.fills,
        p.document ? 'application' AS is_reported,
        CASE WHEN p.document ? 'application' THEN coalesce(p.document #>> '{endpoint,UserId}', '') END AS user_id,
        CASE WHEN p.document ? 'application' OR p.event_type = ANY(%(types)s::text[])
             THEN p.document -> 'attributes' END AS attributes,
        CASE WHEN p.document ? 'application' THEN p.document -> 'metrics' END AS metrics,
        least(p.event_at, p.arrival_at) AS moment,
        CASE WHEN p.event_type IN ('_email.open', '_email.click')
             THEN p.document #>> '{facets,email_channel,mail_event,mail,message_id}'
             ELSE p.document #>> '{attributes,message_id}' END AS message_id,
        CASE WHEN jsonb_typeof(p.document #> '{metrics,price_in_millicents_usd}') = 'number'
             THEN (p.document #>> '{metrics,price_in_millicents_usd}')::float8 ELSE 0 END AS millicents
    FROM (
        SELECT *, sum(stands_for) OVER (ORDER BY xid, event_id) - stands_for AS before
        FROM (
            SELECT * FROM (
                SELECT * FROM event
                WHERE xid = ANY(%(late)s::text[]::xid8[]) AND (xid, event_id) > (%(xid)s::text::xid8, %(event_id)s)
                  AND pg_visible_in_snapshot(xid, %(target)s::text::pg_snapshot)
                ORDER BY xid, event_id LIMIT %(limit)s) late
            UNION ALL
            SELECT * FROM (
                SELECT * FROM event
                WHERE (xid, event_id) > (%(first_xid)s::text::xid8, %(first_event_id)s)
                  AND xid < %(last_xid)s::text::xid8 AND pg_visible_in_snapshot(xid, %(target)s::text::pg_snapshot)
                ORDER BY xid, event_id LIMIT %(limit)s) newer) part
        ORDER BY xid, event_id LIMIT %(limit)s) p
    WHERE before < %(limit)s
), found AS MATERIALIZED (
    SELECT p.xid, p.event_id, p.app_id, date_trunc('hour', p.arrival_at, 'UTC') AS hour, p.endpoint_id, p.stands_for,
        p.fills, r.measure,
        coalesce(p.attributes ->> 'campaign_id', '') AS campaign_id,
        coalesce(p.attributes ->> 'campaign_activity_id', '') AS campaign_activity_id,
        coalesce(p.attributes ->> 'journey_id', '') AS journey_id,
        coalesce(p.attributes ->> 'journey_activity_id', '') AS journey_activity_id,
        CASE WHEN r.once = 'ever' THEN coalesce(p.attributes ->> 'iso_country_code', '') ELSE '' END AS country,
        CASE WHEN r.measure = 'sms.failed' THEN coalesce(p.attributes ->> 'record_status', 'UNKNOWN') ELSE '' END
            AS status,
        CASE WHEN r.once <> 'ever' THEN 0 WHEN p.attributes ->> 'number_of_message_parts' ~ '^[0-9]{1,9}$'
             THEN (p.attributes ->> 'number_of_message_parts')::bigint ELSE 1 END AS parts,
        CASE WHEN r.once = 'ever' THEN p.millicents ELSE 0 END AS millicents,
        CASE WHEN r.once = '' THEN '' ELSE coalesce(p.message_id, '') END AS once,
        CASE WHEN r.once = 'hour' THEN date_trunc('hour', p.arrival_at, 'UTC') ELSE 'epoch' END AS once_hour
    FROM picked p JOIN unnest(%(types)s::text[], %(rule_measures)s::text[], %(rule_onces)s::text[],
             %(rule_reported)s::boolean[], %(rule_successes)s::boolean[])
             AS r (event_type, measure, once, is_reported, is_success)
      ON r.event_type = p.event_type AND (r.is_reported OR NOT p.is_reported)
    WHERE (r.measure <> 'push.opened' OR p.attributes ->> 'campaign_id' <> '')
      AND (r.is_success IS NULL
           OR coalesce(p.attributes ->> 'delivery_type', '') <> ALL(%(other_channels)s::text[])
              AND r.is_success = (coalesce(p.attributes ->> 'campaign_send_status', '') = 'SUCCESS'))
), firsts AS MATERIALIZED (
    SELECT DISTINCT ON (app_id, measure, once, once_hour) * FROM found WHERE once <> ''
    ORDER BY app_id, measure, once, once_hour, xid, event_id
), new AS (
    INSERT INTO metric_once (app_id, measure, message_id, hour, seen_at)
    SELECT app_id, measure, once, once_hour, hour FROM firsts
    ON CONFLICT DO NOTHING RETURNING app_id, measure, message_id, hour
), counting AS MATERIALIZED (
    SELECT * FROM found WHERE once = ''
    UNION ALL
    SELECT f.* FROM firsts f JOIN new
      ON (f.app_id, f.measure, f.once, f.once_hour) = (new.app_id, new.measure, new.message_id, new.hour)
), hours AS (
    INSERT INTO metric_hour AS m (app_id, hour, measure, campaign_id, campaign_activity_id, journey_id,
        journey_activity_id, country, status, count, parts, millicents)
    SELECT app_id, hour, measure, campaign_id, campaign_activity_id, journey_id, journey_activity_id, country, status,
           sum(stands_for), sum(parts), sum(millicents)
    FROM counting GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    ON CONFLICT (app_id, measure, hour, campaign_id, campaign_activity_id, journey_id, journey_activity_id, country,
                 status)
    DO UPDATE SET count = m.count + excluded.count, parts = m.parts + excluded.parts,
        millicents = m.millicents + excluded.millicents
), asked AS MATERIALIZED (
    SELECT * FROM counting WHERE measure = ANY(%(distinct)s::text[]) AND journey_id = ''
), named_scope AS MATERIALIZED (
    SELECT s.*, known.scope_id
    FROM (SELECT DISTINCT app_id, measure, campaign_id, campaign_activity_id FROM asked) s
    LEFT JOIN LATERAL (
        SELECT scope_id FROM metric_scope k
        WHERE (k.app_id, k.measure, k.campaign_id, k.campaign_activity_id)
            = (s.app_id, s.measure, s.campaign_id, s.campaign_activity_id) OFFSET 0) known ON true
), new_scope AS (
    INSERT INTO metric_scope (app_id, measure, campaign_id, campaign_activity_id)
    SELECT app_id, measure, campaign_id, campaign_activity_id FROM named_scope WHERE scope_id IS NULL
    RETURNING app_id, measure, campaign_id, campaign_activity_id, scope_id
), scope AS MATERIALIZED (
    SELECT * FROM named_scope WHERE scope_id IS NOT NULL UNION ALL SELECT * FROM new_scope
), seen AS MATERIALIZED (
    SELECT one.app_id, one.scope_id, one.hour, one.endpoint_id, known.number, known.place
    FROM (
        SELECT app_id, scope.scope_id, hour, event_endpoint(endpoint_id, line) AS endpoint_id
        FROM asked JOIN scope USING (app_id, measure, campaign_id, campaign_activity_id)
        LEFT JOIN LATERAL string_to_table(fills, E'\\n') AS line ON true) one
    LEFT JOIN LATERAL (
        SELECT number, CASE WHEN seen_on < (one.hour AT TIME ZONE 'UTC')::date - %(seen_days)s THEN ctid END AS place
        FROM metric_member k WHERE (k.app_id, k.endpoint_id) = (one.app_id, one.endpoint_id) OFFSET 0) known ON true
), still_seen AS (
    UPDATE metric_member SET seen_on = (SELECT max(hour) AT TIME ZONE 'UTC' FROM seen)::date
    WHERE ctid = ANY(ARRAY(SELECT place FROM seen WHERE place IS NOT NULL))
), new_member AS (
    INSERT INTO metric_member (app_id, endpoint_id, seen_on)
    SELECT app_id, endpoint_id, (max(hour) AT TIME ZONE 'UTC')::date FROM seen WHERE number IS NULL
    GROUP BY app_id, endpoint_id ORDER BY app_id, endpoint_id
    RETURNING app_id, endpoint_id, number
), sets AS (
    INSERT INTO metric_set AS m (scope_id, hour, chunk, members)
    SELECT scope_id, hour, number / %(chunk_bits)s,
           bit_or(set_bit(B'0'::bit(512), (number %% %(chunk_bits)s)::int, 1))
    FROM (SELECT scope_id, hour, number FROM seen WHERE number IS NOT NULL
          UNION ALL
          SELECT scope_id, hour, new.number FROM seen JOIN new_member new USING (app_id, endpoint_id)
          WHERE seen.number IS NULL) numbered
    GROUP BY 1, 2, 3
    ON CONFLICT (scope_id, hour, chunk) DO UPDATE SET members = m.members | excluded.members
), active AS (
    INSERT INTO metric_active (app_id, day, endpoint_id, user_id)
    SELECT DISTINCT app_id, (arrival_at AT TIME ZONE 'UTC')::date, endpoint_id, user_id FROM picked WHERE is_reported
    ON CONFLICT DO NOTHING
), reported AS (
    INSERT INTO metric_reported (app_id, event_type, first_at, last_at, event_ids, arrivals, moments, endpoint_ids,
        user_ids, attributes, metrics)
    SELECT app_id, event_type, min(arrival_at), max(arrival_at), array_agg(event_id), array_agg(arrival_at),
           array_agg(moment), array_agg(endpoint_id), array_agg(user_id), array_agg(coalesce(attributes, '{}')),
           array_agg(coalesce(metrics, '{}'))
    FROM picked WHERE is_reported GROUP BY app_id, event_type
)
SELECT (SELECT sum(stands_for) FROM picked)::bigint, xid::text, event_id, arrival_at FROM picked
ORDER BY picked.xid DESC, event_id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """What was counted at a time, whole rows of the log; `arrived_at` is when the last event of it came."""

    count: int
    is_last: bool
    """Whether that was all: nothing more had committed when the round began, and it began with this batch."""
    arrived_at: datetime | None


async def roll(db: Database, limit: int) -> Batch | None:
    """Count the next events, at most `limit`; None when another process is at it."""
    return await db.atomically(lambda connection: _roll(connection, limit))


async def rebuild(db: Database) -> int:
    """Forget all metrics and count the whole log again; returns how many events it has.

    Workers leave the counting to this connection as long as it lasts, and go on from where it ends.
    """
    async with db.connection() as connection:
        await connection.execute("SELECT pg_advisory_lock(%s)", [METRICS_LOCK])
        try:
            async with connection.transaction():
                await begin_again(connection)
            total, is_last = 0, False
            while not is_last:
                async with connection.transaction():
                    batch = await _roll(connection, BATCH_EVENTS_MAX)
                assert batch is not None
                total, is_last = total + batch.count, batch.is_last
            return total
        finally:
            if not connection.closed:
                await connection.execute("SELECT pg_advisory_unlock(%s)", [METRICS_LOCK])


async def begin_again(connection: Connection) -> None:
    """Forget all metrics, in the caller's transaction: the reader begins with the log's first event."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", [METRICS_LOCK])
    await save_position(connection, READER, Position(BEGINNING))
    await connection.execute(
        "TRUNCATE metric_hour, metric_once, metric_member, metric_scope, metric_set, metric_active, metric_reported"
    )


async def keep(db: Database, clock: Clock, observe_lag: Observe) -> None:
    """Count events as they come, until cancelled; every worker runs this, one at a time counts."""
    seen = ""
    while True:
        try:
            snapshot = await current_snapshot(db)
            if snapshot != seen and await _catch_up(db, clock, observe_lag):
                seen = snapshot
        except (DatabaseUnavailableError, psycopg.Error) as error:
            logger.warning("metrics wait: %s", error)
        await asyncio.sleep(POLL_SECONDS)


async def _catch_up(db: Database, clock: Clock, observe_lag: Observe) -> bool:
    """Count all there is, more at a time as long as more is waiting; False when another process is at it."""
    limit = BATCH_EVENTS_MIN
    while (batch := await roll(db, limit)) is not None:
        if batch.is_last:
            observe_lag(READER, 0.0)
            return True
        if batch.arrived_at is not None:
            observe_lag(READER, (clock() - batch.arrived_at).total_seconds())
        limit = min(2 * limit, BATCH_EVENTS_MAX)
    return False


async def _roll(connection: Connection, limit: int) -> Batch | None:
    locked = await (await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [METRICS_LOCK])).fetchone()
    if locked is None or not locked[0]:
        return None
    position = await load_position(connection, READER) or Position(BEGINNING)
    count, arrived_at, after = await _count(connection, await in_round(connection, position), limit)
    if count or position.target or _is_far(position, after):
        await save_position(connection, READER, after)
    return Batch(count, position.target is None and after.target is None, arrived_at)


def _is_far(position: Position, after: Position) -> bool:
    """Whether so much has been looked at in vain that it should not be again. Each save is a write; idling is not."""
    return int(after.done.split(":")[1]) - int(position.done.split(":")[1]) > IDLE_TRANSACTIONS_MAX


async def _count(connection: Connection, position: Position, limit: int) -> tuple[int, datetime | None, Position]:
    """How many events were counted, when the last of them came, and the position after them."""
    await connection.execute(
        """SELECT set_config(name, value, true)
           FROM (VALUES ('enable_hashjoin', 'on'), ('enable_nestloop', 'off'), ('work_mem', %s))
               AS setting (name, value)""",
        [BATCH_MEMORY],
    )
    parameters: dict[str, Any] = {
        **asdict(span(position)),
        "limit": limit,
        "types": [rule.event_type for rule in RULES],
        "rule_measures": [rule.measure for rule in RULES],
        "rule_onces": [rule.once for rule in RULES],
        "rule_reported": [rule.is_reported for rule in RULES],
        "rule_successes": [rule.is_success for rule in RULES],
        "other_channels": list(OTHER_CHANNELS),
        "distinct": list(DISTINCT),
        "chunk_bits": CHUNK_BITS,
        "seen_days": SEEN_DAYS,
    }
    row = await (await connection.execute(COUNT, parameters)).fetchone()
    count, *last, arrived_at = row or (0, None)
    return count, arrived_at, position.after(count, limit, (last[0], last[1]) if last else None)
