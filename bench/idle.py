"""An installation with nothing to do: the memory of all its processes, PostgreSQL's too, and the CPU they take."""

import time
from pathlib import Path
from typing import Any

import psutil

from bench.api import server

SETTLE_SECONDS = 8
WATCH_SECONDS = 20


def processes() -> list[psutil.Process]:
    """The supervisor, its children, and the database they started (which is nobody's child)."""
    supervisor = next(
        process
        for process in psutil.Process().children(recursive=True)
        if "serve" in process.cmdline() and process.children()
    )
    folder = supervisor.cmdline()[supervisor.cmdline().index("--data-dir") + 1]
    lock = Path(folder) / "postgres" / "postmaster.pid"
    database = psutil.Process(int(lock.read_text().split("\n", 1)[0]))
    return [supervisor, *supervisor.children(recursive=True), database, *database.children(recursive=True)]


def cpu_seconds(of: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in of if process.is_running())


def run() -> list[dict[str, Any]]:
    with server():
        time.sleep(SETTLE_SECONDS)
        running = processes()
        before = cpu_seconds(running)
        time.sleep(WATCH_SECONDS)
        percent = max((cpu_seconds(running) - before) / WATCH_SECONDS * 100, 0.05)
        megabytes = sum(process.memory_full_info().pss for process in running) / 1e6
    return [
        result("idle memory", megabytes, "MB", 250.0),
        result("idle CPU", percent, "% of a core", 1.0),
    ]


def result(name: str, value: float, unit: str, limit: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "reference": "the limit",
        "reference_value": limit,
        "ratio": limit / value,
        "goal": 1.0,
    }
