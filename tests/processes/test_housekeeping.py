"""What is old goes by itself."""

import psycopg

from repoint.db.embedded import dsn_of
from tests.conftest import eventually, start_server


def test_what_is_older_than_the_ledger_keeps_it_is_removed(tmp_path):
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
    assert first.stop() == 0
    second = start_server(tmp_path / "data", "--message-retention-days", "30", "--log-level", "error")
    with psycopg.connect(dsn_of(second.data_dir), autocommit=True) as connection:
        query = "SELECT (SELECT array_agg(message_id) FROM receipt), (SELECT array_agg(message_id) FROM message)"

        assert eventually(lambda: connection.execute(query).fetchone() == (["m1"], ["m1"]))
    assert second.stop() == 0
