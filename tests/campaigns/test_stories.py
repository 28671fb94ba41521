"""Single stories of the simulated world: what the simulation has found, and what no real clock can wait for."""

import asyncio

import pytest

from repoint.clock import iso8601
from tests.campaigns.world import fresh_database, world_of

EMAIL = {"EmailMessage": {"FromAddress": "shop@example.com", "Title": "Hi", "Body": "Hello"}}


@pytest.fixture
def tell(migrated, request):
    """Run a story, a coroutine function of the world."""

    def run(story):
        async def told():
            async with world_of(1, fresh_database(migrated, f"story_{abs(hash(request.node.name))}")) as world:
                return await story(world)

        return asyncio.run(told())

    return run


async def put(world, name, zone="UTC"):
    request = {"ChannelType": "EMAIL", "Address": f"{name}@x.example", "Demographic": {"Timezone": zone}}
    await world.call("UpdateEndpoint", EndpointId=name, EndpointRequest=request)


async def campaign(world, **given):
    segment = await world.call("CreateSegment", WriteSegmentRequest={"Name": "all"})
    wanted = {"Name": "c", "SegmentId": segment["Id"], "MessageConfiguration": EMAIL, **given}
    return (await world.call("CreateCampaign", WriteCampaignRequest=wanted))["Id"]


async def work(world):
    await world.schedule()
    await world.work()


def test_who_moves_to_a_zone_whose_hour_is_still_to_come_gets_it_once(tell):
    async def story(world):
        for name, zone in (("ann", "Asia/Kolkata"), ("bob", "Europe/Rome")):
            await put(world, name, zone)
        schedule = {"StartTime": "2031-03-01T15:00:00Z", "IsLocalTime": True}
        made = await campaign(world, Schedule=schedule)
        await world.wait(hours=1)  # 10:00 UTC: three in the afternoon has passed in Kolkata, not in Rome
        await work(world)
        await put(world, "ann", "Europe/Rome")
        await world.wait(hours=4, minutes=1)
        await work(world)
        shown = await world.call("GetCampaignActivities", CampaignId=made)
        return shown["Item"][0], sorted(world.relay.times.values())

    activity, times = tell(story)

    assert (activity["TotalEndpointCount"], times) == (2, [1, 1])
    assert activity["TimezonesCompletedCount"] == 2


@pytest.mark.parametrize("quicker_seconds", [0, 0.8, 200])
def test_a_daily_campaign_with_a_daily_limit_of_one_sends_every_day(tell, quicker_seconds):
    """However late the scheduler was the day before, a day is counted from when the run was due."""

    async def story(world):
        await put(world, "ann")
        end = iso8601(world.now.replace(month=4))
        schedule = {"StartTime": iso8601(world.now), "Frequency": "DAILY", "EndTime": end}
        await campaign(world, Schedule=schedule, Limits={"Daily": 1})
        await world.wait(seconds=quicker_seconds)
        await work(world)
        await world.wait(hours=24, seconds=-quicker_seconds)
        await work(world)
        return sorted(world.relay.times.values())

    assert tell(story) == [1, 1]
