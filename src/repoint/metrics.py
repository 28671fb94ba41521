"""Prometheus metrics, shared by all processes of a server through files in its data directory."""

import contextlib
import fcntl
import os
import shutil
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server, values
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


def prepare_metrics(folder: Path) -> IO[str]:
    """Once, before the processes are forked: a folder for their files, emptied unless others are writing there.

    They are as long as a file that this returns is open somewhere: whoever is given it, by a fork too, has locked it.
    """
    lock = folder.with_name("metrics.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    fcntl.flock(lock, fcntl.LOCK_SH)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]  # the library has no types here
    return lock


class RequestSeconds(Histogram):
    """A histogram that takes many observations at once."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """As `observe` for each of them, but each bucket's number in its file is written once."""
        self._sum.inc(sum(amounts))
        for bucket, count in Tally(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[bucket].inc(count)


class Metrics:
    """What the server counts; one object a process."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.requests = Counter("repoint_requests", "API requests answered", ["operation", "status"], registry=registry)
        self.request_seconds = RequestSeconds(
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
        self.reader_lag_seconds = Gauge(
            "repoint_event_reader_lag_seconds",
            "Age of the oldest event that a reader of the event log has not dealt with",
            ["reader"],
            multiprocess_mode="mostrecent",
            registry=registry,
        )
        self.far_end_calls = Counter(
            "repoint_far_end_calls",
            "Attempts to call functions and webhooks, and calls not made because a far end is left alone",
            ["far_end", "outcome"],
            registry=registry,
        )
        self.far_end_resting = Gauge(
            "repoint_far_end_resting",
            "Whether a function or webhook is left alone, because it failed again and again",
            ["far_end"],
            multiprocess_mode="mostrecent",
            registry=registry,
        )
        self._answered: dict[tuple[str, int], list[float]] = {}

    def observe_request(self, operation: str, status: int, seconds: float) -> None:
        """Count an answered request. This runs on every one, so it only takes a note; `flush` does the sums."""
        noted = self._answered.get((operation, status))
        if noted is None:
            noted = self._answered[operation, status] = []
        noted.append(seconds)

    def observe_lag(self, reader: str, seconds: float) -> None:
        """How far behind a reader of the event log is."""
        self.reader_lag_seconds.labels(reader).set(seconds)

    def flush(self) -> None:
        """Put what has been noted where other processes can read it."""
        answered, self._answered = self._answered, {}
        for (operation, status), noted in answered.items():
            self.requests.labels(operation, str(status)).inc(len(noted))
            self.request_seconds.labels(operation).observe_all(noted)


def exposition() -> bytes:
    """All processes' metrics in Prometheus' text format."""
    return generate_latest(_shared())


@contextlib.contextmanager
def shown_metrics(host: str, port: int) -> Iterator[None]:
    """Answer GET /metrics meanwhile, from a thread, in a process that has no HTTP server."""
    server, thread = start_http_server(port, addr=host, registry=_shared())
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _shared() -> CollectorRegistry:
    """What the processes have put in their files."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # nor here
    return registry
