"""Event streams: how fast what waits in the log reaches a file, and a real Kafka broker on the same machine."""

import subprocess
import tempfile
import time
from datetime import UTC, datetime
from typing import Any

import psycopg

from bench.api import REPOINT, server
from bench.events import LOGGED, copy, figure, newest_database
from tests.streams.kafka_broker import Broker, NoBrokerError

ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/bench"
QUOTA = "AWS's quota of requests, one event each"
PARTITIONS = 3


def run() -> list[dict[str, Any]]:
    """A file, and Kafka where it can be had."""
    found = [figure("Event stream to a file", streamed(), QUOTA, 7000)]
    with tempfile.TemporaryDirectory(prefix="repoint-bench-kafka-") as folder:
        try:
            broker = Broker(folder)
        except NoBrokerError as error:
            print(f"no Kafka: {error}")
            return found
        broker.start()
        try:
            broker.create("bench", PARTITIONS)
            found.append(figure("Event stream to Kafka", streamed(f"kafka://{broker.address}/bench"), QUOTA, 7000))
        finally:
            broker.stop()
    return found


def forwarded(connection: psycopg.Connection[Any], app: str) -> int:
    row = connection.execute("SELECT forwarded FROM event_stream WHERE app_id = %s", [app]).fetchone()
    connection.commit()
    return int(row[0]) if row else 0


def streamed(target: str = "") -> float:
    """Events per second, from the moment they wait until all have arrived."""
    with server() as (_, _, _, client):
        app = client.create_app(CreateApplicationRequest={"Name": "Bench"})["ApplicationResponse"]["Id"]
        folder = newest_database()
        if target:
            subprocess.run(
                [REPOINT, "bindings", "set", ARN, target, "--data-dir", folder.parent], check=True, capture_output=True
            )
        with psycopg.connect(f"host={folder} user=postgres dbname=postgres") as connection:
            client.put_event_stream(
                ApplicationId=app, WriteEventStream={"DestinationStreamArn": ARN, "RoleArn": "arn:aws:iam::1:role/r"}
            )
            copy(connection, "event", app, datetime.now(UTC))
            started = time.perf_counter()
            while forwarded(connection, app) < LOGGED:
                time.sleep(0.02)
            return LOGGED / (time.perf_counter() - started)
