"""An export that is killed, or stopped, ends with every endpoint once, and nothing else in its folder."""

import random
import time

import psycopg

from repoint.db.embedded import dsn_of
from tests.conftest import eventually, start_server
from tests.jobs.running import ROLE, exported, finished_export
from tests.killing import kill_all

ROWS = 40_000  # some 17 MB when packed, so that a part is begun long before it is whole
FLAGS = ["--log-level", "error", "--lease-seconds", "1"]
FILL = """INSERT INTO endpoint (app_id, endpoint_id, given_id, revision, is_active, is_opted_out, cohort_id, created_at,
              effective_at, request_id, attributes, metrics, demographic, location, user_attributes)
          SELECT %s, 'e' || n, 'e' || n, 1, true, false, 0, now(), now(), 'fill',
              jsonb_build_object('a', (SELECT jsonb_agg(md5(n::text || m)) FROM generate_series(1, 20) AS m)),
              '{}', '{}', '{}', '{}'
          FROM generate_series(1, %s) AS n"""


def begun(data_dir):
    """A server with many endpoints, and an export of them just asked for."""
    server = start_server(data_dir, *FLAGS)
    app_id = server.client().create_app(CreateApplicationRequest={"Name": "Kill"})["ApplicationResponse"]["Id"]
    with psycopg.connect(dsn_of(server.data_dir)) as connection:
        connection.execute(FILL, [app_id, ROWS])
    wanted = {"S3UrlPrefix": "s3://tests/out/", "RoleArn": ROLE}
    made = server.client().create_export_job(ApplicationId=app_id, ExportJobRequest=wanted)["ExportJobResponse"]
    return server, app_id, made["Id"]


def check_end(server, app_id, job_id):
    """The export ends, and is whole."""
    job = finished_export(server.client(), app_id, job_id, seconds=60)
    files = [path.name for path in (server.data_dir / "buckets" / "tests" / "out").iterdir()]
    server.stop()

    assert (job["JobStatus"], job["TotalProcessed"], job["CompletedPieces"]) == ("COMPLETED", ROWS, len(files))
    assert sorted(files) == [f"{job_id}_part-{number:05}.gz" for number in range(len(files))]
    assert set(exported(server, job)) == {f"e{number}" for number in range(1, ROWS + 1)}


def test_an_export_killed_three_times_is_exact(tmp_path):
    server, app_id, job_id = begun(tmp_path / "data")
    keys = (server.access_key_id, server.secret_access_key)
    for _ in range(3):
        time.sleep(random.uniform(0.05, 0.7))  # the moment is chance; nothing is waited for
        kill_all(server, with_database=random.random() < 0.5)
        server = start_server(tmp_path / "data", *FLAGS, keys=keys)
    check_end(server, app_id, job_id)


def test_an_export_whose_server_was_stopped_is_exact(tmp_path):
    server, app_id, job_id = begun(tmp_path / "data")
    keys = (server.access_key_id, server.secret_access_key)
    folder = server.data_dir / "buckets" / "tests" / "out"
    eventually(lambda: folder.exists() and any(folder.iterdir()))  # a part is being written
    status = server.stop()
    server = start_server(tmp_path / "data", *FLAGS, keys=keys)

    assert status == 0
    check_end(server, app_id, job_id)
