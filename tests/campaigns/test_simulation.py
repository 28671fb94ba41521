"""Random campaigns among people who change their minds, on a clock that jumps, with workers, schedulers and relays that
fail: the invariants hold, and every audience is the one that plain Python foresees.

A seed is a story. `make simulate SEEDS=100:200` tells more of them, `make simulate SEEDS=7` tells one again.
"""

import asyncio
import os
import traceback
import zlib
from datetime import timedelta

import pytest

from repoint.clock import iso8601
from repoint.wire.exceptions import BadRequestException, NotFoundException
from tests.campaigns import invariants
from tests.campaigns.oracle import Oracle
from tests.campaigns.world import DEADLINE_SECONDS, EMAIL, LATE_SECONDS, LEASE_SECONDS, fresh_database, world_of

STEPS = 80
PEOPLE = 40
ROUNDS_MAX = 150
PAUSES = [4, 4, 4, 4, LEASE_SECONDS + 1, DEADLINE_SECONDS // 12]  # for rates, for leases, for attempts put off
ZONES = ["Europe/Rome", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Nowhere/Land", None]
MOODS = ["good", "good", "greylisting", "dropping", "full", "closed"]
SEEDS = os.environ.get("REPOINT_SIMULATION_SEEDS", "1:6")


def seeds():
    first, _, last = SEEDS.partition(":")
    return range(int(first), int(last or int(first) + 1))


@pytest.mark.parametrize("seed", seeds())
def test_whatever_happens_the_invariants_hold(migrated, seed):
    story = []
    try:
        asyncio.run(play(seed, fresh_database(migrated, f"seed_{seed}"), story))
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, it is told with its story
        traceback.print_exc()
        text = "\n".join(f"  {number}. {step}" for number, step in enumerate(story, start=1))
        pytest.fail(f"{error!r}\nto tell it again: make simulate SEEDS={seed}\nwhat happened:\n{text}", pytrace=False)


async def play(seed, dsn, story):
    async with world_of(seed, dsn) as world:
        one = Play(world, story)
        await one.begin()
        for _ in range(STEPS):
            await one.step()
        await one.end()


class Play:
    """What may happen, and how likely it is."""

    def __init__(self, world, story):
        self.world, self.story, self.draw = world, story, world.draw
        self.oracle = Oracle(world, LATE_SECONDS)
        self.segments, self.campaigns = [], []
        self.chances = {
            self.person_changes: 10,
            self.person_leaves: 1,
            self.campaign_is_made: 8,
            self.campaign_changes: 4,
            self.campaign_is_deleted: 1,
            self.segment_changes: 2,
            self.segment_is_deleted: 0.3,
            self.settings_change: 1,
            self.event_comes: 4,
            self.moment_goes_by: 14,
            self.hours_go_by: 4,
            self.days_go_by: 1,
            self.scheduler_looks: 18,
            self.schedulers_race: 4,
            self.scheduler_dies: 3,
            self.worker_works: 10,
            self.worker_dies: 12,
            self.relay_changes: 3,
        }

    async def begin(self):
        for number in range(PEOPLE):
            await self.put(f"p{number:02}")
        for groups in (None, ["a"], ["a", "b"]):
            dimensions = {"Attributes": {"group": {"Values": groups}}} if groups else {}
            request = {"Name": "s", **({"Dimensions": dimensions} if groups else {})}
            made = await self.world.call("CreateSegment", WriteSegmentRequest=request)
            self.segments.append(made["Id"])

    async def step(self):
        happening = self.draw.choices(list(self.chances), list(self.chances.values()))[0]
        self.story.append(happening.__name__)
        try:
            said = await happening()
        except (BadRequestException, NotFoundException) as error:
            said = f"refused: {error.message}"
        self.story[-1] = f"{self.world.now:%m-%d %H:%M:%S} {happening.__name__} {said or ''}"

    async def end(self):
        """Everything comes to rest; then nothing may be left, and all accounts agree."""
        self.world.relay.mood = "good"
        for number in range(ROUNDS_MAX):
            self.story.append(f"rest {number}")
            await self.scheduler_looks()
            await self.world.work()
            if await self._is_at_rest():
                break
            await self.world.wait(seconds=PAUSES[number % len(PAUSES)])
        assert await self._is_at_rest()
        for check in (
            invariants.check_wire,
            invariants.check_ledger,
            invariants.check_caps,
            invariants.check_log,
            invariants.check_numbers,
        ):
            await check(self.world)

    async def _is_at_rest(self):
        rows = await self.world.ask(
            """SELECT EXISTS (SELECT 1 FROM outbox) OR EXISTS (SELECT 1 FROM outbox_slice)
                   OR EXISTS (SELECT 1 FROM message WHERE state = 'ACCEPTED')
                   OR EXISTS (SELECT 1 FROM campaign_activity a WHERE ended_at IS NULL AND state <> 'PENDING'
                              AND frequency <> 'EVENT' AND NOT EXISTS (
                                  SELECT 1 FROM campaign_wave w WHERE w.campaign_id = a.campaign_id
                                     AND w.slot = a.slot AND done_at IS NULL))"""
        )
        return not rows[0][0]

    # people

    async def put(self, person):
        """Somebody, with an address that others may have, too, or the relay refuses, or none."""
        draw = self.draw
        address = draw.choice([f"{person}@x.example"] * 12 + ["shared@x.example", f"bad{person}@x.example"])
        request = {
            "ChannelType": draw.choice(["EMAIL"] * 15 + ["SMS"]),
            "Address": address,
            "OptOut": draw.choice(["NONE"] * 6 + ["ALL"]),
            "EndpointStatus": draw.choice(["ACTIVE"] * 12 + ["INACTIVE"]),
            "Attributes": {"group": [draw.choice("abc")]},
        }
        if request["ChannelType"] == "SMS":
            request["Address"] = f"+1425555{int(person[1:]):04}"
        if zone := draw.choice(ZONES):
            request["Demographic"] = {"Timezone": zone}
        await self.world.call("UpdateEndpoint", EndpointId=person, EndpointRequest=request)
        cohort = zlib.crc32(f"{self.world.seed}{person}".encode()) % 100
        await self.world.execute("UPDATE endpoint SET cohort_id = %s WHERE endpoint_id = %s", cohort, person)
        return f"{person} {request}"

    async def person_changes(self):
        return await self.put(f"p{self.draw.randrange(PEOPLE):02}")

    async def person_leaves(self):
        person = f"p{self.draw.randrange(PEOPLE):02}"
        await self.world.call("DeleteEndpoint", EndpointId=person)
        return person

    # what marketers do

    def schedule(self):
        draw, now = self.draw, self.world.now
        frequency = draw.choice(["ONCE", "ONCE", "ONCE", "HOURLY", "DAILY", "EVENT"])
        start = now + timedelta(minutes=draw.choice([0, 0, 1, 30, 300]))
        schedule = {"StartTime": iso8601(start), "Frequency": frequency, "IsLocalTime": draw.random() < 0.25}
        schedule["Timezone"] = draw.choice(["UTC", "UTC+05:30", "UTC-08"])
        if frequency == "ONCE" and draw.random() < 0.5:
            schedule["StartTime"] = "IMMEDIATE"
        if frequency == "EVENT":
            schedule["EventFilter"] = {
                "FilterType": "ENDPOINT",
                "Dimensions": {"EventType": {"DimensionType": "INCLUSIVE", "Values": ["cart"]}},
            }
        if frequency != "ONCE":
            schedule["EndTime"] = iso8601(start + timedelta(hours=draw.choice([3, 30, 72])))
        if draw.random() < 0.3:
            start_hour = draw.randrange(24)
            schedule["QuietTime"] = {"Start": f"{start_hour:02}:00", "End": f"{(start_hour + 8) % 24:02}:00"}
        return schedule

    def limits(self):
        draw = self.draw
        given = {
            "Total": draw.choice([0, 1, 2]),
            "Daily": draw.choice([0, 1, 2]),
            "MessagesPerSecond": draw.choice([2, 5, 50]),
            "MaximumDuration": draw.choice([60, 600, 7200]),
        }
        return {name: value for name, value in given.items() if draw.random() < 0.3}

    def definition(self):
        draw = self.draw
        wanted = {
            "Name": "c",
            "SegmentId": draw.choice(self.segments),
            "Schedule": self.schedule(),
            "MessageConfiguration": EMAIL,
            "HoldoutPercent": draw.choice([0, 0, 10, 30]),
            "Limits": self.limits(),
        }
        if draw.random() < 0.4:
            wanted["AdditionalTreatments"] = [{"SizePercent": 30}, {"SizePercent": 20}]
            if draw.random() < 0.3:
                wanted["AdditionalTreatments"][1]["Schedule"] = self.schedule()
        return wanted

    async def campaign_is_made(self):
        wanted = self.definition()
        made = await self.world.call("CreateCampaign", WriteCampaignRequest=wanted)
        self.campaigns.append(made["Id"])
        return f"{made['Id']} {wanted}"

    async def campaign_changes(self):
        if not self.campaigns:
            return None
        campaign = self.draw.choice(self.campaigns)
        change = self.draw.choice(
            [
                {"IsPaused": True},
                {"IsPaused": False},
                {"Limits": self.limits()},
                {"Schedule": self.schedule()},
                {"HoldoutPercent": 20},
                {"SegmentId": self.draw.choice(self.segments)},
            ]
        )
        await self.world.call("UpdateCampaign", CampaignId=campaign, WriteCampaignRequest=change)
        return f"{campaign} {change}"

    async def campaign_is_deleted(self):
        if not self.campaigns:
            return None
        campaign = self.campaigns.pop(self.draw.randrange(len(self.campaigns)))
        await self.world.call("DeleteCampaign", CampaignId=campaign)
        return campaign

    async def segment_changes(self):
        segment = self.draw.choice(self.segments)
        groups = self.draw.sample("abc", 2)
        request = {"Name": "s", "Dimensions": {"Attributes": {"group": {"Values": groups}}}}
        await self.world.call("UpdateSegment", SegmentId=segment, WriteSegmentRequest=request)
        return f"{segment} {groups}"

    async def segment_is_deleted(self):
        segment = self.draw.choice(self.segments)
        await self.world.call("DeleteSegment", SegmentId=segment)
        return segment

    async def settings_change(self):
        settings = {"Limits": {"Daily": self.draw.choice([0, 1, 3]), "Total": self.draw.choice([0, 2])}}
        await self.world.call("UpdateApplicationSettings", WriteApplicationSettingsRequest=settings)
        return str(settings)

    async def event_comes(self):
        people = {f"p{self.draw.randrange(PEOPLE):02}" for _ in range(3)}
        events = {"e": {"EventType": "cart", "Timestamp": iso8601(self.world.now)}}
        batch = {person: {"Endpoint": {}, "Events": events} for person in sorted(people)}
        await self.world.call("PutEvents", EventsRequest={"BatchItem": batch})
        await self.world.answer()
        return f"cart {sorted(people)}"

    # time

    async def moment_goes_by(self):
        await self.world.wait(seconds=self.draw.randrange(1, 30))

    async def hours_go_by(self):
        await self.world.wait(minutes=self.draw.choice([2, 15, 55, 180]))

    async def days_go_by(self):
        await self.world.wait(hours=self.draw.choice([12, 24, 30]))

    # what our processes do, and suffer

    async def scheduler_looks(self):
        """One scheduler; what it does is what was foreseen."""
        await self.world.plan()
        waves = await self.oracle.due_waves()
        foreseen = await self.oracle.foresee(waves)
        activities = [activity_id for wave in waves for activity_id, _ in wave.activities.values()]
        before = await self.oracle.found(activities)
        await self.world.schedule()
        found = await self.oracle.found(activities)
        assert foreseen.differs({key: value for key, value in found.items() if key not in before}) == []
        return f"{len(waves)} waves, {len(found) - len(before)} people"

    async def schedulers_race(self):
        await self.world.schedule(3)

    async def scheduler_dies(self):
        seconds = self.draw.uniform(0, 0.03)
        await self.world.schedule(2, dies_after=seconds)
        return f"after {seconds:.3f} s"

    async def worker_works(self):
        await self.world.work()

    async def worker_dies(self):
        mails = self.draw.randint(1, max(1, await self.world.due()))
        await self.world.work(dies_after=mails)
        return f"at mail {mails}"

    async def relay_changes(self):
        self.world.relay.mood = self.draw.choice(MOODS)
        return self.world.relay.mood
