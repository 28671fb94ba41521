"""How far the log's own readers are behind is a metric."""

import asyncio

import psycopg

from repoint.clock import system_clock
from repoint.db import Database
from repoint.db.embedded import dsn_of
from repoint.resources.kpis.rollup import BATCH_EVENTS_MIN, keep
from tests.conftest import eventually, start_server
from tests.events.conftest import event
from tests.kpis.asking import ask


def test_a_metrics_reader_with_nothing_left_to_count_is_not_behind(server, pinpoint, app_id):
    batch = {"e": {"Endpoint": {}, "Events": {"x": event()}}}
    pinpoint.put_events(ApplicationId=app_id, EventsRequest={"BatchItem": batch})

    assert eventually(lambda: 'repoint_event_reader_lag_seconds{reader="metrics"} 0.0' in server.get("/metrics"))


def test_a_metrics_reader_that_is_behind_says_how_far(tmp_path):
    server = start_server(tmp_path / "data", "--workers", "0", "--log-level", "error")
    with psycopg.connect(dsn_of(server.data_dir), autocommit=True) as connection:
        connection.execute(
            """INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
               SELECT now() - interval '1 hour', 'a', 'e' || n, '_email.send', now(), '{}'
               FROM generate_series(1, %s) AS n""",
            [BATCH_EVENTS_MIN + 1],
        )
    said = asyncio.run(asyncio.wait_for(lags(dsn_of(server.data_dir)), timeout=30))
    server.stop()

    assert 3_600 <= said[0] < 3_700
    assert said[-1] == 0


def test_counting_goes_on_after_a_round_whose_last_batch_was_full(server, pinpoint, app_id):
    kpi = "direct-push-opens-grouped-by-campaign-activity"

    def logged(count):
        with psycopg.connect(dsn_of(server.data_dir), autocommit=True) as connection:
            connection.execute(
                """INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
                   SELECT now(), %s, 'e', '_campaign.opened_notification', now(), '{"attributes": {"campaign_id": "c"}}'
                   FROM generate_series(1, %s)""",
                [app_id, count],
            )

    def eventually_counts(number):
        return eventually(lambda: ask(pinpoint, app_id, kpi, CampaignId="c") == {"": float(number)})

    logged(BATCH_EVENTS_MIN)
    eventually_counts(BATCH_EVENTS_MIN)
    logged(1)

    assert eventually_counts(BATCH_EVENTS_MIN + 1)


async def lags(dsn):
    """What a reader says of itself, from when it begins until it has counted all."""
    db, said, is_over = Database(dsn), [], asyncio.Event()
    await db.open()

    def observe(reader, seconds):
        assert reader == "metrics"
        said.append(seconds)
        if not seconds:
            is_over.set()

    counting = asyncio.create_task(keep(db, system_clock, observe))
    await is_over.wait()
    counting.cancel()
    await asyncio.gather(counting, return_exceptions=True)
    await db.close()
    return said
