"""Far ends that are dead, or hang: they are left alone, what is theirs waits, and other campaigns go on."""

import pytest

from repoint.breaker import REST_SECONDS_FIRST, REST_SECONDS_MAX, Breaker
from tests.campaigns.conftest import App
from tests.campaigns.far_end import sends, through
from tests.campaigns.test_hooks import answering, hook
from tests.conftest import eventually, start_server

pytestmark = pytest.mark.usefixtures("calling")


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_trial_through():
    now = [0.0]
    breaker = Breaker(3, clock=lambda: now[0])
    for note in (breaker.note_failure, breaker.note_failure, breaker.note_success, *[breaker.note_failure] * 2):
        note()
    assert breaker.admit() == 0
    breaker.note_failure()

    assert breaker.rest_seconds() == REST_SECONDS_FIRST
    now[0] += REST_SECONDS_FIRST
    assert (breaker.admit(), breaker.admit() > 0) == (0, True)
    breaker.note_failure()
    assert breaker.rest_seconds() == 2 * REST_SECONDS_FIRST
    for _ in range(2000):
        now[0] += breaker.rest_seconds()
        breaker.note_failure()
    assert breaker.rest_seconds() == REST_SECONDS_MAX
    breaker.note_success()
    assert (breaker.rest_seconds(), breaker.admit(), breaker.admit()) == (0, 0, 0)


@pytest.mark.parametrize("what", ["hook", "custom"])
def test_a_dead_far_end_is_left_alone_and_the_rest_goes_when_it_is_back(app, far_end, what):
    """Only whoever was in the calls that failed has failed; GetCampaignActivities, ledger and log agree."""
    path = f"/dead-{what}"
    good = answering(lambda _, one: one)
    url = far_end.serve(path, lambda _: (503, b""))
    count = len(app.put_many(1000, "CUSTOM"))
    other = through(far_end.serve("/alive"))
    dead = app.campaign(**(through(url) if what == "custom" else {**other, **hook(url)}))
    label = f'repoint_far_end_resting{{far_end="{url}"}}'
    eventually(lambda: f"{label} 1.0" in app.server.get("/metrics"))
    app.finished(app.campaign(**other))
    trial = eventually(lambda: [one for one in far_end.called(path) if len(one["Endpoints"]) == 1])[0]
    calls = len(far_end.called(path))
    far_end.answers[path] = good
    [activity] = app.finished(dead, seconds=60)
    states = dict(app.ask("SELECT state, count(*) FROM message WHERE activity_id = %s GROUP BY 1", [activity["Id"]]))

    assert calls <= 3 * 8 + 3  # eight had begun before anything was known; then there was one trial, or two
    assert states["SENT"] == activity["SuccessfulEndpointCount"] == count - states["FAILED"]
    assert states["FAILED"] % 50 <= 3  # besides those eight calls whoever a trial was made with
    assert (states["FAILED"] <= 8 * 50 + 3, activity["TotalEndpointCount"]) == (True, count)
    assert trial["ApplicationId"] == app.id
    assert f"{label} 0.0" in app.server.get("/metrics")


def test_what_waits_for_a_dead_far_end_past_its_deadline_has_failed(calling, far_end, tmp_path):
    url = far_end.serve("/dead-for-good", lambda _: (503, b""))
    flags = ("--log-level", "error", "--send-deadline-seconds", "3")
    server = start_server(tmp_path / "data", *flags, environment=calling[0].own_environment)
    app = App(server, None)
    app.put_many(1000, "CUSTOM")
    [activity] = app.finished(app.campaign(**hook(url), **through(far_end.serve("/never"))), seconds=60)
    log = {one["campaign_send_status"] for one in sends(app).values()}
    states = app.ask("SELECT DISTINCT state, left(status_message, 12) FROM message")
    server.stop()

    assert (activity["TotalEndpointCount"], activity["SuccessfulEndpointCount"]) == (1000, 0)
    assert (log, states, far_end.called("/never")) == ({"HOOK_FAILURE"}, [("FAILED", "HOOK_FAILURE")], [])
