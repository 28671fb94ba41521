"""The forwarder: each event stream follows the log with a position of its own, and writes to its far end.

At least once, in order for each endpoint. The position moves when the far end has taken the records; while it does
not, nothing is lost and nothing is held in memory: the events wait in the log. One process at a time forwards a
stream, the one that holds its lock; when that process dies, PostgreSQL frees the lock and another goes on.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Mapping
from typing import Any

import psycopg

from repoint.bindings.store import Binding
from repoint.db import DatabaseUnavailableError
from repoint.resources.call import Server
from repoint.resources.events import stream as streams
from repoint.resources.events.reader import current_snapshot
from repoint.resources.events.stream import EventStream
from repoint.streams.following import POLL_SECONDS, Following, Observe, retry_seconds
from repoint.streams.open import Sinks

logger = logging.getLogger(__name__)

Wanted = Mapping[str, tuple[EventStream, Binding | None]]


class Forwarder:
    """Forwards every stream that no other process forwards."""

    def __init__(self, server: Server, sinks: Sinks, observe_lag: Observe) -> None:
        self._server = server
        self._db = server.db
        self._sinks = sinks
        self._observe_lag = observe_lag
        self._running: dict[str, tuple[Following, asyncio.Task[None]]] = {}
        self._broken: dict[str, tuple[int, float]] = {}
        """Streams that ended in a way we did not foresee: how often in a row, and when they may begin again."""
        self._snapshot = ""

    async def run(self, stopping: asyncio.Event) -> None:
        """Forward until `stopping`; begin again when the connection that holds the locks is lost."""
        while not stopping.is_set():
            try:
                async with await psycopg.AsyncConnection.connect(self._db.dsn, autocommit=True) as locks:
                    await self._forward_all(locks, stopping)
            except (psycopg.OperationalError, DatabaseUnavailableError) as error:
                logger.warning("event streams wait for the database: %s", error)
                await _rest(stopping, 1.0)
            finally:
                await self._stop(list(self._running))

    async def _forward_all(self, locks: "psycopg.AsyncConnection[Any]", stopping: asyncio.Event) -> None:
        """Keep a task running for each stream whose lock is ours."""
        while not stopping.is_set():
            wanted = await self._wanted()
            await self._stop([app_id for app_id in self._running if self._is_over(wanted, app_id)])
            for app_id, (stream, binding) in wanted.items():
                if app_id not in self._running and self._may_begin(app_id) and await _try_lock(locks, stream):
                    following = Following(self._server, self._sinks, stream, binding)
                    task = asyncio.create_task(following.run(lambda: self._snapshot, self._observe_lag))
                    self._running[app_id] = following, task
            self._snapshot = await current_snapshot(self._db) if self._running else ""
            await locks.execute("SELECT 1")
            await _rest(stopping, POLL_SECONDS if self._running else 1.0)

    async def _wanted(self) -> Wanted:
        """All streams, and what their ARNs are bound to; that may change while they run."""
        await self._db.settle()
        found, bindings = await self._db.cached(streams.load_streams, None), await self._sinks.bindings()
        return {one.app_id: (one, bindings.get(one.destination_arn)) for one in found}

    def _is_over(self, wanted: Wanted, app_id: str) -> bool:
        """Whether a stream has been deleted, leads elsewhere now, or has failed in a way we did not foresee."""
        following, task = self._running[app_id]
        if app_id not in wanted:
            self._observe_lag(following.stream.reader_name, 0.0)
        return task.done() or app_id not in wanted or not following.is_of(*wanted[app_id])

    def _may_begin(self, app_id: str) -> bool:
        return asyncio.get_running_loop().time() >= self._broken.get(app_id, (0, 0.0))[1]

    async def _stop(self, app_ids: list[str]) -> None:
        ended = [self._running.pop(app_id) for app_id in app_ids]
        for _, task in ended:
            task.cancel()
        errors = await asyncio.gather(*(task for _, task in ended), return_exceptions=True)
        for (following, _), error in zip(ended, errors, strict=True):
            if isinstance(error, (psycopg.Error, DatabaseUnavailableError)):
                logger.warning("the event stream of %s waits for the database: %s", following.stream.app_id, error)
            elif isinstance(error, Exception):
                await self._note_broken(following, error)

    async def _note_broken(self, following: Following, error: Exception) -> None:
        """Whatever it was, the stream begins again, later each time."""
        app_id = following.stream.app_id
        failures = 1 if following.has_arrived else self._broken.get(app_id, (0, 0.0))[0] + 1
        self._broken[app_id] = failures, asyncio.get_running_loop().time() + retry_seconds(failures)
        logger.error("the event stream of %s failed and begins again", app_id, exc_info=error)
        with contextlib.suppress(psycopg.Error, DatabaseUnavailableError):
            await streams.record_failure(self._db, app_id, failures, f"{type(error).__name__}: {error}")


async def _try_lock(locks: "psycopg.AsyncConnection[Any]", stream: EventStream) -> bool:
    digest = hashlib.blake2b(stream.reader_name.encode(), digest_size=8).digest()
    row = await (
        await locks.execute("SELECT pg_try_advisory_lock(%s)", [int.from_bytes(digest, signed=True)])
    ).fetchone()
    return bool(row and row[0])


async def _rest(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
