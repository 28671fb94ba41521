"""An import's statements read what they need by key, whatever PostgreSQL's statistics say."""

import psycopg

from repoint.db.embedded import dsn_of
from tests.conftest import start_server
from tests.jobs.running import put, run_import, summary

ROWS = 16_000
# By key a statement takes a tenth of a second; where each row is joined with all, half a minute.
STATEMENT_SECONDS_MAX = 5


def people(prefix):
    rows = "".join(f"{n},EMAIL,{prefix}{n}@example.com,{prefix}{n},x\n" for n in range(ROWS))
    return f"Id,ChannelType,Address,User.UserId,User.UserAttributes.Name\n{rows}"


def test_an_application_newer_than_the_statistics_is_imported_by_key(tmp_path):
    server = start_server(tmp_path / "data", "--log-level", "error")
    client = server.client()
    known_app, new_app = (
        client.create_app(CreateApplicationRequest={"Name": name})["ApplicationResponse"]["Id"]
        for name in ("known", "new")
    )
    known, new = (put(server, f"{name}.csv", people(name)) for name in ("known", "new"))
    run_import(client, known_app, known)
    with psycopg.connect(dsn_of(server.data_dir), autocommit=True) as connection:
        connection.execute("ALTER TABLE endpoint SET (autovacuum_enabled = false)")  # which would bring statistics
        connection.execute("ANALYZE endpoint")
        connection.execute(f"ALTER DATABASE postgres SET statement_timeout = '{STATEMENT_SECONDS_MAX}s'")
        connection.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE pid <> pg_backend_pid() AND datname = current_database()"""
        )
    inserted, updated = (run_import(client, new_app, new, seconds=60) for _ in range(2))
    server.stop()

    assert [summary(inserted), summary(updated)] == [("COMPLETED", ROWS, 0)] * 2
