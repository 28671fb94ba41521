"""Imports and exports of endpoints against raw COPY of the same rows into the same indexed table, in the same run."""

import csv
import gzip
import json
import os
import random
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from bench.api import server
from repoint.db.embedded import dsn_of

ROWS = int(os.environ.get("BENCH_IMPORT_ROWS", "1000000"))
HEADER = [
    "Id",
    "ChannelType",
    "Address",
    "OptOut",
    "Location.Country",
    "Location.City",
    "Location.PostalCode",
    "User.UserId",
    *(f"User.UserAttributes.{name}" for name in ("FirstName", "LastName", "Plan", "Interests")),
    *(f"Attributes.{name}" for name in ("Tier", "Store", "Source", "Colour", "Size", "Brand", "Team", "Code")),
    "Metrics.Visits",
    "Metrics.Spent",
]
WORDS = ["gold", "silver", "bronze", "north", "south", "east", "west", "red", "green", "blue", "small", "large"]


def rows() -> Iterator[list[str]]:
    chance = random.Random(7)
    for number in range(ROWS):
        words = chance.choices(WORDS, k=10)
        yield [
            f"endpoint-{number}",
            "EMAIL",
            f"person{number}@example.com",
            "NONE",
            "AT",
            "Graz",
            str(8000 + number % 1000),
            f"user-{number}",
            f"First{number % 5000}",
            f"Last{number % 20000}",
            words[0],
            words[1],
            *words[2:9],
            f"code-{number}",
            str(number % 300),
            f"{number % 9973}.5",
        ]


def write_csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows())


def document(cells: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"User": {"UserAttributes": {}}, "Attributes": {}, "Metrics": {}, "Location": {}}
    for path, text in zip(HEADER, cells, strict=True):
        member, _, name = path.partition(".")
        if member == "Attributes":
            made[member][name] = [text]
        elif member == "Metrics":
            made[member][name] = float(text)
        elif path == "User.UserId":
            made["User"]["UserId"] = text
        elif member == "User":
            made["User"]["UserAttributes"][name.removeprefix("UserAttributes.")] = [text]
        elif name:
            made[member][name] = text
        else:
            made[path] = text
    return made


def write_json(path: Path) -> None:
    with path.open("w") as file:
        for cells in rows():
            file.write(json.dumps(document(cells)) + "\n")


def wait(get: Any, app: str, job: str, folder: Path) -> tuple[dict[str, Any], int]:
    """The finished job, and the most memory the workers had meanwhile, in bytes."""
    peak = 0
    ours = [one for one in psutil.process_iter(["cmdline"]) if {"serve", str(folder)} <= set(one.info["cmdline"] or ())]
    while True:
        answers = get(ApplicationId=app, JobId=job)
        answer: dict[str, Any] = answers.get("ImportJobResponse") or answers["ExportJobResponse"]
        peak = max(peak, *(one.memory_info().rss for one in ours))
        if "CompletionDate" in answer:
            return answer, peak
        time.sleep(0.5)


def timed_import(client: Any, app: str, file_format: str, url: str, folder: Path) -> tuple[float, int]:
    wanted = {"Format": file_format, "S3Url": url, "RoleArn": "arn:aws:iam::123456789012:role/import"}
    made = client.create_import_job(ApplicationId=app, ImportJobRequest=wanted)["ImportJobResponse"]["Id"]
    job, peak = wait(client.get_import_job, app, made, folder)
    assert (job["JobStatus"], job["TotalProcessed"], job["TotalFailures"]) == ("COMPLETED", ROWS, 0), job
    return ROWS / seconds_of(job), peak


def seconds_of(job: dict[str, Any]) -> float:
    """By the job's own dates, so that nobody needs to ask often."""
    begin, end = (datetime.fromisoformat(job[name]) for name in ("CreationDate", "CompletionDate"))
    return (end - begin).total_seconds()


def raw_copy(connection: Any, app: str, path: Path) -> float:
    """COPY of the finished rows into a table with the same indexes, over one connection."""
    connection.execute("CHECKPOINT")
    with (
        path.open("wb") as file,
        connection.cursor().copy(
            sql.SQL("COPY (SELECT * FROM endpoint WHERE app_id = {}) TO STDOUT").format(sql.Literal(app))
        ) as copy,
    ):
        for part in copy:
            file.write(part)
    connection.execute("DROP TABLE IF EXISTS endpoint_copy")
    connection.execute("CREATE TABLE endpoint_copy (LIKE endpoint INCLUDING ALL)")
    connection.execute("CHECKPOINT")
    started = time.perf_counter()
    with path.open("rb") as file, connection.cursor().copy("COPY endpoint_copy FROM STDIN") as copy:
        while part := file.read(1_000_000):
            copy.write(part)
    seconds = time.perf_counter() - started
    connection.execute("DROP TABLE endpoint_copy")
    return ROWS / seconds


def result(name: str, value: float, raw: float, goal: float, peak: int) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "unit": "rows/s",
        "reference": f"raw COPY of the same rows (worker at most {peak / 2**20:.0f} MB)",
        "reference_value": raw,
        "ratio": value / raw,
        "goal": goal,
    }


def imports() -> list[dict[str, Any]]:
    results = []
    with server() as (_, _, _, client):
        folder = Path(data_dir(client))
        bucket = folder / "buckets" / "bench"
        bucket.mkdir(parents=True)
        write_csv(bucket / "people.csv")
        write_json(bucket / "people.json")
        with psycopg.connect(dsn_of(Path(folder)), autocommit=True) as connection:
            for file_format, key in (("CSV", "people.csv"), ("JSON", "people.json")):
                app = client.create_app(CreateApplicationRequest={"Name": "Bench"})["ApplicationResponse"]["Id"]
                connection.execute("CHECKPOINT")
                new, peak = timed_import(client, app, file_format, f"s3://bench/{key}", folder)
                raw = raw_copy(connection, app, folder / "raw.txt")
                results.append(result(f"import {file_format}, all new", new, raw, 0.7, peak))
                again, peak = timed_import(client, app, file_format, f"s3://bench/{key}", folder)
                results.append(result(f"import {file_format}, all updates", again, raw, 0.5, peak))
            results.append(export_rate(client, app, folder, raw))
    return results


def data_dir(client: Any) -> str:
    """Where the server that this client talks to keeps its data: the flag it was started with."""
    port = client.meta.endpoint_url.rpartition(":")[2]
    for connection in psutil.net_connections("tcp"):
        if connection.status == "LISTEN" and connection.laddr.port == int(port):
            command = psutil.Process(connection.pid).cmdline()
            return str(command[command.index("--data-dir") + 1])
    raise AssertionError("nobody listens")


def export_rate(client: Any, app: str, folder: Path, raw: float) -> dict[str, Any]:
    wanted = {"S3UrlPrefix": "s3://bench/out/", "RoleArn": "arn:aws:iam::123456789012:role/export"}
    made = client.create_export_job(ApplicationId=app, ExportJobRequest=wanted)["ExportJobResponse"]["Id"]
    job, peak = wait(client.get_export_job, app, made, folder)
    assert (job["JobStatus"], job["TotalProcessed"]) == ("COMPLETED", ROWS), job
    lines = 0
    for path in (folder / "buckets" / "bench" / "out").iterdir():
        with gzip.open(path) as file:
            lines += sum(1 for _ in file)
    assert lines == ROWS
    return result("export, gzip JSON lines", ROWS / seconds_of(job), raw, 0.5, peak)
