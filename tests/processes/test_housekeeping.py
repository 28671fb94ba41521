"""What is old goes by itself."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg.types.json import Jsonb

from repoint.db.embedded import dsn_of
from repoint.work.partitions import make_partitions
from tests.conftest import eventually, start_server
from tests.kpis.asking import ask
from tests.streams.conftest import arn_of, lines_of, put_numbered, stream_to


def test_what_is_older_than_the_ledger_keeps_it_is_removed_and_the_inbox_keeps_the_newest(tmp_path):
    first = start_server(tmp_path / "data", "--workers", "0", "--log-level", "error")
    with psycopg.connect(dsn_of(first.data_dir), autocommit=True) as connection:
        connection.execute(
            """INSERT INTO receipt SELECT 'm' || age, '_email.open', '', now() - age * interval '1 day'
               FROM unnest(ARRAY[1, 100]) AS age"""
        )
        connection.execute(
            """INSERT INTO message (app_id, activity_id, endpoint_id, message_id, channel_type, address, state,
                   created_at, modified_at)
               SELECT 'a', 'x', age::text, 'm' || age, 'SMS', '+1', 'SENT', now() - age * interval '1 day', now()
               FROM unnest(ARRAY[1, 100]) AS age"""
        )
        connection.execute(
            """INSERT INTO inbox_message (received_at, channel_type, message_id, sender, recipient, subject, preview,
                   content)
               SELECT now(), 'SMS', 'm' || number, '', '', '', '', '{}' FROM generate_series(1, 5) AS number"""
        )
    assert first.stop() == 0
    limits = ("--message-retention-days", "30", "--inbox-messages-max", "2")
    second = start_server(tmp_path / "data", *limits, "--log-level", "error")
    with psycopg.connect(dsn_of(second.data_dir), autocommit=True) as connection:
        query = "SELECT (SELECT array_agg(message_id) FROM receipt), (SELECT array_agg(message_id) FROM message)"

        assert eventually(lambda: connection.execute(query).fetchone() == (["m1"], ["m1"]))
        query = "SELECT array_agg(message_id ORDER BY inbox_id) FROM inbox_message"
        assert eventually(lambda: connection.execute(query).fetchone() == (["m4", "m5"],))
    assert second.stop() == 0


def test_what_metrics_know_of_a_campaign_goes_with_the_log_and_comes_again(tmp_path):
    first = start_server(tmp_path / "data", "--workers", "0", "--log-level", "error")
    app_id = first.client().create_app(CreateApplicationRequest={"Name": "Old"})["ApplicationResponse"]["Id"]
    with psycopg.connect(dsn_of(first.data_dir), autocommit=True) as connection:
        connection.execute(
            """INSERT INTO metric_scope (app_id, measure, campaign_id, campaign_activity_id)
               SELECT %s, 'email.reached', 'c' || age, 'a' FROM unnest(ARRAY[1, 100]) AS age""",
            [app_id],
        )
        connection.execute(
            """INSERT INTO metric_set
               SELECT scope_id, now() - ltrim(campaign_id, 'c')::int * interval '1 day', 0, set_bit(0::bit(512), 7, 1)
               FROM metric_scope"""
        )
        connection.execute(
            """INSERT INTO metric_member (app_id, endpoint_id, seen_on)
               SELECT %s, 'e' || age, CURRENT_DATE - age FROM unnest(ARRAY[1, 200]) AS age""",
            [app_id],
        )
    keys = first.access_key_id, first.secret_access_key
    assert first.stop() == 0
    second = start_server(tmp_path / "data", "--log-level", "error", keys=keys)
    client = second.client()
    with psycopg.connect(dsn_of(second.data_dir), autocommit=True) as connection:
        query = "SELECT (SELECT array_agg(campaign_id) FROM metric_scope), array_agg(endpoint_id) FROM metric_member"
        eventually(lambda: connection.execute(query).fetchone() == (["c1"], ["e1"]))
        connection.execute(
            """INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
               VALUES (now(), %s, 'e200', '_email.delivered', now(), %s)""",
            [app_id, Jsonb({"attributes": {"campaign_id": "c100", "campaign_activity_id": "a"}})],
        )

        assert eventually(lambda: ask(client, app_id, "unique-deliveries", CampaignId="c100")) == {"": 1.0}
        assert ask(client, app_id, "unique-deliveries", CampaignId="c1") == {"": 1.0}
    assert second.stop() == 0


def test_the_log_keeps_as_many_days_as_it_is_told(tmp_path):
    """Days of their own, and what came on a day that had none; a stream goes on with what is left."""
    first = start_server(tmp_path / "data", "--workers", "0", "--log-level", "error")
    client, now = first.client(), datetime.now(UTC)
    app_id = client.create_app(CreateApplicationRequest={"Name": "Old"})["ApplicationResponse"]["Id"]
    stream_to(client, app_id, arn_of("kept"))
    asyncio.run(make_days(dsn_of(first.data_dir), now - timedelta(days=9)))
    with psycopg.connect(dsn_of(first.data_dir), autocommit=True) as connection:
        connection.execute(
            """INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
               SELECT %s - age * interval '1 day', %s, 'e', age::text, now(), '{"application": {}}'
               FROM unnest(ARRAY[400, 9, 7, 2, 0.5, 0]) AS age""",
            [now, app_id],
        )
    keys = first.access_key_id, first.secret_access_key
    assert first.stop() == 0
    days = {"REPOINT_EVENT_RETENTION": "1"}
    second = start_server(tmp_path / "data", "--log-level", "error", keys=keys, environment=days)
    with psycopg.connect(dsn_of(second.data_dir), autocommit=True) as connection:
        left = "SELECT array_agg(event_type ORDER BY event_type) FROM event WHERE app_id = %s"
        eventually(lambda: connection.execute(left, [app_id]).fetchone() == (["0", "0.5"],))
        named = "SELECT to_regclass(%s) IS NOT NULL"
        found = {
            day: connection.execute(named, [f"event_{now + timedelta(days=day):%Y%m%d}"]).fetchone()[0]
            for day in (-9, -7, 1, 3)
        }
    put_numbered(second.client(), app_id, [7], endpoints=1)
    file = tmp_path / "data" / "streams" / "kept.jsonl"
    eventually(lambda: lines_of(file) and lines_of(file)[-1]["attributes"].get("n") == "7")
    assert second.stop() == 0

    assert found == {-9: False, -7: False, 1: True, 3: True}
    assert {"0", "0.5"} <= {record["event_type"] for record in lines_of(file)}


async def make_days(dsn, day):
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await make_partitions(connection, day)


def test_a_deleted_applications_stream_is_forgotten(tmp_path):
    server = start_server(tmp_path / "data", "--workers", "0", "--log-level", "error")
    client = server.client()
    app_id = client.create_app(CreateApplicationRequest={"Name": "Gone"})["ApplicationResponse"]["Id"]
    stream_to(client, app_id, arn_of("gone"))
    client.delete_app(ApplicationId=app_id)
    assert server.stop() == 0
    again = start_server(tmp_path / "data", "--log-level", "error")
    with psycopg.connect(dsn_of(again.data_dir), autocommit=True) as connection:
        query = (
            "SELECT (SELECT count(*) FROM event_stream), count(*) FROM event_reader WHERE reader_name LIKE 'stream/%'"
        )

        assert eventually(lambda: connection.execute(query).fetchone() == (0, 0))
    assert again.stop() == 0
