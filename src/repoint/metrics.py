"""Prometheus metrics, shared by all processes of a server through files in its data directory."""

import os
import shutil
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


def prepare_metrics(folder: Path) -> None:
    """Once, before the processes are forked: an empty folder for their files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue()


class Metrics:
    """What the server counts; one object a process."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.requests = Counter(
            "repoint_requests", "API requests answered", ["operation", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "repoint_request_seconds",
            "Time to answer a request",
            ["operation"],
            buckets=SECONDS,
            registry=registry,
        )
        self.messages = Counter(
            "repoint_messages", "Messages settled or put off", ["channel_type", "outcome"], registry=registry
        )
        self.delivery_seconds = Histogram(
            "repoint_delivery_batch_seconds", "Time to deliver a batch", buckets=SECONDS, registry=registry
        )
        self.outbox_messages = Gauge(
            "repoint_outbox_messages",
            "Messages not settled yet",
            multiprocess_mode="mostrecent",
            registry=registry,
        )
        self.outbox_oldest_seconds = Gauge(
            "repoint_outbox_oldest_seconds",
            "How long the oldest due message has been waiting",
            multiprocess_mode="mostrecent",
            registry=registry,
        )
        self._counters: dict[tuple[str, int], Any] = {}
        self._histograms: dict[str, Any] = {}

    def observe_request(self, operation: str, status: int, seconds: float) -> None:
        """Count an answered request; label look-ups are remembered, as this runs on every one."""
        counter = self._counters.get((operation, status))
        if counter is None:
            counter = self._counters[operation, status] = self.requests.labels(operation, str(status))
        histogram = self._histograms.get(operation)
        if histogram is None:
            histogram = self._histograms[operation] = self.request_seconds.labels(operation)
        counter.inc()
        histogram.observe(seconds)


def exposition() -> bytes:
    """All processes' metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)
