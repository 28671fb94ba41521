"""`repoint import` and `repoint export`, beside a running server and without one; a watched prefix."""

import gzip
import json
import os
import signal
import subprocess

import pytest

from tests.conftest import REPOINT, eventually
from tests.jobs.running import endpoint, put

ROWS = "Id,ChannelType,Address\na,EMAIL,a@example.com\nb,NOPE,b@example.com\n"


@pytest.fixture
def repoint(server, app_id):
    """Run a command on the server's installation."""

    def run(name, *arguments):
        command = [REPOINT, name, "--data-dir", server.data_dir, "--app", app_id, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return run


def test_files_are_imported_with_their_failures_told(repoint, pinpoint, app_id, tmp_path):
    (tmp_path / "people.csv").write_text(ROWS)
    (tmp_path / "more.csv.gz").write_bytes(gzip.compress(ROWS.replace("a@", "z@").replace("a,", "z,").encode()))
    done = repoint("import", tmp_path / "people.csv", tmp_path / "more.csv.gz", "--segment", "People")
    jobs = pinpoint.get_import_jobs(ApplicationId=app_id)["ImportJobsResponse"]["Item"]

    assert (done.returncode, "COMPLETED: 4 rows" in done.stdout, "2 failed" in done.stdout) == (0, True, True)
    assert "people.csv: line 3: ChannelType" in done.stderr
    assert [job["Definition"]["SegmentName"] for job in jobs] == ["People"]
    assert {endpoint(pinpoint, app_id, name)["Address"] for name in "az"} == {"a@example.com", "z@example.com"}


def test_uploads_are_not_left_behind(repoint, server, tmp_path):
    (tmp_path / "people.csv").write_text(ROWS)
    repoint("import", tmp_path / "people.csv")

    assert [path for path in (server.data_dir / "buckets" / "repoint-uploads").rglob("*") if path.is_file()] == []


def test_an_export_arrives_in_a_folder(repoint, pinpoint, app_id, tmp_path):
    pinpoint.update_endpoint(ApplicationId=app_id, EndpointId="one", EndpointRequest={})
    done = repoint("export", tmp_path / "out")
    (part,) = (tmp_path / "out").iterdir()

    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, str(part))
    assert json.loads(gzip.decompress(part.read_bytes()))["Id"] == "one"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nothing.csv"], "there is no file nothing.csv"),
        (["data.txt"], "do not say one format"),
        (["s3://../x.csv"], "is not the name of a bucket"),
        ([], "name FILES, or a prefix with --watch"),
    ],
)
def test_what_cannot_be_imported_is_said(repoint, arguments, reason):
    done = repoint("import", *arguments)

    assert done.returncode != 0
    assert reason in done.stderr


def test_a_failed_import_is_an_exit_status(repoint):
    done = repoint("import", "s3://tests/there-is-none.csv")

    assert (done.returncode, "FAILED" in done.stdout) == (1, True)


def test_an_unknown_application_is_said(server):
    command = [REPOINT, "import", "--data-dir", server.data_dir, "--app", "nope", "x.csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert (done.returncode, "there is no application nope" in done.stderr) == (1, True)


def watching(server, app_id, log):
    url = f"s3://tests/{app_id}/drop/"
    command = [REPOINT, "import", "--data-dir", server.data_dir, "--app", app_id, "--watch", url, "--every", "0.2"]
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"PYTHONUNBUFFERED": "1"})


def test_a_dropped_file_is_imported_once(server, pinpoint, app_id, tmp_path):
    def jobs():
        return pinpoint.get_import_jobs(ApplicationId=app_id)["ImportJobsResponse"]["Item"]

    watcher = watching(server, app_id, tmp_path / "log")
    put(server, f"{app_id}/drop/1.csv", ROWS)
    put(server, f"{app_id}/drop/notes.txt", "not for you")
    eventually(jobs)
    watcher.send_signal(signal.SIGINT)
    watcher.wait(timeout=30)
    watcher = watching(server, app_id, tmp_path / "log")
    put(server, f"{app_id}/drop/deep/2.json", '{"Id":"c","ChannelType":"EMAIL","Address":"c@example.com"}')
    eventually(lambda: len(jobs()) > 1)
    eventually(lambda: "2.json: COMPLETED" in (tmp_path / "log").read_text())
    watcher.send_signal(signal.SIGINT)
    watcher.wait(timeout=30)

    assert sorted(job["Definition"]["S3Url"].rpartition("/")[2] for job in jobs()) == ["1.csv", "2.json"]
    assert endpoint(pinpoint, app_id, "c")["Address"] == "c@example.com"
