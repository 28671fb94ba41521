"""`repoint campaigns …` and `repoint why` beside a running server."""

import subprocess

import pytest

from tests.campaigns.conftest import EMAIL, as_json, iso, repoint
from tests.campaigns.test_events import filter_of, report, waiting
from tests.campaigns.test_in_app import in_app
from tests.conftest import REPOINT, eventually


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
    answers = {name: as_json(app, "why", campaign, name)[1][0] for name in ("good", "out", "silver", "nobody")}

    assert {name: answer["reason"] for name, answer in answers.items()} == {
        "good": "SENT",
        "out": "ENDPOINT_OPT_OUT",
        "silver": "NOT_A_MEMBER",
        "nobody": "NOT_A_MEMBER",
    }
    assert "250" in answers["good"]["text"]
    assert f"not in segment {segment} version 1" in answers["silver"]["text"]
    assert answers["nobody"]["text"].endswith("; there is none of this id now")


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


def test_a_campaign_is_watched_from_before_its_run(app):
    app.put("a")
    campaign = app.campaign(start=iso(hours=1))
    command = [REPOINT, "campaigns", "watch", campaign, "--data-dir", app.server.data_dir, "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        first = watching.stdout.readline()
        app.update(campaign, Schedule={"StartTime": "IMMEDIATE"})
        rest = watching.stdout.read().splitlines()

    assert first.startswith("SCHEDULED: the first run is due at ")
    assert rest[-1].endswith("1/1, 1 sent, 0 failed, 0 stopped")
    assert len(rest) == len(set(rest))  # a line for what is new


def test_preflight_notes_what_its_owner_may_not_expect(app):
    nobody = {"Attributes": {"x": {"AttributeType": "INCLUSIVE", "Values": ["y"]}}}
    paused = app.campaign(start=iso(hours=1), IsPaused=True)
    empty = app.campaign(app.segment(**nobody), start=iso(hours=1))
    app.put("a")
    over = app.campaign()
    app.finished(over)
    notes = {name: as_json(app, "campaigns", "preflight", name)[1]["Notes"] for name in (paused, empty, over)}

    assert notes == {
        paused: ["the campaign is paused: its runs are skipped until it is resumed"],
        empty: ["the segment is empty: nobody would be looked at"],
        over: ["the campaign has run for the last time: this is whom it would reach now"],
    }


def test_what_waits_for_events_is_explained_as_such(app):
    app.put("a")
    app.put("b")
    campaign = waiting(app, filter_of("ping"), Limits={"Total": 2})
    for number in range(3):
        report(app, "a", "ping")
        eventually(lambda number=number: len(app.received()) >= min(2, number + 1))
    eventually(lambda: "CAMPAIGN_CAP" in app.activities(campaign)[0]["ExecutionMetrics"])
    eventually(lambda: app.activities(campaign)[0]["SuccessfulEndpointCount"] == 2)
    told = {name: as_json(app, "why", campaign, name)[1] for name in ("a", "b")}

    assert [answer["reason"] for answer in told["a"]] == ["SENT", "SENT", "CAMPAIGN_CAP"]
    assert told["a"][2]["text"].startswith("an event of the endpoint was not answered: the endpoint had been targeted")
    assert [(answer["reason"], answer["text"][:24]) for answer in told["b"]] == [
        ("NO_EVENT", "no event of the endpoint")
    ]
    assert "it answers events" in as_json(app, "campaigns", "preflight", campaign)[1]["Notes"][0]


def test_what_is_fetched_is_explained_as_such(app):
    app.put("a", ChannelType="IN_APP")
    campaign = in_app(app)
    [answer] = as_json(app, "why", campaign, "a")[1]
    status, judged = as_json(app, "campaigns", "preflight", campaign)

    assert (answer["reason"], "GetInAppMessages" in answer["text"]) == ("FETCHED", True)
    assert (status, judged["Counts"], judged["Notes"]) == (
        0,
        {},
        ["in-app messages are not sent but fetched, by GetInAppMessages: there is no run to judge"],
    )


def test_what_comes_next_is_said_to_be_local_or_a_window(app):
    local = app.campaign(start=iso(days=1), schedule={"IsLocalTime": True}, Name="local")
    window = {"Frequency": "EVENT", "EventFilter": filter_of("ping")}
    app.campaign(start=iso(days=2), schedule=window, Name="window", IsPaused=True)
    _, text = repoint(app, "campaigns", "next", "--app", app.id)

    assert [line.partition("treatment 0  ")[2] for line in text.splitlines()] == [
        "local  (local time: when the hour strikes first on earth)",
        "window  (opens for events; paused: it will wait)",
    ]
    assert [row["IsLocalTime"] for row in as_json(app, "campaigns", "next", "--app", app.id)[1]] == [True, False]
    assert local in text


def test_an_unknown_application_is_said_to_be_unknown(app):
    for command in ("list", "next"):
        assert repoint(app, "campaigns", command, "--app", "none") == (1, "Error: there is no application none\n")


def test_preflight_says_which_part_of_a_message_cannot_be_made(app):
    app.put("a")
    content = {"EmailMessage": {**EMAIL["EmailMessage"], "Title": "Dear {{add 'x' 1}}"}}
    status, report = as_json(
        app, "campaigns", "preflight", app.campaign(start=iso(hours=1), MessageConfiguration=content)
    )

    assert (status, report["Messages"]) == (1, {"treatment 0: Subject: add: not a number: 'x'": 1})


def test_an_unknown_campaign_is_said_to_be_unknown(app):
    for command in (["campaigns", "show"], ["campaigns", "preflight"], ["campaigns", "watch"]):
        assert repoint(app, *command, "none") == (1, "Error: there is no campaign none\n")
    assert repoint(app, "why", "none", "x") == (1, "Error: there is no campaign none\n")


def test_a_campaign_that_has_not_run_or_has_no_hook_is_said_to(app):
    campaign = app.campaign(start=iso(hours=1))

    assert f"campaign {campaign} has not run" in repoint(app, "why", campaign, "x")[1]
    assert f"campaign {campaign} has no hook" in repoint(app, "campaigns", "hook-payload", campaign, "x")[1]


@pytest.mark.parametrize(
    "command", [["campaigns", "list"], ["campaigns", "next"], ["why", "c", "e"], ["events", "list"]]
)
def test_where_there_is_no_installation_nothing_is_made_to_be_looked_at(tmp_path, command):
    done = subprocess.run([REPOINT, *command, "--data-dir", tmp_path / "x"], capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: there is no installation in {tmp_path}/x: name its folder by --data-dir")
    assert not (tmp_path / "x").exists()
