"""s3:// URLs that are S3: moto's server as the store, over the network."""

import gzip

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import start_server
from tests.jobs.running import run_export, run_import, summary


@pytest.fixture(scope="module")
def s3():
    """A client of an S3-compatible store."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    url = f"http://{host}:{port}"
    yield boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="store", aws_secret_access_key="secret"
    )
    moto.stop()


@pytest.fixture(scope="module")
def server(s3, tmp_path_factory):
    own = {"AWS_ACCESS_KEY_ID": "store", "AWS_SECRET_ACCESS_KEY": "secret"}
    flags = ["--bucket", "*=s3:", "--s3-endpoint-url", s3.meta.endpoint_url, "--log-level", "warning"]
    running = start_server(tmp_path_factory.mktemp("s3") / "data", *flags, environment=own)
    yield running
    running.stop()


def test_files_come_from_and_go_to_s3(s3, pinpoint, app_id):
    s3.create_bucket(Bucket="shop")
    header = "Id,ChannelType,Address\n"
    s3.put_object(Bucket="shop", Key="in/1.csv", Body=f"{header}a,EMAIL,a@example.com\n".encode())
    s3.put_object(Bucket="shop", Key="in/2.csv.gz", Body=gzip.compress(f"{header}b,EMAIL,b@example.com\n".encode()))
    imported = run_import(pinpoint, app_id, "s3://shop/in/")
    exported = run_export(pinpoint, app_id, "s3://shop/out/")
    parts = s3.list_objects_v2(Bucket="shop", Prefix="out/")["Contents"]
    lines = gzip.decompress(s3.get_object(Bucket="shop", Key=parts[0]["Key"])["Body"].read()).splitlines()

    assert (summary(imported), exported["JobStatus"]) == (("COMPLETED", 2, 0), "COMPLETED")
    assert ([part["Key"] for part in parts], len(lines)) == ([f"out/{exported['Id']}_part-00000.gz"], 2)


def test_a_file_of_several_pieces_is_read_by_ranges(s3, pinpoint, app_id):
    s3.create_bucket(Bucket="large")
    rows = "".join(f"e{number},CUSTOM,e{number},{'x' * 90},{'y' * 90},{'z' * 90}\n" for number in range(40_000))
    s3.put_object(
        Bucket="large",
        Key="f.csv",
        Body=f"Id,ChannelType,Address,Attributes.x,Attributes.y,Attributes.z\n{rows}".encode(),
    )
    job = run_import(pinpoint, app_id, "s3://large/f.csv")

    assert (summary(job), job["TotalPieces"]) == (("COMPLETED", 40_000, 0), 3)


def test_a_bucket_that_is_not_there_fails_the_job(s3, pinpoint, app_id):
    job = run_import(pinpoint, app_id, "s3://nowhere/f.csv")

    assert job["JobStatus"] == "FAILED"
    assert "s3://nowhere/f.csv" in job["Failures"][0]
