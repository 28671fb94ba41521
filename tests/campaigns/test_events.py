"""Campaigns that answer events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoint.resources.campaigns.matching import matches
from repoint.resources.events.reader import LoggedEvent
from tests.campaigns.conftest import iso
from tests.campaigns.test_schedule import CREATED
from tests.conftest import eventually


def filter_of(*event_types, kind="ENDPOINT", attributes=None, metrics=None):
    dimensions = {"EventType": {"DimensionType": "INCLUSIVE", "Values": list(event_types)}}
    if attributes:
        dimensions["Attributes"] = attributes
    if metrics:
        dimensions["Metrics"] = metrics
    return {"FilterType": kind, "Dimensions": dimensions}


def report(app, endpoint_id, event_type, attributes=None, metrics=None):
    """PutEvents with one event of an endpoint."""
    event = {"EventType": event_type, "Timestamp": iso(), "Attributes": attributes or {}, "Metrics": metrics or {}}
    batch = {endpoint_id: {"Endpoint": {}, "Events": {"e": event}}}
    app.client.put_events(ApplicationId=app.id, EventsRequest={"BatchItem": batch})


def waiting(app, event_filter, segment=None, **given):
    """A campaign that is open for events."""
    schedule = {"Frequency": "EVENT", "EventFilter": event_filter, "EndTime": iso(hours=1)}
    campaign = app.campaign(segment, start="IMMEDIATE", schedule=schedule, **given)
    eventually(lambda: app.status(campaign) == "EXECUTING")
    return campaign


def test_whoever_reports_the_event_gets_the_message_and_nobody_else(app):
    app.put("a", User={"UserAttributes": {"Plan": ["gold"]}})
    app.put("b", User={"UserAttributes": {"Plan": ["silver"]}})
    app.put("c", User={"UserAttributes": {"Plan": ["gold"]}})
    segment = app.segment(UserAttributes={"Plan": {"AttributeType": "INCLUSIVE", "Values": ["gold"]}})
    attributes = {"sku": {"AttributeType": "INCLUSIVE", "Values": ["A7", "A8"]}}
    campaign = waiting(app, filter_of("cart.left", attributes=attributes), segment)
    for name in ("a", "b"):
        report(app, name, "cart.left", {"sku": "A7"})
    report(app, "c", "cart.left", {"sku": "B1"})
    report(app, "c", "cart.filled", {"sku": "A7"})
    eventually(app.received)
    report(app, "c", "cart.left", {"sku": "A8"})
    eventually(lambda: len(app.received()) == 2)
    eventually(lambda: app.activities(campaign)[0]["SuccessfulEndpointCount"] == 2)

    assert app.received() == ["a", "c"]
    assert 'repoint_event_reader_lag_seconds{reader="campaigns"} 0.0' in app.server.get("/metrics")
    [activity] = app.activities(campaign)
    assert (activity["State"], activity["TotalEndpointCount"]) == ("RUNNING", 2)
    assert activity["ExecutionMetrics"] == {"ENDPOINT_PRODUCED": "2"}


def test_each_event_is_answered_up_to_the_limits(app):
    app.put("a")
    campaign = waiting(app, filter_of("ping"), Limits={"Total": 3})
    for number in range(5):
        report(app, "a", "ping", {"n": str(number)})
    eventually(lambda: app.activities(campaign)[0]["ExecutionMetrics"].get("CAMPAIGN_CAP") == "2")
    eventually(lambda: app.activities(campaign)[0]["SuccessfulEndpointCount"] == 3)

    assert app.received() == ["a"] * 3


def test_a_paused_campaign_answers_nothing_and_goes_on_later(app):
    app.put("a")
    campaign = waiting(app, filter_of("ping"))
    app.update(campaign, IsPaused=True)
    assert app.status(campaign) == "PAUSED"
    report(app, "a", "ping")
    [(snapshot,)] = app.ask("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
    done = "SELECT 1 FROM event_reader WHERE pg_snapshot_xmin(done)::text::bigint >= %s"
    eventually(lambda: app.ask(done, [snapshot]))
    app.update(campaign, IsPaused=False)
    report(app, "a", "ping")
    eventually(app.received)
    eventually(lambda: app.activities(campaign)[0]["SuccessfulEndpointCount"] == 1)

    assert app.received() == ["a"]


def test_an_update_changes_what_is_sent_from_then_on(app):
    app.put("a")
    campaign = waiting(app, filter_of("ping"))
    report(app, "a", "ping")
    eventually(lambda: len(app.received()) == 1)
    app.update(
        campaign, MessageConfiguration={"EmailMessage": {"FromAddress": "s@example.com", "Title": "New", "Body": "x"}}
    )

    def is_new():
        report(app, "a", "ping")
        return "New" in [mail["subject"] for mail in app.sink.to(app.address("a"))]

    assert eventually(is_new)


def test_a_window_that_closes_completes_the_campaign(app):
    app.put("a")
    campaign = waiting(app, filter_of("ping"))
    end = iso(seconds=1)
    schedule = {"StartTime": "IMMEDIATE", "Frequency": "EVENT", "EventFilter": filter_of("ping"), "EndTime": end}
    app.update(campaign, Schedule=schedule)
    [activity] = app.finished(campaign)

    assert (activity["State"], activity["Result"]) == ("COMPLETED", "SUCCESS")


def test_a_deliverys_own_event_triggers_another_campaign(app):
    app.put("a")
    waiting(app, filter_of("_email.delivered", kind="SYSTEM"), Limits={"Total": 1})
    app.campaign()
    eventually(lambda: app.received() == ["a", "a"])


def metric(operator, value):
    return {"ComparisonOperator": operator, "Value": value}


def event(**document):
    return LoggedEvent("1", 1, CREATED, "a", "e", "ping", CREATED, {"application": {}, **document})


@pytest.mark.parametrize(
    ("kind", "values", "value", "expected"),
    [
        ("INCLUSIVE", ["x", "y"], "y", True),
        ("INCLUSIVE", ["x"], "X", False),
        ("INCLUSIVE", ["x"], None, False),
        ("EXCLUSIVE", ["x"], "y", True),
        ("EXCLUSIVE", ["x"], "x", False),
        ("EXCLUSIVE", ["x"], None, True),
        ("CONTAINS", ["bc"], "abcd", True),
        ("CONTAINS", ["bc"], "acbd", False),
        ("BEFORE", ["2026-01-02T00:00:00Z"], "2026-01-01T00:00:00Z", True),
        ("BEFORE", ["2026-01-02T00:00:00Z"], "2026-01-02T00:00:00Z", False),
        ("AFTER", ["2026-01-02T00:00:00Z"], "2026-01-02T00:00:00.5Z", True),
        ("ON", ["2026-01-02T00:00:00Z"], "2026-01-02T23:59:59Z", True),
        ("BETWEEN", ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"], "2026-01-02T00:00:00Z", True),
        ("BETWEEN", ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"], "2026-01-03T00:00:00Z", False),
        ("BETWEEN", ["2026-01-01T00:00:00Z"], "2026-01-01T00:00:00Z", False),
        ("AFTER", ["2026-01-02T00:00:00Z"], "yesterday", False),
    ],
)
def test_attributes_of_an_event_are_compared_as_their_type_says(kind, values, value, expected):
    wanted = filter_of("ping", attributes={"a": {"AttributeType": kind, "Values": values}})

    assert matches(wanted, event(attributes={} if value is None else {"a": value})) is expected


@given(value=st.floats(-10, 10), than=st.floats(-10, 10))
def test_metrics_of_an_event_are_compared_as_numbers(value, than):
    found = {
        operator: matches(
            filter_of("ping", metrics={"m": {"ComparisonOperator": operator, "Value": than}}),
            event(metrics={"m": value}),
        )
        for operator in ("GREATER_THAN", "LESS_THAN", "EQUAL", "GREATER_THAN_OR_EQUAL", "LESS_THAN_OR_EQUAL")
    }

    assert list(found.values()) == [value > than, value < than, value == than, value >= than, value <= than]


def test_a_missing_metric_matches_nothing():
    wanted = filter_of("ping", metrics={"m": {"ComparisonOperator": "LESS_THAN", "Value": 1.0}})

    assert not matches(wanted, event())
