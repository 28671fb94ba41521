"""A Citus cluster, when there is one: REPOINT_TEST_CITUS_URL names an empty database on its coordinator, with Citus in
it and workers added. Everything else about clusters is tested without one, in tests/segments/test_distribution.py.
"""

import os
import subprocess

import pytest

from repoint.db.embedded import dsn_of
from tests.campaigns.conftest import App
from tests.campaigns.sink import Sink
from tests.conftest import REPOINT, start_server
from tests.jobs.running import exported, put, run_export, run_import

URL = os.environ.get("REPOINT_TEST_CITUS_URL", "")
SECRET = "c1" * 32
on_cluster = pytest.mark.skipif(not URL, reason="REPOINT_TEST_CITUS_URL names no cluster")


def distribute(data_dir, url):
    command = [REPOINT, "distribute", "--data-dir", data_dir, "--database-url", url, "--secret-key", SECRET]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_database_without_citus_is_not_distributed(server, tmp_path):
    done = distribute(tmp_path, dsn_of(server.data_dir))

    assert done.returncode == 1
    assert "there is no Citus in this database" in done.stderr


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A server on the cluster whose relay is a sink."""
    folder = tmp_path_factory.mktemp("cluster")
    assert distribute(folder, URL).returncode == 0
    flags = ["--database-url", URL, "--secret-key", SECRET]
    with Sink() as sink:
        server = start_server(folder / "data", *flags, "--smtp-url", sink.url, key_flags=flags)
        yield server, sink
        server.stop()


@pytest.fixture
def app(cluster):
    return App(*cluster)


@on_cluster
def test_distributing_again_finds_nothing_to_do(cluster, tmp_path):
    assert distribute(tmp_path, URL).stdout == "everything is where it belongs\n"


@on_cluster
def test_an_address_and_a_user_are_found_on_whatever_node_they_are(app):
    for number in range(8):
        app.put(f"e{number}", Address="same@example.com", User={"UserId": "u", "UserAttributes": {"n": [str(number)]}})

    shown = app.client.get_user_endpoints(ApplicationId=app.id, UserId="u")["EndpointsResponse"]["Item"]
    assert {one["Id"]: one["EndpointStatus"] for one in shown if one["EndpointStatus"] == "ACTIVE"} == {"e7": "ACTIVE"}
    assert [one["User"]["UserAttributes"] for one in shown] == [{"n": ["7"]}] * 8


@on_cluster
def test_an_import_inserts_and_updates(app):
    rows = "".join(f"e{number},EMAIL,e{number}@example.com,u{number // 2}\n" for number in range(1000))
    url = put(app.server, f"{app.id}/f.csv", f"Id,ChannelType,Address,User.UserId\n{rows}")
    jobs = [run_import(app.client, app.id, url) for _ in range(2)]

    assert [(job["JobStatus"], job["TotalProcessed"], job["TotalFailures"]) for job in jobs] == [
        ("COMPLETED", 1000, 0)
    ] * 2
    assert len(exported(app.server, run_export(app.client, app.id))) == 1000


@on_cluster
def test_a_campaign_mails_an_imported_segment_and_whom_a_dimension_adds(app):
    app.put_many(300)
    app.put("gold", Attributes={"plan": ["gold"]})
    rows = "".join(f"e{number:05}\n" for number in range(200))
    url = put(app.server, f"{app.id}/s.csv", f"Id\n{rows}")
    run_import(app.client, app.id, url, RegisterEndpoints=False, DefineSegment=True, SegmentName="some")
    imported = app.client.get_segments(ApplicationId=app.id)["SegmentsResponse"]["Item"][0]["Id"]
    either = {
        "Include": "ANY",
        "Groups": [
            {"SourceSegments": [{"Id": imported}], "SourceType": "ALL", "Type": "ALL"},
            {"Dimensions": [{"Attributes": {"plan": {"AttributeType": "INCLUSIVE", "Values": ["gold"]}}}]},
        ],
    }
    segment = app.client.create_segment(
        ApplicationId=app.id, WriteSegmentRequest={"Name": "s", "SegmentGroups": either}
    )
    campaign_id = app.campaign(segment["SegmentResponse"]["Id"])

    [activity] = app.finished(campaign_id, seconds=60)
    assert (activity["TotalEndpointCount"], activity["SuccessfulEndpointCount"]) == (201, 201)
