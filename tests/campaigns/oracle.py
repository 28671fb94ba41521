"""Who should get what: the rules of docs/reference/campaigns.md again, in plain Python, one endpoint after the other;
less quiet hours and cohorts, which have tests of their own.

It looks at the database before the scheduler does, foretells what each due wave will do, and compares.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from repoint.resources.campaigns.rules import quiet_time_of, rules_of
from repoint.resources.campaigns.schedule import is_quiet
from repoint.resources.campaigns.treatments import HOLDOUT, cohort_treatments, treatments_of

ZONES = available_timezones()
DAY = timedelta(hours=24)


@dataclass
class Wave:
    """A row of campaign_wave, and what belongs to it."""

    wave_id: int
    campaign_id: str
    slot: datetime
    treatment_ids: list
    zones: list | None
    is_first: bool
    due_at: datetime
    other_zones: list
    document: Mapping
    defaults: Mapping
    activities: Mapping  # treatment → (activity, deadline)


@dataclass
class Foreseen:
    """What will stand in the ledger and among the drops, by activity and endpoint."""

    outcomes: dict = field(default_factory=dict)

    def differs(self, found):
        """What is otherwise than foreseen, readably."""
        keys = sorted(self.outcomes.keys() | found.keys())
        pairs = [(key, self.outcomes.get(key), found.get(key)) for key in keys]
        return [f"{key}: foreseen {mine}, found {theirs}" for key, mine, theirs in pairs if mine != theirs]


class Oracle:
    """Reads all there is to know of one application."""

    def __init__(self, world, late_seconds):
        self.world = world
        self.late = timedelta(seconds=late_seconds)

    async def foresee(self, waves):
        """What these waves will do, in their order."""
        await self._read()
        foreseen = Foreseen()
        for wave in waves:
            foreseen.outcomes |= self._judge(wave)
        return foreseen

    async def due_waves(self):
        """The waves whose time has come, the longest due first, as they will be taken."""
        rows = await self.world.ask(
            """SELECT w.wave_id, w.campaign_id, w.slot, w.treatment_ids, w.zones, w.is_first, w.due_at, ARRAY(
                      SELECT unnest(o.zones) FROM campaign_wave o WHERE o.campaign_id = w.campaign_id
                         AND o.slot = w.slot AND o.treatment_ids = w.treatment_ids AND o.wave_id <> w.wave_id),
                      v.document, c.defaults, coalesce((
                      SELECT json_object_agg(treatment_id, json_build_array(activity_id, expires_at))
                      FROM campaign_activity a WHERE a.campaign_id = w.campaign_id AND a.slot = w.slot
                         AND a.treatment_id = ANY (w.treatment_ids) AND ended_at IS NULL), '{}')
               FROM campaign_wave w JOIN campaign c USING (app_id, campaign_id)
               JOIN campaign_version v USING (app_id, campaign_id, version)
               WHERE w.done_at IS NULL AND w.due_at <= %s ORDER BY w.due_at, w.wave_id""",
            self.world.now,
        )
        return [Wave(*row) for row in rows]

    async def found(self, activity_ids):
        """What stands there now."""
        rows = await self.world.ask(
            """SELECT l.activity_id, m.endpoint_id, 'MESSAGE' FROM campaign_ledger l
               JOIN message m ON m.activity_id = l.ledger_id WHERE l.activity_id = ANY (%s)
               UNION ALL SELECT activity_id, endpoint_id, reason FROM campaign_drop WHERE activity_id = ANY (%s)""",
            activity_ids,
            activity_ids,
        )
        assert len(rows) == len({row[:2] for row in rows}), "somebody is in one run twice"
        return {(activity_id, endpoint_id): outcome for activity_id, endpoint_id, outcome in rows}

    async def _read(self):
        self.endpoints = await self.world.ask(
            """SELECT endpoint_id, channel_type, address, is_active, is_opted_out, cohort_id,
                      demographic ->> 'Timezone', attributes -> 'group' ->> 0 FROM endpoint ORDER BY endpoint_id"""
        )
        segments = await self.world.ask("SELECT segment_id, version, criteria FROM segment_version")
        self.segments = {(segment_id, version): criteria for segment_id, version, criteria in segments}
        # each message: campaign, endpoint, whether it counts by the day, and from when on
        self.messages = await self.world.ask(
            """SELECT a.campaign_id, m.endpoint_id, m.state <> 'STOPPED',
                      CASE a.frequency WHEN 'EVENT' THEN m.created_at ELSE l.created_at END
               FROM message m JOIN campaign_ledger l ON l.ledger_id = m.activity_id
               JOIN campaign_activity a ON a.activity_id = l.activity_id"""
        )
        quiet = await self.world.ask(
            """SELECT a.campaign_id, d.endpoint_id FROM campaign_drop d JOIN campaign_activity a USING (activity_id)
               WHERE d.reason = 'QUIET_TIME'"""
        )
        self.quiet_drops = list(quiet)
        treated = await self.world.ask(
            """SELECT a.campaign_id, a.slot, a.treatment_id, m.endpoint_id FROM message m
               JOIN campaign_ledger l ON l.ledger_id = m.activity_id
               JOIN campaign_activity a ON a.activity_id = l.activity_id
               UNION SELECT a.campaign_id, a.slot, a.treatment_id, d.endpoint_id FROM campaign_drop d
               JOIN campaign_activity a USING (activity_id)"""
        )
        self.treated = set(treated)

    def _groups(self, wave):
        criteria = self.segments[wave.document["SegmentId"], wave.document["SegmentVersion"]]
        attributes = criteria.get("Dimensions", {}).get("Attributes", {})
        return set(attributes["group"]["Values"]) if "group" in attributes else None

    def _judge(self, wave):
        """Each member's outcome, and what it adds to the limits' counts."""
        now = self.world.now
        if (wave.document["SegmentId"], wave.document["SegmentVersion"]) not in self.segments:
            return {}  # deleted: the run fails, and nobody is in it
        groups = self._groups(wave)
        owners = cohort_treatments(wave.campaign_id, wave.document)
        treatments = {one.treatment_id: one for one in treatments_of(wave.document)}
        rules = rules_of(wave.document, wave.defaults)
        run = wave.activities
        deadlines = [datetime.fromisoformat(end) for _, end in run.values() if end]
        is_over = now - wave.due_at > self.late or (deadlines and min(deadlines) <= now)
        counts = Limits(self, wave, rules)
        outcomes, addresses = {}, set()
        for endpoint_id, channel, address, is_active, is_out, cohort, zone, group in self.endpoints:
            name = owners[cohort]
            owner = "0" if name == HOLDOUT else name
            if (groups is not None and group not in groups) or owner not in run or not self._is_turn(wave, zone):
                continue
            if (wave.campaign_id, wave.slot, owner, endpoint_id) in self.treated:
                continue
            reason = first_reason(
                ("ENDPOINT_INACTIVE", not is_active),
                ("ENDPOINT_OPT_OUT", is_out),
                ("ENDPOINT_MISSING_ADDRESS", not address),
                ("ENDPOINT_CHANNEL_MISMATCH", channel != "EMAIL"),
                ("ENDPOINT_MISSING_TIMEZONE", wave.zones is not None and zone not in ZONES),
                ("ENDPOINT_TIMEZONE_MISMATCH", wave.zones is not None and zone not in wave.zones),
                ("HOLDOUT", name == HOLDOUT),
            )
            if reason is None:
                quiet = quiet_time_of(treatments[owner], wave.defaults)
                reason = first_reason(
                    ("DUPLICATE_ADDRESS", address in addresses),
                    ("CAMPAIGN_CAP", counts.is_total_reached(endpoint_id)),
                    ("DAILY_CAP", counts.is_daily_reached(endpoint_id)),
                    ("QUIET_TIME", zone in ZONES and is_quiet(quiet, now.astimezone(ZoneInfo(zone)).time())),
                    ("EXPIRED", is_over),
                )
                addresses.add(address)
            if reason is None:
                self.messages.append((wave.campaign_id, endpoint_id, True, wave.due_at))
            elif reason == "QUIET_TIME":
                self.quiet_drops.append((wave.campaign_id, endpoint_id))
            self.treated.add((wave.campaign_id, wave.slot, owner, endpoint_id))
            outcomes[run[owner][0], endpoint_id] = reason or "MESSAGE"
        return outcomes

    @staticmethod
    def _is_turn(wave, zone):
        """Whether this wave is the one that has to say something of an endpoint in such a zone."""
        if wave.zones is None or zone in wave.zones:
            return True
        return wave.is_first and zone not in wave.other_zones


class Limits:
    """How many messages everybody has had, by the counts that limits go by."""

    def __init__(self, oracle, wave, rules):
        self.rules = rules
        own = [one for one in oracle.messages if one[0] == wave.campaign_id]
        self.total = Counter(one[1] for one in own)
        self.total.update(endpoint for campaign, endpoint in oracle.quiet_drops if campaign == wave.campaign_id)
        self.daily = Counter(one[1] for one in own if one[2] and one[3] > wave.due_at - DAY)
        self.daily_of_app = Counter(one[1] for one in oracle.messages if one[2] and one[3] > wave.due_at - DAY)

    def is_total_reached(self, endpoint_id):
        return 0 < self.rules.total <= self.total[endpoint_id]

    def is_daily_reached(self, endpoint_id):
        return (
            0 < self.rules.daily <= self.daily[endpoint_id]
            or 0 < self.rules.daily_of_app <= self.daily_of_app[endpoint_id]
        )


def first_reason(*reasons):
    """The first that holds."""
    return next((reason for reason, holds in reasons if holds), None)
