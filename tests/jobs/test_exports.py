"""Exports: gzip JSON lines as GetEndpoint shows endpoints, of one moment, whatever is written meanwhile."""

import threading

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.jobs.running import ROLE, endpoint, endpoints, exported, put, run_export, run_import

FULL = {
    "ChannelType": "EMAIL",
    "Address": "Ann Lee <ann@example.com>",
    "Attributes": {"odd": ['a "quoted" word', "back\\slash", "Grüße 😀", "tab\there", "new\nline"]},
    "Metrics": {"n": 1.5},
    "Demographic": {"Locale": "de_AT"},
    "Location": {"Country": "AT", "Latitude": 47.0, "Longitude": 15.5},
    "User": {"UserId": "u", "UserAttributes": {"Hobby": ["chess"]}},
}


def test_an_export_shows_endpoints_as_get_endpoint_does(server, pinpoint, app_id):
    pinpoint.update_endpoint(ApplicationId=app_id, EndpointId="Full", EndpointRequest=FULL)
    pinpoint.update_endpoint(ApplicationId=app_id, EndpointId="bare", EndpointRequest={"EndpointStatus": "INACTIVE"})
    found = endpoints(server, pinpoint, app_id)

    assert found == {name: endpoint(pinpoint, app_id, name) for name in ("Full", "bare")}


def test_an_export_describes_itself(server, pinpoint, app_id):
    pinpoint.update_endpoint(ApplicationId=app_id, EndpointId="one", EndpointRequest=FULL)
    job = run_export(pinpoint, app_id, "s3://tests/no-slash")

    assert (job["Type"], job["JobStatus"], job["TotalProcessed"], job["TotalFailures"]) == ("EXPORT", "COMPLETED", 1, 0)
    assert (job["TotalPieces"], job["CompletedPieces"], job["FailedPieces"]) == (1, 1, 0)
    assert set(exported(server, job, folder="no-slash")) == {"one"}
    assert pinpoint.get_export_jobs(ApplicationId=app_id)["ExportJobsResponse"]["Item"][0]["Id"] == job["Id"]


def test_nothing_is_exported_as_an_empty_part(server, pinpoint, app_id):
    job = run_export(pinpoint, app_id)

    assert (job["JobStatus"], job["TotalProcessed"], exported(server, job)) == ("COMPLETED", 0, {})
    assert len(list((server.data_dir / "buckets" / "tests" / "out").glob(f"{job['Id']}*"))) == 1


def test_an_export_is_of_one_moment(server, pinpoint, app_id):
    """A writer moves a mark from one endpoint to the other, both in one batch: every snapshot has exactly one."""
    stopping = threading.Event()

    def write(client):
        number = 0
        while not stopping.is_set():
            number += 1
            marks = [str(number % 2), str(1 - number % 2)]
            items = [
                {"Id": f"m{side}", "ChannelType": "CUSTOM", "Address": f"m{side}", "Attributes": {"mark": [mark]}}
                for side, mark in enumerate(marks)
            ]
            try:
                client.update_endpoints_batch(ApplicationId=app_id, EndpointBatchRequest={"Item": items})
            except (BotoCoreError, ClientError):
                return

    rows = "".join(f"e{number},CUSTOM,e{number}\n" for number in range(3000))
    run_import(pinpoint, app_id, put(server, f"{app_id}/f.csv", "Id,ChannelType,Address\n" + rows))
    writer = threading.Thread(target=write, args=(server.client(),), daemon=True)
    writer.start()
    try:
        for _ in range(5):
            found = endpoints(server, pinpoint, app_id)
            marks = sorted(one["Attributes"]["mark"][0] for one in found.values() if one["Attributes"])
            assert marks in (["0", "1"], [])
            assert len(found) >= 3000
    finally:
        stopping.set()
        writer.join()


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"S3UrlPrefix": "ftp://x/y"}, "BadRequestException"),
        ({"S3UrlPrefix": "s3://tests/x", "SegmentVersion": 1}, "BadRequestException"),
        ({"S3UrlPrefix": "s3://tests/x", "SegmentId": "nope"}, "NotFoundException"),
    ],
)
def test_what_cannot_be_exported_is_refused_at_once(pinpoint, app_id, wanted, error):
    with pytest.raises(ClientError, match=error):
        pinpoint.create_export_job(ApplicationId=app_id, ExportJobRequest={"RoleArn": ROLE} | wanted)


def test_a_segment_and_a_version_of_it_are_exported(server, pinpoint, app_id):
    for name, country in (("a", "AT"), ("b", "DE"), ("c", "AT")):
        wanted = FULL | {"Address": name, "Location": {"Country": country}, "User": {"UserId": f"user-{name}"}}
        pinpoint.update_endpoint(ApplicationId=app_id, EndpointId=name, EndpointRequest=wanted)
    dimensions = {"Location": {"Country": {"DimensionType": "INCLUSIVE", "Values": ["AT"]}}}
    segment = pinpoint.create_segment(
        ApplicationId=app_id, WriteSegmentRequest={"Name": "Austria", "Dimensions": dimensions}
    )["SegmentResponse"]
    pinpoint.update_segment(ApplicationId=app_id, SegmentId=segment["Id"], WriteSegmentRequest={"Dimensions": {}})
    first = run_export(pinpoint, app_id, SegmentId=segment["Id"], SegmentVersion=1)
    latest = run_export(pinpoint, app_id, SegmentId=segment["Id"])
    jobs = pinpoint.get_segment_export_jobs(ApplicationId=app_id, SegmentId=segment["Id"])["ExportJobsResponse"]["Item"]

    assert (set(exported(server, first)), set(exported(server, latest))) == ({"a", "c"}, {"a", "b", "c"})
    assert [job["Id"] for job in jobs] == [latest["Id"], first["Id"]]


def test_an_imported_segment_is_exported(server, pinpoint, app_id):
    rows = "".join(f"e{number},EMAIL,e{number}@example.com,u{number}\n" for number in range(4))
    run_import(pinpoint, app_id, put(server, f"{app_id}/all.csv", "Id,ChannelType,Address,User.UserId\n" + rows))
    run_import(pinpoint, app_id, put(server, f"{app_id}/some.csv", "User.UserId\nu1\nu3\nnobody\n"), DefineSegment=True)
    (segment,) = pinpoint.get_segments(ApplicationId=app_id)["SegmentsResponse"]["Item"]
    job = run_export(pinpoint, app_id, SegmentId=segment["Id"])

    assert set(exported(server, job)) == {"e1", "e3"}
