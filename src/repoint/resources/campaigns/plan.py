"""From a due treatment to a run: which activities it has, and when whose turn it is.

Whoever finds a treatment due holds its row while it writes the run down and moves the treatment to its next slot, in
one transaction: of several processes one does it, and one that dies has done nothing. A run that is written down twice
is refused by the activity's key (campaign, treatment, slot).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb

from repoint.db import Connection
from repoint.resources.call import new_id
from repoint.resources.campaigns import store
from repoint.resources.campaigns.rules import rules_of
from repoint.resources.campaigns.schedule import (
    Timetable,
    closes_at,
    known_zones,
    next_slot,
    opens_at,
    read_schedule,
    waves,
)
from repoint.resources.campaigns.store import StoredCampaign
from repoint.resources.campaigns.treatments import Treatment, treatments_of
from repoint.resources.campaigns.triggers import READER
from repoint.resources.events.reader import begin_here


@dataclass(frozen=True, slots=True)
class Run:
    """Treatments of one campaign that run together: by one schedule, at one slot."""

    campaign: StoredCampaign
    treatments: Sequence[Treatment]
    timetable: Timetable
    slot: datetime

    @property
    def start(self) -> datetime:
        """When it was to begin."""
        opens = opens_at(self.timetable, self.slot)
        return max(opens, self.campaign.modified_at) if self.timetable.is_local else opens

    @property
    def last_start(self) -> datetime:
        """When the last of its recipients' turn is: of a recipient-local run, at the other end of the earth."""
        return max(closes_at(self.timetable, self.slot), self.start)


async def plan_next(connection: Connection, now: datetime, *, late_seconds: float) -> bool:
    """Write down the run that has been due longest, in the caller's transaction; False when none is due."""
    cursor = await connection.execute(
        """SELECT app_id, campaign_id, treatment_id FROM campaign_treatment WHERE next_at <= %s
           ORDER BY next_at, app_id, campaign_id, treatment_id LIMIT 1 FOR UPDATE SKIP LOCKED""",
        [now],
    )
    row = await cursor.fetchone()
    if row is None:
        return False
    app_id, campaign_id, first = row
    locked = await connection.execute(
        """SELECT treatment_id FROM campaign_treatment WHERE app_id = %s AND campaign_id = %s AND next_at <= %s
           ORDER BY treatment_id FOR UPDATE""",
        [app_id, campaign_id, now],
    )
    due = {treatment_id for (treatment_id,) in await locked.fetchall()} | {first}
    campaign = await store.find_campaign(connection, app_id, campaign_id)
    assert campaign is not None
    for run in runs_of(campaign, due):
        await _plan(connection, run, now, late_seconds=late_seconds)
    return True


def runs_of(campaign: StoredCampaign, due: set[str]) -> list[Run]:
    """The due treatments, those with the same schedule and slot together."""
    states = {state.treatment_id: state for state in campaign.states}
    found: list[Run] = []
    for treatment in treatments_of(campaign.document):
        state = states.get(treatment.treatment_id)
        if treatment.treatment_id not in due or state is None or state.next_slot is None:
            continue
        timetable = read_schedule(treatment.schedule)
        same = next((run for run in found if run.slot == state.next_slot and run.timetable == timetable), None)
        if same is None:
            found.append(Run(campaign, [treatment], timetable, state.next_slot))
        else:
            found[found.index(same)] = replace(same, treatments=[*same.treatments, treatment])
    return found


async def _plan(connection: Connection, run: Run, now: datetime, *, late_seconds: float) -> None:
    """Begin a run, or say why it is passed over; then on to the next slot."""
    campaign, timetable = run.campaign, run.timetable
    following = next_slot(timetable, run.slot, run.slot)
    is_superseded = following is not None and opens_at(timetable, following) <= now
    is_late = now - run.start > timedelta(seconds=late_seconds) and not timetable.is_windowed
    # A run that comes while the campaign is paused is skipped, and not made up for; a window opens, and waits.
    is_skipped = campaign.is_paused and not timetable.is_windowed
    if is_skipped:
        closes = closes_at(timetable, run.slot)
        until = min(closes, opens_at(timetable, following)) if following else closes
        if until > now:
            await _put_off(connection, run, until)
            return
    elif is_late or is_superseded:
        late = f"It was to begin at {run.start:%Y-%m-%d %H:%M:%S} UTC and was found at {now:%Y-%m-%d %H:%M:%S} UTC"
        why = "the next run was due by then" if is_superseded and not is_late else "too late to begin"
        await _insert_activities(connection, run, now, state="CANCELLED", reason=f"{late}: {why}")
    elif timetable.is_windowed:
        await _insert_activities(connection, run, now, state="RUNNING", reason="")
        if timetable.frequency == "EVENT":
            await begin_here(connection, READER)
    elif await _insert_activities(connection, run, now, state="PENDING", reason=""):
        await _insert_waves(connection, run, now)
    await connection.execute(
        """UPDATE campaign_treatment SET last_slot = CASE WHEN %s THEN last_slot ELSE next_slot END,
               next_slot = %s, next_at = %s
           WHERE app_id = %s AND campaign_id = %s AND treatment_id = ANY(%s)""",
        [
            is_skipped,
            following,
            opens_at(timetable, following) if following else None,
            campaign.app_id,
            campaign.campaign_id,
            [treatment.treatment_id for treatment in run.treatments],
        ],
    )


async def _put_off(connection: Connection, run: Run, until: datetime) -> None:
    """A recipient-local run of a paused campaign is not lost while its hour is still to come somewhere."""
    await connection.execute(
        """UPDATE campaign_treatment SET next_at = %s
           WHERE app_id = %s AND campaign_id = %s AND treatment_id = ANY (%s)""",
        [until, run.campaign.app_id, run.campaign.campaign_id, [one.treatment_id for one in run.treatments]],
    )


async def _insert_activities(connection: Connection, run: Run, now: datetime, *, state: str, reason: str) -> bool:
    """An activity for each treatment; False when they are there already."""
    campaign = run.campaign
    rules = rules_of(campaign.document, campaign.defaults)
    is_over, is_windowed = state == "CANCELLED", run.timetable.is_windowed
    made = 0
    for treatment in run.treatments:
        cursor = await connection.execute(
            """INSERT INTO campaign_activity (activity_id, app_id, campaign_id, version, treatment_id, frequency, slot,
                   scheduled_start, state, result, reason, started_at, ended_at, expires_at, rate, counts)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
               ON CONFLICT (app_id, campaign_id, treatment_id, slot) DO NOTHING""",
            [
                new_id(),
                campaign.app_id,
                campaign.campaign_id,
                campaign.version,
                treatment.treatment_id,
                run.timetable.frequency,
                run.slot,
                run.start,
                state,
                "FAIL" if is_over else None,
                reason,
                now if is_windowed else None,
                now if is_over else None,
                run.timetable.end if is_windowed else rules.expires_at(run.last_start),
                rules.rate,
                Jsonb({}) if is_over else None,
            ],
        )
        made += cursor.rowcount
    return made > 0


async def _insert_waves(connection: Connection, run: Run, now: datetime) -> None:
    """Everybody now; or each time zone that has recipients when its hour comes, if it has not come before."""
    if not run.timetable.is_local:
        await _insert_wave(connection, run, None, run.slot, is_first=True)
        return
    zones = await _zones_in_use(connection, run.campaign.app_id)
    earliest = run.campaign.modified_at - timedelta(minutes=1)
    coming = {due: names for due, names in waves(run.timetable, run.slot, zones).items() if due >= earliest}
    if not coming:
        await _insert_wave(connection, run, [], now, is_first=True)
    for number, (due, names) in enumerate(coming.items()):
        await _insert_wave(connection, run, names, due, is_first=number == 0)


async def _insert_wave(
    connection: Connection, run: Run, zones: list[str] | None, due: datetime, *, is_first: bool
) -> None:
    await connection.execute(
        """INSERT INTO campaign_wave (app_id, campaign_id, version, slot, treatment_ids, zones, is_first, due_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
        [
            run.campaign.app_id,
            run.campaign.campaign_id,
            run.campaign.version,
            run.slot,
            [treatment.treatment_id for treatment in run.treatments],
            zones,
            is_first,
            due,
        ],
    )


async def _zones_in_use(connection: Connection, app_id: str) -> list[str]:
    """The time zones an application's endpoints are in, of those that exist."""
    cursor = await connection.execute(
        "SELECT DISTINCT demographic ->> 'Timezone' FROM endpoint WHERE app_id = %s", [app_id]
    )
    return [zone for (zone,) in await cursor.fetchall() if zone in known_zones()]
