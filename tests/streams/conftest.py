"""A server whose neighbours in AWS are moto's, and what the tests of streams share."""

import json
import subprocess

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import REPOINT, start_server
from tests.events.conftest import event

REGION = "us-east-1"


@pytest.fixture(scope="module")
def aws():
    """Moto as Kinesis, Firehose, S3 and Lambda; its URL."""
    moto = ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture(scope="module")
def streaming(aws, tmp_path_factory):
    """A server that finds AWS at moto."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_KINESIS", aws)
        patch.setenv("AWS_ENDPOINT_URL_FIREHOSE", aws)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        server = start_server(tmp_path_factory.mktemp("streams") / "data", "--log-level", "info")
        yield server
        server.stop()


@pytest.fixture
def client(streaming):
    return streaming.client()


@pytest.fixture
def app(client):
    return client.create_app(CreateApplicationRequest={"Name": "Streams"})["ApplicationResponse"]["Id"]


def arn_of(name, service="kinesis"):
    kind = "stream" if service == "kinesis" else "deliverystream"
    return f"arn:aws:{service}:{REGION}:123456789012:{kind}/{name}"


def stream_to(client, app, arn):
    given = {"DestinationStreamArn": arn, "RoleArn": "arn:aws:iam::123456789012:role/r"}
    return client.put_event_stream(ApplicationId=app, WriteEventStream=given)["EventStream"]


def bind(server, arn, target, *arguments):
    command = [REPOINT, "bindings", "set", "--data-dir", server.data_dir, arn, target, *arguments]
    subprocess.run(command, capture_output=True, text=True, check=True)


def streams(server):
    command = [REPOINT, "streams", "list", "--data-dir", server.data_dir, "--json"]
    return {one["app_id"]: one for one in json.loads(subprocess.check_output(command, text=True))}


def put_numbered(client, app, numbers, endpoints=3):
    """An event for each number, in order, over a few endpoints."""
    for number in numbers:
        batch = {f"e{number % endpoints}": {"Endpoint": {}, "Events": {"x": event(Attributes={"n": str(number)})}}}
        client.put_events(ApplicationId=app, EventsRequest={"BatchItem": batch})


def numbers_of(records):
    """The numbers as they arrived, by endpoint, what came again left out."""
    found = {}
    for record in records:
        seen = found.setdefault(record["client"]["client_id"], [])
        number = int(record["attributes"]["n"])
        if number not in seen:
            seen.append(number)
    return found


def in_order(numbers, endpoints=3):
    return {f"e{first}": list(range(first, numbers, endpoints)) for first in range(endpoints)}


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def kinesis_records(aws, name):
    """What a stream has got, each with its shard; those of a shard in order."""
    kinesis = boto3.client("kinesis", region_name=REGION, endpoint_url=aws)
    found = []
    for shard in kinesis.list_shards(StreamName=name)["Shards"]:
        start = {"ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = kinesis.get_shard_iterator(StreamName=name, **start)["ShardIterator"]
        records = kinesis.get_records(ShardIterator=iterator, Limit=10_000)["Records"]
        found += [record | {"ShardId": shard["ShardId"]} for record in records]
    return found
