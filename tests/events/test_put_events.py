"""PutEvents: each endpoint and each event is answered for itself, and what is accepted is in the log."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.exceptions import ClientError

from repoint.clock import MOMENT_RULE
from tests.events.conftest import NOW, event
from tests.signed import send_raw

ACCEPTED = {"Message": "Accepted", "StatusCode": 202}
SESSION_RULE = "Session duration in milliseconds must be equal to the difference of start and stop timestamp"


def get(pinpoint, app_id, endpoint_id="e1"):
    return pinpoint.get_endpoint(ApplicationId=app_id, EndpointId=endpoint_id)["EndpointResponse"]


def test_it_works(pinpoint, app_id, put, logged):
    endpoint = {"ChannelType": "GCM", "Address": "token", "OptOut": "NONE", "User": {"UserId": "u9"}}
    answer = put(endpoint=endpoint, e1=event(Attributes={"sku": "A7"}, Metrics={"qty": 2}))
    [record] = logged()

    assert answer == (ACCEPTED, {"e1": ACCEPTED})
    assert (record["event_type"], record["client"]) == ("cart.add", {"client_id": "e1"})
    assert (record["attributes"], record["metrics"]) == ({"sku": "A7"}, {"qty": 2.0})
    assert get(pinpoint, app_id)["User"]["UserId"] == "u9"


def test_the_guides_example_works_unmodified(server, app_id, logged, monkeypatch):
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # another test may have made it, with other keys
    example = guides_example().replace("[PinpointProjectId]", app_id)
    names = {}
    exec(compile(example, "partner-guide", "exec"), names)
    [record] = logged()

    assert names["response"]["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert record["event_type"] == "custom.preference_update"
    assert record["client"]["client_id"] == "[UniqueEndpointID1ForUser]"
    shown = get(server.client(), app_id, "[UniqueEndpointID1ForUser]")
    assert shown["Attributes"] == {"EmailPreference_DailyDeals": ["Subscribed"]}


def guides_example():
    """ "Calling the PutEvents API with a communication preference update event", from AWS's ISV partner guide."""
    return """
import boto3
import time
import datetime
client = boto3.client('pinpoint')

response = client.put_events(
  ApplicationId='[PinpointProjectId]',
  EventsRequest={
    'BatchItem': {
      '[UniqueEndpointID1ForUser]': {
        'Endpoint': {
          'Attributes': {       # Custom Endpoint Attributes Defined
            'EmailPreference_DailyDeals': ['Subscribed']
          }
        },
        'Events': {
          '[SomeUniqueEventId]': {
            'EventType': 'custom.preference_update',
            'Attributes': {       # Custom Event Attributes Defined
              'UpdatedPreference': 'EmailPreference_DailyDeals'
            },
            'Timestamp': datetime.datetime.fromtimestamp(time.time()).isoformat()
          }
        }
      }
    }
  }
)
"""


def test_no_events_update_the_endpoint(pinpoint, app_id, put, logged):
    answer = put(endpoint={"Attributes": {"plan": ["gold"]}})

    assert answer == (ACCEPTED, {})
    assert get(pinpoint, app_id)["Attributes"] == {"plan": ["gold"]}
    assert logged() == []


def test_a_bad_event_spares_its_neighbours(put, logged):
    _, events = put(good=event("a"), bad=event("b", Timestamp="yesterday"), fine=event("c"))

    assert events["bad"] == {"Message": f"Timestamp: {MOMENT_RULE}", "StatusCode": 400}
    assert (events["good"], events["fine"]) == (ACCEPTED, ACCEPTED)
    assert [record["event_type"] for record in logged()] == ["a", "c"]


def test_a_bad_endpoint_spares_its_neighbours_and_takes_its_events_with_it(pinpoint, app_id, logged):
    batch = {
        "good": {"Endpoint": {}, "Events": {"e": event("a")}},
        "bad": {"Endpoint": {"Address": "x"}, "Events": {"e": event("b")}},
    }
    answer = pinpoint.put_events(ApplicationId=app_id, EventsRequest={"BatchItem": batch})
    results = answer["EventsResponse"]["Results"]

    assert results["good"] == {"EndpointItemResponse": ACCEPTED, "EventsItemResponse": {"e": ACCEPTED}}
    assert results["bad"]["EndpointItemResponse"]["StatusCode"] == 400
    assert results["bad"]["EndpointItemResponse"]["Message"].startswith("Missing ChannelType")
    assert results["bad"]["EventsItemResponse"]["e"]["StatusCode"] == 400
    assert [record["event_type"] for record in logged()] == ["a"]


def test_a_users_sixteenth_endpoint_is_refused_in_pinpoints_words(pinpoint, app_id):
    endpoint = {"ChannelType": "EMAIL", "User": {"UserId": "u"}}
    batch = {f"e{n:02}": {"Endpoint": {**endpoint, "Address": f"{n}@example.com"}, "Events": {}} for n in range(16)}
    answer = pinpoint.put_events(ApplicationId=app_id, EventsRequest={"BatchItem": batch})
    refused = [one["EndpointItemResponse"] for one in answer["EventsResponse"]["Results"].values()][-1]

    assert refused["StatusCode"] == 400
    assert refused["Message"].startswith("Exceeded maximum endpoint per user count")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"Attributes": {"a" * 51: "x"}}, "Attributes: a name must have 1 to 50 characters"),
        ({"Metrics": {"": 1}}, "Metrics: a name must have 1 to 50 characters"),
        ({"Attributes": {"a": "x" * 201}}, "Attributes.a: must be at most 200 characters"),
        (
            {"Attributes": dict.fromkeys(map(str, range(30)), "x"), "Metrics": dict.fromkeys(map(str, range(11)), 1)},
            "Attributes and Metrics: must be at most 40 together",
        ),
        ({"EventType": ""}, "EventType: must have 1 to 256 characters"),
        ({"AppTitle": "x" * 1_024_001}, "The event is larger than 1024000 bytes"),
        ({"Session": {"Id": "s", "StartTimestamp": "soon"}}, "Session.StartTimestamp: must be"),
    ],
)
def test_an_event_beyond_a_limit_is_answered_by_name(put, members, message):
    _, events = put(e=event() | members)

    assert events["e"]["StatusCode"] == 400
    assert events["e"]["Message"].startswith(message)


@pytest.mark.parametrize(("duration", "expected"), [(120_000, 202), (120_001, 400)])
def test_a_sessions_duration_must_fit_to_the_millisecond(put, logged, duration, expected):
    session = {
        "Id": "s-8",
        "StartTimestamp": "2031-05-06T07:00:00.000Z",
        "Duration": duration,
        "StopTimestamp": "2031-05-06T07:02:00.000Z",
    }
    _, events = put(e=event("_session.stop", Session=session))

    assert events["e"]["StatusCode"] == expected
    assert events["e"]["Message"] == ("Accepted" if expected == 202 else SESSION_RULE)
    assert len(logged()) == (expected == 202)


def test_what_sdks_of_other_languages_send_is_taken(server, app_id, logged):
    """Amplify's body, with members the model does not have and nulls for what is not known."""
    endpoint = {
        "Address": None,
        "ChannelType": "APNS",
        "Attributes": {"a": None, "b": ["1"]},
        "Metrics": {},
        "Unknown": {},
        "Demographic": {"AppVersion": "web/1.0", "Locale": "de_AT", "Make": None, "Platform": "Linux"},
        "EffectiveDate": "2031-05-06T07:08:09.120Z",
        "Location": {},
        "RequestId": "r",
        "User": {"UserId": "u"},
    }
    sent = {
        "EventType": "_session.start",
        "Timestamp": NOW,
        "AppPackageName": "p",
        "AppTitle": "t",
        "AppVersionCode": "1",
        "SdkName": "aws-amplify",
        "ClientSdkVersion": "6",
        "Attributes": {},
        "Metrics": {},
        "Session": {"Id": "s", "StartTimestamp": NOW, "Duration": None, "StopTimestamp": None},
        "Extra": 1,
    }
    body = {"BatchItem": {"e": {"Endpoint": endpoint, "Events": {"x": sent}}}}
    status, _, answer = send_raw(server, "POST", f"/v1/apps/{app_id}/events", json.dumps(body).encode())
    [record] = logged()

    assert (status, answer["Results"]["e"]["EventsItemResponse"]["x"]) == (202, ACCEPTED)
    assert record["device"] == {
        "locale": {"code": "de_AT", "country": "AT", "language": "de"},
        "platform": {"name": "Linux"},
    }
    assert record["application"]["version_name"] == "web/1.0"


@pytest.mark.parametrize(
    ("item", "endpoint_message", "event_message"),
    [
        (7, "must be an object", None),
        (None, "must be an object", None),
        ({"Endpoint": {}, "Events": {"x": event(), "\ud800": event()}}, "Events.\\ud800: must be", "The endpoint was"),
        ({"Events": {}}, "Endpoint: is required", None),
        ({"Endpoint": {}, "Events": []}, "Events: must be an object", None),
        ({"Endpoint": None, "Events": {"x": event()}}, "Endpoint: is required", "The endpoint was refused"),
        (
            {"Endpoint": {"Address": "a\ud800"}, "Events": {"x": event()}},
            "Endpoint.Address",
            "The endpoint was refused",
        ),
        ({"Endpoint": {"OptOut": "maybe"}, "Events": {"x": event()}}, "Endpoint.OptOut", "The endpoint was refused"),
        ({"Endpoint": {}, "Events": {"x": {"Timestamp": NOW}}}, "Accepted", "EventType: is required"),
        ({"Endpoint": {}, "Events": {"x": event(Attributes={"a": 7})}}, "Accepted", "Attributes.a: must be a string"),
        ({"Endpoint": {}, "Events": {"x": event(Timestamp=[7])}}, "Accepted", "Timestamp: must be a string"),
        ({"Endpoint": {}, "Events": {"x": []}}, "Accepted", "must be an object"),
        ({"Endpoint": {}, "Events": {"x": None}}, "Accepted", "must be an object"),
        (
            {"Endpoint": {}, "Events": {"x": event(Attributes={"a": "\udc00"})}},
            "Accepted",
            "Attributes.a: must be well-",
        ),
        (
            {"Endpoint": {}, "Events": {"x": event(Attributes={"\udc00": "a"})}},
            "Accepted",
            "Attributes.\\udc00: must be well-",
        ),
    ],
)
def test_a_malformed_item_spares_its_neighbours(server, app_id, item, endpoint_message, event_message):
    body = {"BatchItem": {"bad": item, "good": {"Endpoint": {}, "Events": {"x": event()}}}}
    status, _, answer = send_raw(server, "POST", f"/v1/apps/{app_id}/events", json.dumps(body).encode())
    bad, good = answer["Results"]["bad"], answer["Results"]["good"]

    assert (status, good["EventsItemResponse"]["x"]) == (202, ACCEPTED)
    assert bad["EndpointItemResponse"]["Message"].startswith(endpoint_message)
    if event_message:
        assert bad["EventsItemResponse"]["x"]["StatusCode"] == 400
        assert bad["EventsItemResponse"]["x"]["Message"].startswith(event_message)


def test_more_than_a_hundred_events_are_refused_as_a_whole(put, logged):
    with pytest.raises(ClientError, match="at most 100 events; this one has 101"):
        put(**{f"e{n}": event() for n in range(101)})

    assert logged() == []


def test_more_than_four_megabytes_are_too_large(server, app_id):
    body = json.dumps({"BatchItem": {}, "x": "x" * 4 * 1024 * 1024}).encode()
    status, code, _ = send_raw(server, "POST", f"/v1/apps/{app_id}/events", body)

    assert (status, code) == (413, "PayloadTooLargeException")


def test_an_unknown_application_is_not_found(pinpoint):
    with pytest.raises(pinpoint.exceptions.NotFoundException):
        pinpoint.put_events(ApplicationId="0" * 32, EventsRequest={"BatchItem": {}})


def test_an_application_has_so_many_names_for_its_events(put):
    for first in range(0, 500, 40):
        put(e=event(Attributes={f"name{n}": "x" for n in range(first, min(first + 40, 500))}))
    _, events = put(new=event(Attributes={"one_more": "x"}), known=event(Attributes={"name7": "x"}))

    assert events["new"]["Message"] == "Exceeded the maximum of 500 event attribute names of an application"
    assert events["known"] == ACCEPTED


def test_events_are_in_the_log_when_they_are_answered(put, logged):
    started = time.time() * 1000
    put(e=event())
    [record] = logged()

    assert started - 1000 <= record["arrival_timestamp"] <= time.time() * 1000


def test_many_at_once_on_the_same_endpoints_and_user_all_count(server, app_id, logged):
    def report(thread):
        client = server.client()
        for number in range(15):
            endpoint = {"User": {"UserId": "u", "UserAttributes": {"last": [f"{thread}-{number}"]}}}
            spelling = f"{'eE'[number % 2]}{number % 3}"
            batch = {spelling: {"Endpoint": endpoint, "Events": {"x": event(Attributes={"thread": str(thread)})}}}
            answer = client.put_events(ApplicationId=app_id, EventsRequest={"BatchItem": batch})
            results.append(answer["EventsResponse"]["Results"][spelling])

    results = []
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(report, range(8)))

    assert results == [{"EndpointItemResponse": ACCEPTED, "EventsItemResponse": {"x": ACCEPTED}}] * 120
    assert len(logged()) == 120


def test_two_spellings_of_an_endpoint_in_one_request_are_one_endpoint(pinpoint, app_id, logged):
    batch = {
        "Ann": {"Endpoint": {"Attributes": {"a": ["1"]}}, "Events": {"x": event("first")}},
        "ANN": {"Endpoint": {"Attributes": {"b": ["2"]}}, "Events": {"x": event("second")}},
    }
    pinpoint.put_events(ApplicationId=app_id, EventsRequest={"BatchItem": batch})

    assert get(pinpoint, app_id, "ann")["Attributes"] == {"a": ["1"], "b": ["2"]}
    assert [(one["event_type"], one["client"]["client_id"]) for one in logged()] == [
        ("first", "Ann"),
        ("second", "Ann"),
    ]
