"""Imports that name users: the run is for whatever endpoints these have by then, and tells how many that were."""

import json

import pytest

from repoint.resources.jobs import members
from repoint.resources.segments.store import create_imported
from tests.campaigns.conftest import as_json, repoint
from tests.jobs.running import exported, put, run_export, run_import


@pytest.fixture
def named(app):
    """Import users, each file's rows as given, as a segment; its id."""

    def run(content, file_format="CSV", **more):
        url = put(app.server, f"{app.id}/users.{file_format.lower()}", content)
        job = run_import(app.client, app.id, url, file_format, DefineSegment=True, SegmentName="users", **more)
        assert job["JobStatus"] == "COMPLETED", job
        [segment] = app.client.get_segments(ApplicationId=app.id)["SegmentsResponse"]["Item"]
        return segment["Id"]

    return run


def metrics(activity):
    return {name: int(count) for name, count in activity["ExecutionMetrics"].items()}


FILES = {
    "CSV": "User.UserId\nann\nbob ann\nnobody\nann\n",
    "JSON": "".join(json.dumps({"User": {"UserId": name}}) + "\n" for name in ("ann", "bob", "ann", "nobody", "ann")),
}


@pytest.mark.parametrize("file_format", FILES)
def test_a_run_is_for_the_endpoints_users_have_by_then(app, named, file_format):
    """Ann's second came after the import, Bob's has moved to somebody else since, and nobody is nobody's."""
    app.put("ann-1", User={"UserId": "ann"})
    app.put("bob-1", User={"UserId": "bob"})
    app.put("stranger", User={"UserId": "eve"})
    segment = named(FILES[file_format], file_format)
    app.put("ann-2", User={"UserId": "ann"})
    app.put("bob-1", User={"UserId": "eve"})
    app.put("bob-2", User={"UserId": "bob"}, OptOut="ALL")
    [activity] = app.finished(app.campaign(segment))

    assert app.received() == ["ann-1", "ann-2"]
    assert metrics(activity) == {
        "ENDPOINT_PRODUCED": 3,
        "ENDPOINTS_FROM_USER": 3,
        "DUPLICATE_USER": 2,
        "ENDPOINT_OPT_OUT": 1,
    }
    assert (activity["TotalEndpointCount"], activity["SuccessfulEndpointCount"]) == (2, 2)


def test_whoever_asks_for_a_segment_of_users_gets_their_endpoints_of_now(app, named):
    segment = named("User.UserId\nann\nann\n")
    app.put("late", User={"UserId": "ann"})
    app.put("other", User={"UserId": "bob"})
    job = run_export(app.client, app.id, SegmentId=segment)
    campaign = app.campaign(segment, start="2099-01-01T00:00:00Z")

    assert as_json(app, "segments", "count", segment)[1]["Total"] == 1
    assert [one["Id"] for one in as_json(app, "segments", "sample", segment)[1]] == ["late"]
    assert list(exported(app.server, job)) == ["late"]
    assert as_json(app, "campaigns", "preflight", campaign)[1]["Users"] == {
        "ENDPOINTS_FROM_USER": 1,
        "DUPLICATE_USER": 1,
    }
    assert "DUPLICATE_USER: 1\n" in repoint(app, "campaigns", "preflight", campaign)[1]


def test_an_endpoint_that_is_named_itself_as_well_as_its_user_is_one_member(app, named):
    rows = [
        {"Id": "a", "ChannelType": "EMAIL", "Address": app.address("a"), "User": {"UserId": "ann"}},
        {"Id": "b", "ChannelType": "EMAIL", "Address": app.address("b")},
        {"User": {"UserId": "ann"}},
    ]
    segment = named("".join(json.dumps(row) + "\n" for row in rows), "JSON")
    [activity] = app.finished(app.campaign(segment))

    assert app.received() == ["a", "b"]
    assert metrics(activity) == {"ENDPOINT_PRODUCED": 2, "ENDPOINTS_FROM_USER": 1}


def test_treatments_and_a_segment_that_rests_on_users_count_them_too(app, named):
    """Each activity tells of the whole segment, as it does of all it counts besides its own reasons."""
    base = named("User.UserId\n" + "".join(f"u{number}\n" for number in range(30)) + "u7\n")
    for number in range(30):
        app.put(f"e{number:02}", User={"UserId": f"u{number}"}, Attributes={"Odd": [str(number % 2)]})
    groups = [{"SourceSegments": [{"Id": base}], "Dimensions": [{"Attributes": {"Odd": {"Values": ["1"]}}}]}]
    wanted = {"Name": "odd", "SegmentGroups": {"Groups": groups}}
    made = app.client.create_segment(ApplicationId=app.id, WriteSegmentRequest=wanted)["SegmentResponse"]
    activities = app.finished(app.campaign(made["Id"], HoldoutPercent=10, AdditionalTreatments=[{"SizePercent": 40}]))

    assert [metrics(one)["ENDPOINTS_FROM_USER"] for one in activities] == [15, 15]
    assert [metrics(one)["DUPLICATE_USER"] for one in activities] == [1, 1]
    held_out = sum(metrics(one).get("HOLDOUT", 0) for one in activities)
    assert len(app.received()) + held_out == 15
    for one in activities:
        others = metrics(one).get("TREATMENT_HOLDOUT", 0)
        assert one["TotalEndpointCount"] + others + metrics(one).get("HOLDOUT", 0) == 15


async def named_in(world, *users):
    """A segment of users, as an import would have made it; its id."""
    definition = {"Format": "CSV", "S3Url": "s3://b/k", "RoleArn": "r", "ExternalId": "", "Size": len(users)}
    async with world.server.db.settings_change() as connection:
        await members.add_users(connection, members.MemberSet(world.app_id, "users", 1), users)
        await create_imported(connection, world.app_id, "users", name="users", definition=definition, now=world.now)
    return "users"


def test_a_run_by_recipients_time_counts_each_endpoint_and_each_repeat_once(run_story):
    """Its waves are hours apart; who has no zone is counted with the first."""

    async def story(world):
        for name, zone in (("rome", "Europe/Rome"), ("lima", "America/Lima"), ("nowhere", "")):
            await world.put(name, User={"UserId": name}, Demographic={"Timezone": zone} if zone else {})
        segment = await named_in(world, "rome", "lima", "nowhere", "lima")
        made = await world.campaign(
            SegmentId=segment, Schedule={"StartTime": "2031-03-01T15:00:00Z", "IsLocalTime": True}
        )
        for hours in (1, 4, 6):  # it begins with the next zone; then it is three in the afternoon in Rome, and in Lima
            await world.run(hours=hours)
        return await world.received(), await world.activities(made)

    received, [activity] = run_story(story)

    assert received == ["lima", "rome"]
    assert metrics(activity) == {
        "ENDPOINT_PRODUCED": 3,
        "ENDPOINTS_FROM_USER": 3,
        "DUPLICATE_USER": 1,
        "ENDPOINT_MISSING_TIMEZONE": 1,
    }
