"""A wave whose time has come: its audience is taken down, and slices of it become work.

All in one transaction that holds the wave's row: a process that dies has done nothing, and two never take the same.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import psycopg
from psycopg.types.json import Jsonb

from repoint.clock import iso8601
from repoint.db import Connection
from repoint.resources.apps import load_app
from repoint.resources.call import Call, Server
from repoint.resources.campaigns import snapshot, store
from repoint.resources.campaigns.audience import (
    Ledger,
    Wave,
    condition_of,
    content_of,
    facts_of,
    ledger_of,
    selection_of,
    treatments_in,
)
from repoint.resources.campaigns.faults import RunError, stop_campaign
from repoint.resources.campaigns.rules import rules_of
from repoint.resources.campaigns.snapshot import Counts, metrics_of
from repoint.resources.campaigns.store import StoredCampaign
from repoint.resources.campaigns.treatments import Treatment
from repoint.work import pacing
from repoint.work.pacing import Pace

logger = logging.getLogger(__name__)


async def take_next(server: Server, connection: Connection, now: datetime, *, late_seconds: float) -> bool:
    """Take the wave that has been due longest, in the caller's transaction; False when none is due."""
    wave = await _claim(connection, now)
    if wave is None:
        return False
    campaign = await store.find_campaign(connection, wave.app_id, wave.campaign_id, wave.version)
    app = await load_app(server.db, wave.app_id)
    assert campaign is not None
    assert app is not None
    is_late = now - wave.due_at > timedelta(seconds=late_seconds)
    try:
        async with connection.transaction():
            await _take(Call(server, app.region), connection, campaign, wave, is_late=is_late)
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as error:
        logger.exception("campaign %s cannot run", wave.campaign_id)
        await stop_campaign(connection, wave.app_id, wave.campaign_id, RunError("INVALID", str(error)), now)
        return True
    except RunError as error:
        await stop_campaign(connection, wave.app_id, wave.campaign_id, error, now)
        return True
    await connection.execute("UPDATE campaign_wave SET done_at = %s WHERE wave_id = %s", [now, wave.wave_id])
    return True


async def _claim(connection: Connection, now: datetime) -> Wave | None:
    cursor = await connection.execute(
        """SELECT wave_id, app_id, campaign_id, version, slot, treatment_ids, zones, is_first, due_at
           FROM campaign_wave WHERE due_at <= %s AND done_at IS NULL
           ORDER BY due_at, wave_id LIMIT 1 FOR UPDATE SKIP LOCKED""",
        [now],
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    others = await connection.execute(
        """SELECT unnest(zones) FROM campaign_wave
           WHERE app_id = %s AND campaign_id = %s AND slot = %s AND treatment_ids = %s AND wave_id <> %s""",
        [row[1], row[2], row[4], row[5], row[0]],
    )
    return replace(Wave(*row), other_zones=[zone for (zone,) in await others.fetchall()])


async def _take(call: Call, connection: Connection, campaign: StoredCampaign, wave: Wave, *, is_late: bool) -> None:
    now = call.now()
    condition = await condition_of(call, connection, campaign, now)
    activities = await _lock_activities(connection, wave)
    treatments = [one for one in treatments_in(campaign, wave) if one.treatment_id in activities]
    ids = [activities[one.treatment_id][0] for one in treatments]
    deadlines = [deadline for _, deadline in activities.values() if deadline is not None]
    expires_at = min(deadlines, default=None)
    if wave.zones is not None:  # each zone has its own start, and MaximumDuration from then on
        expires_at = rules_of(campaign.document, campaign.defaults).expires_at(wave.due_at)
    reason = "EXPIRED" if is_late or (expires_at is not None and expires_at <= now) else None
    part = None if wave.zones is None else str(wave.wave_id)
    run = OpenRun(campaign, treatments, ids, expires_at)
    earlier = [*ids, *await _ledgers_so_far(connection, ids)] if wave.zones is not None else []
    ledgers = await open_ledgers(call, connection, run, part, wave.due_at)
    selection = selection_of(campaign, wave, now, forced_reason=reason, earlier=earlier)
    counts = await snapshot.take(connection, condition, selection, ids, [one.ledger_id for one in ledgers])
    await add_metrics(connection, run, counts)
    await cut_slices(call, connection, run, ledgers)


async def _lock_activities(connection: Connection, wave: Wave) -> dict[str, tuple[str, datetime | None]]:
    """The wave's activities and their deadlines, by treatment."""
    cursor = await connection.execute(
        """SELECT treatment_id, activity_id, expires_at FROM campaign_activity
           WHERE app_id = %s AND campaign_id = %s AND slot = %s AND treatment_id = ANY (%s) AND ended_at IS NULL
           FOR UPDATE""",
        [wave.app_id, wave.campaign_id, wave.slot, list(wave.treatment_ids)],
    )
    return {
        treatment_id: (activity_id, expires_at) for treatment_id, activity_id, expires_at in await cursor.fetchall()
    }


async def _ledgers_so_far(connection: Connection, activity_ids: Sequence[str]) -> list[str]:
    """Under which ids the messages of a run's earlier waves stand in the ledger."""
    cursor = await connection.execute(
        "SELECT ledger_id FROM campaign_ledger WHERE activity_id = ANY (%s)", [list(activity_ids)]
    )
    return [ledger_id for (ledger_id,) in await cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class OpenRun:
    """Treatments of a campaign with the activities they have in one run, and when what is left of it is given up."""

    campaign: StoredCampaign
    treatments: Sequence[Treatment]
    activity_ids: Sequence[str]
    expires_at: datetime | None


async def open_ledgers(
    call: Call, connection: Connection, run: OpenRun, part: str | None, due_at: datetime
) -> list[Ledger]:
    """What each activity sends, under the ids its messages will have in the ledger.

    `due_at` is the moment the messages count from for daily limits: a day later the next run may send, though the
    scheduler be quicker that time.

    Raises:
        RunError: when there is nothing that could be sent.
    """
    campaign = run.campaign
    now, ledgers = call.now(), list[Ledger]()
    for treatment, activity_id in zip(run.treatments, run.activity_ids, strict=True):
        ledger_id = activity_id if part is None else f"{activity_id}-{part}"
        content = await content_of(call, campaign, treatment, activity_id, run.expires_at)
        content["ScheduledTime"] = iso8601(now)
        await connection.execute(
            "INSERT INTO activity (activity_id, app_id, content, created_at) VALUES (%s, %s, %s, %s)",
            [ledger_id, campaign.app_id, Jsonb(content), now],
        )
        await connection.execute(
            "INSERT INTO campaign_ledger (ledger_id, activity_id, created_at) VALUES (%s, %s, %s)",
            [ledger_id, activity_id, due_at],
        )
        await connection.execute(
            """UPDATE campaign_activity SET state = 'RUNNING', started_at = coalesce(started_at, %s), facts = %s
               WHERE activity_id = %s""",
            [now, Jsonb(facts_of(campaign, treatment, content, now)), activity_id],
        )
        ledgers.append(ledger_of(ledger_id, content))
    return ledgers


async def add_metrics(connection: Connection, run: OpenRun, counts: Counts) -> None:
    """Count a wave's members in its activities."""
    for treatment, activity_id in zip(run.treatments, run.activity_ids, strict=True):
        await connection.execute(
            """UPDATE campaign_activity SET metrics = (
                   SELECT coalesce(jsonb_object_agg(name, number), '{}') FROM (
                       SELECT name, sum(number) AS number FROM (
                           SELECT key AS name, value::bigint AS number FROM jsonb_each_text(metrics)
                           UNION ALL SELECT key, value::bigint FROM jsonb_each_text(%s)) each GROUP BY name) added)
               WHERE activity_id = %s""",
            [Jsonb(metrics_of(counts, treatment.treatment_id)), activity_id],
        )


async def cut_slices(call: Call, connection: Connection, run: OpenRun, ledgers: Sequence[Ledger]) -> None:
    """The audience becomes work, at the campaign's rate."""
    pace = Pace(
        start=call.now(),
        rate=rules_of(run.campaign.document, run.campaign.defaults).rate,
        seconds=call.server.send_deadline_seconds,
        end=run.expires_at,
    )
    size = call.server.call_endpoints_max
    called = {one.ledger_id: size for one in ledgers if one.is_called}
    ids = [one.ledger_id for one in ledgers]
    await pacing.cut(connection, run.campaign.app_id, ids, pace, called=called)
