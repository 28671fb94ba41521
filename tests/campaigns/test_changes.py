"""What becomes of a campaign that is changed: between its runs, during one, after one that could not be."""

import pytest

from repoint.wire.exceptions import BadRequestException
from tests.campaigns.test_stories import PING, later, ping

SENDER = {"FromAddress": "shop@example.com", "Identity": "arn:aws:ses:us-east-1:1:identity/x"}


async def change(world, made, **given):
    return await world.call("UpdateCampaign", CampaignId=made, WriteCampaignRequest=given)


async def switch_email(world, *, on):
    await world.call("UpdateEmailChannel", EmailChannelRequest={**SENDER, "Enabled": on})


def test_a_recurring_campaign_that_could_not_run_goes_on_when_it_is_mended(run_story):
    async def story(world):
        await world.put("ann")
        made = await world.campaign(Schedule={"StartTime": later(world, hours=1), "Frequency": "DAILY"})
        await switch_email(world, on=False)
        await world.run(hours=1)
        seen = [await world.status(made)]
        await switch_email(world, on=True)
        await change(world, made, Description="mended")
        seen.append(await world.status(made))
        await world.run(days=1)
        return seen, await world.received()

    assert run_story(story) == (["INVALID", "PENDING_NEXT_RUN"], ["ann"])


def test_a_campaign_that_ran_in_vain_stays_invalid_until_it_has_a_schedule_again(run_story):
    async def story(world):
        await world.put("ann")
        made = await world.campaign(Schedule={"StartTime": "IMMEDIATE"})
        await switch_email(world, on=False)
        await world.run()
        seen = [await world.status(made)]
        await switch_email(world, on=True)
        await change(world, made, Description="mended")
        await world.run(hours=1)
        seen.append(await world.status(made))
        await change(world, made, Schedule={"StartTime": "IMMEDIATE"})
        seen.append(await world.status(made))
        await world.run()
        seen.append(await world.status(made))
        return seen, await world.received()

    assert run_story(story) == (["INVALID", "INVALID", "PENDING_NEXT_RUN", "COMPLETED"], ["ann"])


def test_pausing_an_invalid_campaign_does_not_complete_it(run_story):
    async def story(world):
        await world.put("ann")
        made = await world.campaign(Schedule={"StartTime": later(world, hours=1), "Frequency": "DAILY"})
        await switch_email(world, on=False)
        await world.run(hours=1)
        await change(world, made, IsPaused=True)
        seen = [await world.status(made)]
        await switch_email(world, on=True)
        await change(world, made, IsPaused=False)
        seen.append(await world.status(made))
        await world.run(days=1)
        return seen, await world.received()

    assert run_story(story) == (["INVALID", "PENDING_NEXT_RUN"], ["ann"])


def test_a_window_that_was_to_open_while_paused_is_open_when_the_campaign_goes_on(run_story):
    async def story(world):
        await world.put("ann")
        schedule = {"StartTime": later(world, hours=1), "EndTime": later(world, days=7)}
        made = await world.campaign(Schedule={**schedule, "Frequency": "EVENT", "EventFilter": PING})
        await change(world, made, IsPaused=True)
        await world.run(hours=2)
        seen = [await world.status(made)]
        await ping(world, "ann")
        await world.answer()
        await change(world, made, IsPaused=False)
        seen.append(await world.status(made))
        await world.run(hours=1)
        await ping(world, "ann")
        await world.answer()
        await world.work()
        return seen, await world.received()

    assert run_story(story) == (["PAUSED", "EXECUTING"], ["ann"])


def test_a_treatment_added_to_an_open_window_is_open_too(run_story):
    async def story(world):
        await world.put("ann")
        schedule = {"StartTime": later(world, hours=1), "EndTime": later(world, days=7)}
        made = await world.campaign(Schedule={**schedule, "Frequency": "EVENT", "EventFilter": PING})
        await world.run(hours=2)
        await change(world, made, AdditionalTreatments=[{"SizePercent": 100}])
        await world.run()
        await ping(world, "ann")
        await world.answer()
        await world.work()
        return await world.status(made), await world.received()

    assert run_story(story) == ("EXECUTING", ["ann"])


def test_a_treatment_that_is_taken_away_closes_its_window(run_story):
    async def story(world):
        schedule = {"StartTime": "IMMEDIATE", "Frequency": "EVENT", "EventFilter": PING}
        made = await world.campaign(Schedule=schedule, AdditionalTreatments=[{"SizePercent": 50}])
        await world.run()
        await change(world, made, AdditionalTreatments=[])
        await world.run(seconds=1)
        return {one["TreatmentId"]: one["State"] for one in await world.activities(made)}

    assert run_story(story) == {"0": "RUNNING", "1": "COMPLETED"}


def test_a_treatment_added_while_an_immediate_run_goes_on_sends_nothing_twice(run_story):
    async def story(world):
        await world.put("ann")
        made = await world.campaign(Schedule={"StartTime": "IMMEDIATE"})
        await world.schedule()
        await change(world, made, AdditionalTreatments=[{"SizePercent": 100}])
        await world.run()
        await world.run(seconds=5)
        return await world.status(made), await world.received()

    assert run_story(story) == ("COMPLETED", ["ann"])


def test_a_local_run_that_is_moved_is_not_late_by_its_first_plan(run_story):
    async def story(world):  # it is nine o'clock in UTC: noon has struck on the other side of the earth long since
        await world.put("ann", Demographic={"Timezone": "Europe/London"})
        made = await world.campaign(Schedule={"StartTime": later(world, days=4), "IsLocalTime": True})
        await world.wait(days=2)
        await change(world, made, Schedule={"StartTime": later(world, hours=3), "IsLocalTime": True})
        await world.run()
        await world.run(hours=3)
        return await world.received(), [(one["State"], one["ScheduledStart"]) for one in await world.activities(made)]

    received, [(state, start)] = run_story(story)

    assert (received, state, start) == (["ann"], "COMPLETED", "2031-03-03T09:00:00.000Z")


def test_activities_of_one_run_come_in_pages(run_story):
    async def story(world):
        world.now = world.now.replace(microsecond=123_456)
        made = await world.campaign(Schedule={"StartTime": "IMMEDIATE"}, AdditionalTreatments=[{"SizePercent": 30}] * 3)
        await world.run()
        seen, token = [], {}
        while True:
            page = await world.call("GetCampaignActivities", CampaignId=made, PageSize="1", **token)
            seen += [one["TreatmentId"] for one in page["Item"]]
            if "NextToken" not in page:
                return sorted(seen)
            token = {"Token": page["NextToken"]}

    assert run_story(story) == ["0", "1", "2", "3"]


def test_deleting_a_segment_ends_the_window_on_it(run_story):
    async def story(world):
        await world.put("ann")
        schedule = {"StartTime": "IMMEDIATE", "Frequency": "EVENT", "EventFilter": PING}
        made = await world.campaign(Schedule=schedule)
        await world.run()
        shown = await world.call("GetCampaign", CampaignId=made)
        await world.call("DeleteSegment", SegmentId=shown["SegmentId"])
        await world.run(seconds=2)
        await ping(world, "ann")
        await world.answer()
        await world.run(seconds=2)
        return await world.status(made), [one["State"] for one in await world.activities(made)]

    assert run_story(story) == ("DELETED", ["COMPLETED"])


@pytest.mark.parametrize(("hours", "received"), [(8, ["ann"]), (22, [])])
def test_a_local_run_is_not_lost_by_a_pause_before_its_hour(run_story, hours, received):
    async def story(world):
        await world.put("ann", Demographic={"Timezone": "Europe/London"})
        made = await world.campaign(Schedule={"StartTime": later(world, hours=20), "IsLocalTime": True})
        await change(world, made, IsPaused=True)
        await world.run(hours=hours)
        seen = await world.status(made)
        await change(world, made, IsPaused=False)
        await world.run()
        await world.run(hours=12)
        return seen, await world.received(), await world.status(made)

    assert run_story(story) == ("PAUSED", received, "COMPLETED")


def test_a_local_run_that_stays_paused_is_over_when_its_hour_has_struck_everywhere(run_story):
    async def story(world):
        made = await world.campaign(Schedule={"StartTime": later(world, hours=20), "IsLocalTime": True})
        await change(world, made, IsPaused=True)
        await world.run(hours=31)
        seen = [await world.status(made)]
        await world.run(hours=1)
        return [*seen, await world.status(made)], await world.activities(made)

    assert run_story(story) == (["PAUSED", "COMPLETED"], [])


def test_every_zone_has_the_maximum_duration_from_its_own_hour(run_story):
    async def story(world):
        await world.put("ann", Demographic={"Timezone": "Asia/Tokyo"})
        await world.put("bob", Demographic={"Timezone": "America/New_York"})
        schedule = {"StartTime": later(world, days=1), "IsLocalTime": True}
        made = await world.campaign(Schedule=schedule, Limits={"MaximumDuration": 3600})
        for _ in range(44):
            await world.run(hours=1)
        return await world.received(), await world.status(made)

    assert run_story(story) == (["ann", "bob"], "COMPLETED")


def test_a_campaign_can_be_changed_and_resumed_though_its_template_is_gone(run_story):
    async def story(world):
        await world.put("ann")
        await world.call(
            "CreateEmailTemplate", TemplateName="t", EmailTemplateRequest={"Subject": "s", "TextPart": "x"}
        )
        named = {"EmailTemplate": {"Name": "t"}}
        schedule = {"StartTime": later(world, hours=1), "Frequency": "DAILY"}
        made = await world.campaign(Schedule=schedule, TemplateConfiguration=named)
        await world.call("DeleteEmailTemplate", TemplateName="t")
        await change(world, made, IsPaused=True)
        await change(world, made, IsPaused=False, Description="goes on")
        await world.run(hours=1)
        with pytest.raises(BadRequestException, match="there is no EMAIL template t"):
            await world.campaign(Schedule=schedule | {"StartTime": later(world, hours=1)}, TemplateConfiguration=named)
        return await world.received()

    assert run_story(story) == ["ann"]
