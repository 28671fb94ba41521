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


EVENTS: Final = sql.SQL(
    """
    SELECT CASE WHEN c.user_id <> '' THEN 'user/' || c.user_id ELSE 'endpoint/' || c.endpoint_id END AS person,
           least(c.event_at, c.arrival_at) AS moment, c.event_id, c.event_type, c.document -> 'attributes' AS attributes
    FROM (
        SELECT v.*, coalesce(v.document #>> '{endpoint,UserId}', e.user_id, '') AS user_id
        FROM event v LEFT JOIN endpoint e ON e.app_id = v.app_id AND e.endpoint_id = v.endpoint_id
        WHERE v.app_id = %(app_id)s AND v.event_type = ANY(%(types)s::text[]) AND v.document ? 'application'
          AND v.arrival_at >= %(start)s AND v.arrival_at < %(end)s) c
    """
)
# At each event, the latest moment at which a person began what takes them as far as this step: the later they began,
# the longer the window is open.
STEP: Final = sql.SQL(
    """
    SELECT *, CASE WHEN event_type = {event_type} AND attributes @> {attributes} THEN {began} END AS {name}
    FROM ({before}) AS {alias}
    """
)
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
    names = [f"began_{number}" for number in range(len(steps))]
    query: sql.Composable = EVENTS
    parameters: dict[str, Any] = {
        "app_id": within.app_id,
        "start": within.start,
        "end": within.end,
        "types": [step.event_type for step in steps],
        "window": window,
    }
    for number, (name, step) in enumerate(zip(names, steps, strict=True)):
        parameters[f"type_{number}"] = step.event_type
        parameters[f"attributes_{number}"] = Jsonb(dict(step.attributes))
        began = BEGAN.format(before=sql.Identifier(names[number - 1])) if number else sql.SQL("moment")
        query = STEP.format(
            event_type=sql.Placeholder(f"type_{number}"),
            attributes=sql.Placeholder(f"attributes_{number}"),
            began=WITHIN.format(began=began),
            name=sql.Identifier(name),
            before=query,
            alias=sql.Identifier(f"step_{number}"),
        )
    counts = sql.SQL(", ").join(
        sql.SQL("count(DISTINCT person) FILTER (WHERE {} IS NOT NULL)").format(sql.Identifier(name)) for name in names
    )
    rows = await scan(db, sql.SQL("SELECT {} FROM ({}) AS done").format(counts, query), parameters)
    return list(rows[0])
