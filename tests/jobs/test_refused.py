"""A database that refuses for a while what the queue asks of it, as one does whose disk is full."""

import subprocess

import psycopg

from repoint.db.embedded import dsn_of
from tests.conftest import REPOINT, eventually, start_server
from tests.jobs.running import begin_import, finished, put, summary

TAKE_AWAY = "ALTER FUNCTION procrastinate.procrastinate_fetch_job_v2 RENAME TO fetch_no_job"
GIVE_BACK = "ALTER FUNCTION procrastinate.fetch_no_job RENAME TO procrastinate_fetch_job_v2"


def test_a_worker_goes_on_when_its_queue_was_refused(tmp_path):
    server = start_server(tmp_path / "data", "--workers", "0")
    client = server.client()
    app_id = client.create_app(CreateApplicationRequest={"Name": "Refused"})["ApplicationResponse"]["Id"]
    put(server, "in.csv", "Id,ChannelType,Address\na,EMAIL,a@example.com\n")
    with psycopg.connect(dsn_of(server.data_dir), autocommit=True) as connection:
        connection.execute(TAKE_AWAY)
        log = tmp_path / "work.log"
        with log.open("w") as errors:
            worker = subprocess.Popen([REPOINT, "work", "--data-dir", server.data_dir], stderr=errors)
        eventually(lambda: "jobs wait for the database" in log.read_text())
        connection.execute(GIVE_BACK)
    job = finished(client, app_id, begin_import(client, app_id, "s3://tests/in.csv")["Id"])

    assert summary(job) == ("COMPLETED", 1, 0)
    worker.terminate()
    assert worker.wait(timeout=30) == 0
    assert server.stop() == 0
