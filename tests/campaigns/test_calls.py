"""Calls of functions, webhooks and models: who shares one, and how many are in the air."""

import contextlib
import json

import pytest

from tests.campaigns.conftest import iso
from tests.campaigns.far_end import through
from tests.campaigns.test_events import filter_of, waiting
from tests.campaigns.test_hooks import answering, hook
from tests.campaigns.test_recommendations import PERSONALIZE, recommender, template
from tests.conftest import eventually
from tests.streams.conftest import bind

pytestmark = pytest.mark.usefixtures("calling")

CALL_ENDPOINTS_MAX = 50
CALLS_MAX = 8
HANGING = 8


def report_all(app, ids, event_type):
    """One PutEvents, with an event of each endpoint."""
    events = {"e": {"EventType": event_type, "Timestamp": iso()}}
    batch = {one: {"Endpoint": {}, "Events": events} for one in ids}
    app.client.put_events(ApplicationId=app.id, EventsRequest={"BatchItem": batch})


def endpoints_of(calls):
    return [list(payload["Endpoints"]) for payload in calls]


@pytest.mark.parametrize("what", ["hook", "custom"])
def test_endpoints_that_report_at_the_same_moment_share_calls(app, far_end, what):
    url = far_end.serve(f"/shared-{what}", answering(lambda _, one: one))
    ids = app.put_many(70) if what == "hook" else app.put_many(70, "CUSTOM")
    campaign = waiting(app, filter_of("go"), **(hook(url) if what == "hook" else through(url)))
    report_all(app, ids, "go")
    eventually(lambda: app.activities(campaign)[0]["SuccessfulEndpointCount"] == 70)
    calls = endpoints_of(far_end.called(f"/shared-{what}"))

    assert sorted(map(len, calls)) == [20, CALL_ENDPOINTS_MAX]
    assert sorted(one for call in calls for one in call) == ids
    assert what == "custom" or app.received() == ids


def test_who_reports_while_all_calls_are_in_the_air_shares_the_next(app, far_end):
    """Nobody waits for company: a lone endpoint has a call of its own as long as there is room for one."""
    url = far_end.serve("/one-by-one", answering(lambda _, one: one))
    ids = app.put_many(CALLS_MAX + 30)
    campaign = waiting(app, filter_of("go"), **hook(url))
    with far_end.hold("/one-by-one"):
        for count, one in enumerate(ids[:CALLS_MAX], 1):
            report_all(app, [one], "go")
            eventually(lambda count=count: len(far_end.called("/one-by-one")) == count)
        for one in ids[CALLS_MAX:]:
            report_all(app, [one], "go")
        taken = "SELECT count(*) FROM message WHERE app_id = %s"
        eventually(lambda: app.ask(taken, [app.id]) == [(len(ids),)])
    eventually(lambda: app.activities(campaign)[0]["SuccessfulEndpointCount"] == len(ids))
    calls = endpoints_of(far_end.called("/one-by-one"))

    assert calls == [*([one] for one in ids[:CALLS_MAX]), ids[CALLS_MAX:]]


def test_an_endpoint_that_reports_twice_is_in_two_calls(app, far_end):
    url = far_end.serve("/twice", answering(lambda _, one: one))
    app.put("a")
    app.put("b")
    events = {name: {"EventType": "go", "Timestamp": iso()} for name in ("first", "second")}
    campaign = waiting(app, filter_of("go"), **hook(url))
    batch = {"a": {"Endpoint": {}, "Events": events}, "b": {"Endpoint": {}, "Events": {"first": events["first"]}}}
    app.client.put_events(ApplicationId=app.id, EventsRequest={"BatchItem": batch})
    eventually(lambda: app.activities(campaign)[0]["SuccessfulEndpointCount"] == 3)

    assert sorted(map(sorted, endpoints_of(far_end.called("/twice")))) == [["a"], ["a", "b"]]
    assert app.received() == ["a", "a", "b"]


def test_campaigns_with_one_far_end_share_its_calls(app, far_end):
    app.put_many(600, "CUSTOM")
    url, path = far_end.serve("/shared"), "/shared"
    with far_end.hold(path):
        sharing = [app.campaign(**through(url)) for _ in range(2)]
        eventually(lambda: len(far_end.called(path)) == CALLS_MAX)
        [other] = app.finished(app.campaign(**through(far_end.serve("/apart"))))
        during = len(far_end.called(path))
    counts = [app.finished(one)[0]["SuccessfulEndpointCount"] for one in sharing]

    assert (during, other["SuccessfulEndpointCount"], counts) == (CALLS_MAX, 600, [600, 600])
    assert len(far_end.called(path)) == 2 * 600 // CALL_ENDPOINTS_MAX


def test_campaigns_whose_far_ends_all_hang_leave_room_for_others(app, far_end):
    app.put_many(500, "CUSTOM")
    paths = [f"/hanging-{number}" for number in range(HANGING)]
    urls = [far_end.serve(path) for path in paths]
    with contextlib.ExitStack() as holding:
        for path in paths:
            holding.enter_context(far_end.hold(path))
        hanging = [app.campaign(**through(url)) for url in urls]
        eventually(lambda: all(far_end.called(path) for path in paths))
        [activity] = app.finished(app.campaign(**through(far_end.serve("/well"))), seconds=10)
        during = {app.status(one) for one in hanging}
    for one in hanging:
        app.finished(one, seconds=60)

    assert (activity["SuccessfulEndpointCount"], during) == (500, {"EXECUTING"})


def test_a_dead_model_is_left_alone_and_the_rest_goes_when_it_is_back(app, aws):
    """Amazon Personalize is asked user by user: 32 at once, and then by a trial now and then."""
    uri = f"{PERSONALIZE}dead-{app.id}"
    bind(app.server, uri, "aws")
    aws.serve("/recommendations", lambda _: (500, b'{"message": "dead"}'))
    ids = app.put_many(200)
    made = recommender(app, uri)
    campaign = app.campaign(**template(app, made, "{{RecommendationItems.[0]}}"))
    label = f'repoint_far_end_resting{{far_end="{uri}"}}'
    eventually(lambda: f"{label} 1.0" in app.server.get("/metrics"))
    app.finished(app.campaign())
    before = len(aws.called("/recommendations"))
    aws.answers["/recommendations"] = lambda _: (200, json.dumps({"itemList": [{"itemId": "tea"}]}).encode())
    [activity] = app.finished(campaign, seconds=60)
    failed = dict(
        app.ask("SELECT endpoint_id, status_message FROM message WHERE state = 'FAILED' AND app_id = %s", [app.id])
    )

    assert before <= 3 * 40  # the first 32, each three times, and hardly a trial since
    assert activity["SuccessfulEndpointCount"] == len(ids) - len(failed) >= len(ids) - 40
    assert all(text.startswith(f"RECOMMENDATION_FAILURE: {uri}") for text in failed.values())
    assert f"{label} 0.0" in app.server.get("/metrics")
