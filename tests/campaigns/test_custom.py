"""Custom channels: functions and webhooks deliver, with the payload and the replies of Pinpoint's guide."""

from collections import Counter

import pytest

from tests.campaigns.conftest import App, as_json, iso
from tests.campaigns.far_end import function_arn, reply, sends, through
from tests.conftest import eventually, start_server
from tests.events.conftest import event
from tests.killing import kill_all
from tests.streams.conftest import bind
from tests.streams.test_functions import GUIDE_CHANNEL

pytestmark = pytest.mark.usefixtures("calling")


def test_the_guides_handler_delivers_unmodified(app, tmp_path):
    (tmp_path / "guide.py").write_text(GUIDE_CHANNEL)
    bind(app.server, function_arn("guide"), f"python:{tmp_path}/guide.py")
    app.put("endpoint_id", ChannelType="CUSTOM", Address="social/7", User={"UserId": "u7"})
    campaign = app.campaign(**through("guide"))
    [activity] = app.finished(campaign)

    assert (activity["TotalEndpointCount"], activity["SuccessfulEndpointCount"]) == (1, 1)
    assert as_json(app, "why", campaign, "endpoint_id")[1][0]["text"].endswith("attempt 1: Delivered by guide")


def test_a_webhook_gets_the_payload_of_the_guide(app, far_end):
    url = far_end.serve("/payload")
    app.put(
        "Ann-1",
        ChannelType="CUSTOM",
        Address="social/ann",
        Attributes={"Likes": ["tea"]},
        Metrics={"Visits": 3},
        Demographic={"Make": "Acme", "Timezone": "Europe/Vienna"},
        Location={"City": "Graz", "Country": "AT"},
        User={"UserId": "u9", "UserAttributes": {"Name": ["Ann"]}},
    )
    campaign = app.campaign(**through(url, data='{"text": "{{verbatim}}"}'))
    [activity] = app.finished(campaign)
    [payload] = far_end.called("/payload")
    stored = app.client.get_endpoint(ApplicationId=app.id, EndpointId="Ann-1")["EndpointResponse"]

    assert payload.pop("ScheduledTime").endswith("Z")
    assert payload == {
        "Message": {},
        "Data": '{"text": "{{verbatim}}"}',
        "ApplicationId": app.id,
        "CampaignId": campaign,
        "TreatmentId": "0",
        "ActivityId": activity["Id"],
        "Endpoints": {
            "Ann-1": {
                "ChannelType": "CUSTOM",
                "Address": "social/ann",
                "EndpointStatus": "ACTIVE",
                "OptOut": "NONE",
                "Location": {"City": "Graz", "Country": "AT"},
                "Demographic": {"Make": "Acme", "Timezone": "Europe/Vienna"},
                "EffectiveDate": stored["EffectiveDate"],
                "Attributes": {"Likes": ["tea"], "CohortId": [stored["CohortId"]]},
                "Metrics": {"Visits": 3.0},
                "User": {"UserId": "u9", "UserAttributes": {"Name": ["Ann"]}},
                "CreationDate": stored["CreationDate"],
            }
        },
    }


def test_lambda_runs_the_guides_handler(app, aws):
    handler = {}
    exec(GUIDE_CHANNEL, handler)
    arn = function_arn("cdp")
    aws.serve(arn, lambda payload: handler["lambda_handler"](payload, None))
    bind(app.server, arn, "aws")
    app.put("endpoint_id", ChannelType="CUSTOM", Address="x", User={"UserId": "u7"})
    [activity] = app.finished(app.campaign(**through(arn)))

    assert (activity["SuccessfulEndpointCount"], len(aws.called(arn))) == (1, 1)


def test_an_audience_is_delivered_in_calls_of_at_most_fifty(app, far_end):
    url = far_end.serve("/fifty")
    ids = app.put_many(120, "CUSTOM")
    [activity] = app.finished(app.campaign(**through(url)))
    calls = [list(payload["Endpoints"]) for payload in far_end.called("/fifty")]

    assert sorted(map(len, calls)) == [20, 50, 50]
    assert sorted(one for call in calls for one in call) == ids
    assert activity["SuccessfulEndpointCount"] == 120


def test_endpoints_of_the_types_named_are_delivered_to_whatever_their_own_channel(app, far_end):
    url = far_end.serve("/types")
    app.client.update_sms_channel(ApplicationId=app.id, SMSChannelRequest={"Enabled": False})
    app.put("mail")
    app.put("text", ChannelType="SMS", Address="+14255550100")
    app.put("other", ChannelType="CUSTOM", Address="x")
    [activity] = app.finished(app.campaign(**through(url, "EMAIL", "SMS")))
    [payload] = far_end.called("/types")

    assert {name: one["ChannelType"] for name, one in payload["Endpoints"].items()} == {"mail": "EMAIL", "text": "SMS"}
    assert activity["ExecutionMetrics"] == {"ENDPOINT_CHANNEL_MISMATCH": "1", "ENDPOINT_PRODUCED": "3"}
    assert app.received() == []
    assert Counter(one["delivery_type"] for one in sends(app).values()) == {"CUSTOM": 2}
    assert (
        app.ask("SELECT event_type FROM logged_event WHERE app_id = %s AND event_type NOT LIKE '_campaign%%'", [app.id])
        == []
    )


def test_replies_become_attributes_of_events(app, far_end):
    many = {f"k{number}": number for number in range(7)}
    url = far_end.serve(
        "/replies",
        reply(
            yes={"EventAttributes": {"choice": "green", "campaign_id": "mine", "treatment_id": "7"}},
            many={"EventAttributes": many},
            long={"EventAttributes": {"fits": "v" * 128, "n" * 129: "x", "v": "v" * 129}},
            odd={"EventAttributes": {"zero": "a\x00b", "list": [], "on": True}},
        ),
    )
    for name in ("yes", "many", "long", "odd", "silent"):
        app.put(name, ChannelType="CUSTOM", Address=name)
    campaign = app.campaign(**through(url))
    app.finished(campaign)
    sent = sends(app)
    own = {name: {k: v for k, v in one.items() if k not in sent["silent"]} for name, one in sent.items()}

    assert {one["campaign_send_status"] for one in sent.values()} == {"SUCCESS"}
    assert {(one["campaign_id"], one["treatment_id"]) for one in sent.values()} == {(campaign, "0")}
    assert own["yes"] == {"choice": "green"}
    assert own["many"] == {f"k{number}": str(number) for number in range(5)}
    assert own["long"] == {"fits": "v" * 128}
    assert own["odd"] == {"zero": "ab", "on": "true"}
    assert "choice=green" in as_json(app, "why", campaign, "yes")[1][0]["text"]
    assert "EventAttributes left out: 2" in as_json(app, "why", campaign, "many")[1][0]["text"]


@pytest.mark.parametrize(
    "body", [b"ok", b"", b"[1]", b'{"e00000": 1, "e00001": {"EventAttributes": "x"}}', b"\xff", b"[" * 9999]
)
def test_an_answer_that_says_nothing_is_a_delivery(app, far_end, body):
    url = far_end.serve("/plain", lambda _: (200, body))
    app.put_many(2, "CUSTOM")
    [activity] = app.finished(app.campaign(**through(url)))

    assert (activity["SuccessfulEndpointCount"], len(far_end.called("/plain"))) == (2, 1)


def test_a_reply_may_say_what_became_of_an_endpoint(app, far_end):
    """In the words EndpointMessageResult has for it."""
    said = {
        "sent": {"DeliveryStatus": "SUCCESSFUL", "StatusMessage": "queued as 7", "StatusCode": 202},
        "gone": {"DeliveryStatus": "PERMANENT_FAILURE", "StatusMessage": "no such account", "StatusCode": 404},
        "later": {"DeliveryStatus": "TEMPORARY_FAILURE"},
        "busy": {"DeliveryStatus": "THROTTLED", "StatusCode": 429},
        "odd": {"DeliveryStatus": ["?"], "StatusCode": 10**20},
    }
    url = far_end.serve("/said", reply(**said))
    for name in said:
        app.put(name, ChannelType="CUSTOM", Address=name)
    campaign = app.campaign(**through(url))
    [activity] = app.finished(campaign)
    rows = app.ask("SELECT endpoint_id, state, status_code FROM message WHERE app_id = %s ORDER BY 1", [app.id])

    assert rows == [
        ("busy", "FAILED", 429),
        ("gone", "FAILED", 404),
        ("later", "FAILED", 502),
        ("odd", "FAILED", 502),
        ("sent", "SENT", 202),
    ]
    assert {name: one["campaign_send_status"] for name, one in sends(app).items()} == {
        "gone": "FAILURE_PERMANENT",
        "later": "TRANSIENT_FAILURE",
        "busy": "THROTTLED",
        "odd": "UNKNOWN",
        "sent": "SUCCESS",
    }
    assert (activity["SuccessfulEndpointCount"], len(far_end.called("/said"))) == (1, 1)
    assert as_json(app, "why", campaign, "gone")[1][0]["text"].endswith("404 no such account")


def test_a_far_end_that_fails_three_times_has_failed(app, far_end):
    url = far_end.serve("/broken", lambda _: (503, b""))
    app.put_many(2, "CUSTOM")
    campaign = app.campaign(**through(url))
    [activity] = app.finished(campaign)

    assert len(far_end.called("/broken")) == 3
    assert (activity["TotalEndpointCount"], activity["SuccessfulEndpointCount"]) == (2, 0)
    assert {one["campaign_send_status"] for one in sends(app).values()} == {"CUSTOM_DELIVERY_FAILURE"}
    [why] = as_json(app, "why", campaign, "e00001")[1]
    assert (why["reason"], why["text"].endswith(f"{url}: HTTP 503")) == ("FAILED", True)


def test_a_far_end_that_recovers_has_delivered(app, far_end):
    left = [(500, b""), (200, b"")]
    url = far_end.serve("/recovers", lambda _: left.pop(0))
    app.put_many(1, "CUSTOM")
    [activity] = app.finished(app.campaign(**through(url)))

    first, second = far_end.called("/recovers")
    assert first == second
    assert activity["SuccessfulEndpointCount"] == 1


def test_each_treatment_has_a_far_end_of_its_own(app, far_end):
    one, two = far_end.serve("/one"), far_end.serve("/two")
    ids = app.put_many(60, "CUSTOM")
    campaign = app.campaign(
        **through(one, data="first"), AdditionalTreatments=[{"SizePercent": 50, **through(two, data="second")}]
    )
    app.finished(campaign)
    got = {path: far_end.called(path) for path in ("/one", "/two")}

    assert {(call["TreatmentId"], call["Data"]) for call in got["/one"]} == {("0", "first")}
    assert {(call["TreatmentId"], call["Data"]) for call in got["/two"]} == {("1", "second")}
    assert sorted(one for calls in got.values() for call in calls for one in call["Endpoints"]) == ids


def test_who_waits_for_a_slow_far_end_is_in_nobodys_way(app, far_end):
    """Hundreds of endpoints behind a far end that hangs; campaigns that begin later are done meanwhile."""
    slow, quick = far_end.serve("/slow"), far_end.serve("/quick")
    app.put_many(1000, "CUSTOM")
    with far_end.hold("/slow"):
        hanging = app.campaign(**through(slow))
        eventually(lambda: len(far_end.called("/slow")) == 8)
        app.put("mail")
        mailed = app.campaign()
        called = app.campaign(**through(quick))
        app.finished(mailed)
        app.finished(called)

        assert app.received() == ["mail"]
        assert sum(len(call["Endpoints"]) for call in far_end.called("/quick")) == 1000
        assert (app.status(hanging), len(far_end.called("/slow"))) == ("EXECUTING", 8)
    [activity] = app.finished(hanging)
    assert (activity["SuccessfulEndpointCount"], len(far_end.called("/slow"))) == (1000, 20)


def test_a_killed_worker_leaves_nobody_out(calling, tmp_path, far_end):
    """Killed while the far end has the calls: it gets them again, from another."""
    url = far_end.serve("/killed")
    arguments = ("--log-level", "error", "--lease-seconds", "1")
    trusting = calling[0].own_environment
    server = start_server(tmp_path / "data", *arguments, environment=trusting)
    app = App(server, None)
    ids = app.put_many(200, "CUSTOM")
    with far_end.hold("/killed"):
        campaign = app.campaign(**through(url))
        eventually(lambda: len(far_end.called("/killed")) == 4)
        kill_all(server, with_database=False)
    keys = (server.access_key_id, server.secret_access_key)
    server = start_server(tmp_path / "data", *arguments, keys=keys, environment=trusting)
    app.server, app.client = server, server.client()
    [activity] = app.finished(campaign)
    times = Counter(one for call in far_end.called("/killed") for one in call["Endpoints"])
    server.stop()

    assert activity["SuccessfulEndpointCount"] == 200
    assert times == dict.fromkeys(ids, 2)


def test_an_event_is_answered_by_a_call(app, far_end):
    url = far_end.serve("/event", reply(e00001={"EventAttributes": {"got": "it"}}))
    app.put_many(3, "CUSTOM")
    dimensions = {"EventType": {"DimensionType": "INCLUSIVE", "Values": ["order.placed"]}}
    schedule = {
        "Frequency": "EVENT",
        "EndTime": iso(hours=1),
        "EventFilter": {"FilterType": "ENDPOINT", "Dimensions": dimensions},
    }
    campaign = app.campaign(schedule=schedule, **through(url))
    eventually(lambda: app.status(campaign) == "EXECUTING")
    batch = {one: {"Endpoint": {}, "Events": {"e": event("order.placed")}} for one in ("e00001", "e00002")}
    app.client.put_events(ApplicationId=app.id, EventsRequest={"BatchItem": batch})
    eventually(lambda: len(sends(app)) == 2)

    assert sorted(one for call in far_end.called("/event") for one in call["Endpoints"]) == ["e00001", "e00002"]
    assert sends(app)["e00001"]["got"] == "it"


def test_who_is_dropped_or_expires_is_told_of_as_custom(app, far_end):
    url = far_end.serve("/told")
    app.put("quiet", Demographic={"Timezone": "UTC"})
    quiet = app.campaign(schedule={"QuietTime": {"Start": "00:00", "End": "23:59"}}, **through(url, "EMAIL"))
    app.finished(quiet)
    app.put_many(40, "CUSTOM")
    campaign = app.campaign(Limits={"MessagesPerSecond": 5, "MaximumDuration": 60}, **through(url))
    eventually(lambda: far_end.called("/told"))
    app.ask("UPDATE campaign_activity SET expires_at = now() WHERE campaign_id = %s", [campaign])
    app.finished(campaign)
    statuses = Counter((one["delivery_type"], one["campaign_send_status"]) for one in sends(app).values())

    assert statuses["CUSTOM", "QUIET_TIME"] == 1
    assert statuses["CUSTOM", "EXPIRED"] > 10
    assert statuses["CUSTOM", "EXPIRED"] + statuses["CUSTOM", "SUCCESS"] == 40
