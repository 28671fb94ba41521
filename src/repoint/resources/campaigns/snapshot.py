"""The audience of a run, taken down in one statement: who gets which treatment, and who gets nothing and why.

Reasons are given in the order of Pinpoint's own pipeline: inactive, opted out, no address, no channel, another
channel, time zone, holdout, an address that another endpoint has, total cap, daily cap, quiet time. Each member of the
segment gets a message or one reason. Snapshots of one application follow each other, so that two campaigns which start
together cannot pass one daily cap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import sql

from repoint.db import Connection, allow_scans
from repoint.resources.campaigns.rules import FILTERED_OUT
from repoint.resources.messages.store import id_prefix
from repoint.resources.segments.compile import Condition

SELECT_MEMORY = "128MB"
# Reasons that come after the audience has been filtered are told in the event log, as Pinpoint does.
TOLD = ("HOLDOUT", "DUPLICATE_ADDRESS", "CAMPAIGN_CAP", "DAILY_CAP", "QUIET_TIME", "EXPIRED")
# What each activity counts besides the reasons.
PRODUCED = "ENDPOINT_PRODUCED"
TREATMENT_HOLDOUT = "TREATMENT_HOLDOUT"
FROM_USER = "ENDPOINTS_FROM_USER"
DUPLICATE_USER = "DUPLICATE_USER"


@dataclass(frozen=True, slots=True)
class Selection:
    """Whom a wave of a run is for.

    `owners` has for each cohort the position, from 1, of the treatment (in `treatments`) that it belongs to, 0 for
    none of this wave; those in `held_out` cohorts belong to one and get nothing. `channels`, `custom` (those of them
    that a function or webhook delivers to) and `quiet` are pairs "position:channel type" and "position:zone". `zones`
    are the wave's own (None: zones do not matter), `other_zones` those of the run's other waves. Daily limits count
    back from `due_at`. `earlier` are the ids under which the run's waves so far have their messages and drops: who is
    among them has moved to another zone since, and is passed over.
    """

    app_id: str
    campaign_id: str
    treatments: Sequence[str]
    owners: Sequence[int]
    held_out: Sequence[int]
    channels: Sequence[str]
    custom: Sequence[str]
    quiet: Sequence[str]
    zones: Sequence[str] | None
    all_zones: Sequence[str]
    other_zones: Sequence[str]
    is_first: bool
    total_cap: int
    daily_cap: int
    daily_cap_of_app: int
    due_at: datetime
    now: datetime
    forced_reason: str | None = None
    endpoint_ids: Sequence[str] | None = None
    earlier: Sequence[str] = ()

    def parameters(self) -> dict[str, Any]:
        """As the statement wants them."""
        return {
            "app_id": self.app_id,
            "campaign_id": self.campaign_id,
            "owners": list(self.owners),
            "held_out": list(self.held_out),
            "channels": list(self.channels),
            "custom": list(self.custom),
            "quiet": list(self.quiet),
            "is_local": self.zones is not None,
            "zones": list(self.zones or ()),
            "all_zones": list(self.all_zones),
            "other_zones": list(self.other_zones),
            "is_first": self.is_first,
            "total_cap": self.total_cap,
            "daily_cap": self.daily_cap,
            "daily_cap_of_app": self.daily_cap_of_app,
            "day_ago": self.due_at - timedelta(hours=24),
            "now": self.now,
            "forced_reason": self.forced_reason,
            "filtered_out": FILTERED_OUT,
            "endpoint_ids": None if self.endpoint_ids is None else list(self.endpoint_ids),
            "earlier": list(self.earlier),
        }


# Judges every member for whom no other wave is responsible. Those at position 0 are only counted.
JUDGED = sql.SQL(
    """
    member AS (
        SELECT e.endpoint_id, e.channel_type, e.address, (%(owners)s::int[])[e.cohort_id + 1] AS treatment,
            e.demographic ->> 'Timezone' AS zone,
            CASE
                WHEN NOT e.is_active THEN 'ENDPOINT_INACTIVE'
                WHEN e.is_opted_out THEN 'ENDPOINT_OPT_OUT'
                WHEN coalesce(e.address, '') = '' THEN 'ENDPOINT_MISSING_ADDRESS'
                WHEN e.channel_type IS NULL THEN 'ENDPOINT_MISSING_CHANNEL'
                WHEN ((%(owners)s::int[])[e.cohort_id + 1] || ':' || e.channel_type) <> ALL (%(channels)s::text[])
                    THEN 'ENDPOINT_CHANNEL_MISMATCH'
                WHEN %(is_local)s AND (e.demographic ->> 'Timezone' = ANY (%(all_zones)s::text[])) IS NOT TRUE
                    THEN 'ENDPOINT_MISSING_TIMEZONE'
                WHEN %(is_local)s AND e.demographic ->> 'Timezone' <> ALL (%(zones)s::text[])
                    THEN 'ENDPOINT_TIMEZONE_MISMATCH'
                WHEN e.cohort_id = ANY (%(held_out)s::int[]) THEN 'HOLDOUT'
            END AS reason,
            {by_user} AS is_by_user
        FROM endpoint AS e
        WHERE e.app_id = %(app_id)s AND ({audience})
          AND (%(endpoint_ids)s::text[] IS NULL OR e.endpoint_id = ANY (%(endpoint_ids)s::text[]))
          AND (NOT %(is_local)s
               OR e.demographic ->> 'Timezone' = ANY (%(zones)s::text[])
               OR %(is_first)s AND (e.demographic ->> 'Timezone' = ANY (%(other_zones)s::text[])) IS NOT TRUE)
          AND (%(earlier)s::text[] = '{{}}' OR NOT EXISTS (
              SELECT 1 FROM message m WHERE m.app_id = %(app_id)s AND m.endpoint_id = e.endpoint_id
                AND m.activity_id = ANY (%(earlier)s::text[])
              UNION ALL
              SELECT 1 FROM campaign_drop d WHERE d.app_id = %(app_id)s AND d.endpoint_id = e.endpoint_id
                AND d.activity_id = ANY (%(earlier)s::text[])))
    ), ranked AS (
        SELECT endpoint_id, channel_type, address, treatment, zone, reason, is_by_user, row_number() OVER (
            PARTITION BY hashtextextended(address, 0), channel_type, address, reason IS NULL, treatment = 0
            ORDER BY endpoint_id) AS copy
        FROM member
    ), campaign_ledgers AS (
        SELECT l.ledger_id, l.created_at > %(day_ago)s OR a.frequency = 'EVENT' AS is_of_today
        FROM campaign_activity a JOIN campaign_ledger l USING (activity_id)
        WHERE a.app_id = %(app_id)s AND a.campaign_id = %(campaign_id)s
    ), at_total_cap AS (
        SELECT endpoint_id FROM (
            SELECT m.endpoint_id FROM message m
            WHERE %(total_cap)s > 0 AND m.app_id = %(app_id)s
              AND (m.state <> 'STOPPED' OR m.status_message IS DISTINCT FROM %(filtered_out)s)
              AND m.activity_id IN (SELECT ledger_id FROM campaign_ledgers)
              AND (%(endpoint_ids)s::text[] IS NULL OR m.endpoint_id = ANY (%(endpoint_ids)s::text[]))
            UNION ALL
            SELECT d.endpoint_id FROM campaign_drop d
            WHERE %(total_cap)s > 0 AND d.app_id = %(app_id)s AND d.reason = 'QUIET_TIME' AND d.activity_id IN (
                SELECT activity_id FROM campaign_activity
                WHERE app_id = %(app_id)s AND campaign_id = %(campaign_id)s)
        ) targeted GROUP BY endpoint_id HAVING count(*) >= %(total_cap)s
    ), at_daily_cap AS (
        SELECT m.endpoint_id FROM message m
        WHERE %(daily_cap)s > 0 AND m.app_id = %(app_id)s AND m.state <> 'STOPPED'
          AND m.created_at > %(day_ago)s
          AND m.activity_id IN (SELECT ledger_id FROM campaign_ledgers WHERE is_of_today)
          AND (%(endpoint_ids)s::text[] IS NULL OR m.endpoint_id = ANY (%(endpoint_ids)s::text[]))
        GROUP BY m.endpoint_id HAVING count(*) >= %(daily_cap)s
        UNION
        SELECT m.endpoint_id FROM message m
        WHERE %(daily_cap_of_app)s > 0 AND m.app_id = %(app_id)s AND m.state <> 'STOPPED'
          AND m.created_at > %(day_ago)s
          AND m.activity_id IN (
              SELECT l.ledger_id FROM campaign_activity a JOIN campaign_ledger l USING (activity_id)
              WHERE a.app_id = %(app_id)s
                AND (l.created_at > %(day_ago)s OR a.frequency = 'EVENT'))
          AND (%(endpoint_ids)s::text[] IS NULL OR m.endpoint_id = ANY (%(endpoint_ids)s::text[]))
        GROUP BY m.endpoint_id HAVING count(*) >= %(daily_cap_of_app)s
    ), judged AS MATERIALIZED (
        SELECT endpoint_id, channel_type, address, treatment, coalesce(reason, CASE
            WHEN copy > 1 THEN 'DUPLICATE_ADDRESS'
            WHEN endpoint_id IN (SELECT endpoint_id FROM at_total_cap) THEN 'CAMPAIGN_CAP'
            WHEN endpoint_id IN (SELECT endpoint_id FROM at_daily_cap) THEN 'DAILY_CAP'
            WHEN (treatment || ':' || zone) = ANY (%(quiet)s::text[]) THEN 'QUIET_TIME'
            ELSE %(forced_reason)s
        END) AS reason, is_by_user
        FROM ranked
    )
    """
)
# What is done with the judged, step by step; the last step is the answer.
MESSAGES = sql.SQL(
    """
        INSERT INTO message (app_id, activity_id, endpoint_id, message_id, channel_type, address, state, created_at,
            modified_at)
        SELECT %(app_id)s, (%(ledger_ids)s::text[])[treatment], endpoint_id,
            %(prefix)s || lpad(to_hex(row_number() OVER (ORDER BY treatment, endpoint_id)), 12, '0'), channel_type,
            CASE WHEN channel_type IN ('SMS', 'VOICE') THEN regexp_replace(address, '[\\s().-]+', '', 'g')
                 ELSE address END,
            'ACCEPTED', %(now)s, %(now)s
        FROM judged WHERE treatment > 0 AND reason IS NULL ORDER BY treatment, endpoint_id
    """
)
DROPS = sql.SQL(
    """
        INSERT INTO campaign_drop (app_id, activity_id, endpoint_id, reason)
        SELECT %(app_id)s, (%(activity_ids)s::text[])[treatment], endpoint_id, reason
        FROM judged WHERE treatment > 0 AND reason IS NOT NULL ORDER BY treatment, endpoint_id
        ON CONFLICT (app_id, activity_id, endpoint_id) DO UPDATE SET reason = excluded.reason
    """
)
EVENTS = sql.SQL(
    """
        INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
        SELECT %(now)s, %(app_id)s, j.endpoint_id, '_campaign.send', %(now)s, jsonb_build_object(
            'client_id', e.given_id, 'attributes', jsonb_build_object(
                'campaign_id', %(campaign_id)s::text, 'campaign_activity_id', t.activity_id,
                'treatment_id', t.treatment_id, 'campaign_send_status', j.reason, 'delivery_type',
                CASE WHEN (j.treatment || ':' || j.channel_type) = ANY (%(custom)s::text[]) THEN 'CUSTOM'
                     ELSE j.channel_type END),
            'client_context', jsonb_build_object('custom', jsonb_build_object('endpoint', jsonb_build_object(
                'ChannelType', j.channel_type, 'EndpointStatus', 'ACTIVE', 'OptOut', 'NONE', 'RequestId', e.request_id,
                'EffectiveDate', to_char(e.effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                'User', CASE WHEN e.user_id IS NULL THEN jsonb_build_object()
                             ELSE jsonb_build_object('UserId', e.user_id) END)::text)))
        FROM judged j JOIN unnest(%(activity_ids)s::text[], %(treatment_ids)s::text[])
            WITH ORDINALITY AS t (activity_id, treatment_id, treatment) USING (treatment)
        JOIN endpoint e ON e.app_id = %(app_id)s AND e.endpoint_id = j.endpoint_id
        WHERE j.reason = ANY (%(told)s::text[])
    """
)
NUMBERS = sql.SQL(
    "SELECT treatment, reason, count(*), count(*) FILTER (WHERE is_by_user) FROM judged GROUP BY treatment, reason"
)
TAKEN = (MESSAGES, DROPS, EVENTS, NUMBERS)
COUNTED = (NUMBERS,)
SAMPLED = (
    sql.SQL(
        """SELECT endpoint_id, treatment FROM judged WHERE treatment > 0 AND reason IS NULL
           ORDER BY hashtextextended(endpoint_id, 0) LIMIT %(limit)s"""
    ),
)

ACCEPTED = "ACCEPTED"
ELSEWHERE = "ELSEWHERE"


@dataclass(frozen=True, slots=True)
class Counts:
    """How members were judged.

    `by_treatment` has for each treatment the endpoints by reason, and under ACCEPTED those that get a message; members
    that belong to no treatment of this wave are under ELSEWHERE. `users` says of imports that name users how many
    endpoints these have (ENDPOINTS_FROM_USER), and how often a user is named again (DUPLICATE_USER); what is 0 is left
    out.
    """

    by_treatment: Mapping[str, Mapping[str, int]]
    users: Mapping[str, int]


async def take(
    connection: Connection,
    audience: Condition,
    selection: Selection,
    activity_ids: Sequence[str],
    ledger_ids: Sequence[str],
) -> Counts:
    """Write the wave down, in the caller's transaction.

    The ids are in the order of the selection's treatments.
    """
    given = {
        "activity_ids": list(activity_ids),
        "ledger_ids": list(ledger_ids),
        "treatment_ids": list(selection.treatments),
        "prefix": id_prefix(selection.now),
        "told": list(TOLD),
    }
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [selection.app_id])
    return await _counted(connection, TAKEN, audience, selection, given)


async def count(connection: Connection, audience: Condition, selection: Selection) -> Counts:
    """What `take` would do, without doing it."""
    return await _counted(connection, COUNTED, audience, selection, {})


async def sample(
    connection: Connection, audience: Condition, selection: Selection, limit: int
) -> list[tuple[str, str]]:
    """Some of those who would get a message, each with the treatment."""
    rows = await _run(connection, SAMPLED, audience, selection, {"limit": limit})
    return [(str(endpoint_id), selection.treatments[int(position) - 1]) for endpoint_id, position in rows]


async def is_member(connection: Connection, audience: Condition, app_id: str, endpoint_id: str) -> bool:
    """Whether one endpoint, by its folded id, is in the segment now."""
    query = sql.SQL(
        """SELECT EXISTS (SELECT 1 FROM endpoint AS e
           WHERE e.app_id = %(app_id)s AND e.endpoint_id = %(endpoint_id)s AND ({audience}))"""
    ).format(audience=audience.text)
    given = {"app_id": app_id, "endpoint_id": endpoint_id, **audience.parameters}
    row = await (await connection.execute(query, given, prepare=False)).fetchone()
    return bool(row and row[0])


async def _run(
    connection: Connection, steps: Sequence[sql.SQL], audience: Condition, selection: Selection, given: dict[str, Any]
) -> list[tuple[Any, ...]]:
    """Judge, and do these steps, as one statement; a cluster, which cannot write inside a WITH, does them one by one.

    It is planned for its values; an audience, unlike a few endpoints, is read as the table lies.
    """
    if selection.endpoint_ids is None:
        await allow_scans(connection, work_mem=SELECT_MEMORY)
    given = {**selection.parameters(), **audience.parameters, **given}
    judged = JUDGED.format(audience=audience.text, by_user=audience.by_user)
    if connection.is_cluster:
        return await _run_one_by_one(connection, judged, steps, given)
    parts = [sql.SQL("{} AS ({})").format(sql.Identifier(f"step_{n}"), step) for n, step in enumerate(steps[:-1], 1)]
    query = sql.SQL("WITH {} {}").format(sql.SQL(", ").join([judged, *parts]), steps[-1])
    return await (await connection.execute(query, given, prepare=False)).fetchall()


async def _run_one_by_one(
    connection: Connection, judged: sql.Composed, steps: Sequence[sql.SQL], given: dict[str, Any]
) -> list[tuple[Any, ...]]:
    await connection.execute(
        sql.SQL("CREATE TEMP TABLE judged ON COMMIT DROP AS WITH {} SELECT * FROM judged").format(judged),
        given,
        prepare=False,
    )
    for step in steps[:-1]:
        await connection.execute(step, given, prepare=False)
    rows = await (await connection.execute(steps[-1], given, prepare=False)).fetchall()
    await connection.execute("DROP TABLE judged")
    return rows


async def _counted(
    connection: Connection, steps: Sequence[sql.SQL], audience: Condition, selection: Selection, given: dict[str, Any]
) -> Counts:
    names = [ELSEWHERE, *selection.treatments]
    found: dict[str, dict[str, int]] = {name: {} for name in names}
    from_users = 0
    for position, reason, number, by_user in await _run(connection, steps, audience, selection, given):
        found[names[position]][reason or ACCEPTED] = number
        from_users += by_user
    repeated = await _count_repeated(connection, audience, selection) if selection.is_first else 0
    users = {FROM_USER: from_users, DUPLICATE_USER: repeated}
    return Counts(found, {name: number for name, number in users.items() if number})


async def _count_repeated(connection: Connection, audience: Condition, selection: Selection) -> int:
    """How often imports name users whom they have named before."""
    if not audience.user_sets:
        return 0
    cursor = await connection.execute(
        """SELECT coalesce(sum(times - 1), 0) FROM segment_user
           JOIN unnest(%s::text[], %s::int[]) AS named (segment_id, version) USING (segment_id, version)
           WHERE app_id = %s AND times > 1""",
        [[name for name, _ in audience.user_sets], [number for _, number in audience.user_sets], selection.app_id],
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


def metrics_of(counts: Counts, treatment: str) -> dict[str, int]:
    """One activity's ExecutionMetrics: all members of the segment, those of other treatments, its own by reason."""
    own = dict(counts.by_treatment[treatment])
    accepted = own.pop(ACCEPTED, 0)
    others = sum(sum(one.values()) for name, one in counts.by_treatment.items() if name != treatment)
    produced = accepted + sum(own.values()) + others
    return {**own, **counts.users, PRODUCED: produced, **({TREATMENT_HOLDOUT: others} if others else {})}
