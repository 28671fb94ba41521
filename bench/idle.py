"""An installation with nothing to do: the memory of all its processes, PostgreSQL's too, and the CPU they take."""

import time
from typing import Any

from bench.api import server
from bench.cpu import cpu_seconds, family, heads

SETTLE_SECONDS = 8
WATCH_SECONDS = 20


def run() -> list[dict[str, Any]]:
    with server():
        time.sleep(SETTLE_SECONDS)
        running = heads()
        before = cpu_seconds(*running)
        time.sleep(WATCH_SECONDS)
        percent = max((cpu_seconds(*running) - before) / WATCH_SECONDS * 100, 0.05)
        megabytes = sum(process.memory_full_info().pss for process in family(*running)) / 1e6
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
