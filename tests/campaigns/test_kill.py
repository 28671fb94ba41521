"""kill -9 in the middle of a campaign: nobody is missed, nobody gets it twice but for what was on the wire."""

import contextlib
from collections import Counter

import psutil
import pytest

from tests.campaigns.conftest import App
from tests.campaigns.sink import Sink
from tests.conftest import eventually, start_server

ENDPOINTS = 3_000
KILLS = 3
ON_THE_WIRE_MAX = 3_000  # for each kill: three batches of a worker's, of at most 1000
FLAGS = ["--log-level", "error", "--lease-seconds", "2", "--workers", "2"]


@pytest.fixture
def sink():
    with Sink(pause_seconds=0.0005) as one:
        yield one


def kill_all(server):
    """SIGKILL to the supervisor and every one of its children, at once."""
    victims = [server.process, *psutil.Process(server.process.pid).children(recursive=True)]
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    server.process.wait()


def test_a_campaign_survives_kills_of_the_whole_server(tmp_path, sink):
    flags = [*FLAGS, "--smtp-url", sink.url]
    server = start_server(tmp_path / "data", *flags)
    keys = (server.access_key_id, server.secret_access_key)
    app = App(server, sink)
    app.put_many(ENDPOINTS)
    treatments = [{"SizePercent": 30}, {"SizePercent": 30}]
    campaign = app.campaign(HoldoutPercent=5, AdditionalTreatments=treatments, Limits={"MessagesPerSecond": 1500})
    for kill in range(KILLS):
        eventually(lambda kill=kill: len(app.received()) > (kill + 0.3) * ENDPOINTS / (KILLS + 2))
        kill_all(server)
        server = start_server(tmp_path / "data", *flags, keys=keys)
        app.server, app.client = server, server.client()
    activities = app.finished(campaign, seconds=60)
    held = {row[0] for row in app.ask("SELECT endpoint_id FROM campaign_drop WHERE reason = 'HOLDOUT'")}
    times = Counter(app.received())

    assert set(times) == {f"e{number:05}" for number in range(ENDPOINTS)} - held
    assert times.total() - len(times) <= KILLS * ON_THE_WIRE_MAX
    assert sum(one["TotalEndpointCount"] for one in activities) == len(times)
    assert sum(one["SuccessfulEndpointCount"] for one in activities) == len(times)
    assert [(state, number) for state, number in app.ask("SELECT state, count(*) FROM message GROUP BY 1")] == [
        ("SENT", len(times))
    ]
    told = app.ask(
        """SELECT document->'attributes'->>'campaign_send_status', count(*), count(DISTINCT endpoint_id)
           FROM logged_event WHERE event_type = '_campaign.send' GROUP BY 1 ORDER BY 1"""
    )
    assert told == [("HOLDOUT", len(held), len(held)), ("SUCCESS", len(times), len(times))]
    assert server.stop() == 0
