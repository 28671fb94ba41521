"""An export killed again and again ends with every endpoint once, and nothing else in its folder."""

import random
import time

import psycopg

from repoint.db.embedded import dsn_of
from tests.conftest import start_server
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


def test_an_export_killed_three_times_is_exact(tmp_path):
    server = start_server(tmp_path / "data", *FLAGS)
    keys = (server.access_key_id, server.secret_access_key)
    app_id = server.client().create_app(CreateApplicationRequest={"Name": "Kill"})["ApplicationResponse"]["Id"]
    with psycopg.connect(dsn_of(server.data_dir)) as connection:
        connection.execute(FILL, [app_id, ROWS])
    wanted = {"S3UrlPrefix": "s3://tests/out/", "RoleArn": ROLE}
    made = server.client().create_export_job(ApplicationId=app_id, ExportJobRequest=wanted)["ExportJobResponse"]
    for _ in range(3):
        time.sleep(random.uniform(0.05, 0.7))  # the moment is chance; nothing is waited for
        kill_all(server, with_database=random.random() < 0.5)
        server = start_server(tmp_path / "data", *FLAGS, keys=keys)
    job = finished_export(server.client(), app_id, made["Id"], seconds=60)
    files = [path.name for path in (server.data_dir / "buckets" / "tests" / "out").iterdir()]
    server.stop()

    assert (job["JobStatus"], job["TotalProcessed"], job["CompletedPieces"]) == ("COMPLETED", ROWS, len(files))
    assert sorted(files) == [f"{job['Id']}_part-{number:05}.gz" for number in range(len(files))]
    assert set(exported(server, job)) == {f"e{number}" for number in range(1, ROWS + 1)}
