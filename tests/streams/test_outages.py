"""A real Kafka broker and moto's Kinesis get all, in order for each endpoint, whoever stops, starts and dies."""

import contextlib
import json
import threading

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from moto.server import ThreadedMotoServer

from tests.conftest import eventually, free_port, start_server
from tests.killing import kill_all
from tests.streams.conftest import (
    REGION,
    arn_of,
    bind,
    kinesis_records,
    numbers_of,
    put_numbered,
    stream_to,
    streams,
)
from tests.streams.kafka_broker import Broker, NoBrokerError

ENDPOINTS = 7
PARTITIONS = 3
LAST = 1_000_000


class KafkaEnd:
    """A topic of a broker."""

    def __init__(self, folder):
        self.broker = Broker(folder)
        self.start, self.stop = self.broker.start, self.broker.stop
        self.start()
        self.broker.create("events", PARTITIONS)
        self.target = f"kafka://{self.broker.address}/events"

    def records(self):
        """(partition, key, value), in the order of each partition."""
        return self.broker.records("events", PARTITIONS)


class KinesisEnd:
    """A stream of moto's, which keeps what it has while it does not listen."""

    target = "aws"

    def __init__(self, patch):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        patch.setenv("AWS_ENDPOINT_URL_KINESIS", self.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        self.start()
        kinesis = boto3.client("kinesis", region_name=REGION, endpoint_url=self.url)
        kinesis.create_stream(StreamName="outages", ShardCount=PARTITIONS)

    def start(self):
        self.moto = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self.moto.start()

    def stop(self):
        self.moto.stop()

    def records(self):
        """(shard, key, value), in the order of each shard."""
        return [(one["ShardId"], one["PartitionKey"], one["Data"]) for one in kinesis_records(self.url, "outages")]


@pytest.fixture(params=["kafka", "kinesis"])
def far_end(request, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        try:
            end = KafkaEnd(tmp_path) if request.param == "kafka" else KinesisEnd(patch)
        except NoBrokerError as error:
            pytest.skip(str(error))
        yield end
        end.stop()


class Reporter:
    """A client that reports numbered events, one after the other, until it is stopped or gets no answer."""

    def __init__(self, server, app, first):
        self.accepted, self.stopping = [], threading.Event()
        self.thread = threading.Thread(target=self.report, args=(server.client(), app, first))
        self.thread.start()

    def report(self, client, app, first):
        with contextlib.suppress(BotoCoreError, ClientError):
            for number in range(first, LAST):
                if self.stopping.is_set():
                    return
                put_numbered(client, app, [number], ENDPOINTS)
                self.accepted.append(number)

    def goes_on(self, count):
        wanted = len(self.accepted) + count
        eventually(lambda: len(self.accepted) >= wanted)

    def stop(self):
        self.stopping.set()
        self.thread.join()
        return self.accepted


def test_everything_arrives_in_order_whoever_stops_and_dies(far_end, tmp_path):
    server = start_server(tmp_path / "data", "--log-level", "error")
    keys = (server.access_key_id, server.secret_access_key)
    app = server.client().create_app(CreateApplicationRequest={"Name": "Outages"})["ApplicationResponse"]["Id"]
    bind(server, arn_of("outages"), far_end.target)
    stream_to(server.client(), app, arn_of("outages"))
    reporter = Reporter(server, app, 0)
    reporter.goes_on(50)
    far_end.stop()
    reporter.goes_on(50)
    far_end.start()
    reporter.goes_on(50)
    kill_all(server, with_database=True)
    accepted = reporter.stop()
    server = start_server(tmp_path / "data", "--log-level", "error", keys=keys)
    put_numbered(server.client(), app, range(LAST, LAST + ENDPOINTS), ENDPOINTS)
    records = eventually(lambda: all_there(far_end.records()), seconds=60)
    eventually(lambda: streams(server)[app]["failures"] == 0)
    assert server.stop() == 0

    found = numbers_of([json.loads(value) for _, _, value in records])
    assert set(accepted) <= {number for some in found.values() for number in some}
    assert all(some == sorted(some) for some in found.values())
    assert len({(partition, key) for partition, key, _ in records}) == ENDPOINTS


def all_there(records):
    """The records, once each endpoint's last event is among them."""
    last = {key for _, key, value in records if int(json.loads(value)["attributes"]["n"]) >= LAST}
    return len(last) == ENDPOINTS and records
