"""An import killed again and again ends with exactly the right rows and counters; and its work is bounded."""

import gzip
import random
import time

import psycopg
import pytest
from botocore.exceptions import ClientError

from repoint.db.embedded import dsn_of
from tests.conftest import eventually, start_server
from tests.jobs.running import begin_import, endpoints, finished, put, summary
from tests.killing import kill_all

ROWS = 60_000
KILLS = 5
FLAGS = ["--log-level", "error", "--lease-seconds", "1"]


def content():
    """Every tenth row is bad, every hundredth repeats an address; two endpoints a user."""
    for number in range(ROWS):
        channel = "NOPE" if number % 10 == 3 else "EMAIL"
        address = "shared@example.com" if number % 100 == 7 else f"p{number}@example.com"
        yield f"e{number},{channel},{address},u{number // 2},plan{number // 2 % 7},{number},{'x' * 90}\n"


def test_an_import_killed_five_times_is_exact(tmp_path):
    server = start_server(tmp_path / "data", *FLAGS)
    keys = (server.access_key_id, server.secret_access_key)
    app_id = server.client().create_app(CreateApplicationRequest={"Name": "Kill"})["ApplicationResponse"]["Id"]
    header = "Id,ChannelType,Address,User.UserId,User.UserAttributes.Plan,Metrics.n,Attributes.fill\n"
    lines = list(content())
    for part in range(3):
        put(server, f"in/{part}.csv", header + "".join(lines[part::3]))
    job_id = begin_import(server.client(), app_id, "s3://tests/in/", DefineSegment=True, SegmentName="All")["Id"]
    for _ in range(KILLS):
        time.sleep(random.uniform(0.05, 0.7))  # the moment is chance; nothing is waited for
        kill_all(server, with_database=random.random() < 0.5)
        server = start_server(tmp_path / "data", *FLAGS, keys=keys)
    client = server.client()
    job = finished(client, app_id, job_id, seconds=90)
    found = endpoints(server, client, app_id)
    with psycopg.connect(dsn_of(server.data_dir)) as connection:
        (size, members) = connection.execute(
            """SELECT import_definition->'Size', (SELECT count(*) FROM segment_member) FROM segment_version"""
        ).fetchone()

    assert summary(job) == ("COMPLETED", ROWS, ROWS // 10)
    assert set(found) == {f"e{number}" for number in range(ROWS) if number % 10 != 3}
    assert size == members == ROWS - ROWS // 10
    sharing = [one for one in found.values() if one["Address"] == "shared@example.com"]
    assert sum(one["EndpointStatus"] == "ACTIVE" for one in sharing) == 1
    assert all(
        one["User"]["UserAttributes"] == {"Plan": [f"plan{int(one['User']['UserId'][1:]) % 7}"]}
        for one in found.values()
    )
    assert server.stop() == 0


def test_a_gzip_file_that_two_pieces_share_is_exact_after_kills(tmp_path):
    chance = random.Random(5)
    fills = [",".join(chance.randbytes(48).hex() for _ in range(4)) for _ in range(24_000)]  # 10 MB, packed 5
    bad = {100, 20_000, 23_999}
    rows = [f"e{n},{'NOPE' if n in bad else 'CUSTOM'},a{n},{fill}\n" for n, fill in enumerate(fills)]
    content = "Id,ChannelType,Address,Attributes.a,Attributes.b,Attributes.c,Attributes.d\n" + "".join(rows)
    server = start_server(tmp_path / "data", *FLAGS)
    keys = (server.access_key_id, server.secret_access_key)
    app_id = server.client().create_app(CreateApplicationRequest={"Name": "Gzip"})["ApplicationResponse"]["Id"]
    url = put(server, "f.csv.gz", gzip.compress(content.encode(), 1))
    job_id = begin_import(server.client(), app_id, url)["Id"]
    for _ in range(2):
        time.sleep(random.uniform(0.2, 1.0))  # the moment is chance; nothing is waited for
        kill_all(server, with_database=False)
        server = start_server(tmp_path / "data", *FLAGS, keys=keys)
    job = finished(server.client(), app_id, job_id, seconds=60)
    found = endpoints(server, server.client(), app_id)
    server.stop()

    assert (summary(job), job["TotalPieces"]) == (("COMPLETED", 24_000, 3), 2)
    assert [failure.split(": ")[1] for failure in job["Failures"]] == ["line 102", "line 20002", "line 24001"]
    assert set(found) == {f"e{n}" for n in range(24_000) if n not in bad}


def test_ten_jobs_run_and_the_eleventh_is_refused(tmp_path):
    server = start_server(tmp_path / "data", "--log-level", "error", "--job-concurrency", "0")
    client = server.client()
    app_id = client.create_app(CreateApplicationRequest={"Name": "Many"})["ApplicationResponse"]["Id"]
    jobs = [begin_import(client, app_id, f"s3://tests/{number}.csv") for number in range(10)]
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        begin_import(client, app_id, "s3://tests/11.csv")
    first = client.get_import_job(ApplicationId=app_id, JobId=jobs[0]["Id"])["ImportJobResponse"]

    assert {job["JobStatus"] for job in [*jobs, first]} == {"CREATED"}
    assert "TotalPieces" not in first
    assert server.stop() == 0
    server = start_server(
        tmp_path / "data", "--log-level", "error", keys=(server.access_key_id, server.secret_access_key)
    )
    ended = [finished(server.client(), app_id, job["Id"])["JobStatus"] for job in jobs]
    assert ended == ["FAILED"] * 10
    assert eventually(lambda: begin_import(server.client(), app_id, "s3://tests/11.csv"))["JobStatus"] == "CREATED"
    server.stop()


def test_a_stopped_server_goes_on_where_it_was(tmp_path):
    server = start_server(tmp_path / "data", *FLAGS)
    keys = (server.access_key_id, server.secret_access_key)
    app_id = server.client().create_app(CreateApplicationRequest={"Name": "Stop"})["ApplicationResponse"]["Id"]
    rows = "".join(f"e{number},CUSTOM,e{number},{'x' * 90}\n" for number in range(80_000))
    url = put(server, "f.csv", "Id,ChannelType,Address,Attributes.fill\n" + rows)
    job_id = begin_import(server.client(), app_id, url)["Id"]
    assert server.stop() == 0
    server = start_server(tmp_path / "data", *FLAGS, keys=keys)

    assert summary(finished(server.client(), app_id, job_id)) == ("COMPLETED", 80_000, 0)
    server.stop()
