"""The metrics: how fast the log is counted, and how long the KPIs take then.

`BENCH_EVENTS` is how many events the log has, 1,000,000 unless told. SQL writes them, over thirty days: the email of
three campaigns, and what clients report.
"""

import asyncio
import json
import os
import statistics
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg

from bench.api import REPOINT, server
from bench.events import newest_database
from repoint.db import Connection
from repoint.work.partitions import DAYS_AHEAD, make_partitions

EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
DAYS = 30
REPEATS = 5
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


def fill(dsn: str, app: str) -> None:
    """Of twenty events eight are sends, seven deliveries, two opens, one a click, and two come from clients."""

    async def partitions() -> None:
        async with await Connection.connect(dsn, autocommit=True) as connection:
            for days in range(DAYS, -1, -DAYS_AHEAD - 1):
                await make_partitions(connection, datetime.now(UTC) - timedelta(days=days))

    asyncio.run(partitions())
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            """INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
               SELECT moment, %(app)s, 'e' || n / 20 * 8 + n %% 20 %% 8, kind, moment,
                   CASE WHEN n %% 20 = 18 THEN %(reported)s::jsonb || jsonb_build_object(
                       'attributes', jsonb_build_object('sku', 'A' || n %% 1000),
                       'metrics', jsonb_build_object('_item_price', 9.5, '_quantity', 1),
                       'endpoint', %(reported)s::jsonb -> 'endpoint' || jsonb_build_object('UserId', 'u' || n / 40))
                   WHEN n %% 20 = 19 THEN jsonb_build_object('attributes', jsonb_build_object(
                       'campaign_id', 'c' || n / 20 %% 3, 'campaign_activity_id', 'a', 'treatment_id', '0',
                       'delivery_type', 'EMAIL', 'campaign_send_status', 'SUCCESS'))
                   ELSE jsonb_build_object('attributes', jsonb_build_object(
                       'campaign_id', 'c' || n / 20 %% 3, 'campaign_activity_id', 'a', 'treatment_id', '0'),
                       'facets', jsonb_build_object('email_channel', jsonb_build_object('mail_event',
                       jsonb_build_object('mail', %(mail)s::jsonb || jsonb_build_object(
                       'message_id', 'm' || n / 20 * 8 + n %% 20 %% 8))))) END
               FROM (SELECT n, now() - n * (%(days)s / %(events)s::float8) * interval '1 day' AS moment, (ARRAY[
                   '_email.send', '_email.send', '_email.send', '_email.send', '_email.send', '_email.send',
                   '_email.send', '_email.send', '_email.delivered', '_email.delivered', '_email.delivered',
                   '_email.delivered', '_email.delivered', '_email.delivered', '_email.delivered', '_email.open',
                   '_email.open', '_email.click', '_monetization.purchase', '_campaign.send'])[n %% 20 + 1] AS kind
                   FROM generate_series(0, %(events)s - 1) AS series (n)) given""",
            {
                "app": app,
                "days": DAYS,
                "events": EVENTS,
                "mail": json.dumps(MAIL),
                "reported": json.dumps(REPORTED),
            },
        )
        connection.execute("VACUUM ANALYZE event")


def run() -> list[dict[str, Any]]:
    """Count the whole log; then ask."""
    with server("--workers", "0") as (_, _, _, client):
        app = client.create_app(CreateApplicationRequest={"Name": "Bench"})["ApplicationResponse"]["Id"]
        socket_folder = newest_database()
        fill(f"host={socket_folder} user=postgres dbname=postgres", app)
        return [*counting(socket_folder.parent), *(answering(client, app, *kpi) for kpi in KPIS)]


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


def answering(client: Any, app: str, kind: str, name: str, scope: dict[str, str]) -> dict[str, Any]:
    ask = getattr(client, f"get_{kind}_date_range_kpi")
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        ask(ApplicationId=app, KpiName=name, **scope)
        times.append((time.perf_counter() - started) * 1000)
    return figure(f"KPI {name[:24]}", statistics.median(times), "ms", f"{EVENTS:,} events in the log")


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
