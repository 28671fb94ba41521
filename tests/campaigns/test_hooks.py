"""Campaign hooks: a function looks over the endpoints just before their messages are made."""

import json
from base64 import b64encode
from collections import Counter

import pytest

from tests.campaigns.conftest import EMAIL, App, as_json, iso, repoint
from tests.campaigns.far_end import function_arn, sends, through
from tests.campaigns.test_events import filter_of, report, waiting
from tests.conftest import eventually, start_server
from tests.killing import kill_all
from tests.messages.sending import text
from tests.streams.conftest import bind
from tests.streams.test_functions import GUIDE_FILTER

pytestmark = pytest.mark.usefixtures("calling")

OFFER = {"EmailMessage": {**EMAIL["EmailMessage"], "Body": "Your offer: {{Attributes.Offer}}"}}
SMS = {"SMSMessage": {"Body": "plain", "SenderId": "shop"}}


def hook(uri):
    """The members of a campaign with a hook."""
    member = "WebUrl" if uri.startswith("https://") else "LambdaFunctionName"
    return {"Hook": {"Mode": "FILTER", member: uri}}


def answering(change):
    """An answer of all endpoints as `change` has them; None leaves one out."""

    def answer(payload):
        changed = {name: change(name, one) for name, one in payload["Endpoints"].items()}
        return 200, json.dumps({name: one for name, one in changed.items() if one is not None}).encode()

    return answer


def test_the_guides_offer_hook_runs_unmodified_and_its_offer_is_in_the_mail(app, tmp_path):
    (tmp_path / "offers.py").write_text(GUIDE_FILTER)
    offers = "def retrieve_offer_for_endpoint(endpoint_id):\n    return f'20% for {endpoint_id}'\n"
    (tmp_path / "mock_offer_system.py").write_text(offers)
    bind(app.server, function_arn("offers"), f"python:{tmp_path}/offers.py")
    app.put("Ann")
    app.put("Bob", Attributes={"Likes": ["tea"]})
    [activity] = app.finished(app.campaign(MessageConfiguration=OFFER, **hook("offers")))
    stored = app.client.get_endpoint(ApplicationId=app.id, EndpointId="Bob")["EndpointResponse"]

    assert [app.body_of(name) for name in ("Ann", "Bob")] == ["Your offer: 20% for Ann", "Your offer: 20% for Bob"]
    assert (activity["SuccessfulEndpointCount"], activity["ExecutionMetrics"]) == (2, {"ENDPOINT_PRODUCED": "2"})
    assert stored["Attributes"] == {"Likes": ["tea"]}


def test_a_url_gets_the_payload_of_the_guide(app, far_end):
    url = far_end.serve("/hook-payload", answering(lambda _, one: one))
    app.put(
        "Ann-1",
        Attributes={"Likes": ["tea"]},
        Demographic={"Make": "Acme"},
        Location={"City": "Graz"},
        User={"UserId": "u9", "UserAttributes": {"Name": ["Ann"]}},
    )
    campaign = app.campaign(**hook(url))
    [activity] = app.finished(campaign)
    [payload] = far_end.called("/hook-payload")
    stored = app.client.get_endpoint(ApplicationId=app.id, EndpointId="Ann-1")["EndpointResponse"]

    assert payload.pop("ScheduledTime").endswith("Z")
    assert payload == {
        "MessageConfiguration": {
            "EmailMessage": {
                "FromAddress": "shop@example.com",
                "SimpleEmail": {"Subject": {"Data": "Hi"}, "TextPart": {"Data": "Hello {{Address}}"}},
            }
        },
        "ApplicationId": app.id,
        "CampaignId": campaign,
        "TreatmentId": "0",
        "ActivityId": activity["Id"],
        "Endpoints": {
            "Ann-1": {
                "ChannelType": "EMAIL",
                "Address": app.address("Ann-1"),
                "EndpointStatus": "ACTIVE",
                "OptOut": "NONE",
                "Location": {"City": "Graz"},
                "Demographic": {"Make": "Acme"},
                "EffectiveDate": stored["EffectiveDate"],
                "Attributes": {"Likes": ["tea"], "CohortId": [stored["CohortId"]]},
                "Metrics": {},
                "User": {"UserId": "u9", "UserAttributes": {"Name": ["Ann"]}},
                "CreationDate": stored["CreationDate"],
            }
        },
    }


def test_a_urls_user_and_password_are_its_authentication(app, far_end):
    """So said the API's reference, and Terraform's says it still. What people are told does not have the password."""
    url = far_end.serve("/hook-user", lambda _: (200, b'{"a": 1}')).replace("https://", "https://me:p%40ss@")
    app.put("a")
    campaign = app.campaign(**hook(url))
    app.finished(campaign)
    given = [headers["authorization"] for headers, body in far_end.requests if campaign.encode() in body]
    [why] = as_json(app, "why", campaign, "a")[1]
    told = why["text"].partition("HOOK_FAILURE: ")[2]

    assert given == [f"Basic {b64encode(b'me:p@ss').decode()}"]
    assert told == f"{url.replace('p%40ss', '***')}: a: the endpoint: must be a map"
    assert "p%40ss" not in json.dumps(why)


def test_an_audience_is_looked_over_fifty_at_a_time(app, far_end):
    url = far_end.serve("/hook-fifty", answering(lambda _, one: one))
    ids = app.put_many(120)
    [activity] = app.finished(app.campaign(**hook(url)))
    calls = [list(payload["Endpoints"]) for payload in far_end.called("/hook-fifty")]

    assert sorted(map(len, calls)) == [20, 50, 50]
    assert sorted(one for call in calls for one in call) == app.received() == ids
    assert activity["SuccessfulEndpointCount"] == 120


def test_whom_the_hook_leaves_out_gets_nothing_and_is_counted(app, far_end):
    out = {"in": {}, "gone": None, "null": {"Attributes": None, "OptOut": "ALL"}, "off": {"EndpointStatus": "INACTIVE"}}
    url = far_end.serve("/hook-filter", answering(out.get))
    for name in out:
        app.put(name)
    campaign = app.campaign(**hook(url))
    [activity] = app.finished(campaign)
    [why] = as_json(app, "why", campaign, "gone")[1]

    assert (app.received(), list(sends(app))) == (["in"], ["in"])
    assert activity["ExecutionMetrics"] == {"ENDPOINT_PRODUCED": "4", "FILTERED_OUT_BY_HOOK": "3"}
    assert (activity["TotalEndpointCount"], activity["SuccessfulEndpointCount"]) == (1, 1)
    assert (why["reason"], why["text"]) == (
        "FILTERED_OUT_BY_HOOK",
        f"the campaign's hook, {url}, left the endpoint out",
    )


def test_who_was_left_out_has_not_been_targeted(app, far_end):
    """The limit in all counts messages; a hook comes before it."""
    allowed = [None, {}]
    url = far_end.serve("/hook-cap", answering(lambda *_: allowed.pop(0)))
    app.put("a")
    schedule = filter_of("go")
    campaign = waiting(app, schedule, Limits={"Total": 1}, **hook(url))
    report(app, "a", "go")
    eventually(lambda: "FILTERED_OUT_BY_HOOK" in app.activities(campaign)[0]["ExecutionMetrics"])
    report(app, "a", "go")
    eventually(app.received)
    report(app, "a", "go")
    eventually(lambda: "CAMPAIGN_CAP" in app.activities(campaign)[0]["ExecutionMetrics"])

    assert (app.received(), len(far_end.called("/hook-cap"))) == (["a"], 2)


def test_what_the_hook_changes_is_in_the_message_and_nowhere_else(app, far_end):
    changes = {
        "Attributes": {"Score": [651, "x"], "Plain": "one"},
        "Metrics": {"Visits": 7},
        "Demographic": {"Make": "Other"},
        "Location": {"City": "Graz", "Latitude": 47.1},
        "User": {"UserId": "u2", "UserAttributes": {"Name": ["Zo\u00eb"]}},
        "Nonsense": [1],
    }
    url = far_end.serve("/hook-change", answering(lambda *_: changes))
    app.put("a", Demographic={"Make": "Acme", "Model": "M"}, User={"UserId": "u1"})
    before = app.client.get_endpoint(ApplicationId=app.id, EndpointId="a")["EndpointResponse"]
    body = (
        "{{Attributes.Score.[0]}} {{Attributes.Plain}} {{Metrics.Visits}} {{Demographic.Make}}-{{Demographic.Model}} "
        "{{Location.City}} {{User.UserId}} {{User.UserAttributes.Name}} {{Attributes.CohortId}}{{Address}}"
    )
    message = {"EmailMessage": {**EMAIL["EmailMessage"], "Body": body}}
    app.finished(app.campaign(MessageConfiguration=message, **hook(url)))

    assert app.body_of("a") == f"651 one 7 Other- Graz u2 Zo\u00eb {app.address('a')}"
    assert app.client.get_endpoint(ApplicationId=app.id, EndpointId="a")["EndpointResponse"] == before


def test_overrides_are_for_sms_and_push_and_not_for_email(app, far_end):
    own = {"BodyOverride": "own {{Attributes.A}}", "TitleOverride": "own title", "Attributes": {"A": ["a"]}}
    url = far_end.serve("/hook-override", answering(lambda _, one: {**one, **own}))
    app.put("mail")
    addresses = app.put_text_and_push()
    message = {**EMAIL, **SMS, "GCMMessage": {"Title": "t", "Body": "b"}}
    app.finished(app.campaign(MessageConfiguration=message, **hook(url)))
    sms, push = [text(app.server, address) for address in addresses]

    assert app.body_of("mail") == f"Hello {app.address('mail')}"
    assert (sms["body"], push["body"], push["title"]) == ("own a", "own a", "own title")


FAULTS = [
    (b"", 1, "answered no map of endpoints"),
    (b"[]", 1, "answered no map of endpoints"),
    (b"{", 3, "answered no JSON"),
    (b"[" * 9999, 3, "answered no JSON"),
    (b'{"Endpoints": {"a": {}, "b": {}}}', 1, "answered a map in Endpoints"),
    (b'{"a": [], "b": 1}', 1, "the endpoint: must be a map"),
    (b'{"a": {"Address": "else@example.com"}, "b": {"ChannelType": "SMS"}}', 1, "cannot be changed"),
    (b'{"a": {"Attributes": [1]}, "b": {"Attributes": {"x": [{}]}}}', 1, "Attributes"),
    (b'{"a": {"Metrics": {"m": "1"}}, "b": {"Location": {"Latitude": "x"}}}', 1, "must be a number"),
    (b'{"a": {"Metrics": {"m": 1%b}}, "b": {"Metrics": {"m": "1"}}}' % (b"0" * 400), 1, "Metrics.m: must be a number"),
    (b'{"a": {"User": "u"}, "b": {"User": {"UserAttributes": 1}}}', 1, "User"),
]


@pytest.mark.parametrize(("answer", "calls", "fault"), FAULTS, ids=lambda value: str(value)[:30])
def test_an_answer_that_is_none_is_a_failure_and_nothing_is_sent(app, far_end, answer, calls, fault):
    path = f"/hook-odd-{app.id}"  # of its own: one that has failed five times would be left alone
    url = far_end.serve(path, lambda _: (200, answer))
    app.put("a")
    app.put("b")
    [activity] = app.finished(app.campaign(**hook(url)))
    rows = app.ask("SELECT state, status_code, status_message FROM message WHERE app_id = %s", [app.id])

    assert (app.received(), len(far_end.called(path))) == ([], calls)
    assert {one["campaign_send_status"] for one in sends(app).values()} == {"HOOK_FAILURE"}
    assert {(state, code) for state, code, _ in rows} == {("FAILED", 424)}
    assert all(message.startswith(f"HOOK_FAILURE: {url}: ") and fault in message for _, _, message in rows)
    assert (activity["TotalEndpointCount"], activity["SuccessfulEndpointCount"]) == (2, 0)


def test_a_hook_that_fails_three_times_has_failed_for_its_endpoints(app, far_end):
    """Nobody's address is to blame: no event of the channel tells of it, and none is suppressed."""
    url = far_end.serve("/hook-broken", lambda _: (503, b""))
    app.put("a")
    campaign = app.campaign(**hook(url))
    app.finished(campaign)
    [why] = as_json(app, "why", campaign, "a")[1]
    events = app.ask("SELECT event_type FROM logged_event WHERE app_id = %s", [app.id])

    assert (len(far_end.called("/hook-broken")), app.received(), events) == (3, [], [("_campaign.send",)])
    assert (why["reason"], why["text"].endswith(f"424 HOOK_FAILURE: {url}: HTTP 503")) == ("HOOK_FAILURE", True)
    app.finished(app.campaign())
    assert app.received() == ["a"]


def test_a_hook_that_recovers_has_worked(app, far_end):
    left = [(500, b""), (200, b"no"), (200, b'{"a": {}}')]
    url = far_end.serve("/hook-recovers", lambda _: left.pop(0))
    app.put("a")
    app.finished(app.campaign(**hook(url)))

    assert (app.received(), len(far_end.called("/hook-recovers"))) == (["a"], 3)


def test_a_message_that_is_tried_again_is_asked_for_again(app, far_end):
    offers = ["first", "second"]
    url = far_end.serve("/hook-again", answering(lambda *_: {"Attributes": {"Offer": [offers.pop(0)]}}))
    app.put("a")
    app.sink.put_off.add(app.address("a"))
    [activity] = app.finished(app.campaign(MessageConfiguration=OFFER, **hook(url)))

    assert (app.body_of("a"), len(far_end.called("/hook-again"))) == ("Your offer: second", 2)
    assert activity["SuccessfulEndpointCount"] == 1


def test_who_waits_for_a_slow_hook_is_in_nobodys_way(app, far_end):
    slow, quick = (far_end.serve(path, answering(lambda _, one: one)) for path in ("/hook-slow", "/hook-quick"))
    app.put_many(600)
    with far_end.hold("/hook-slow"):
        hanging = app.campaign(**hook(slow))
        eventually(lambda: len(far_end.called("/hook-slow")) == 8)
        app.finished(app.campaign())
        app.finished(app.campaign(**hook(quick)))

        assert len(app.received()) == 1200
        assert (app.status(hanging), len(far_end.called("/hook-slow"))) == ("EXECUTING", 8)
    app.finished(hanging)
    assert Counter(app.received()) == dict.fromkeys(app.received(), 3)


def test_a_killed_worker_leaves_nobody_out(calling, far_end, tmp_path):
    """Killed while the hook has the calls: it is asked again, by another."""
    url = far_end.serve("/hook-killed", answering(lambda name, one: one if int(name[1:]) % 2 else None))
    trusting, sink = calling
    arguments = ("--log-level", "error", "--lease-seconds", "1", "--smtp-url", sink.url)
    server = start_server(tmp_path / "data", *arguments, environment=trusting.own_environment)
    app = App(server, sink)
    ids = app.put_many(120)
    with far_end.hold("/hook-killed"):
        campaign = app.campaign(**hook(url))
        eventually(lambda: len(far_end.called("/hook-killed")) == 3)
        kill_all(server, with_database=False)
    keys = (server.access_key_id, server.secret_access_key)
    app.server = start_server(tmp_path / "data", *arguments, keys=keys, environment=trusting.own_environment)
    app.client = app.server.client()
    [activity] = app.finished(campaign)
    app.server.stop()

    assert app.received() == [one for one in ids if int(one[1:]) % 2]
    assert (activity["SuccessfulEndpointCount"], len(far_end.called("/hook-killed"))) == (60, 6)


def test_the_applications_hook_is_that_of_campaigns_made_while_it_stands(app, far_end):
    general, own = (far_end.serve(path, answering(lambda _, one: one)) for path in ("/hook-general", "/hook-own"))
    app.put("a")

    def settle(given):
        wanted = {"CampaignHook": given}
        app.client.update_application_settings(ApplicationId=app.id, WriteApplicationSettingsRequest=wanted)

    settle({"WebUrl": general, "Mode": "FILTER"})
    later = app.campaign(start=iso(seconds=2))
    app.finished(app.campaign(**hook(own)))
    settle({})
    app.finished(app.campaign())
    app.finished(later)

    assert (len(far_end.called("/hook-general")), len(far_end.called("/hook-own"))) == (1, 1)
    assert app.received() == ["a"] * 3


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"Mode": "DELIVERY", "LambdaFunctionName": "f"}, "CampaignHook.Mode: DELIVERY is not supported"),
        ({"WebUrl": "http://x"}, "CampaignHook.WebUrl: must be an https:// URL"),
        ({"LambdaFunctionName": "a b"}, "CampaignHook.LambdaFunctionName: must be the name or ARN"),
    ],
)
def test_an_applications_hook_is_checked(app, given, fault):
    with pytest.raises(app.client.exceptions.BadRequestException, match=fault):
        app.client.update_application_settings(
            ApplicationId=app.id, WriteApplicationSettingsRequest={"CampaignHook": given}
        )


def test_in_app_messages_have_no_use_for_a_hook(app, far_end):
    content = {"Layout": "OVERLAYS", "Content": [{"BackgroundColor": "#ffffff"}]}
    schedule = {"Frequency": "IN_APP_EVENT", "EventFilter": filter_of("go", kind="SYSTEM"), "EndTime": iso(hours=1)}
    with pytest.raises(app.client.exceptions.BadRequestException, match="Hook: cannot go with an in-app message"):
        app.campaign(
            schedule=schedule, MessageConfiguration={"InAppMessage": content}, **hook(far_end.serve("/hook-in-app"))
        )


def test_a_custom_channel_delivers_to_whom_the_hook_leaves_in(app, far_end):
    delivery = far_end.serve("/hook-delivery")
    url = far_end.serve(
        "/hook-before", answering(lambda name, one: {**one, "Metrics": {"m": 1}} if name == "a" else None)
    )
    app.put("a", ChannelType="CUSTOM", Address="x")
    app.put("b", ChannelType="CUSTOM", Address="y")
    app.finished(app.campaign(**through(delivery), **hook(url)))
    [payload] = far_end.called("/hook-delivery")

    assert {name: one["Metrics"] for name, one in payload["Endpoints"].items()} == {"a": {"m": 1.0}}


def test_a_hook_is_tried_on_the_command_line_with_what_it_would_be_told(app, far_end):
    url = far_end.serve("/hook-trial", answering(lambda _, one: one))
    app.put("Ann", Attributes={"Likes": ["tea"]})
    campaign = app.campaign(start=iso(hours=1), **hook(url))
    status, printed = repoint(app, "campaigns", "hook-payload", campaign, "ann", "nobody")
    payload = json.loads(printed)

    assert (status, payload["CampaignId"], list(payload["Endpoints"])) == (0, campaign, ["Ann"])
    assert payload["Endpoints"]["Ann"]["Attributes"]["Likes"] == ["tea"]
    assert far_end.called("/hook-trial") == []


def test_preflight_calls_the_hook_without_endpoints(app, far_end):
    url = far_end.serve("/hook-preflight", answering(lambda _, one: one))
    app.put("a")
    campaign = app.campaign(start=iso(hours=1), MessageConfiguration=OFFER, **hook(url))
    status, found = as_json(app, "campaigns", "preflight", campaign)
    [payload] = far_end.called("/hook-preflight")
    far_end.serve("/hook-preflight", lambda _: (500, b""))
    failed, report = as_json(app, "campaigns", "preflight", campaign)

    assert (payload["Endpoints"], payload["CampaignId"]) == ({}, campaign)
    assert (status, found["Faults"], found["Messages"], found["Unsigned"]) == (0, [], {}, ["example.com"])
    assert (failed, report["Faults"]) == (1, [f"{url}: HTTP 500"])
