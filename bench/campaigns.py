"""A whole campaign: created by the API, its audience taken down, its mail on the wire; against smtp-source."""

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from bench import campaign_email
from bench.campaign_email import APP, HTML, POLL_SECONDS, SIZE, TEXT, WORKERS, workers
from bench.smtp import better, reference, sink
from repoint import operations
from repoint.config import Settings
from repoint.main import Installation
from repoint.resources.call import Call, Server

ENDPOINTS = int(os.environ.get("BENCH_ENDPOINTS", "200000"))
MEGABYTE = 2**20
TEMPLATE = {"Subject": "{{User.UserAttributes.FirstName}}, autumn is here", "HtmlPart": HTML, "TextPart": TEXT}
CAMPAIGN = {
    "Name": "bench",
    "HoldoutPercent": 5,
    "Limits": {"Daily": 3},
    "MessageConfiguration": {"EmailMessage": {"FromAddress": "Shop <shop@example.com>"}},
    "TemplateConfiguration": {"EmailTemplate": {"Name": "autumn"}},
    "AdditionalTreatments": [{"SizePercent": 30}, {"SizePercent": 30}],
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One campaign, in seconds, messages and bytes."""

    selecting: float
    all: float
    messages: int
    database_bytes: int
    worker_bytes: int


async def prepare(installation: Installation) -> None:
    """Endpoints as the API would have stored them; a tenth of them is opted out or has another channel."""
    async with await psycopg.AsyncConnection.connect(installation.dsn, autocommit=True) as connection:
        await connection.execute(
            """INSERT INTO app (app_id, region, name, created_at, settings_modified_at)
               VALUES (%s, 'us-east-1', 'B', now(), now())""",
            [APP],
        )
        await connection.execute(
            """INSERT INTO endpoint (app_id, endpoint_id, given_id, revision, channel_type, address, is_active,
                   is_opted_out, cohort_id, created_at, effective_at, request_id, user_id, attributes, metrics,
                   demographic, location, user_attributes)
               SELECT %s, 'endpoint' || lpad(n::text, 8, '0'), 'endpoint' || lpad(n::text, 8, '0'), 1,
                   CASE WHEN n %% 20 = 3 THEN 'SMS' ELSE 'EMAIL' END, 'person' || n || '@example.com', true,
                   n %% 20 = 7, n %% 100, now(), now(), 'r', 'user' || n,
                   jsonb_build_object('Plan', ARRAY['gold'], 'Interests', ARRAY['cats', 'dogs']),
                   jsonb_build_object('Points', n %% 500), '{"Platform": "ios", "Timezone": "Europe/Vienna"}',
                   '{"City": "Graz", "Country": "AT"}',
                   jsonb_build_object('FirstName', ARRAY['Ann'], 'LastName', ARRAY['Lee' || n])
               FROM generate_series(1, %s) AS n""",
            [APP, ENDPOINTS],
        )
        await connection.execute("VACUUM ANALYZE endpoint")


async def measure(installation: Installation, port: int, count: int) -> Measured:
    """Create a campaign, wait until it is completed."""
    with workers(count, installation, port) as processes:
        async with installation.server() as server:
            before = await _database_bytes(server)
            started = time.perf_counter()
            campaign_id = await _create(server)
            selected = await _when(
                server, "SELECT 1 FROM campaign_wave WHERE done_at IS NOT NULL AND campaign_id = %s", campaign_id
            )
            query = """SELECT 1 WHERE NOT EXISTS (
                           SELECT 1 FROM campaign_activity WHERE campaign_id = %s AND ended_at IS NULL)"""
            ended = await _when(server, query, campaign_id)
            rows = await server.db.fetch_all("SELECT state, count(*) FROM message GROUP BY state")
            assert [state for state, _ in rows] == ["SENT"], rows
            memory = max(psutil.Process(one.pid).memory_info().rss for one in processes)
            size = await _database_bytes(server) - before
            return Measured(selected - started, ended - started, rows[0][1], size, memory)


async def _create(server: Server) -> str:
    call = Call(server, "us-east-1")
    await server.db.settle()
    segment = await operations.call(
        "CreateSegment", call, {"ApplicationId": APP, "WriteSegmentRequest": {"Name": "all"}}
    )
    if await server.db.fetch_one("SELECT 1 FROM template") is None:
        request = {"TemplateName": "autumn", "EmailTemplateRequest": TEMPLATE}
        await operations.call("CreateEmailTemplate", call, request)
    await server.db.settle()
    quiet = {"Start": "03:00", "End": "03:01"}
    schedule = {"StartTime": "IMMEDIATE", "QuietTime": quiet}
    wanted = {**CAMPAIGN, "SegmentId": segment["Id"], "Schedule": schedule}
    made = await operations.call("CreateCampaign", call, {"ApplicationId": APP, "WriteCampaignRequest": wanted})
    return str(made["Id"])


async def _when(server: Server, query: Any, campaign_id: str) -> float:
    while await server.db.fetch_one(query, [campaign_id]) is None:  # noqa: ASYNC110 - another process does the work
        await asyncio.sleep(POLL_SECONDS)
    return time.perf_counter()


async def _database_bytes(server: Server) -> int:
    row = await server.db.fetch_one("SELECT pg_database_size(current_database())")
    return int(row[0]) if row else 0


async def tidy(installation: Installation) -> None:
    """What a run has left, so that the next finds the same database."""
    async with await psycopg.AsyncConnection.connect(installation.dsn, autocommit=True) as connection:
        await connection.execute("TRUNCATE campaign, campaign_activity, campaign_wave, campaign_drop CASCADE")
    await campaign_email.tidy(installation)


def run() -> list[dict[str, Any]]:
    results = []
    with tempfile.TemporaryDirectory(prefix="repoint-bench-") as folder:
        installation = Installation.open(Settings(data_dir=Path(folder) / "data"))
        try:
            asyncio.run(prepare(installation))
            for count in WORKERS:
                with sink() as port:
                    before = reference(port, SIZE, ENDPOINTS)
                    found = asyncio.run(measure(installation, port, count))
                    theirs = better(before, reference(port, SIZE, ENDPOINTS))
                asyncio.run(tidy(installation))
                results.append(_result(found, count, theirs))
        finally:
            installation.close()
    return results


def _result(found: Measured, count: int, theirs: float | None) -> dict[str, Any]:
    value = found.messages / found.all
    notes = (
        f"smtp-source -d -s 10 ({ENDPOINTS} endpoints judged in {found.selecting:.1f} s; {found.messages} messages, "
        f"{found.database_bytes / found.messages:.0f} bytes each in the database; a worker has "
        f"{found.worker_bytes / MEGABYTE:.0f} MB)"
    )
    return {
        "name": f"campaign, {count} worker{'s' if count > 1 else ''}",
        "value": value,
        "unit": "messages/s",
        "reference": notes,
        "reference_value": theirs,
        "ratio": value / theirs if theirs else None,
        "goal": 1.0,
    }
