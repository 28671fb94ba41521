"""The tables of campaigns, row by row where only a clock of our own can tell; and what the simulation has found."""

from datetime import timedelta

import pytest

from repoint.clock import iso8601
from repoint.config import Settings
from repoint.delivery import pipeline
from repoint.delivery.courier import Courier
from repoint.delivery.returns import return_paths
from repoint.metrics import Metrics
from repoint.wire.exceptions import BadRequestException
from repoint.work import outbox, slices
from tests.campaigns.world import DEADLINE_SECONDS, EMAIL, LEASE_SECONDS

PING = {
    "FilterType": "ENDPOINT",
    "Dimensions": {"EventType": {"DimensionType": "INCLUSIVE", "Values": ["ping"]}},
}


def later(world, **ahead):
    return iso8601(world.now + timedelta(**ahead))


async def ping(world, *names):
    events = {"e": {"EventType": "ping", "Timestamp": iso8601(world.now)}}
    batch = {name: {"Endpoint": {}, "Events": events} for name in names}
    await world.call("PutEvents", EventsRequest={"BatchItem": batch})


def test_who_moves_to_a_zone_whose_hour_is_still_to_come_gets_it_once(run_story):
    async def story(world):
        await world.put("ann", Demographic={"Timezone": "Asia/Kolkata"})
        await world.put("bob", Demographic={"Timezone": "Europe/Rome"})
        made = await world.campaign(Schedule={"StartTime": "2031-03-01T15:00:00Z", "IsLocalTime": True})
        await world.run(hours=1)  # 10:00 UTC: three in the afternoon has passed in Kolkata, not in Rome
        await world.put("ann", Demographic={"Timezone": "Europe/Rome"})
        await world.run(hours=4, minutes=1)
        return await world.received(), await world.activities(made)

    received, [activity] = run_story(story)

    assert received == ["ann", "bob"]
    assert (activity["TotalEndpointCount"], activity["TimezonesCompletedCount"]) == (2, 2)


@pytest.mark.parametrize("quicker_seconds", [0, 0.8, 200])
def test_a_daily_campaign_with_a_daily_limit_of_one_sends_every_day(run_story, quicker_seconds):
    """However late the scheduler was the day before, a day is counted from when the run was due."""

    async def story(world):
        await world.put("ann")
        schedule = {"StartTime": later(world), "Frequency": "DAILY", "EndTime": later(world, days=9)}
        await world.campaign(Schedule=schedule, Limits={"Daily": 1})
        await world.run(seconds=quicker_seconds)
        await world.run(hours=24, seconds=-quicker_seconds)
        return await world.received()

    assert run_story(story) == ["ann", "ann"]


@pytest.mark.parametrize(
    ("frequency", "days", "runs"),
    [("ONCE", [1, 1, 1], 1), ("DAILY", [1, 1, 1], 3), ("WEEKLY", [7, 7, 7], 3), ("MONTHLY", [31, 30, 31], 3)],
)
def test_each_frequency_runs_at_its_start_and_each_period_after_until_its_end(run_story, frequency, days, runs):
    async def story(world):
        await world.put("ann")
        end = later(world, days=days[0] + days[1], hours=1)
        made = await world.campaign(Schedule={"StartTime": later(world), "Frequency": frequency, "EndTime": end})
        for ahead in (0, *days):
            await world.run(days=ahead)
        return world.relay.times.total(), await world.status(made)

    assert run_story(story) == (runs, "COMPLETED")


def test_a_recurring_campaign_goes_through_all_states(run_story):
    async def story(world):
        await world.put("ann")
        schedule = {"StartTime": later(world, minutes=1), "Frequency": "HOURLY", "EndTime": later(world, hours=3)}
        made = await world.campaign(Schedule=schedule)
        seen = [await world.status(made)]
        await world.wait(minutes=1)
        await world.schedule()
        seen.append(await world.status(made))
        await world.run()
        seen.append(await world.status(made))
        await world.call("UpdateCampaign", CampaignId=made, WriteCampaignRequest={"IsPaused": True})
        seen.append(await world.status(made))
        await world.run(hours=1)
        await world.call("UpdateCampaign", CampaignId=made, WriteCampaignRequest={"IsPaused": False})
        await world.run()
        seen.append(await world.status(made))
        await world.run(hours=1)
        await world.run(hours=1)
        return [*seen, await world.status(made)], await world.received()

    states, received = run_story(story)

    assert states == ["SCHEDULED", "EXECUTING", "PENDING_NEXT_RUN", "PAUSED", "PENDING_NEXT_RUN", "COMPLETED"]
    assert received == ["ann", "ann"]  # the run that came while it was paused is not made up for


def test_a_run_in_progress_finishes_though_it_is_paused(run_story):
    async def story(world):
        for name in ("ann", "bob"):
            await world.put(name)
        schedule = {"StartTime": later(world), "Frequency": "DAILY", "EndTime": later(world, days=3)}
        made = await world.campaign(Schedule=schedule)
        await world.schedule()
        await world.call("UpdateCampaign", CampaignId=made, WriteCampaignRequest={"IsPaused": True})
        during = await world.status(made)
        await world.run()
        return during, await world.status(made), await world.received()

    assert run_story(story) == ("EXECUTING", "PAUSED", ["ann", "bob"])


def test_a_campaign_is_complete_when_all_its_treatments_are(run_story):
    async def story(world):
        await world.put("ann")
        other = {"SizePercent": 50, "Schedule": {"StartTime": later(world, hours=2)}}
        made = await world.campaign(Schedule={"StartTime": "IMMEDIATE"}, AdditionalTreatments=[other])
        await world.run()
        shown = await world.call("GetCampaign", CampaignId=made)
        await world.run(hours=2)
        return shown, await world.status(made)

    shown, at_last = run_story(story)

    assert shown["DefaultState"] == {"CampaignStatus": "COMPLETED"}
    assert shown["AdditionalTreatments"][0]["State"] == {"CampaignStatus": "SCHEDULED"}
    assert shown["State"] == {"CampaignStatus": "PENDING_NEXT_RUN"}
    assert at_last == "COMPLETED"


def test_an_applications_settings_hold_for_campaigns_made_later_and_give_way_to_their_own(run_story):
    async def story(world):
        await world.put("ann", Demographic={"Timezone": "UTC"})
        before = await world.campaign(Schedule={"StartTime": later(world, minutes=1)})
        settings = {"QuietTime": {"Start": "09:00", "End": "10:00"}}
        await world.call("UpdateApplicationSettings", WriteApplicationSettingsRequest=settings)
        after = await world.campaign(Schedule={"StartTime": later(world, minutes=1)})
        own = {"StartTime": later(world, minutes=1), "QuietTime": {"Start": "22:00", "End": "23:00"}}
        loud = await world.campaign(Schedule=own)
        await world.run(minutes=1)
        return [(await world.activities(one))[0]["SuccessfulEndpointCount"] for one in (before, after, loud)]

    assert run_story(story) == [1, 0, 1]


def test_a_drop_by_quiet_time_counts_against_the_total_but_not_against_the_day(run_story):
    async def story(world):
        await world.put("ann", Demographic={"Timezone": "UTC"})
        schedule = {"StartTime": later(world), "Frequency": "HOURLY", "EndTime": later(world, hours=4)}
        schedule["QuietTime"] = {"Start": "09:00", "End": "09:30"}
        made = await world.campaign(Schedule=schedule, Limits={"Total": 2, "Daily": 1})
        for _ in range(3):
            await world.run()
            await world.wait(hours=1)
        return [one["ExecutionMetrics"] for one in reversed(await world.activities(made))]

    first, second, third = run_story(story)

    assert first == {"ENDPOINT_PRODUCED": "1", "QUIET_TIME": "1"}
    assert second == {"ENDPOINT_PRODUCED": "1"}
    assert third == {"ENDPOINT_PRODUCED": "1", "CAMPAIGN_CAP": "1"}


def test_no_more_messages_are_sent_in_a_second_than_the_limit(run_story):
    async def story(world):
        for number in range(20):
            await world.put(f"p{number:02}")
        await world.campaign(Schedule={"StartTime": "IMMEDIATE"}, Limits={"MessagesPerSecond": 4})
        await world.schedule()
        sent = []
        for _ in range(6):
            await world.work()
            sent.append(len(await world.received()))
            await world.wait(seconds=1)
        return sent

    assert run_story(story) == [2, 6, 10, 14, 18, 20]


def test_a_small_campaign_does_not_wait_for_the_end_of_a_large_one(run_story):
    async def story(world):
        for number in range(40):
            await world.put(f"p{number:02}")
        for rate in (2, 100):  # slices of one message, a dozen of them due when the other's only one is
            await world.campaign(Schedule={"StartTime": "IMMEDIATE"}, Limits={"MessagesPerSecond": rate})
            await world.schedule()
            await world.wait(seconds=4)
        claimed = [await slices.claim(world.server.db, world.now, lease_seconds=60, draw=n) for n in range(8)]
        return [one.activity_id for one in claimed]

    first, *_ = activities = run_story(story)

    assert set(activities) > {first}


def test_an_event_outside_the_window_is_not_answered(run_story):
    async def story(world):
        await world.put("ann")
        schedule = {"StartTime": later(world, hours=1), "EndTime": later(world, hours=2)}
        await world.campaign(Schedule={**schedule, "Frequency": "EVENT", "EventFilter": PING})
        for minutes in (0, 90, 60):
            await world.wait(minutes=minutes)
            await world.schedule()
            await ping(world, "ann")
            await world.answer()
            await world.work()
        return await world.received()

    assert run_story(story) == ["ann"]


def test_an_event_that_could_not_be_answered_within_five_minutes_expires(run_story):
    async def story(world):
        for name in ("ann", "bob"):
            await world.put(name)
        schedule = {"StartTime": "IMMEDIATE", "EndTime": later(world, hours=2)}
        made = await world.campaign(Schedule={**schedule, "Frequency": "EVENT", "EventFilter": PING})
        await world.schedule()
        for name, seconds in (("ann", 299), ("bob", 301)):
            await ping(world, name)
            await world.wait(seconds=seconds)
            await world.answer()
            await world.work()
        return await world.received(), (await world.activities(made))[0]["ExecutionMetrics"]

    assert run_story(story) == (["ann"], {"ENDPOINT_PRODUCED": "2", "EXPIRED": "1"})


def test_what_a_message_says_is_known_as_long_as_the_message_however_long_its_campaign_is_open(run_story):
    async def story(world):
        for name in ("ann", "bob"):
            await world.put(name)
        schedule = {"StartTime": "IMMEDIATE", "EndTime": later(world, days=100)}
        await world.campaign(Schedule={**schedule, "Frequency": "EVENT", "EventFilter": PING})
        await world.schedule()
        for name in ("ann", "bob"):
            await ping(world, name)
            await world.answer()
            await world.work()
            await world.wait(days=60)
        return await world.ask(
            "SELECT endpoint_id, content IS NOT NULL FROM message LEFT JOIN activity USING (app_id, activity_id)"
        )

    assert run_story(story) == [("bob", True)]


@pytest.mark.parametrize("frequency", ["EVENT", "IN_APP_EVENT"])
def test_an_application_has_25_campaigns_that_answer_events_and_no_more(run_story, frequency):
    in_app = {"InAppMessage": {"Layout": "OVERLAYS", "Content": []}}

    async def open_one(world):
        schedule = {"StartTime": "IMMEDIATE", "EndTime": later(world, hours=2), "Frequency": frequency}
        content = EMAIL if frequency == "EVENT" else in_app
        return await world.campaign(Schedule={**schedule, "EventFilter": PING}, MessageConfiguration=content)

    async def story(world):
        made = [await open_one(world) for _ in range(25)]
        with pytest.raises(BadRequestException, match="an application may have 25 campaigns of Frequency"):
            await open_one(world)
        await world.call("UpdateCampaign", CampaignId=made[0], WriteCampaignRequest={"Name": "changed"})
        await world.run(hours=3)
        return await world.status(await open_one(world))

    assert run_story(story) == "SCHEDULED"


@pytest.mark.parametrize("limits", [{}, {"MessagesPerSecond": 1}], ids=["as a slice", "message by message"])
def test_who_has_lost_a_lease_leaves_the_record_to_who_has_it(run_story, limits):
    """A worker that the database was away from for longer than a lease may still be at work when it is back."""

    async def story(world):
        for name in ("ann", "bob"):
            await world.put(name)
        made = await world.campaign(Schedule={"StartTime": "IMMEDIATE"}, Limits=limits)
        await world.schedule()
        await world.wait(seconds=2)
        async with world.process() as server:
            couriers = [courier_of(world, server) for _ in range(2)]
            if limits:
                one = await slices.claim(server.db, world.now, lease_seconds=1, draw=0)
                await server.db.atomically(lambda connection: slices.scatter(connection, [one], world.now))
            batches = []
            for courier in couriers:
                batches.append(await claimed(courier, server, world.now, is_slice=not limits))
                await world.wait(seconds=2)
            for deliver in batches:
                await deliver()
        await world.run()
        sends = await world.ask("SELECT count(*) FROM logged_event WHERE event_type = '_campaign.send'")
        return sends, await world.received(), (await world.activities(made))[0]["SuccessfulEndpointCount"]

    sends, received, count = run_story(story)

    assert (sends, count) == ([(2,)], 2)
    assert len(received) > 2  # what cannot be helped: both have sent


def courier_of(world, server):
    settings = Settings()
    return Courier(server, world.providers(), Metrics(), return_paths(server.seal, settings), missing_fails=False)


async def claimed(courier, server, now, *, is_slice):
    """What a worker has taken, up to the wire; call it to go on."""
    if not is_slice:
        batch = await outbox.claim(server.db, now, 10, lease_seconds=1)
        return lambda: courier.deliver(batch)
    one = await slices.claim(server.db, now, lease_seconds=1, draw=0)
    deliveries = await courier.prepare_slices([one])
    return lambda: courier.deliver_slices([one], deliveries)


async def ends(world, made):
    """What became of each message, in the ledger and in the log, and what GetCampaignActivities counts."""
    ledger = await world.ask("SELECT endpoint_id, state, status_message FROM message ORDER BY 1")
    log = await world.ask(
        """SELECT event_type, document -> 'attributes' ->> 'campaign_send_status' FROM logged_event ORDER BY 1, 2"""
    )
    [activity] = await world.activities(made)
    return ledger, log, (activity["TotalEndpointCount"], activity["SuccessfulEndpointCount"])


async def begin_and_die(world, *people, **given):
    """A campaign whose worker dies when the relay has taken its mails, before it can say so."""
    for name in people:
        await world.put(name)
    made = await world.campaign(Schedule={"StartTime": "IMMEDIATE"}, **given)
    await world.schedule()
    async with world.process() as server:
        one = await slices.claim(server.db, world.now, lease_seconds=LEASE_SECONDS, draw=0)
        deliveries = await courier_of(world, server).prepare_slices([one])
        await pipeline.send(world.providers(), deliveries)
    assert {one.outcome.status for one in deliveries} == {"SUCCESSFUL"}
    return made


IN_DOUBT = f"{outbox.MAY_BE_SENT}; then: "


def test_what_a_worker_died_with_and_nobody_could_try_again_is_unknown(run_story):
    async def story(world):
        made = await begin_and_die(world, "ann", "bob")
        await world.run(seconds=DEADLINE_SECONDS + LEASE_SECONDS)
        return await ends(world, made)

    ledger, log, counts = run_story(story)

    assert ledger == [(name, "UNKNOWN", f"{IN_DOUBT}Not deliverable before its deadline") for name in ("ann", "bob")]
    assert (log, counts) == ([("_campaign.send", "UNKNOWN")] * 2, (2, 0))


def test_what_was_tried_in_vain_afterwards_is_still_unknown(run_story):
    """The relay that took it has closed since, until the deadline."""

    async def story(world):
        made = await begin_and_die(world, "ann", "bob")
        world.relay.mood = "closed"
        await world.run(seconds=LEASE_SECONDS + 1)
        waiting = await world.ask("SELECT DISTINCT state, attempts FROM message")
        await world.run(seconds=DEADLINE_SECONDS)
        return waiting, await ends(world, made)

    waiting, (ledger, _, counts) = run_story(story)

    assert waiting == [("ACCEPTED", 1)]  # of two attempts one is recorded
    assert [(state, text.startswith(IN_DOUBT)) for _, state, text in ledger] == [("UNKNOWN", True)] * 2
    assert counts == (2, 0)


def test_what_the_far_end_refuses_for_good_afterwards_has_failed(run_story):
    """Its reason and its bounce are worth more than the doubt."""

    async def story(world):
        made = await begin_and_die(world, "ann", "bob")
        await world.execute("UPDATE message SET address = 'bad@x.example' WHERE endpoint_id = 'bob'")
        await world.run(seconds=LEASE_SECONDS + 1)
        return await ends(world, made)

    ledger, log, counts = run_story(story)

    assert ledger == [("ann", "SENT", "250 taken"), ("bob", "FAILED", "550 5.1.1 nobody here")]
    assert ("_email.hardbounce", None) in log
    assert counts == (2, 1)


@pytest.mark.parametrize("call_off", ["deleted", "over"])
def test_what_a_worker_died_with_before_the_run_was_called_off_is_unknown(run_story, call_off):
    async def story(world):
        made = await begin_and_die(world, "ann", "bob", Limits={"MaximumDuration": 70})
        if call_off == "deleted":
            await world.call("DeleteCampaign", CampaignId=made)
        await world.wait(seconds=LEASE_SECONDS + 1 if call_off == "deleted" else 71)
        await world.schedule()
        ledger = await world.ask("SELECT DISTINCT state, status_message FROM message")
        counts = await world.ask("SELECT counts FROM campaign_activity")
        log = await world.ask("SELECT document -> 'attributes' ->> 'campaign_send_status' FROM logged_event")
        return ledger, counts, log

    ledger, counts, log = run_story(story)

    word = {"deleted": "CANCELLED", "over": "EXPIRED"}[call_off]
    assert ledger == [("UNKNOWN", f"{IN_DOUBT}{word}")]
    assert (counts, log) == ([({"UNKNOWN": 2},)], [("UNKNOWN",)] * 2)
