"""Funnels: how many people do one thing after another, and where they stop.

A person has come as far as step n when they have done the steps up to it in order, each with an event of its own,
within the range, and all within `window` of the first if there is one. People are as in `conversions`, and so are
moments. Events of the same moment count in the order they arrived.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from psycopg import sql
from psycopg.types.json import Jsonb

from repoint.db import Database
from repoint.resources.kpis.scan import Range, scan

STEPS_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Step:
    """A type of event that clients report, with these attributes."""

    event_type: str
    attributes: Mapping[str, str] = field(default_factory=dict)


# A person is a hash, as in `conversions`. What a step asks of an event is settled before events are sorted, so that
# what is sorted is small.
FUNNEL: Final = sql.SQL(
    """
    WITH done AS MATERIALIZED (
        SELECT d.event_id, d.moment, d.endpoint_id, d.user_id, {matches}
        FROM metric_reported r,
            unnest(event_ids, arrivals, moments, endpoint_ids, user_ids, r.attributes)
                AS d (event_id, arrival_at, moment, endpoint_id, user_id, attributes)
        WHERE r.app_id = %(app_id)s AND r.event_type = ANY(%(types)s::text[])
          AND r.last_at >= %(start)s AND r.first_at < %(end)s AND d.arrival_at >= %(start)s AND d.arrival_at < %(end)s
    ), owner AS MATERIALIZED (
        SELECT endpoint_id, user_id FROM endpoint
        WHERE app_id = %(app_id)s AND user_id <> '' AND endpoint_id IN (SELECT endpoint_id FROM done WHERE user_id = '')
    ), deed AS (
        SELECT d.*, hashtextextended(CASE WHEN d.user_id <> '' THEN 'user/' || d.user_id
            WHEN o.user_id IS NOT NULL THEN 'user/' || o.user_id ELSE 'endpoint/' || d.endpoint_id END, 0) AS person
        FROM done d LEFT JOIN owner o ON d.user_id = '' AND o.endpoint_id = d.endpoint_id
    )
    SELECT {counts} FROM (SELECT {furthest} FROM ({steps}) AS came GROUP BY person) AS people
    """
)
MATCH: Final = sql.SQL("r.event_type = {event_type} AND d.attributes @> {attributes} AS {name}")
# At each event, the latest moment at which a person began what takes them as far as this step: the later they began,
# the longer the window is open.
STEP: Final = sql.SQL("SELECT *, CASE WHEN {is_match} THEN {began} END AS {name} FROM {before}")
BEGAN: Final = sql.SQL(
    """
    max({before}) OVER (
        PARTITION BY person ORDER BY moment, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    """
)
WITHIN: Final = sql.SQL(
    """
    CASE WHEN %(window)s::interval IS NULL OR moment - {began} <= %(window)s::interval THEN {began} END
    """
)


async def funnel(db: Database, within: Range, steps: Sequence[Step], *, window: timedelta | None = None) -> list[int]:
    """For each step, how many people came as far as it.

    Raises:
        ValueError: for no steps, or more than STEPS_MAX.
    """
    if not 1 <= len(steps) <= STEPS_MAX:
        raise ValueError(f"a funnel has 1 to {STEPS_MAX} steps")
    parameters: dict[str, Any] = {
        "app_id": within.app_id,
        "start": within.start,
        "end": within.end,
        "types": [step.event_type for step in steps],
        "window": window,
    }
    matches: list[sql.Composable] = []
    came: sql.Composable = sql.SQL("deed")
    for number, step in enumerate(steps):
        parameters[f"type_{number}"] = step.event_type
        parameters[f"attributes_{number}"] = Jsonb(dict(step.attributes))
        is_match, name = sql.Identifier(f"is_{number}"), sql.Identifier(f"began_{number}")
        given = sql.Placeholder(f"type_{number}"), sql.Placeholder(f"attributes_{number}")
        matches.append(MATCH.format(event_type=given[0], attributes=given[1], name=is_match))
        before = BEGAN.format(before=sql.Identifier(f"began_{number - 1}")) if number else sql.SQL("moment")
        step_query = STEP.format(is_match=is_match, began=WITHIN.format(began=before), name=name, before=came)
        came = sql.SQL("({}) AS {}").format(step_query, sql.Identifier(f"step_{number}"))
    names = [sql.Identifier(f"began_{number}") for number in range(len(steps))]
    query = FUNNEL.format(
        matches=sql.SQL(", ").join(matches),
        counts=sql.SQL(", ").join(sql.SQL("count({})").format(name) for name in names),
        furthest=sql.SQL(", ").join(sql.SQL("max({}) AS {}").format(name, name) for name in names),
        steps=sql.SQL("SELECT * FROM {}").format(came),
    )
    rows = await scan(db, query, parameters)
    return list(rows[0])
