"""A real server on a real PostgreSQL, started as its users start it, and AWS's own client to talk to it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

REPOINT = Path(sys.executable).with_name("repoint")
READY_SECONDS = 60
signal.signal(signal.SIGINT, signal.default_int_handler)  # what starts the tests may ignore it, and children would, too


def pytest_collection_modifyitems(items):
    """Files of few tests first: theirs are the long ones, and no process waits for another's at the end."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (tests[item.path], item.path))


@dataclass
class RunningServer:
    """A `repoint serve`, and how to reach it."""

    process: subprocess.Popen
    url: str
    data_dir: Path
    access_key_id: str = ""
    secret_access_key: str = ""
    arguments: list[str] = field(default_factory=list)
    own_environment: dict[str, str] = field(default_factory=dict)

    def client(self, region="us-east-1", service="pinpoint", **overrides):
        """A boto3 client, as an engineer would make it, but without retries that would hide answers."""
        credentials = {
            "aws_access_key_id": self.access_key_id,
            "aws_secret_access_key": self.secret_access_key,
            "endpoint_url": self.url,
            "config": Config(retries={"total_max_attempts": 1}, max_pool_connections=50),
        }
        return boto3.client(service, region_name=region, **(credentials | overrides))

    def environment(self, region="us-east-1"):
        """What a caller exports to re-point any AWS client."""
        return os.environ | {
            "AWS_ENDPOINT_URL_PINPOINT": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
        }

    def get(self, path):
        """A plain GET, decoded if it is JSON."""
        with urllib.request.urlopen(self.url + path, timeout=35) as response:
            body = response.read()
            is_json = response.headers["content-type"].startswith("application/json")
            return json.loads(body) if is_json else body.decode()

    def kill(self):
        """No farewell: SIGKILL to the supervisor."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def start_server(data_dir, *arguments, port=0, keys=None, key_flags=(), environment=None):
    """Start a server and wait for its ready line; `key_flags` say where to make a key, if not in the data directory.

    `environment` is what it has besides that of the tests.
    """
    command = [REPOINT, "serve", "--data-dir", data_dir, "--port", str(port), *arguments]
    log = Path(data_dir).parent / f"{Path(data_dir).name}.log"
    with log.open("ab") as errors:
        own = environment or {}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | own)
    line = process.stdout.readline()
    match = re.fullmatch(r"ready (http://\S+)\n", line)
    assert match, f"no ready line but {line!r}: {log.read_text()[-4000:]}"
    server = RunningServer(process, match[1], Path(data_dir), arguments=list(arguments), own_environment=own)
    server.access_key_id, server.secret_access_key = keys or create_key(data_dir, "tests", *key_flags)
    return server


def create_key(data_dir, name="tests", *arguments):
    """An access key, made on the command line."""
    command = [REPOINT, "keys", "create", "--data-dir", data_dir, "--name", name, "--json", *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    key = json.loads(printed)
    return key["AccessKeyId"], key["SecretAccessKey"]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server for all tests that leave it running."""
    running = start_server(tmp_path_factory.mktemp("repoint") / "data", "--log-level", "warning")
    yield running
    running.stop()


@pytest.fixture
def pinpoint(server):
    """A boto3 client."""
    return server.client()


@pytest.fixture
def app_id(pinpoint):
    """A fresh application."""
    return pinpoint.create_app(CreateApplicationRequest={"Name": "Test"})["ApplicationResponse"]["Id"]


def free_port():
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(question, *, seconds=20):
    """The first true answer to a question about something that happens behind the request."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"still not true after {seconds} seconds"
        time.sleep(0.05)
