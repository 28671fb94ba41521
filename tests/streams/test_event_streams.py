"""Event streams: each far end gets everything, in order for each endpoint, whatever stops and starts."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from repoint.streams.sink import SinkError, StreamRecord
from repoint.streams.sinks.kafka import KafkaSink
from tests.conftest import eventually, start_server
from tests.killing import kill_all
from tests.streams.conftest import (
    REGION,
    arn_of,
    bind,
    in_order,
    kinesis_records,
    lines_of,
    numbers_of,
    put_numbered,
    stream_to,
    streams,
)


def test_the_resource_is_put_shown_and_deleted(client, app):
    put = stream_to(client, app, arn_of("shown"))
    got = client.get_event_stream(ApplicationId=app)["EventStream"]
    deleted = client.delete_event_stream(ApplicationId=app)["EventStream"]

    assert put == got == deleted
    assert (put["ApplicationId"], put["DestinationStreamArn"]) == (app, arn_of("shown"))
    with pytest.raises(client.exceptions.NotFoundException, match="Resource not found"):
        client.get_event_stream(ApplicationId=app)


@pytest.mark.parametrize("arn", ["nowhere", "arn:aws:s3:::bucket", "arn:aws:lambda:us-east-1:1:function:f"])
def test_only_streams_are_destinations(client, app, arn):
    with pytest.raises(client.exceptions.BadRequestException, match="DestinationStreamArn"):
        stream_to(client, app, arn)


def test_an_unbound_stream_is_a_file_of_json_lines(streaming, client, app):
    file = streaming.data_dir / "streams" / f"{app}.jsonl"
    put_numbered(client, app, range(2))
    stream_to(client, app, arn_of(app))
    put_numbered(client, app, range(12))
    records = eventually(lambda: len(lines_of(file)) == 12 and lines_of(file))

    assert numbers_of(records) == in_order(12)
    assert records[0]["event_version"] == "3.0"
    client.delete_event_stream(ApplicationId=app)


def test_a_deleted_stream_gets_nothing_and_a_new_one_starts_from_there(streaming, client, app):
    file = streaming.data_dir / "streams" / f"{app}.jsonl"
    stream_to(client, app, arn_of(app))
    put_numbered(client, app, [0])
    eventually(lambda: len(lines_of(file)) == 1)
    client.delete_event_stream(ApplicationId=app)
    put_numbered(client, app, [1])
    stream_to(client, app, arn_of(app))
    put_numbered(client, app, [2])
    eventually(lambda: len(lines_of(file)) == 2)

    assert [record["attributes"]["n"] for record in lines_of(file)] == ["0", "2"]


def test_kinesis_gets_records_keyed_by_endpoint(streaming, aws, client, app):
    boto3.client("kinesis", region_name=REGION, endpoint_url=aws).create_stream(StreamName=app, ShardCount=2)
    bind(streaming, arn_of(app), "aws")
    stream_to(client, app, arn_of(app))
    put_numbered(client, app, range(30))
    found = eventually(lambda: len(kinesis_records(aws, app)) >= 30 and kinesis_records(aws, app))

    assert all(record["Data"].endswith(b"}\n") for record in found)
    assert {record["PartitionKey"] for record in found} == {"e0", "e1", "e2"}
    assert numbers_of([json.loads(record["Data"]) for record in found]) == in_order(30)


def test_firehose_gets_records(streaming, aws, client, app):
    boto3.client("s3", region_name=REGION, endpoint_url=aws).create_bucket(Bucket=app)
    boto3.client("firehose", region_name=REGION, endpoint_url=aws).create_delivery_stream(
        DeliveryStreamName=app,
        S3DestinationConfiguration={"RoleARN": "arn:aws:iam::1:role/r", "BucketARN": f"arn:aws:s3:::{app}"},
    )
    bind(streaming, arn_of(app, "firehose"), "aws")
    stream_to(client, app, arn_of(app, "firehose"))
    put_numbered(client, app, range(9))

    def delivered():
        s3 = boto3.client("s3", region_name=REGION, endpoint_url=aws)
        keys = [one["Key"] for one in s3.list_objects_v2(Bucket=app).get("Contents", [])]
        texts = [s3.get_object(Bucket=app, Key=key)["Body"].read().decode() for key in sorted(keys)]
        records = [json.loads(line) for text in texts for line in text.splitlines()]
        return len(records) >= 9 and records

    assert {number for some in numbers_of(eventually(delivered)).values() for number in some} == set(range(9))


def test_a_stream_waits_for_a_far_end_that_is_down(streaming, client, app):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    receiver = Receiver(port)
    bind(streaming, arn_of(app), f"http://127.0.0.1:{port}/hook", "--secret", "s3cret")
    stream_to(client, app, arn_of(app))
    put_numbered(client, app, range(20))
    down = eventually(lambda: streams(streaming)[app]["failures"] and streams(streaming)[app])
    receiver.start(refuse=1)
    eventually(lambda: sum(map(len, numbers_of(receiver.records).values())) == 20, seconds=40)
    receiver.stop()

    assert "127.0.0.1" in down["last_error"]
    assert numbers_of(receiver.records) == in_order(20)
    assert receiver.signatures_are_good
    eventually(lambda: streams(streaming)[app]["forwarded"] == 20)
    assert streams(streaming)[app]["failures"] == 0


class Receiver:
    """A webhook's far end: refuses at first, checks signatures, keeps what it takes."""

    def __init__(self, port):
        self.port, self.records, self.signatures_are_good, self.refuse = port, [], True, 0

    def start(self, refuse):
        self.refuse = refuse
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                stamp = self.headers["x-repoint-timestamp"]
                wanted = hmac.new(b"s3cret", f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
                receiver.signatures_are_good &= self.headers["x-repoint-signature"] == f"sha256={wanted}"
                receiver.refuse -= 1
                self.send_response(503 if receiver.refuse >= 0 else 204)
                self.end_headers()
                if receiver.refuse < 0:
                    receiver.records += [json.loads(line) for line in body.splitlines()]

            def log_message(self, *_):
                """Quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()


def test_nothing_is_lost_or_torn_when_the_server_is_killed(tmp_path):
    server = start_server(tmp_path / "data", "--log-level", "error")
    keys = (server.access_key_id, server.secret_access_key)
    app = server.client().create_app(CreateApplicationRequest={"Name": "Kill"})["ApplicationResponse"]["Id"]
    stream_to(server.client(), app, arn_of("kept"))
    file = tmp_path / "data" / "streams" / "kept.jsonl"
    accepted = []
    for round_ in range(3):
        client = server.client()

        def report(client=client, first=round_ * 10_000):
            with contextlib.suppress(BotoCoreError, ClientError):
                for number in range(first, first + 10_000):
                    put_numbered(client, app, [number])
                    accepted.append(number)

        thread = threading.Thread(target=report)
        thread.start()
        eventually(lambda round_=round_: len(accepted) > 60 * (round_ + 1) and file.exists())
        kill_all(server, with_database=round_ == 1)
        thread.join()
        with file.open("ab") as torn:
            torn.write(b'{"event_type": "half')
        server = start_server(tmp_path / "data", "--log-level", "error", keys=keys)
    put_numbered(server.client(), app, [99_999])
    eventually(lambda: lines_of_whole(file) and lines_of_whole(file)[-1]["attributes"]["n"] == "99999")
    found = numbers_of(lines_of(file))
    assert server.stop() == 0

    assert set(accepted) <= {number for some in found.values() for number in some}
    assert all(some == sorted(some) for some in found.values())


def lines_of_whole(file):
    """The lines, once the last one is whole."""
    text = file.read_text()
    return text.endswith("\n") and [json.loads(line) for line in text.splitlines()]


def test_a_kafka_that_is_not_there_is_an_error_to_try_again_after():
    async def write():
        sink = KafkaSink("kafka://127.0.0.1:9/topic")
        try:
            await sink.write([StreamRecord("e", "1", b"{}")])
        finally:
            await sink.close()

    with pytest.raises(SinkError, match=r"kafka 127\.0\.0\.1:9/topic"):
        asyncio.run(write())


@pytest.mark.parametrize(("scheme", "first"), [("kafka", b"\x00\x00\x00"), ("kafkas", b"\x16\x03")])
def test_kafka_is_spoken_over_tls_where_the_url_says_so(scheme, first):
    """What a broker is sent first: the length of a request, or a TLS handshake."""

    async def connect(url):
        sink = KafkaSink(url)
        with pytest.raises(SinkError):
            await sink.write([StreamRecord("e", "1", b"{}")])
        await sink.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take():
            with listener.accept()[0] as connection:
                heard.append(connection.recv(100))

        heard, thread = [], threading.Thread(target=take)
        thread.start()
        asyncio.run(
            connect(f"{scheme}://user:secret@127.0.0.1:{listener.getsockname()[1]}/topic?mechanism=SCRAM-SHA-512")
        )
        thread.join()

    assert heard[0].startswith(first)
    assert b"secret" not in heard[0]


def test_lag_is_a_metric(streaming, client, app):
    stream_to(client, app, arn_of(app))
    put_numbered(client, app, [0])
    name = f'repoint_event_reader_lag_seconds{{reader="stream/{app}"}} 0.0'

    assert eventually(lambda: name in streaming.get("/metrics"))
