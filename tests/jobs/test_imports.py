"""Imports through boto3: AWS's own file forms, every oddity of them, and what becomes of endpoints and segments."""

import gzip
import json

import pytest
from botocore.exceptions import ClientError

from tests.conftest import eventually
from tests.jobs.running import begin_import, endpoint, endpoints, finished, put, run_import, summary

SAMPLE = """\
ChannelType,Address,Location.Country,User.UserId,User.UserAttributes.Hobby,User.UserAttributes.Hobby
SMS,+436605550101,AT,u1,chess,rowing
EMAIL,"b@example.net",DE,u2,"tea, strong",
"""


@pytest.fixture
def load(server, pinpoint, app_id):
    """Import one file's content; the ended job."""

    def run(content, name="file.csv", file_format="CSV", **more):
        url = put(server, f"{app_id}/{name}", content)
        return run_import(pinpoint, app_id, url, file_format, **more)

    return run


def by_address(server, client, app_id):
    return {one["Address"]: one for one in endpoints(server, client, app_id).values()}


def test_the_documented_csv_is_imported(server, pinpoint, app_id, load):
    job = load(SAMPLE)
    found = by_address(server, pinpoint, app_id)

    assert summary(job) == ("COMPLETED", 2, 0)
    assert found["+436605550101"]["User"] == {"UserId": "u1", "UserAttributes": {"Hobby": ["chess", "rowing"]}}
    assert found["b@example.net"]["User"] == {"UserId": "u2", "UserAttributes": {"Hobby": ["tea, strong"]}}
    assert found["b@example.net"]["Location"] == {"Country": "DE"}
    assert {one["OptOut"] for one in found.values()} == {"NONE"}


def test_the_documented_json_is_imported(server, pinpoint, app_id, load):
    line = """{"ChannelType":"EMAIL","Address":"c@example.net","User":{"UserId":"u3","UserAttributes":{"Hobby":
        ["chess"]}},"Metrics":{"visits":4}}""".replace("\n", "")
    job = load(line, "file.json", "JSON")
    one = by_address(server, pinpoint, app_id)["c@example.net"]

    assert summary(job) == ("COMPLETED", 1, 0)
    assert (one["Metrics"], one["User"]["UserAttributes"]) == ({"visits": 4.0}, {"Hobby": ["chess"]})


def test_a_job_is_described_as_it_was_asked_for(pinpoint, app_id, load):
    job = load(SAMPLE, SegmentName="Clients", DefineSegment=True)

    assert (job["Type"], job["ApplicationId"]) == ("IMPORT", app_id)
    assert (job["TotalPieces"], job["CompletedPieces"], job["FailedPieces"], job["Failures"]) == (1, 1, 0, [])
    assert job["Definition"]["SegmentName"] == "Clients"
    assert pinpoint.get_import_jobs(ApplicationId=app_id)["ImportJobsResponse"]["Item"][0]["Id"] == job["Id"]


ODD = {
    "a byte order mark": "\ufeffId,ChannelType,Address\na,EMAIL,a@example.com\n",
    "Windows line ends": "Id,ChannelType,Address\r\na,EMAIL,a@example.com\r\n",
    "no newline at the end": "Id,ChannelType,Address\na,EMAIL,a@example.com",
    "blank lines": "Id,ChannelType,Address\n\n\na,EMAIL,a@example.com\n\n",
    "everything quoted": '"Id","ChannelType","Address"\n"a","EMAIL","a@example.com"\n',
    "columns AWS ignores": "Id,EndpointStatus,RequestId,ChannelType,Address\na,INACTIVE,r1,EMAIL,a@example.com\n",
    "empty quoted cells": 'Id,ChannelType,Address,Attributes.x,OptOut\na,EMAIL,a@example.com,"",""\n',
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_odd_files_are_understood(pinpoint, app_id, load, content):
    job = load(content)
    one = endpoint(pinpoint, app_id, "a")

    assert summary(job) == ("COMPLETED", 1, 0)
    assert (one["Address"], one["EndpointStatus"], one["Attributes"]) == ("a@example.com", "ACTIVE", {})


def test_values_come_through_unchanged(pinpoint, app_id, load):
    values = ['a "quoted" word', "comma, comma", "back\\slash", "Grüße 😀", "tab\there", "{{x}}", "'", " spaces "]
    quoted = ",".join('"' + value.replace('"', '""') + '"' for value in values)
    load(f"Id,ChannelType,Address,{','.join(['Attributes.odd'] * len(values))}\na,EMAIL,a@example.com,{quoted}\n")
    lines = json.dumps({"Id": "b", "ChannelType": "EMAIL", "Address": "b@example.com", "Attributes": {"odd": values}})
    load(lines, "file.json", "JSON")

    assert endpoint(pinpoint, app_id, "a")["Attributes"]["odd"] == values
    assert endpoint(pinpoint, app_id, "b")["Attributes"]["odd"] == values


BAD_ROWS = {
    "x,NOPE,a@example.com,,,": "ChannelType: must be one of",
    ",EMAIL,,,,": "needs an Id, to update an endpoint, or ChannelType and Address",
    "x,EMAIL,,,,": "a new endpoint needs ChannelType and Address",
    "x,EMAIL,a@example.com,MAYBE,,": "OptOut: must be one of",
    "x,EMAIL,a@example.com,,many,": "Metrics.n: must be a number",
    "x,EMAIL,a@example.com,,nan,": "Metrics.n: must be a number",
    f"x,EMAIL,a@example.com,,,{'v' * 101}": "a value must be at most 100 characters",
    "${x},EMAIL,a@example.com,,,": "must not contain $",
    "x,EMAIL,a@example.com": "3 values under 6 columns",
    'x,EMAIL,"a@example.com,,,': "not CSV",
    "x,EMAIL,\udcff@example.com,,,": "not UTF-8",
    "x,EMAIL,a@exam\x00ple.com,,,": "NUL",
}


def test_bad_rows_are_counted_and_spare_their_neighbours(server, pinpoint, app_id, load):
    header = "Id,ChannelType,Address,OptOut,Metrics.n,Attributes.v"
    good = [f"good{number},EMAIL,g{number}@example.com,ALL,1.5,w" for number in range(len(BAD_ROWS))]
    lines = [header, *(line for pair in zip(good, BAD_ROWS, strict=True) for line in pair)]
    job = load("\n".join(lines).encode("utf-8", "surrogateescape"))

    assert summary(job) == ("COMPLETED", 2 * len(good), len(good))
    for number, (failure, reason) in enumerate(zip(job["Failures"], BAD_ROWS.values(), strict=True)):
        assert failure.startswith(f"{app_id}/file.csv: line {2 * number + 3}: ")
        assert reason in failure
    assert len(endpoints(server, pinpoint, app_id)) == len(good)


BAD_LINES = {
    "{": "not JSON",
    "[]": "must be an object",
    '{"Id": 7}': "Id: must be a string",
    '{"Id":"x","ChannelType":"EMAIL","Address":"a","Metrics":{"n":"4"}}': "Metrics.n: must be a number",
    '{"Id":"x","ChannelType":"EMAIL","Address":"a\\u0000"}': "NUL",
    '{"Id":"x","ChannelType":"EMAIL","Address":"a","Location":{"Latitude":3}}': "belong together",
    '{"Id":"x","ChannelType":"EMAIL","Address":"a","Demographic":{"Make":"' + "m" * 51 + '"}}': "Demographic.Make",
    '{"Id":"x","ChannelType":"EMAIL","Address":"a","EffectiveDate":"soon"}': "EffectiveDate",
    "[" * 5000: "not JSON",
}


def test_bad_lines_are_counted_and_spare_their_neighbours(server, pinpoint, app_id, load):
    good = ['{"Id":"good%d","ChannelType":"EMAIL","Address":"g%d"}' % (n, n) for n in range(len(BAD_LINES))]  # noqa: UP031
    job = load("\n".join(line for pair in zip(good, BAD_LINES, strict=True) for line in pair), "f.json", "JSON")

    assert summary(job) == ("COMPLETED", 2 * len(good), len(good))
    for failure, reason in zip(job["Failures"], BAD_LINES.values(), strict=True):
        assert reason in failure
    assert len(endpoints(server, pinpoint, app_id)) == len(good)


def test_only_the_first_hundred_failures_are_told(load):
    job = load("Id,ChannelType,Address\n" + "x,NOPE,a\n" * 150)

    assert summary(job) == ("COMPLETED", 150, 150)
    assert len(job["Failures"]) == 100


BAD_FILES = {
    "an unknown column": ("Id,Adress\na,b\n", "there is no column 'Adress'"),
    "another case": ("id,Address\na,b\n", "there is no column 'id'"),
    "a column twice": ("Id,Id\na,b\n", "is there twice"),
    "an empty file": ("", "is empty"),
    "broken gzip": (gzip.compress(SAMPLE.encode())[:-12], "not gzip"),
    "an endless line": (b"Id\n" + b"x" * 1_100_000, "has a line longer than"),
}


@pytest.mark.parametrize(("content", "reason"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_fails_its_piece_and_the_job(load, content, reason):
    job = load(content)

    assert (job["JobStatus"], job["FailedPieces"]) == ("FAILED", 1)
    assert reason in job["Failures"][0]


def test_a_prefix_is_all_its_files_of_the_format(server, pinpoint, app_id):
    header = "Id,ChannelType,Address\n"
    put(server, f"{app_id}/in/1.csv", f"{header}a,EMAIL,a@example.com\n")
    put(server, f"{app_id}/in/deep/er/2.csv.gz", gzip.compress(f"{header}b,EMAIL,b@example.com\n".encode()))
    put(server, f"{app_id}/in/3.json", '{"Id":"c","ChannelType":"EMAIL","Address":"c@example.com"}')
    put(server, f"{app_id}/in/readme.txt", "not for you")
    put(server, f"{app_id}/inside.csv", f"{header}d,EMAIL,d@example.com\n")
    job = run_import(pinpoint, app_id, f"s3://tests/{app_id}/in/")

    assert (summary(job), job["TotalPieces"]) == (("COMPLETED", 2, 0), 2)
    assert set(endpoints(server, pinpoint, app_id)) == {"a", "b"}


def test_a_bad_file_leaves_the_good_ones_imported(server, pinpoint, app_id):
    put(server, f"{app_id}/in/1.csv", "Id,ChannelType,Address\na,EMAIL,a@example.com\n")
    put(server, f"{app_id}/in/2.csv", "What,is,this\n")
    job = run_import(pinpoint, app_id, f"s3://tests/{app_id}/in/", DefineSegment=True)

    assert (job["JobStatus"], job["CompletedPieces"], job["FailedPieces"]) == ("FAILED", 1, 1)
    assert endpoint(pinpoint, app_id, "a")["Address"] == "a@example.com"


def test_nothing_to_import_fails_the_job(pinpoint, app_id):
    job = run_import(pinpoint, app_id, f"s3://tests/{app_id}/nothing/")

    assert (job["JobStatus"], job["TotalPieces"]) == ("FAILED", 0)
    assert "there is no CSV file at s3://tests/" in job["Failures"][0]


def test_gzip_in_several_members_is_read_to_its_end(server, pinpoint, app_id, load):
    parts = [b"Id,ChannelType,Address\n", b"a,EMAIL,a@example.com\n", b"b,EMAIL,b@example.com\n"]
    job = load(b"".join(gzip.compress(part) for part in parts), "file.csv.gz")

    assert summary(job) == ("COMPLETED", 2, 0)
    assert set(endpoints(server, pinpoint, app_id)) == {"a", "b"}


def test_an_export_can_be_imported_again(server, pinpoint, app_id, load):
    load(SAMPLE.replace("Location.Country", "Location.City"))
    before = endpoints(server, pinpoint, app_id)
    other = pinpoint.create_app(CreateApplicationRequest={"Name": "Other"})["ApplicationResponse"]["Id"]
    lines = "".join(json.dumps(one) + "\n" for one in before.values())
    job = run_import(
        pinpoint, other, put(server, f"{app_id}/again_part-00000.gz", gzip.compress(lines.encode())), "JSON"
    )
    after = endpoints(server, pinpoint, other)
    unlike = ("ApplicationId", "CohortId", "CreationDate", "RequestId")

    assert summary(job) == ("COMPLETED", 2, 0)
    for one in (*before.values(), *after.values()):
        for name in unlike:
            del one[name]
    assert after == before


REFUSED = [
    ({"RegisterEndpoints": False}, "at least one of them must be true"),
    ({"S3Url": "https://example.com/x"}, "S3Url: must be s3://bucket/key"),
    ({"S3Url": "s3://tests/../../etc/passwd"}, "S3Url: a key must not contain"),
    ({"S3Url": "s3://../x"}, "is not the name of a bucket"),
    ({"SegmentName": "x", "DefineSegment": False}, "DefineSegment: must be true"),
]


@pytest.mark.parametrize(("more", "reason"), REFUSED)
def test_what_cannot_be_is_refused_at_once(pinpoint, app_id, more, reason):
    with pytest.raises(ClientError, match="BadRequestException") as caught:
        begin_import(pinpoint, app_id, more.pop("S3Url", "s3://tests/x.csv"), **more)

    assert reason in caught.value.response["Error"]["Message"]


def test_unknown_jobs_and_segments_are_not_found(pinpoint, app_id):
    for call in (
        lambda: pinpoint.get_import_job(ApplicationId=app_id, JobId="x"),
        lambda: pinpoint.get_export_job(ApplicationId=app_id, JobId="x"),
        lambda: pinpoint.get_segment_import_jobs(ApplicationId=app_id, SegmentId="x"),
        lambda: pinpoint.get_segment_export_jobs(ApplicationId=app_id, SegmentId="x"),
        lambda: begin_import(pinpoint, app_id, "s3://tests/x.csv", SegmentId="x"),
    ):
        with pytest.raises(ClientError, match="NotFoundException"):
            call()


def test_several_imports_run_at_once_and_are_listed_by_pages(server, pinpoint, app_id):
    urls = [
        put(server, f"{app_id}/{n}.csv", "Id,ChannelType,Address\n" + f"e{n},EMAIL,e{n}@example.com\n")
        for n in range(5)
    ]
    started = [begin_import(pinpoint, app_id, url)["Id"] for url in urls]
    ended = [finished(pinpoint, app_id, job_id)["JobStatus"] for job_id in started]
    first = pinpoint.get_import_jobs(ApplicationId=app_id, PageSize="3")["ImportJobsResponse"]
    rest = pinpoint.get_import_jobs(ApplicationId=app_id, PageSize="3", Token=first["NextToken"])["ImportJobsResponse"]

    assert ended == ["COMPLETED"] * 5
    assert [job["Id"] for job in first["Item"] + rest["Item"]] == started[::-1]
    assert "NextToken" not in rest


def test_deleting_the_application_ends_its_imports(server, pinpoint, app_id):
    rows = "".join(f"e{n},EMAIL,e{n}@example.com\n" for n in range(20_000))
    begin_import(pinpoint, app_id, put(server, f"{app_id}/big.csv", "Id,ChannelType,Address\n" + rows))
    pinpoint.delete_app(ApplicationId=app_id)
    other = pinpoint.create_app(CreateApplicationRequest={"Name": "After"})["ApplicationResponse"]["Id"]

    assert (
        eventually(lambda: run_import(pinpoint, other, put(server, f"{other}/s.csv", SAMPLE)))["JobStatus"]
        == "COMPLETED"
    )


@pytest.mark.parametrize("value", ["plain", 'quo"te', "back\\slash", "tab\tulator", "öäü €", "\x7f", "{}[]:,'"])
def test_a_value_is_what_its_cell_says(pinpoint, app_id, load, value):
    cell = '"' + value.replace('"', '""') + '"'
    job = load(f"Id,ChannelType,Address,Attributes.a,Location.City\ne,CUSTOM,x,{cell},{cell}\n")
    found = endpoint(pinpoint, app_id, "e")

    assert summary(job) == ("COMPLETED", 1, 0)
    assert (found["Attributes"], found["Location"]["City"]) == ({"a": [value]}, value)
