"""A campaign's email, from stored endpoints to smtp-sink, against smtp-source sending messages of the same size."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.types.json import Jsonb

from bench.cpu import cpu_seconds, postmaster
from bench.smtp import better, reference, sink
from repoint.config import Settings
from repoint.db import Connection, allow_scans
from repoint.main import Installation
from repoint.resources.call import Server, new_id
from repoint.resources.messages.store import id_prefix
from repoint.work import pacing
from repoint.work.pacing import Pace

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "200000"))
WORKERS = tuple(int(number) for number in os.environ.get("BENCH_WORKERS", "1,2").split(","))
POLL_SECONDS = 0.05  # asking costs PostgreSQL something, too
REPOINT = str(Path(sys.executable).with_name("repoint"))
APP = "b" * 32
PARAGRAPH = "The autumn collection is here, with everything that keeps you warm and dry when the weather does not. "
TEXT = (
    "Hello {{User.UserAttributes.FirstName}} {{User.UserAttributes.LastName}},\n\n"
    + f"{PARAGRAPH}\n" * 4
    + "Your plan is {{Attributes.Plan}}, in {{Location.City}}.\n\nhttps://shop.example.com/autumn\n"
)
HTML = (
    "<!doctype html>\n<html><body>\n<h1>Hello {{User.UserAttributes.FirstName}}!</h1>\n"
    + f'<p style="margin:0 0 16px 0;font:16px/24px Helvetica,Arial,sans-serif">{PARAGRAPH}</p>\n' * 9
    + "<p>Your plan is {{Attributes.Plan}}, your city {{Location.City}} ({{Location.Country}}); you have "
    "{{Metrics.Points}} points.</p>\n"
    '<p><a href="https://shop.example.com/autumn">Look</a> '
    '<a href="https://shop.example.com/points">Points</a> '
    '<a href="https://shop.example.com/account">Account</a></p>\n</body></html>\n'
)
CONTENT = {
    "Region": "us-east-1",
    "Message": {
        "EmailMessage": {
            "FromAddress": "Shop <shop@example.com>",
            "SimpleEmail": {
                "Subject": {"Data": "{{User.UserAttributes.FirstName}}, autumn is here"},
                "TextPart": {"Data": TEXT},
                "HtmlPart": {"Data": HTML},
            },
        }
    },
    "Templates": {},
    "Context": {},
    "TraceId": None,
}
FIRST_NAMES = ("Ann", "Bob", "Carla", "David", "Eve", "Frank", "Greta", "Hugo", "Ida", "Jon")
CITIES = ("Graz", "Linz", "Wien", "Bonn", "Lyon", "Oslo", "Rome")


async def store_endpoints(connection: psycopg.AsyncConnection[Any]) -> None:
    """Endpoints as the API would have stored them."""
    now = datetime.now(UTC)
    await connection.execute(
        """INSERT INTO app (app_id, region, name, created_at, settings_modified_at)
           VALUES (%s, 'us-east-1', 'B', %s, %s)""",
        [APP, now, now],
    )
    columns = (
        "app_id, endpoint_id, given_id, revision, channel_type, address, is_active, is_opted_out, cohort_id, "
        "created_at, effective_at, request_id, user_id, attributes, metrics, demographic, location, user_attributes"
    )
    async with connection.cursor().copy(f"COPY endpoint ({columns}) FROM STDIN") as copy:
        for number in range(MESSAGES):
            name = f"endpoint{number:07}"
            await copy.write_row(
                [
                    APP, name, name, 1, "EMAIL", f"person{number}@example.com", True, False, number % 100, now, now,
                    "r", f"user{number}",
                    Jsonb({"Plan": ["gold"], "Interests": ["cats", "dogs"]}),
                    Jsonb({"Points": float(number % 500)}),
                    Jsonb({"Platform": "ios", "Locale": "en_US"}),
                    Jsonb({"City": CITIES[number % len(CITIES)], "Country": "AT"}),
                    Jsonb({"FirstName": [FIRST_NAMES[number % 10]], "LastName": [f"Lee{number}"]}),
                ]
            )  # fmt: skip
    await connection.execute("VACUUM ANALYZE endpoint")


@contextlib.contextmanager
def workers(count: int, installation: Installation, port: int) -> Iterator[list[subprocess.Popen[str]]]:
    """`repoint work`, so many times, on the bench's database."""
    data = str(installation.settings.data_dir)
    url = f"smtp://127.0.0.1:{port}?starttls=never&messages_per_connection_max=1000000&connections_max=8"
    command = [REPOINT, "work", "--data-dir", data, "--log-level", "warning", "--smtp-url", url]
    command += ["--public-url", "https://t.example.com"]  # an open pixel, and all three links tracked
    if os.environ.get("BENCH_PROFILE"):
        command = [sys.executable, "-m", "cProfile", "-o", f"build/worker-{os.getpid()}.prof", *command]
    started = [
        subprocess.Popen([*command, "--database-url", installation.dsn], stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield started
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


async def write_down(connection: Connection, activity_id: str, now: datetime) -> int:
    """All endpoints as the audience of an activity, which is due; returns how many they are."""
    await allow_scans(connection)
    await connection.execute(
        "INSERT INTO activity (activity_id, app_id, content, created_at) VALUES (%s, %s, %s, %s)",
        [activity_id, APP, Jsonb(CONTENT), now],
    )
    await connection.execute(
        """INSERT INTO message (app_id, activity_id, endpoint_id, message_id, channel_type, address, state, created_at,
               modified_at)
           SELECT app_id, %s, endpoint_id, %s || lpad(to_hex(row_number() OVER (ORDER BY endpoint_id)), 12, '0'),
               channel_type, address, 'ACCEPTED', %s, %s
           FROM endpoint WHERE app_id = %s ORDER BY endpoint_id""",
        [activity_id, id_prefix(now), now, now, APP],
    )
    return await pacing.cut(connection, APP, [activity_id], Pace(now, None, timedelta(hours=4).total_seconds(), None))


async def campaign(server: Server) -> dict[str, float]:
    """Accept the audience, wait until all has been sent: seconds of both."""
    activity_id, started = new_id(), time.perf_counter()
    async with server.db.transaction() as connection:
        targeted = await write_down(connection, activity_id, server.clock())
    selected = time.perf_counter()
    assert targeted == MESSAGES
    query = "SELECT (SELECT count(*) FROM outbox_slice) + (SELECT count(*) FROM outbox)"
    while (await server.db.fetch_one(query) or [0])[0]:  # noqa: ASYNC110 - another process does the work
        await asyncio.sleep(POLL_SECONDS)
    ended = time.perf_counter()
    states = await server.db.fetch_all(
        "SELECT state, count(*) FROM message WHERE activity_id = %s GROUP BY state", [activity_id]
    )
    assert states == [("SENT", MESSAGES)], states
    return {"selecting": selected - started, "all": ended - started}


async def measure(installation: Installation, port: int, count: int) -> dict[str, float]:
    """The campaign's seconds, and the microseconds of CPU that each message took of whom."""
    with workers(count, installation, port) as started:
        watched = {
            "worker": [psutil.Process(one.pid) for one in started],
            "postgres": [postmaster(installation.settings.data_dir)],
            "sink": [one for one in psutil.Process().children() if one.name() == "smtp-sink"],
        }
        async with installation.server() as server:
            before = {name: cpu_seconds(*processes) for name, processes in watched.items()}
            measured = await campaign(server)
        used = {name: cpu_seconds(*processes) - before[name] for name, processes in watched.items()}
        return measured | {name: seconds * 1e6 / MESSAGES for name, seconds in used.items()}


async def prepare(installation: Installation) -> None:
    async with await psycopg.AsyncConnection.connect(installation.dsn, autocommit=True) as connection:
        await store_endpoints(connection)


async def tidy(installation: Installation) -> None:
    """What a run has left, so that the next finds the same database."""
    async with await psycopg.AsyncConnection.connect(installation.dsn, autocommit=True) as connection:
        await connection.execute("TRUNCATE message, outbox, outbox_slice, activity, event")
        await connection.execute("VACUUM")
        await connection.execute("CHECKPOINT")


def run() -> list[dict[str, Any]]:
    results = []
    with tempfile.TemporaryDirectory(prefix="repoint-bench-") as folder:
        installation = Installation.open(Settings(data_dir=Path(folder) / "data"))
        try:
            asyncio.run(prepare(installation))
            for count in WORKERS:
                with sink() as port:
                    before = reference(port, SIZE, MESSAGES)
                    measured = asyncio.run(measure(installation, port, count))
                    theirs = better(before, reference(port, SIZE, MESSAGES))
                asyncio.run(tidy(installation))
                value = MESSAGES / measured["all"]
                results.append(
                    {
                        "name": f"campaign email, {count} worker{'s' if count > 1 else ''}",
                        "value": value,
                        "unit": "messages/s",
                        "reference": "smtp-source -d -s 10; audience written in {selecting:.1f} s; CPU µs a message: "
                        "worker {worker:.0f}, postgres {postgres:.0f}, sink {sink:.0f}".format(**measured),
                        "reference_value": theirs,
                        "ratio": value / theirs if theirs else None,
                        "goal": 1.0,
                    }
                )
        finally:
            installation.close()
    return results


SIZE = len(TEXT) + len(HTML) + 700  # what an email of the campaign measures, within a few octets
