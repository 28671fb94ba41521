"""An import's statements read what they need by key, whatever PostgreSQL's statistics say."""

import time

import psycopg

from repoint.db.embedded import dsn_of
from tests.jobs.running import put, run_import, summary

ROWS = 8_000


def people(prefix):
    rows = "".join(f"{n},EMAIL,{prefix}{n}@example.com,{prefix}{n},x\n" for n in range(ROWS))
    return f"Id,ChannelType,Address,User.UserId,User.UserAttributes.Name\n{rows}"


def timed(client, app_id, url):
    started = time.monotonic()
    job = run_import(client, app_id, url)
    assert summary(job) == ("COMPLETED", ROWS, 0)
    return time.monotonic() - started


def test_an_application_newer_than_the_statistics_is_imported_as_fast(server, pinpoint, app_id):
    new_app = pinpoint.create_app(CreateApplicationRequest={"Name": "new"})["ApplicationResponse"]["Id"]
    known, new = (put(server, f"{app_id}/{name}.csv", people(name)) for name in ("known", "new"))
    timed(pinpoint, app_id, known)
    with psycopg.connect(dsn_of(server.data_dir), autocommit=True) as connection:
        connection.execute("ANALYZE endpoint")
    timed(pinpoint, new_app, new)
    as_known = timed(pinpoint, app_id, known)
    as_new = timed(pinpoint, new_app, new)

    assert as_new < 3 * as_known + 1
