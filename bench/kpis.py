"""The metrics: how fast the log is counted, and how long the KPIs and the questions to the log itself take then.

`BENCH_EVENTS` is how many events the log has, 1,000,000 unless told. SQL writes them, over thirty days, to a tenth as
many endpoints, each with a user: the email of three campaigns, and what clients report.
"""

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg

from bench.api import REPOINT, server
from bench.campaign_email import MESSAGES, campaign, prepare, workers
from bench.smtp import sink
from repoint.config import Settings
from repoint.db import Connection, Database
from repoint.main import Installation
from repoint.resources.call import Server
from repoint.resources.events.reader import BEGINNING, Position, load_position, read
from repoint.resources.kpis.active import active_days
from repoint.resources.kpis.conversions import PURCHASE, Goal, conversions
from repoint.resources.kpis.funnels import Step, funnel
from repoint.resources.kpis.rollup import READER
from repoint.resources.kpis.scan import Range
from repoint.work.partitions import DAYS_AHEAD, make_partitions

EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
DAYS = 30
REPEATS = 5
POLL_SECONDS = 0.1
KPIS: list[tuple[str, str, dict[str, str]]] = [
    ("application", "txn-emails-sent-grouped-by-date", {}),
    ("application", "unique-deliveries-grouped-by-date", {}),
    ("campaign", "email-open-rate", {"CampaignId": "c1"}),
    ("campaign", "unique-deliveries", {"CampaignId": "c1"}),
]
HEADERS = [{"name": name, "value": "x" * 30} for name in ("From", "To", "Subject", "Message-ID", "Date")]
MAIL = {
    "message_send_timestamp": 1_936_000_000_000,
    "from_address": "shop@example.com",
    "destination": ["someone@example.net"],
    "headers_truncated": False,
    "headers": HEADERS,
    "common_headers": {"from": "shop@example.com", "to": ["someone@example.net"], "subject": "x" * 30},
}
REPORTED = {
    "application": {"package_name": "org.example.app", "sdk": {"name": "web", "version": "5.1"}},
    "session": {"session_id": "s-8", "start_timestamp": 1_936_000_000_000},
    "endpoint": {"ChannelType": "GCM", "OptOut": "NONE", "EndpointStatus": "ACTIVE"},
}
SENT_ALIKE = 250
VISIT = [Step("_session.start"), Step("cart.add"), Step(PURCHASE)]
Question = Callable[[Database, Range], Awaitable[Any]]
QUESTIONS: dict[str, Question] = {
    "Conversions and revenue": lambda db, within: conversions(db, within, Goal(PURCHASE)),
    "Funnel of three steps": lambda db, within: funnel(db, within, VISIT, window=timedelta(days=1)),
    "Active users": lambda db, within: active(db, within, users=True),
    "Active endpoints": lambda db, within: active(db, within, users=False),
}


def database_of(app: str) -> Path:
    """The socket's folder of the server that has an application: other benchmarks may have servers, too."""
    for folder in Path(tempfile.gettempdir()).glob("repoint-bench-*/data/postgres"):
        with contextlib.suppress(psycopg.Error), psycopg.connect(f"host={folder} user=postgres dbname=postgres") as one:
            if one.execute("SELECT FROM app WHERE app_id = %s", [app]).rowcount:
                return folder
    raise LookupError(app)


def fill(dsn: str, app: str) -> None:
    """Of twenty events eight are sends, seven deliveries, two opens, a click, a client's and a campaign's."""

    async def partitions() -> None:
        async with await Connection.connect(dsn, autocommit=True) as connection:
            for days in range(DAYS, -1, -DAYS_AHEAD - 1):
                await make_partitions(connection, datetime.now(UTC) - timedelta(days=days))

    asyncio.run(partitions())
    given = {
        "app": app,
        "days": DAYS,
        "events": EVENTS,
        "endpoints": EVENTS // 10,
        "mail": json.dumps(MAIL),
        "reported": json.dumps(REPORTED),
        "alike": SENT_ALIKE,
        "visit": [step.event_type for step in VISIT],
    }
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in (ENDPOINTS, ONE_BY_ONE, ALIKE):
            connection.execute(statement, given)
        connection.execute("VACUUM ANALYZE event, endpoint")


ENDPOINTS = """
INSERT INTO endpoint (app_id, endpoint_id, given_id, revision, channel_type, address, is_active, is_opted_out,
    cohort_id, created_at, effective_at, request_id, user_id, attributes, metrics, demographic, location,
    user_attributes)
SELECT %(app)s, 'e' || n, 'e' || n, 1, 'EMAIL', n || '@example.net', true, false, n %% 100,
    now() - n %% %(days)s * interval '1 day', now(), 'r', 'u' || n, '{}', '{}', '{}', '{}', '{}'
FROM generate_series(0, %(endpoints)s - 1) AS series (n)
"""
# What clients report is a user's visit, then another's.
ONE_BY_ONE = """
INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
SELECT moment, %(app)s, 'e' || who, kind, moment,
    CASE WHEN n %% 20 = 18 THEN %(reported)s::jsonb || jsonb_build_object(
        'attributes', jsonb_build_object('sku', 'A' || n %% 1000),
        'metrics', jsonb_build_object('_item_price', 9.5, '_quantity', 1),
        'endpoint', %(reported)s::jsonb -> 'endpoint' || jsonb_build_object('UserId', 'u' || who))
    ELSE jsonb_build_object('attributes', jsonb_build_object(
        'campaign_id', 'c' || n / 20 %% 3, 'campaign_activity_id', 'a', 'treatment_id', '0'),
        'facets', jsonb_build_object('email_channel', jsonb_build_object('mail_event', jsonb_build_object('mail',
        %(mail)s::jsonb || jsonb_build_object('message_id', 'm' || n / 20 * 8 + n %% 20 %% 8))))) END
FROM (
    SELECT n, now() - n * (%(days)s / %(events)s::float8) * interval '1 day' AS moment,
        CASE WHEN n %% 20 = 18 THEN n / 60 ELSE n / 20 * 8 + n %% 20 %% 8 END %% %(endpoints)s AS who,
        CASE WHEN n %% 20 = 18 THEN (%(visit)s::text[])[3 - n / 20 %% 3] ELSE '_email.' || (ARRAY['send', 'send',
            'send', 'send', 'send', 'send', 'send', 'send', 'delivered', 'delivered', 'delivered', 'delivered',
            'delivered', 'delivered', 'delivered', 'open', 'open', 'click'])[n %% 20 + 1] END AS kind
    FROM generate_series(0, %(events)s - 1) AS series (n) WHERE n %% 20 < 19) given
"""
# As delivery writes them: those of a slice are one row. Who buys has been sent a message days before.
ALIKE = """
INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document, stands_for, fills)
SELECT moment, %(app)s, '', '_campaign.send', moment, jsonb_build_object('attributes', jsonb_build_object(
    'campaign_id', 'c' || n %% 3, 'campaign_activity_id', 'a', 'treatment_id', '0', 'delivery_type', 'EMAIL',
    'campaign_send_status', 'SUCCESS')), %(alike)s,
    (SELECT string_agg('e' || (n * %(alike)s + place) / 4 %% %(endpoints)s, E'\n')
     FROM generate_series(0, %(alike)s - 1) AS line (place))
FROM (
    SELECT n, now() - n * 20 * %(alike)s * (%(days)s / %(events)s::float8) * interval '1 day' AS moment
    FROM generate_series(0, %(events)s / 20 / %(alike)s - 1) AS series (n)) given
"""


def run() -> list[dict[str, Any]]:
    """A campaign, and how far counting is behind it; then a long log: count all of it, and ask."""
    behind_campaign = lagging()
    with server("--workers", "0") as (_, _, _, client):
        app = client.create_app(CreateApplicationRequest={"Name": "Bench"})["ApplicationResponse"]["Id"]
        socket_folder = database_of(app)
        dsn = f"host={socket_folder} user=postgres dbname=postgres"
        fill(dsn, app)
        return [
            *behind_campaign,
            *counting(socket_folder.parent),
            *(answering(client, app, *kpi) for kpi in KPIS),
            *asyncio.run(asking(dsn, app)),
        ]


def counting(data_dir: Path) -> list[dict[str, Any]]:
    before, started = seconds_of_postgres(data_dir), time.perf_counter()
    command = [REPOINT, "metrics", "rebuild", "--data-dir", str(data_dir), "--log-level", "error"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    wall = time.perf_counter() - started
    used = seconds_of_postgres(data_dir) - before
    return [
        figure("Metrics, counting the log", EVENTS / wall, "events/s"),
        figure("Metrics, CPU of PostgreSQL", used / EVENTS * 1e6, "us/event"),
    ]


def seconds_of_postgres(data_dir: Path) -> float:
    """What all processes of a server's database have used, those that have ended too."""
    postmaster = psutil.Process(int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0]))
    own = postmaster.cpu_times()
    total: float = own.children_user + own.children_system
    for process in [postmaster, *postmaster.children()]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


async def behind(server: Server) -> dict[str, float]:
    """How far counting is behind a campaign: the age of the oldest event not counted, at worst, and at the end."""
    sending, worst = asyncio.create_task(campaign(server)), 0.0
    while not sending.done():
        worst = max(worst, await oldest_seconds(server.db))
        await asyncio.sleep(POLL_SECONDS)
    ended = time.perf_counter()
    while await oldest_seconds(server.db):  # noqa: ASYNC110 - another process does the work
        await asyncio.sleep(POLL_SECONDS)
    return {"worst": worst, "after": time.perf_counter() - ended, "rate": MESSAGES / sending.result()["all"]}


async def oldest_seconds(db: Database) -> float:
    """The age of the oldest event that no metric has yet; 0 when there is none."""
    async with db.connection() as connection:
        position = await load_position(connection, READER) or Position(BEGINNING)
        events, after = await read(connection, position, 1)
        if not events and position.target:  # the round is over, which its reader does not know yet
            events, _ = await read(connection, after, 1)
    return (datetime.now(UTC) - events[0].arrival_at).total_seconds() if events else 0.0


def lagging() -> list[dict[str, Any]]:
    """A campaign's email by one worker, which counts as it sends."""

    async def measured(installation: Installation) -> dict[str, float]:
        await prepare(installation)
        with sink() as port, workers(1, installation, port):
            async with installation.server() as server:
                return await behind(server)

    with tempfile.TemporaryDirectory(prefix="repoint-bench-") as folder:
        installation = Installation.open(Settings(data_dir=Path(folder) / "data"))
        try:
            found = asyncio.run(measured(installation))
        finally:
            installation.close()
    note = f"{MESSAGES:,} emails, {found['rate']:,.0f} a second"
    return [
        figure("Metrics behind a campaign", found["worst"], "s", f"at worst, of {note}"),
        figure("Metrics complete after it", found["after"], "s", note),
    ]


def answering(client: Any, app: str, kind: str, name: str, scope: dict[str, str]) -> dict[str, Any]:
    ask = getattr(client, f"get_{kind}_date_range_kpi")
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        ask(ApplicationId=app, KpiName=name, **scope)
        times.append(time.perf_counter() - started)
    return answered(f"KPI {name[:24]}", times)


async def asking(dsn: str, app: str) -> list[dict[str, Any]]:
    """What `repoint metrics` asks, over the whole log."""
    db = Database(dsn)
    await db.open()
    now = datetime.now(UTC)
    found = []
    for name, question in QUESTIONS.items():
        times = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            await question(db, Range(app, now - timedelta(days=DAYS + 1), now))
            times.append(time.perf_counter() - started)
        found.append(answered(name, times))
    await db.close()
    return found


def active(db: Database, within: Range, *, users: bool) -> Awaitable[Any]:
    first, last = within.start.date(), within.end.date()
    return active_days(db, within.app_id, first, last, last, users=users)


def answered(name: str, times: list[float]) -> dict[str, Any]:
    return figure(name, statistics.median(times) * 1000, "ms", f"{EVENTS:,} events in the log")


def figure(name: str, value: float, unit: str, note: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "reference": note,
        "reference_value": None,
        "ratio": None,
        "goal": None,
    }
