"""Opens and clicks, signed and in the log before they are answered, against what listmonk takes on such a machine."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from bench.campaign_email import APP, CONTENT, REPOINT
from bench.load import measure
from repoint.db.embedded import dsn_of
from repoint.delivery.tokens import Tokens
from repoint.sealing import Seal

HITS = 40_000
WARM_UP = 4_000
ACTIVITIES = 20
CLIENTS = 64
REFERENCE = 2950.0
API_PROCESSES = os.environ.get("BENCH_API_PROCESSES", "2")
TARGET = "https://shop.example.com/autumn?utm_source=mail&utm_campaign=autumn"


def store_mails(dsn: str, message_ids: Sequence[str]) -> None:
    """Mails of a few campaigns, as they stand in the ledger when they have been sent."""
    now = datetime.now(UTC)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            """INSERT INTO app (app_id, region, name, created_at, settings_modified_at)
               VALUES (%s, 'us-east-1', 'B', %s, %s)""",
            [APP, now, now],
        )
        for number in range(ACTIVITIES):
            connection.execute("INSERT INTO activity VALUES (%s, %s, %s, %s)", [f"a{number}", APP, Jsonb(CONTENT), now])
        columns = (
            "app_id, activity_id, endpoint_id, message_id, channel_type, address, state, status_code, status_message, "
            "attempts, created_at, modified_at"
        )
        with connection.cursor().copy(f"COPY message ({columns}) FROM STDIN") as copy:
            for number, message_id in enumerate(message_ids):
                own = [
                    APP,
                    f"a{number % ACTIVITIES}",
                    f"endpoint{number:07}",
                    message_id,
                    "EMAIL",
                    f"p{number}@example.com",
                ]
                copy.write_row([*own, "SENT", 200, "250 2.0.0 Ok", 1, now, now])
        connection.execute("VACUUM ANALYZE message")


def request(host: str, path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate, br\r\n"
        "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)\r\n\r\n"
    ).encode()


def run() -> list[dict[str, Any]]:
    message_ids = [token_hex(20) for _ in range(HITS + WARM_UP)]
    with tempfile.TemporaryDirectory(prefix="repoint-bench-") as folder:
        data = Path(folder) / "data"
        command = [REPOINT, "serve", "--data-dir", str(data), "--port", "0", "--log-level", "error"]
        process = subprocess.Popen(
            [*command, "--api-processes", API_PROCESSES], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert process.stdout is not None
            host, _, port = process.stdout.readline().strip().rpartition("/")[2].partition(":")
            dsn = dsn_of(Path(data))
            store_mails(dsn, message_ids)
            tokens = Tokens(Seal.from_settings("", data))
            links = tokens.link(APP, TARGET)
            given = [tokens.tracking_token(APP, one, tokens.message_mac(one)) for one in message_ids]
            opens = [request(host, f"/t/o/{token}.gif") for token in given]
            clicks = [request(host, f"/t/c/{token}/{links}") for token in given]
            measure(host, int(port), opens[HITS:], clients=CLIENTS)
            results = [
                result("opens", measure(host, int(port), opens[:HITS], clients=CLIENTS), 200),
                result("clicks", measure(host, int(port), clicks[:HITS], clients=CLIENTS), 302),
            ]
            with psycopg.connect(dsn) as connection:
                logged = connection.execute("SELECT event_type, count(*) FROM event GROUP BY 1 ORDER BY 1").fetchall()
            assert logged == [("_email.click", HITS), ("_email.open", HITS + WARM_UP)], logged
        finally:
            process.terminate()
            process.wait()
    return results


def result(name: str, measured: dict[str, Any], status: int) -> dict[str, Any]:
    assert set(measured["statuses"]) == {status}, measured["statuses"]
    spread = f"p50 {measured['p50_ms']:.1f} ms, p99 {measured['p99_ms']:.1f} ms, {CLIENTS} clients"
    return {
        "name": name,
        "value": measured["rate"],
        "unit": "hits/s",
        "reference": f"listmonk on two cores ({spread})",
        "reference_value": REFERENCE,
        "ratio": measured["rate"] / REFERENCE,
        "goal": 8000 / REFERENCE,
    }
