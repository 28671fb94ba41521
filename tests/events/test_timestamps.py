"""Moments in every form that AWS's SDKs, Amplify and their users send."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoint.clock import MOMENT_RULE, read_moment
from tests.events.conftest import event
from tests.signed import send_raw

SECONDS = 1_936_000_002
moments = st.builds(lambda number: datetime.fromtimestamp(number, UTC), st.floats(320_000_000, 4_000_000_000))
FORMS = {
    "zulu": lambda moment: moment.isoformat().replace("+00:00", "Z"),
    "offset": lambda moment: moment.isoformat(),
    "offset without a colon": lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.%f%z"),
    "no zone": lambda moment: moment.replace(tzinfo=None).isoformat(),
    "compact": lambda moment: moment.strftime("%Y%m%dT%H%M%S.%fZ"),
    "space": lambda moment: moment.isoformat(sep=" "),
    "elsewhere": lambda moment: moment.astimezone(timezone(timedelta(hours=5.5))).isoformat(),
    "nanoseconds": lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S.%f}123Z",
    "seconds": lambda moment: f"{moment.timestamp():.6f}",
    "milliseconds": lambda moment: f"{moment.timestamp() * 1000:.3f}",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@given(moment=moments)
def test_a_moment_is_the_same_in_every_form(form, moment):
    found = read_moment(form(moment))

    assert abs(found - moment) < timedelta(milliseconds=1)


@given(text=st.text(max_size=30) | st.from_regex(r"[-+0-9T:.Z ]{1,30}"))
def test_no_text_breaks_the_reading_of_timestamps(text):
    try:
        moment = read_moment(text)
    except ValueError:
        return

    assert moment.tzinfo is UTC


def put_raw(server, app_id, *events):
    """PutEvents of events whose JSON is as it is; their answers."""
    batch = {"e": {"Endpoint": {}, "Events": {str(at): event() | members for at, members in enumerate(events)}}}
    body = json.dumps({"BatchItem": batch}).encode()
    status, _, answer = send_raw(server, "POST", f"/v1/apps/{app_id}/events", body)
    assert status == 202
    return list(answer["Results"]["e"]["EventsItemResponse"].values())


ACCEPTED = [
    ("2031-05-08T09:46:42.507Z", SECONDS * 1000 + 507),
    ("2031-05-08T09:46:42Z", SECONDS * 1000),
    ("2031-05-08T11:46:42.507+0200", SECONDS * 1000 + 507),
    (SECONDS, SECONDS * 1000),
    (SECONDS + 0.507, SECONDS * 1000 + 507),
    (SECONDS * 1000 + 507, SECONDS * 1000 + 507),
    (SECONDS * 1000.0 + 507, SECONDS * 1000 + 507),
    (str(SECONDS), SECONDS * 1000),
    (f"{SECONDS}507", SECONDS * 1000 + 507),
    (100_000_000, 100_000_000_000),
    ("1969-12-31T23:59:59.999Z", -1),
    ("0001-01-01T00:00:00Z", -62_135_596_800_000),
    ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
]
NUMBERS = [0, 7, -1, -SECONDS, 99_999_999, 20_310_508, 20_310_508_094_642, 10**30, 1e300, 0.5, -0.0]
TEXTS = [
    "",
    "7",
    "-1936000002",
    "1e9",
    "NaN",
    "20310508094642",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-01:00",
    "2031-02-29T00:00:00Z",
    "Thu, 08 May 2031 09:46:42 GMT",
    "١٩٣٦٠٠٠٠٠٢",
]


def test_an_event_happened_when_its_timestamp_says(server, app_id, logged):
    put_raw(server, app_id, *({"Timestamp": given} for given, _ in ACCEPTED))
    stamps = [record["event_timestamp"] for record in logged()]

    assert list(zip([given for given, _ in ACCEPTED], stamps, strict=True)) == ACCEPTED


def test_what_is_no_timestamp_is_refused_by_name(server, app_id):
    refused = {"Message": f"Timestamp: {MOMENT_RULE}", "StatusCode": 400}
    answers = put_raw(server, app_id, *({"Timestamp": given} for given in NUMBERS + TEXTS))

    assert [given for given, answer in zip(NUMBERS + TEXTS, answers, strict=True) if answer != refused] == []


def test_what_is_neither_text_nor_number_is_refused(server, app_id):
    answers = put_raw(server, app_id, {"Timestamp": True}, {"Timestamp": [SECONDS]}, {"Timestamp": {"s": SECONDS}})

    assert answers == [{"Message": "Timestamp: must be a string", "StatusCode": 400}] * 3


def test_a_session_may_be_told_in_numbers(server, app_id, logged):
    session = {"Id": "s", "StartTimestamp": SECONDS * 1000, "StopTimestamp": SECONDS + 2.507, "Duration": 2507.0}
    [answer] = put_raw(server, app_id, {"Session": session})
    [record] = logged()

    assert answer["StatusCode"] == 202
    assert record["session"] == {
        "session_id": "s",
        "start_timestamp": SECONDS * 1000,
        "stop_timestamp": SECONDS * 1000 + 2507,
    }


def effective_dates(server, app_id, given):
    """The three ways an endpoint is told its date: their answers' statuses and messages."""
    path = f"/v1/apps/{app_id}"
    batch = {"e": {"Endpoint": {"EffectiveDate": given}, "Events": {}}}
    status, _, answer = send_raw(server, "POST", f"{path}/events", json.dumps({"BatchItem": batch}).encode())
    assert status == 202
    yield tuple(answer["Results"]["e"]["EndpointItemResponse"][name] for name in ("StatusCode", "Message"))
    for rest, body in (
        ("endpoints/e", {"EffectiveDate": given}),
        ("endpoints", {"Item": [{"Id": "e", "EffectiveDate": given}]}),
    ):
        status, _, answer = send_raw(server, "PUT", f"{path}/{rest}", json.dumps(body).encode())
        yield status, answer["Message"]


@pytest.mark.parametrize("given", [SECONDS, SECONDS * 1000, f"{SECONDS}", "2031-05-08T09:46:42Z"])
def test_an_endpoints_effective_date_may_be_a_number(server, pinpoint, app_id, given):
    for answer in effective_dates(server, app_id, given):
        stored = pinpoint.get_endpoint(ApplicationId=app_id, EndpointId="e")["EndpointResponse"]

        assert answer == (202, "Accepted")
        assert stored["EffectiveDate"] == "2031-05-08T09:46:42.000Z"


@pytest.mark.parametrize("given", [7, 10**30, "soon", "0001-01-01T00:00:00+14:00"])
def test_an_endpoints_effective_date_that_is_none_is_refused_by_name(server, app_id, given):
    for status, message in effective_dates(server, app_id, given):
        assert status == 400
        assert message.endswith(f"EffectiveDate: {MOMENT_RULE}")
