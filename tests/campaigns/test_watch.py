"""A watched file starts a campaign: a copy of the one that is named, once for each file, whatever dies meanwhile."""

import os
import signal
import subprocess

import pytest

from tests.campaigns.conftest import iso
from tests.conftest import REPOINT, eventually, start_server
from tests.jobs.running import put
from tests.killing import kill_all


class Watcher:
    """`repoint import --watch --campaign` on an application, and what it says."""

    def __init__(self, server, app_id, campaign_id, log):
        url = f"s3://drop/{app_id}/"
        command = [REPOINT, "import", "--data-dir", server.data_dir, "--app", app_id, "--watch", url]
        command += ["--campaign", campaign_id, "--every", "0.2", "--lease-seconds", "1"]
        self.log = log
        with log.open("ab") as file:
            environment = os.environ | {"PYTHONUNBUFFERED": "1"}
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)

    def says(self, text):
        return eventually(lambda: text in self.log.read_text())

    def stop(self, how=signal.SIGINT):
        self.process.send_signal(how)
        self.process.wait(timeout=30)


def people(app, *names):
    return "Id,ChannelType,Address\n" + "".join(f"{name},EMAIL,{app.address(name)}\n" for name in names)


def copies(app):
    answer = app.client.get_campaigns(ApplicationId=app.id)["CampaignsResponse"]["Item"]
    return {one["Name"]: one["Id"] for one in answer if one.get("Name", "") not in ("", "news")}


@pytest.fixture
def watch(app, tmp_path):
    watchers = []

    def start(campaign_id):
        watchers.append(Watcher(app.server, app.id, campaign_id, tmp_path / "log"))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.stop()


def test_each_file_gets_a_copy_of_the_campaign(app, watch):
    app.put("bystander")
    pattern = app.campaign(start=iso(days=1), IsPaused=True)
    watcher = watch(pattern)
    put(app.server, f"{app.id}/1.csv", people(app, "ann", "ben"), bucket="drop")
    put(app.server, f"{app.id}/2.csv", people(app, "ben", "cat"), bucket="drop")
    watcher.says("1.csv: COMPLETED")
    watcher.says("2.csv: COMPLETED")
    found = copies(app)
    for campaign_id in found.values():
        app.finished(campaign_id)

    assert set(found) == {"news: 1.csv", "news: 2.csv"}
    assert app.received() == ["ann", "ben", "ben", "cat"]
    assert app.status(pattern) == "PAUSED"


def test_a_copy_needs_no_name_and_keeps_each_treatments_quiet_time(app, watch):
    quiet = {"Start": "00:00", "End": "23:59"}
    other = {"SizePercent": 100, "Schedule": {"StartTime": iso(days=1), "QuietTime": quiet}}
    pattern = app.campaign(start=iso(days=1), Name=None, AdditionalTreatments=[other])
    watcher = watch(pattern)
    put(app.server, f"{app.id}/1.csv", people(app, "ann"), bucket="drop")
    watcher.says("1.csv: COMPLETED")
    copy = app.get(copies(app)["1.csv"])

    assert copy["AdditionalTreatments"][0]["Schedule"]["QuietTime"] == quiet


def test_a_campaign_that_is_gone_is_told_and_the_import_stands(app, watch):
    pattern = app.campaign(start=iso(days=1))
    watcher = watch(pattern)
    watcher.says("watching")
    app.client.delete_campaign(ApplicationId=app.id, CampaignId=pattern)
    put(app.server, f"{app.id}/1.csv", people(app, "ann"), bucket="drop")

    assert watcher.says(f"1.csv: COMPLETED: no campaign was started: there is no campaign {pattern}")
    assert app.client.get_endpoint(ApplicationId=app.id, EndpointId="ann")["EndpointResponse"]["Id"] == "ann"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--watch", "s3://drop/x/", "--campaign", "nope"], "there is no campaign nope"),
        (["people.csv", "--campaign", "nope"], "--campaign goes with --watch"),
    ],
)
def test_what_cannot_be_started_is_said_at_once(app, arguments, reason):
    command = [REPOINT, "import", "--data-dir", app.server.data_dir, "--app", app.id, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode != 0
    assert reason in done.stderr


def test_a_file_starts_one_campaign_whatever_is_killed(tmp_path):
    flags = ["--log-level", "error", "--lease-seconds", "1"]
    server = start_server(tmp_path / "data", *flags)
    keys = (server.access_key_id, server.secret_access_key)
    client = server.client()
    app_id = client.create_app(CreateApplicationRequest={"Name": "Watch"})["ApplicationResponse"]["Id"]
    segment = client.create_segment(ApplicationId=app_id, WriteSegmentRequest={"Name": "all"})["SegmentResponse"]
    wanted = {"Name": "news", "SegmentId": segment["Id"], "Schedule": {"StartTime": iso(days=1)}}
    wanted["MessageConfiguration"] = {"SMSMessage": {"Body": "Hello"}}
    pattern = client.create_campaign(ApplicationId=app_id, WriteCampaignRequest=wanted)["CampaignResponse"]["Id"]
    rows = "".join(f"e{number},SMS,+4366012{number:05},{'x' * 90}\n" for number in range(15_000))
    put(server, f"{app_id}/1.csv", f"Id,ChannelType,Address,Attributes.fill\n{rows}", bucket="drop")
    watcher = Watcher(server, app_id, pattern, tmp_path / "log")
    watcher.says("importing")
    for _ in range(2):
        watcher.stop(signal.SIGKILL)
        kill_all(server, with_database=True)
        server = start_server(tmp_path / "data", *flags, keys=keys)
        watcher = Watcher(server, app_id, pattern, tmp_path / "log")
    client = server.client()

    def campaigns():
        return client.get_campaigns(ApplicationId=app_id)["CampaignsResponse"]["Item"]

    copy = eventually(lambda: next((one for one in campaigns() if one["Name"] == "news: 1.csv"), None), seconds=60)
    found = client.get_segment(ApplicationId=app_id, SegmentId=copy["SegmentId"])["SegmentResponse"]
    jobs = client.get_import_jobs(ApplicationId=app_id)["ImportJobsResponse"]["Item"]
    watcher.stop()

    assert found["ImportDefinition"]["Size"] == 15_000
    assert (len(jobs), sorted(one["Name"] for one in campaigns())) == (1, ["news", "news: 1.csv"])
    server.stop()
