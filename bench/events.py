"""PutEvents, signed and durable, against AWS's account quota; the log's writer against raw COPY."""

import asyncio
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from bench.api import rate, server
from bench.load import measure, signed
from repoint.db import Connection
from repoint.resources.events.store import Event, append

WARM_UP = 400
LARGE_REQUESTS = 800
EVENTS_EACH = 100


def event_of(number: int) -> dict[str, Any]:
    return {
        "EventType": "cart.add",
        "Timestamp": "2026-05-06T07:08:09.120Z",
        "Attributes": {"sku": f"A{number % 1000}", "page": "home"},
        "Metrics": {"qty": 2.0, "price": 19.5},
        "AppPackageName": "org.example.app",
        "AppTitle": "Shop",
        "AppVersionCode": "31",
        "SdkName": "web",
        "ClientSdkVersion": "5.1",
        "Session": {"Id": "s-8", "StartTimestamp": "2026-05-06T07:00:00.000Z"},
    }


def one_event(app: str, number: int) -> tuple[str, str, Any]:
    number %= 12_000
    endpoint = {"ChannelType": "GCM", "Address": f"token{number}", "User": {"UserId": f"user{number}"}}
    item = {"Endpoint": endpoint, "Events": {"e-1": event_of(number)}}
    return "POST", f"/v1/apps/{app}/events", {"BatchItem": {f"endpoint{number}": item}}


def hundred_events(app: str, number: int) -> tuple[str, str, Any]:
    events = {f"e-{at}": event_of(at) for at in range(EVENTS_EACH)}
    return "POST", f"/v1/apps/{app}/events", {"BatchItem": {f"endpoint{number}": {"Endpoint": {}, "Events": events}}}


def put_events() -> list[dict[str, Any]]:
    return [*rate("PutEvents, 1 event", 7000, 1.0, one_event), *many_events()]


def many_events() -> list[dict[str, Any]]:
    with server("--api-processes", "2") as (host, port, key, client):
        app = client.create_app(CreateApplicationRequest={"Name": "Bench"})["ApplicationResponse"]["Id"]
        address = f"{host}:{port}"
        measure(host, port, signed(key, address, [hundred_events(app, number) for number in range(WARM_UP)]))
        requests = signed(key, address, [hundred_events(app, number) for number in range(LARGE_REQUESTS)])
        measured = measure(host, port, requests)
        assert set(measured["statuses"]) == {202}, measured["statuses"]
        value = measured["rate"] * EVENTS_EACH
        return [figure("PutEvents, 100 events", value, "AWS's quota of requests, one event each", 7000)]


LOGGED = 100_000
BATCH = 500
COLUMNS = "(arrival_at, app_id, endpoint_id, event_type, event_at, document)"


def document_of(number: int) -> dict[str, Any]:
    given = event_of(number)
    return {
        "attributes": given["Attributes"],
        "metrics": given["Metrics"],
        "application": {"package_name": given["AppPackageName"], "sdk": {"name": "web", "version": "5.1"}},
        "session": {"session_id": "s-8", "start_timestamp": 1_936_000_000_000},
        "endpoint": {"Id": f"e{number % 5000}", "ChannelType": "GCM", "OptOut": "NONE", "EndpointStatus": "ACTIVE"},
    }


def copy(connection: psycopg.Connection[Any], table: str, app: str, now: datetime) -> float:
    lines = "".join(
        f"{now}\t{app}\te{number % 5000}\tcart.add\t{now}\t{json.dumps(document_of(number))}\n"
        for number in range(LOGGED)
    )
    started = time.perf_counter()
    with connection.cursor().copy(f"COPY {table} {COLUMNS} FROM STDIN") as writer:
        writer.write(lines)
    connection.commit()
    return LOGGED / (time.perf_counter() - started)


async def appended(dsn: str, app: str, now: datetime) -> float:
    async with await Connection.connect(dsn) as connection:
        events = [Event(app, f"e{n % 5000}", "cart.add", now, now, document_of(n)) for n in range(LOGGED)]
        started = time.perf_counter()
        for first in range(0, LOGGED, BATCH):
            await append(connection, events[first : first + BATCH])
            await connection.commit()
        return LOGGED / (time.perf_counter() - started)


def log() -> list[dict[str, Any]]:
    """The log's writer in batches, each committed."""
    with server() as (_, _, _, client):
        app = client.create_app(CreateApplicationRequest={"Name": "Bench"})["ApplicationResponse"]["Id"]
        dsn = f"host={newest_database()} user=postgres dbname=postgres"
        now = datetime.now(UTC)
        with psycopg.connect(dsn) as connection:
            ours = asyncio.run(appended(dsn, app, now))
            raw = copy(connection, "event", app, now)
        return [figure("Log, batches of 500", ours, "raw COPY into the same table, one commit", raw)]


def newest_database() -> Path:
    """The socket's folder of the server that was started last."""
    return max(Path(tempfile.gettempdir()).glob("repoint-bench-*/data/postgres"), key=lambda path: path.stat().st_ctime)


def figure(name: str, value: float, reference: str, reference_value: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "unit": "events/s",
        "reference": reference,
        "reference_value": reference_value,
        "ratio": value / reference_value,
        "goal": 1.0,
    }
