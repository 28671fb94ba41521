"""Campaigns that run: the right people get the right mail, once, and everybody else is counted under a reason."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime

import psycopg

from repoint.db import Database
from repoint.db.embedded import dsn_of
from repoint.work.periodic import keep_house
from tests.campaigns.conftest import EMAIL, iso
from tests.conftest import eventually


def test_an_immediate_campaign_with_a_template_mails_its_segment(app):
    app.client.create_email_template(
        TemplateName=f"t{app.id}",
        EmailTemplateRequest={
            "Subject": "For {{User.UserAttributes.Name}}",
            "HtmlPart": "<p>Dear {{User.UserAttributes.Name}}</p>",
            "TextPart": "Dear {{User.UserAttributes.Name}}",
        },
    )
    for name, plan in (("ann", "gold"), ("bob", "silver"), ("cid", "gold")):
        app.put(name, User={"UserId": name, "UserAttributes": {"Name": [name.title()], "Plan": [plan]}})
    segment = app.segment(UserAttributes={"Plan": {"AttributeType": "INCLUSIVE", "Values": ["gold"]}})
    campaign = app.campaign(
        segment,
        TemplateConfiguration={"EmailTemplate": {"Name": f"t{app.id}"}},
        MessageConfiguration={"EmailMessage": {"FromAddress": "shop@example.com"}},
    )
    [activity] = app.finished(campaign)

    assert app.received() == ["ann", "cid"]
    [mail] = app.sink.to(app.address("cid"))
    assert (mail["subject"], mail.get_body("plain").get_content().strip()) == ("For Cid", "Dear Cid")
    assert {name: activity[name] for name in activity if not name.startswith(("Sch", "Start", "End", "Id"))} == {
        "ApplicationId": app.id,
        "CampaignId": campaign,
        "ExecutionMetrics": {"ENDPOINT_PRODUCED": "2"},
        "State": "COMPLETED",
        "Result": "SUCCESS",
        "SuccessfulEndpointCount": 2,
        "TotalEndpointCount": 2,
        "TimezonesCompletedCount": 1,
        "TimezonesTotalCount": 1,
        "TreatmentId": "0",
    }


def test_a_campaign_goes_to_the_version_of_its_segment_that_it_names_or_to_the_newest(app):
    for name in ("gold", "silver"):
        app.put(name, Attributes={"Plan": [name]})

    def plan(name):
        return {"Attributes": {"Plan": {"AttributeType": "INCLUSIVE", "Values": [name]}}}

    segment = app.segment(**plan("gold"))
    changed = {"Name": "s", "Dimensions": plan("silver")}
    app.client.update_segment(ApplicationId=app.id, SegmentId=segment, WriteSegmentRequest=changed)
    app.finished(app.campaign(segment, SegmentVersion=1))
    assert app.received() == ["gold"]
    newest = app.campaign(segment)
    app.finished(newest)

    assert (app.received(), app.get(newest)["SegmentVersion"]) == (["gold", "silver"], 2)


def test_everybody_left_out_is_counted_under_the_first_reason(app):
    app.put("good")
    app.put("inactive", EndpointStatus="INACTIVE")
    app.put("inactive-too", EndpointStatus="INACTIVE", OptOut="ALL")
    app.put("out", OptOut="ALL")
    app.put("sms", ChannelType="SMS", Address="+14255550100")
    app.put("nowhere", Address=None, ChannelType=None, OptOut="NONE")
    app.put("anyhow")
    app.ask("UPDATE endpoint SET channel_type = NULL WHERE endpoint_id = 'anyhow'")  # no caller can do it
    [activity] = app.finished(app.campaign())

    assert app.received() == ["good"]
    assert activity["ExecutionMetrics"] == {
        "ENDPOINT_CHANNEL_MISMATCH": "1",
        "ENDPOINT_INACTIVE": "2",
        "ENDPOINT_MISSING_ADDRESS": "1",
        "ENDPOINT_MISSING_CHANNEL": "1",
        "ENDPOINT_OPT_OUT": "1",
        "ENDPOINT_PRODUCED": "7",
    }
    assert activity["TotalEndpointCount"] == 1


def test_treatments_and_holdout_share_the_audience_by_cohort(app):
    app.put_many(400)
    other = {"EmailMessage": {**EMAIL["EmailMessage"], "Title": "Other"}}
    campaign = app.campaign(
        HoldoutPercent=10,
        AdditionalTreatments=[
            {"SizePercent": 30, "MessageConfiguration": other},
            {"SizePercent": 20, "MessageConfiguration": EMAIL},
        ],
    )
    activities = {activity["TreatmentId"]: activity for activity in app.finished(campaign)}
    metrics = {
        name: Counter({key: int(value) for key, value in one["ExecutionMetrics"].items()})
        for name, one in activities.items()
    }

    assert sorted(activities) == ["0", "1", "2"]
    held = metrics["0"]["HOLDOUT"]
    assert 10 < held < 90
    assert sum(one["TotalEndpointCount"] for one in activities.values()) == 400 - held
    assert len(app.received()) == len(set(app.received())) == 400 - held
    for name, activity in activities.items():
        assert metrics[name]["ENDPOINT_PRODUCED"] == 400
        assert metrics[name]["TREATMENT_HOLDOUT"] + metrics[name]["HOLDOUT"] + activity["TotalEndpointCount"] == 400
    subjects = Counter(mail["subject"] for one in set(app.received()) for mail in app.sink.to(app.address(one)))
    assert subjects["Other"] == activities["1"]["SuccessfulEndpointCount"]
    shown = app.get(campaign)
    assert shown["DefaultState"] == shown["AdditionalTreatments"][1]["State"] == {"CampaignStatus": "COMPLETED"}


def test_an_address_gets_one_mail_however_many_endpoints_have_it(app):
    app.put("a")
    app.put("b")
    app.ask("UPDATE endpoint SET address = %s WHERE app_id = %s", [app.address("same"), app.id])
    [activity] = app.finished(app.campaign())

    assert app.received() == ["same"]
    assert activity["ExecutionMetrics"] == {"DUPLICATE_ADDRESS": "1", "ENDPOINT_PRODUCED": "2"}


def test_total_and_daily_caps_hold_over_campaigns(app):
    app.client.update_application_settings(
        ApplicationId=app.id, WriteApplicationSettingsRequest={"Limits": {"Daily": 2}}
    )
    app.put("a")
    for expected in ({}, {}, {"DAILY_CAP": "1"}):
        [activity] = app.finished(app.campaign())
        assert activity["ExecutionMetrics"] == {"ENDPOINT_PRODUCED": "1", **expected}

    assert app.received() == ["a", "a"]


def test_quiet_time_drops_those_whose_clock_is_in_it(app):
    app.put("vienna", Demographic={"Timezone": "Europe/Vienna"})
    app.put("nowhere", Demographic={"Timezone": "Mars/Olympus"})
    app.put("anywhere")
    schedule = {"QuietTime": {"Start": "00:00", "End": "23:59"}}
    [activity] = app.finished(app.campaign(schedule=schedule))

    assert app.received() == ["anywhere", "nowhere"]
    assert activity["ExecutionMetrics"] == {"ENDPOINT_PRODUCED": "3", "QUIET_TIME": "1"}


def test_events_tell_of_sends_and_of_late_drops(app):
    app.put("a")
    app.put("b", Demographic={"Timezone": "UTC"}, User={"UserId": "u"})
    campaign = app.campaign(schedule={"QuietTime": {"Start": "00:00", "End": "23:59"}})
    [activity] = app.finished(campaign)
    events = dict(
        app.ask(
            "SELECT endpoint_id, document FROM logged_event WHERE app_id = %s AND event_type = '_campaign.send'",
            [app.id],
        )
    )
    common = {
        "campaign_id": campaign,
        "campaign_activity_id": activity["Id"],
        "treatment_id": "0",
        "delivery_type": "EMAIL",
    }

    assert events["a"]["attributes"] == {**common, "campaign_send_status": "SUCCESS"}
    assert events["b"]["attributes"] == {**common, "campaign_send_status": "QUIET_TIME"}
    endpoint = json.loads(events["b"]["client_context"]["custom"]["endpoint"])
    assert (endpoint["ChannelType"], endpoint["User"]) == ("EMAIL", {"UserId": "u"})
    assert json.loads(events["a"]["client_context"]["custom"]["endpoint"])["OptOut"] == "NONE"
    [(sent,)] = app.ask("SELECT document FROM logged_event WHERE app_id = %s AND event_type = '_email.send'", [app.id])
    assert {name: sent["attributes"][name] for name in list(common)[:3]} == dict(list(common.items())[:3])


def test_a_recurring_campaign_waits_for_its_next_run_and_asks_the_segment_again(app):
    app.put("a")
    campaign = app.campaign(start=iso(seconds=1), schedule={"Frequency": "HOURLY"})
    eventually(lambda: app.status(campaign) == "PENDING_NEXT_RUN")
    app.put("b")
    app.ask(
        """UPDATE campaign_treatment SET next_slot = next_slot - interval '1 hour' + interval '1 second',
               next_at = now() WHERE campaign_id = %s""",
        [campaign],
    )
    app.ask("SELECT pg_notify('campaigns', '')")
    eventually(lambda: len(app.received()) == 3)

    assert app.received() == ["a", "a", "b"]
    eventually(lambda: [one["State"] for one in app.activities(campaign)] == ["COMPLETED"] * 2)
    assert app.status(campaign) == "PENDING_NEXT_RUN"


def test_a_paused_campaign_skips_its_run(app):
    app.put("a")
    campaign = app.campaign(start=iso(seconds=2), schedule={"Frequency": "DAILY"}, IsPaused=True)
    eventually(
        lambda: app.ask(
            "SELECT 1 FROM campaign_treatment WHERE campaign_id = %s AND next_at > now() + interval '1 hour'",
            [campaign],
        )
    )

    assert (app.status(campaign), app.activities(campaign), app.received()) == ("PAUSED", [], [])
    app.update(campaign, IsPaused=False)
    assert app.status(campaign) == "SCHEDULED"


def test_a_deleted_segment_ends_the_campaign(app):
    app.put("a")
    segment = app.segment()
    campaign = app.campaign(segment, start=iso(seconds=1))
    app.client.delete_segment(ApplicationId=app.id, SegmentId=segment)
    [activity] = app.finished(campaign)

    assert (app.status(campaign), activity["State"], activity["Result"]) == ("DELETED", "COMPLETED", "FAIL")


def test_a_channel_that_is_turned_off_makes_the_campaign_invalid(app):
    app.put("a")
    name = f"t{app.id}"
    app.client.create_sms_template(TemplateName=name, SMSTemplateRequest={"Body": "x"})
    templated = {"MessageConfiguration": {}, "TemplateConfiguration": {"SMSTemplate": {"Name": name}}}
    campaign = app.campaign(start=iso(seconds=1), **templated)
    app.client.update_sms_channel(ApplicationId=app.id, SMSChannelRequest={"Enabled": False})
    [activity] = app.finished(campaign)

    assert (app.status(campaign), activity["Result"], app.received()) == ("INVALID", "FAIL", [])


def test_a_campaign_that_is_deleted_stops_sending(app):
    app.put_many(100)
    campaign = app.campaign(Limits={"MessagesPerSecond": 4})
    eventually(lambda: len(app.received()) >= 2)
    app.client.delete_campaign(ApplicationId=app.id, CampaignId=campaign)
    eventually(
        lambda: app.ask("SELECT 1 FROM campaign_activity WHERE campaign_id = %s AND ended_at IS NOT NULL", [campaign])
    )
    [(state, counts)] = app.ask("SELECT state, counts FROM campaign_activity WHERE campaign_id = %s", [campaign])

    assert state == "CANCELLED"
    assert counts["SENT"] == len(app.received()) < 30
    assert counts["SENT"] + counts["STOPPED"] == 100


def test_who_opts_out_while_it_is_being_sent_gets_nothing(app):
    app.put_many(40)
    campaign = app.campaign(Limits={"MessagesPerSecond": 10})
    eventually(lambda: len(app.received()) >= 2)
    app.put("e00039", OptOut="ALL")
    [activity] = app.finished(campaign)

    assert (activity["TotalEndpointCount"], activity["SuccessfulEndpointCount"]) == (40, 39)
    assert "e00039" not in app.received()
    assert app.ask("SELECT count(*) FROM logged_event WHERE app_id = %s AND endpoint_id = 'e00039'", [app.id]) == [(0,)]
    assert app.ask(
        "SELECT state, status_message FROM message WHERE app_id = %s AND endpoint_id = 'e00039'", [app.id]
    ) == [("STOPPED", "ENDPOINT_OPT_OUT")]


def test_what_is_left_at_the_end_of_the_maximum_duration_expires(app):
    app.put_many(60)
    campaign = app.campaign(Limits={"MessagesPerSecond": 5, "MaximumDuration": 60})
    eventually(lambda: [one for one in app.activities(campaign) if one["SuccessfulEndpointCount"] >= 5])
    running = app.activities(campaign)[0]
    app.ask("UPDATE campaign_activity SET expires_at = now() WHERE campaign_id = %s", [campaign])
    [activity] = app.finished(campaign)

    assert (running["State"], running["TotalEndpointCount"]) == ("RUNNING", 60)
    assert running["SuccessfulEndpointCount"] < 60
    assert activity["SuccessfulEndpointCount"] == len(app.received()) < 40
    expired = app.ask(
        """SELECT count(*) FROM logged_event
           WHERE app_id = %s AND document->'attributes'->>'campaign_send_status' = 'EXPIRED'""",
        [app.id],
    )
    assert expired == [(60 - len(app.received()),)]


def test_a_run_that_is_too_late_is_cancelled_and_says_so(app):
    app.put("a")
    campaign = app.campaign(start=iso(days=1))
    app.ask(
        """UPDATE campaign_version SET document = jsonb_set(document, '{Schedule,StartTime}', '"2026-01-01T00:00:00Z"')
           WHERE campaign_id = %s""",
        [campaign],
    )
    app.ask(
        "UPDATE campaign_treatment SET next_slot = '2026-01-01Z', next_at = '2026-01-01Z' WHERE campaign_id = %s",
        [campaign],
    )
    app.ask("SELECT pg_notify('campaigns', '')")
    [activity] = app.finished(campaign)

    assert (activity["State"], activity["Result"], app.received()) == ("CANCELLED", "FAIL", [])


def test_recipients_in_other_zones_wait_for_their_own_hour(app):
    """09:00 on clocks that show UTC is now; one zone's nine o'clock is over, one's is hours away."""
    app.put("now", Demographic={"Timezone": "UTC"})
    app.put("later", Demographic={"Timezone": "Pacific/Honolulu"})
    app.put("over", Demographic={"Timezone": "Asia/Tokyo"})
    app.put("unknown")
    campaign = app.campaign(start=iso(seconds=1), schedule={"IsLocalTime": True})
    eventually(lambda: app.received() == ["now"])
    eventually(lambda: [one for one in app.activities(campaign) if one["SuccessfulEndpointCount"] == 1])
    [activity] = app.activities(campaign)

    assert activity["ExecutionMetrics"] == {
        "ENDPOINT_MISSING_TIMEZONE": "1",
        "ENDPOINT_PRODUCED": "3",
        "ENDPOINT_TIMEZONE_MISMATCH": "1",
    }
    assert (activity["TimezonesTotalCount"], activity["TimezonesCompletedCount"]) == (2, 1)
    assert app.status(campaign) == "EXECUTING"
    app.ask("UPDATE campaign_wave SET due_at = now() WHERE campaign_id = %s AND done_at IS NULL", [campaign])
    app.ask("SELECT pg_notify('campaigns', '')")
    [activity] = app.finished(campaign)
    assert app.received() == ["later", "now"]
    assert (activity["TotalEndpointCount"], activity["ExecutionMetrics"]["ENDPOINT_PRODUCED"]) == (2, "4")


def test_whom_a_run_left_out_is_kept_as_long_as_the_ledger(app):
    app.put("out", OptOut="ALL")
    campaign = app.campaign()
    app.finished(campaign)
    app.put("out", OptOut="NONE")
    app.ask("UPDATE campaign_activity SET ended_at = ended_at - interval '91 days' WHERE campaign_id = %s", [campaign])
    with psycopg.connect(dsn_of(app.server.data_dir)) as connection:
        asyncio.run(keep_house_now(connection.info.dsn))

    assert app.ask("SELECT 1 FROM campaign_drop WHERE app_id = %s", [app.id]) == []


async def keep_house_now(dsn):
    """What every worker does from time to time."""
    db = Database(dsn)
    await db.open()
    try:
        await keep_house(db, datetime.now(UTC), event_days=90, message_days=90, inbox_messages=90)
    finally:
        await db.close()
