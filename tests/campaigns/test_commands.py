"""`repoint campaigns …` and `repoint why` beside a running server."""

import json
import subprocess

from tests.campaigns.conftest import EMAIL, iso
from tests.conftest import REPOINT, eventually


def repoint(app, *arguments):
    """A command's exit status and what it printed."""
    done = subprocess.run(
        [REPOINT, *arguments, "--data-dir", app.server.data_dir, "--log-level", "error"], capture_output=True, text=True
    )
    return done.returncode, done.stdout or done.stderr


def as_json(app, *arguments):
    status, text = repoint(app, *arguments, "--json")
    return status, json.loads(text)


def test_what_comes_next_is_said_in_order(app):
    hourly = app.campaign(start=iso(hours=1), schedule={"Frequency": "HOURLY"}, Name="hourly")
    once = app.campaign(start=iso(minutes=90), Name="once")
    _, coming = as_json(app, "campaigns", "next", "--app", app.id, "--count", "3")

    assert [row["CampaignId"] for row in coming] == [hourly, once, hourly]
    assert [row["At"] for row in coming] == sorted(row["At"] for row in coming)


def test_preflight_counts_by_reason_and_sends_nothing(app):
    app.put("good", User={"UserAttributes": {"Name": ["Good"]}})
    app.put("nameless")
    app.put("out", OptOut="ALL")
    content = {"EmailMessage": {**EMAIL["EmailMessage"], "Body": "Dear {{User.UserAttributes.Name}}"}}
    campaign = app.campaign(start=iso(hours=1), MessageConfiguration=content)
    status, report = as_json(app, "campaigns", "preflight", campaign)

    assert report["Counts"] == {"0": {"ACCEPTED": 2, "ENDPOINT_OPT_OUT": 1}}
    assert report["Messages"] == {"treatment 0: TextPart: User.UserAttributes.Name has no value": 1}
    assert (status, report["Faults"], app.received(), app.activities(campaign)) == (1, [], [], [])
    app.put("nameless", User={"UserAttributes": {"Name": ["Now"]}})
    status, text = repoint(app, "campaigns", "preflight", campaign)
    assert (status, "treatment 0: 2 would get a message" in text) == (0, True)


def test_preflight_says_what_would_stop_the_run(app):
    segment = app.segment()
    campaign = app.campaign(segment, start=iso(hours=1))
    app.client.delete_segment(ApplicationId=app.id, SegmentId=segment)
    status, report = as_json(app, "campaigns", "preflight", campaign)

    assert (status, report["Faults"]) == (1, [f"The segment {segment} was deleted"])


def test_why_tells_each_endpoints_story_from_the_facts_of_its_time(app):
    app.put("good", User={"UserAttributes": {"Plan": ["gold"]}})
    app.put("out", OptOut="ALL", User={"UserAttributes": {"Plan": ["gold"]}})
    app.put("silver")
    segment = app.segment(UserAttributes={"Plan": {"AttributeType": "INCLUSIVE", "Values": ["gold"]}})
    campaign = app.campaign(segment)
    app.finished(campaign)
    app.put("out", OptOut="NONE")
    app.put("silver", User={"UserAttributes": {"Plan": ["gold"]}})
    told = {name: as_json(app, "why", campaign, name)[1][0] for name in ("good", "out", "silver")}

    assert {name: answer["reason"] for name, answer in told.items()} == {
        "good": "SENT",
        "out": "ENDPOINT_OPT_OUT",
        "silver": "NOT_A_MEMBER",
    }
    assert "250" in told["good"]["text"]
    assert f"not in segment {segment} version 1" in told["silver"]["text"]


def test_a_campaign_is_listed_shown_and_watched(app):
    app.put_many(6)
    campaign = app.campaign(Limits={"MessagesPerSecond": 6}, Name="spring")
    status, watched = repoint(app, "campaigns", "watch", campaign)
    eventually(lambda: app.status(campaign) == "COMPLETED")
    _, shown = repoint(app, "campaigns", "show", campaign)
    _, listed = as_json(app, "campaigns", "list", "--app", app.id)

    assert status == 0
    assert watched.splitlines()[-1].endswith("6/6, 6 sent, 0 failed, 0 stopped")
    assert "6  ENDPOINT_PRODUCED" in shown
    assert [(row["Id"], row["Status"], row["Name"]) for row in listed] == [(campaign, "COMPLETED", "spring")]


def test_an_unknown_campaign_is_said_to_be_unknown(app):
    for command in (["campaigns", "show"], ["campaigns", "preflight"], ["campaigns", "watch"]):
        status, text = repoint(app, *command, "none")
        assert (status, "there is no campaign none" in text) == (1, True)
    assert repoint(app, "why", "none", "x")[0] == 1
