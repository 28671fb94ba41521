"""The API's signed, durable request rates against AWS's default account quotas, and the time to ready."""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3

from bench.cpu import cpu_seconds, heads
from bench.load import Key, measure, signed

REPOINT = str(Path(sys.executable).with_name("repoint"))
REQUESTS = 24_000
WARM_UP = 3_000
API_PROCESSES = os.environ.get("BENCH_API_PROCESSES", "2")


@contextlib.contextmanager
def server(*arguments: str) -> Iterator[tuple[str, int, Key, Any]]:
    with tempfile.TemporaryDirectory(prefix="repoint-bench-") as folder:
        data = str(Path(folder) / "data")
        command = [REPOINT, "serve", "--data-dir", data, "--port", "0", "--log-level", "error", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        match = re.match(r"ready http://(.+):(\d+)", process.stdout.readline())
        assert match, "the server did not start"
        made = json.loads(
            subprocess.check_output([REPOINT, "keys", "create", "--data-dir", data, "--name", "bench", "--json"])
        )
        key = Key(made["AccessKeyId"], made["SecretAccessKey"])
        client = boto3.client(
            "pinpoint",
            region_name="us-east-1",
            endpoint_url=f"http://{match[1]}:{match[2]}",
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret,
        )
        try:
            yield match[1], int(match[2]), key, client
        finally:
            process.terminate()
            process.wait()


def result(name: str, measured: dict[str, Any], quota: float, goal: float) -> dict[str, Any]:
    assert set(measured["statuses"]) <= {200, 202}, measured["statuses"]
    value = measured["rate"]
    cpu = "CPU of Repoint, PostgreSQL, the clients: {} + {} + {} µs".format(*measured["cpu_us"])
    note = f"AWS's quota (p50 {measured['p50_ms']:.1f} ms, p99 {measured['p99_ms']:.1f} ms, 32 clients; {cpu})"
    return {
        "name": name,
        "value": value,
        "unit": "requests/s",
        "reference": note,
        "reference_value": quota,
        "ratio": value / quota,
        "goal": goal,
        "cpu_us": measured["cpu_us"],
    }


def endpoint_of(number: int) -> dict[str, Any]:
    return {
        "ChannelType": "EMAIL",
        "Address": f"person{number}@example.com",
        "OptOut": "NONE",
        "Attributes": {"plan": ["gold"], "interests": ["cats", "dogs"]},
        "Metrics": {"visits": float(number)},
        "Demographic": {"Platform": "ios", "PlatformVersion": "17.1", "Locale": "en_US", "Timezone": "Europe/Vienna"},
        "Location": {"Country": "AT", "City": "Graz"},
        "User": {"UserId": f"user{number}", "UserAttributes": {"FirstName": ["Ann"], "LastName": ["Lee"]}},
    }


def rate(
    name: str, quota: float, goal: float, make: Callable[[str, int], tuple[str, str, Any]], *, prepare: bool = False
) -> list[dict[str, Any]]:
    with server("--api-processes", API_PROCESSES) as (host, port, key, client):
        app = client.create_app(CreateApplicationRequest={"Name": "Bench"})["ApplicationResponse"]["Id"]
        client.update_email_channel(
            ApplicationId=app, EmailChannelRequest={"FromAddress": "shop@example.com", "Identity": "arn:aws:ses"}
        )
        address = f"{host}:{port}"
        if prepare:
            puts = [put(app, number) for number in range(REQUESTS)]
            measure(host, port, signed(key, address, puts))
        warm = [make(app, REQUESTS + number) for number in range(WARM_UP)]
        if not prepare:
            measure(host, port, signed(key, address, warm))
        requests = signed(key, address, [make(app, number) for number in range(REQUESTS)])
        ours, database = heads()
        before = cpu_seconds(ours), cpu_seconds(database)
        measured = measure(host, port, requests)
        measured["cpu_us"] = [
            round(seconds / REQUESTS * 1e6)
            for seconds in (cpu_seconds(ours) - before[0], cpu_seconds(database) - before[1], measured["load_seconds"])
        ]
        return [result(name, measured, quota, goal)]


def put(app: str, number: int) -> tuple[str, str, Any]:
    return "PUT", f"/v1/apps/{app}/endpoints/endpoint{number % (REQUESTS // 2)}", endpoint_of(number % (REQUESTS // 2))


def update_endpoint() -> list[dict[str, Any]]:
    return rate("UpdateEndpoint", 5000, 1.5, put)


def get_endpoint() -> list[dict[str, Any]]:
    return rate(
        "GetEndpoint",
        7000,
        1.0,
        lambda app, number: ("GET", f"/v1/apps/{app}/endpoints/endpoint{number % (REQUESTS // 2)}", None),
        prepare=True,
    )


def message(app: str, number: int) -> tuple[str, str, Any]:
    return (
        "POST",
        f"/v1/apps/{app}/messages",
        {
            "Addresses": {
                f"person{number}@example.com": {"ChannelType": "EMAIL", "Substitutions": {"FirstName": ["Ann"]}}
            },
            "MessageConfiguration": {
                "EmailMessage": {
                    "SimpleEmail": {
                        "Subject": {"Data": "Hello {{FirstName}}"},
                        "TextPart": {"Data": "Your code is 123456, {{FirstName}}."},
                    }
                }
            },
        },
    )


def send_messages() -> list[dict[str, Any]]:
    return rate("SendMessages", 4000, 1.0, message)


def ready() -> list[dict[str, Any]]:
    """The second start of an installation: from exec to the ready line."""
    with tempfile.TemporaryDirectory(prefix="repoint-bench-") as folder:
        seconds = []
        for _ in range(4):
            command = [REPOINT, "serve", "--data-dir", str(Path(folder) / "data"), "--port", "0"]
            started = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            assert process.stdout is not None
            process.stdout.readline()
            seconds.append(time.perf_counter() - started)
            process.terminate()
            process.wait()
    return [
        {
            "name": name,
            "value": value,
            "unit": "s",
            "reference": "the limit",
            "reference_value": 3.0,
            "ratio": 3.0 / value,
            "goal": 1.0,
        }
        for name, value in (("ready, first start", seconds[0]), ("ready, later starts", min(seconds[1:])))
    ]
