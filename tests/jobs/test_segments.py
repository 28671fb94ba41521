"""What an import defines: segments, their versions and members; the matrix of RegisterEndpoints and DefineSegment."""

import json

import psycopg
import pytest

from repoint.db.embedded import dsn_of
from tests.jobs.running import endpoint, endpoints, put, run_import, summary

HEADER = "Id,ChannelType,Address,User.UserId\n"
TWO = f"{HEADER}a,EMAIL,a@example.com,u1\nb,SMS,+4312345,u2\n"


@pytest.fixture
def load(server, pinpoint, app_id):
    def run(content, file_format="CSV", **more):
        url = put(server, f"{app_id}/f.{file_format.lower()}", content)
        return run_import(pinpoint, app_id, url, file_format, **more)

    return run


def segment_of(server, client, app_id, job):
    """The segment a job made, and that it is found by it."""
    (found,) = rows(
        server,
        """SELECT segment_id, version, name, import_definition FROM segment_version
           WHERE app_id = %s ORDER BY segment_id, version DESC LIMIT 1""",
        app_id,
    )
    jobs = client.get_segment_import_jobs(ApplicationId=app_id, SegmentId=found[0])["ImportJobsResponse"]["Item"]
    assert jobs[0]["Id"] == job["Id"]
    return dict(zip(("Id", "Version", "Name", "ImportDefinition"), found, strict=True))


def rows(server, query, *parameters):
    with psycopg.connect(dsn_of(server.data_dir)) as connection:
        return connection.execute(query, parameters).fetchall()


def members(server, app_id, version=1):
    return sorted(
        name
        for (name,) in rows(
            server,
            """SELECT endpoint_id FROM segment_member WHERE app_id = %s AND version = %s
               UNION ALL SELECT 'user ' || user_id FROM segment_user WHERE app_id = %s AND version = %s""",
            app_id,
            version,
            app_id,
            version,
        )
    )


def test_endpoints_and_segment(server, pinpoint, app_id, load):
    job = load(TWO, DefineSegment=True, RegisterEndpoints=True, SegmentName="Two")
    segment = segment_of(server, pinpoint, app_id, job)

    assert (segment["Name"], segment["Version"]) == ("Two", 1)
    assert segment["ImportDefinition"]["Size"] == 2
    assert segment["ImportDefinition"]["ChannelCounts"] == {"EMAIL": 1, "SMS": 1}
    assert members(server, app_id) == ["a", "b"]


def test_endpoints_only(server, pinpoint, app_id, load):
    load(TWO, RegisterEndpoints=True)

    assert rows(server, "SELECT FROM segment WHERE app_id = %s", app_id) == []
    assert set(endpoints(server, pinpoint, app_id)) == {"a", "b"}


def test_segment_only_leaves_endpoints_alone(server, pinpoint, app_id, load):
    load(TWO)
    before = endpoints(server, pinpoint, app_id)
    changed = (
        "Id,ChannelType,Address,Attributes.x\nA,EMAIL,new@example.com,1\n,SMS,+4312345,2\nz,EMAIL,z@example.com,\n"
    )
    job = load(changed, RegisterEndpoints=False, DefineSegment=True)

    assert summary(job) == ("COMPLETED", 3, 1)
    assert "line 4: no endpoint of this application has this Id" in job["Failures"][0]
    assert members(server, app_id) == ["a", "b"]
    assert endpoints(server, pinpoint, app_id) == before


@pytest.mark.parametrize(
    ("content", "file_format"),
    [
        ("User.UserId\nu1\nu2 u3\n", "CSV"),
        ("".join(json.dumps({"User": {"UserId": name}}) + "\n" for name in ("u1", "u2", "u3")), "JSON"),
    ],
    ids=["CSV", "JSON"],
)
def test_users_named_alone_are_members(server, pinpoint, app_id, load, content, file_format):
    load(TWO)
    job = load(content, file_format, DefineSegment=True, SegmentName="Users")

    assert job["JobStatus"] == "COMPLETED"
    assert members(server, app_id) == ["user u1", "user u2", "user u3"]
    assert segment_of(server, pinpoint, app_id, job)["ImportDefinition"]["ChannelCounts"] == {"EMAIL": 1, "SMS": 1}


def test_users_named_alone_need_a_segment(load):
    job = load('{"User":{"UserId":"u1"}}', "JSON")

    assert summary(job) == ("COMPLETED", 1, 1)
    assert "DefineSegment is false" in job["Failures"][0]


def test_a_segment_named_again_gets_a_new_version(server, pinpoint, app_id, load):
    first = segment_of(server, pinpoint, app_id, load(TWO, DefineSegment=True, SegmentName="Kept"))
    job = load(f"{HEADER}c,EMAIL,c@example.com,\n", SegmentId=first["Id"], DefineSegment=True)
    second = segment_of(server, pinpoint, app_id, job)

    assert (second["Id"], second["Version"], second["Name"]) == (first["Id"], 2, "Kept")
    assert second["ImportDefinition"]["Size"] == 1
    assert (members(server, app_id, 1), members(server, app_id, 2)) == (["a", "b"], ["c"])


def test_a_failed_import_defines_nothing(server, pinpoint, app_id):
    put(server, f"{app_id}/in/1.csv", TWO)
    put(server, f"{app_id}/in/2.csv", "What,is,this\n")
    job = run_import(pinpoint, app_id, f"s3://tests/{app_id}/in/", DefineSegment=True)

    assert job["JobStatus"] == "FAILED"
    assert rows(server, "SELECT FROM segment WHERE app_id = %s", app_id) == []
    assert members(server, app_id) == []
    assert endpoint(pinpoint, app_id, "a")["ChannelType"] == "EMAIL"


def test_rows_merged_one_by_one_are_members_too(server, app_id, load):
    job = load(
        f"{HEADER}a,EMAIL,a@example.com,u1\na,EMAIL,a@example.com,u2\nÄ,EMAIL,b@example.com,\n", DefineSegment=True
    )

    assert summary(job) == ("COMPLETED", 3, 0)
    assert members(server, app_id) == ["a", "ä"]
