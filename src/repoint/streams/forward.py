"""The forwarder: each event stream follows the log with a position of its own, and writes to its far end.

At least once, in order for each endpoint. The position moves when the far end has taken the records; while it does
not, nothing is lost and nothing is held in memory: the events wait in the log. One process at a time forwards a
stream, the one that holds its lock; when that process dies, PostgreSQL frees the lock and another goes on.
"""

import asyncio
import contextlib
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

from repoint.db import Connection, DatabaseUnavailableError
from repoint.resources.call import Server
from repoint.resources.events import stream as streams
from repoint.resources.events.reader import LoggedEvent, Position, current_snapshot, load_position, move_position, read
from repoint.resources.events.records import line_of, record_of
from repoint.resources.events.stream import EventStream
from repoint.streams.sink import Sink, SinkError, StreamRecord

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
RETRY_SECONDS = 0.25
RETRY_SECONDS_MAX = 10.0
MakeSink = Callable[[str], Awaitable[Sink]]
Observe = Callable[[str, float], None]


class Forwarder:
    """Forwards every stream that no other process forwards."""

    def __init__(self, server: Server, make_sink: MakeSink, observe_lag: Observe) -> None:
        self._server = server
        self._db = server.db
        self._make_sink = make_sink
        self._observe_lag = observe_lag
        self._running: dict[str, tuple[EventStream, asyncio.Task[None]]] = {}
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
            await self._db.settle()
            wanted = {one.app_id: one for one in await self._db.cached(streams.load_streams, None)}
            await self._stop(
                [app_id for app_id, task in self._running.items() if self._is_over(wanted, app_id, task[1])]
            )
            for app_id, stream in wanted.items():
                if app_id not in self._running and await _try_lock(locks, stream):
                    self._running[app_id] = (stream, asyncio.create_task(self._forward(stream)))
            self._snapshot = await current_snapshot(self._db) if self._running else ""
            await locks.execute("SELECT 1")
            await _rest(stopping, POLL_SECONDS if self._running else 1.0)

    def _is_over(self, wanted: dict[str, EventStream], app_id: str, task: "asyncio.Task[None]") -> bool:
        """Whether a stream has been deleted, changed, or has failed in a way we did not foresee."""
        now, before = wanted.get(app_id), self._running[app_id][0]
        is_same = now is not None and (now.destination_arn, now.modified_at) == (
            before.destination_arn,
            before.modified_at,
        )
        if task.done() and not task.cancelled() and (error := task.exception()):
            logger.error("the event stream of %s failed and starts again", app_id, exc_info=error)
        return task.done() or not is_same

    async def _stop(self, app_ids: list[str]) -> None:
        tasks = [self._running.pop(app_id)[1] for app_id in app_ids]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(self, stream: EventStream) -> None:
        """One stream: read, write, remember; from the last position on."""
        async with self._db.connection() as connection:
            position = await load_position(connection, stream.reader_name)
        if position is None:
            return
        sink = await self._make_sink(stream.destination_arn)
        try:
            while position is not None:
                position = await self._step(stream, sink, position)
        finally:
            await sink.close()

    async def _step(self, stream: EventStream, sink: Sink, position: Position) -> Position | None:
        """The next batch, however long its far end refuses it; None when the stream is gone."""
        if position.target is None and self._snapshot == position.done:
            await asyncio.sleep(POLL_SECONDS)
            return position
        async with self._db.connection() as connection:
            events, after = await read(connection, position, sink.records_max, app_id=stream.app_id)
        if not events:
            self._observe_lag(stream.reader_name, 0.0)
            await asyncio.sleep(POLL_SECONDS)
            return after
        for start in range(0, len(events), sink.records_max):
            await self._write(stream, sink, events[start : start + sink.records_max])
        is_kept = await self._db.atomically(lambda connection: self._remember(connection, stream, after, len(events)))
        return after if is_kept else None

    async def _write(self, stream: EventStream, sink: Sink, events: list[LoggedEvent]) -> None:
        records = [
            StreamRecord(
                event.endpoint_id,
                f"{int(event.xid):026}{event.event_id:026}{event.place:04}",
                line_of(record_of(event, self._server.account_id)),
            )
            for event in events
        ]
        failures = 0
        while True:
            self._observe_lag(stream.reader_name, (self._server.clock() - events[0].arrival_at).total_seconds())
            try:
                await sink.write(records)
            except SinkError as error:
                failures += 1
                logger.warning("event stream of %s: %s", stream.app_id, error)
                await streams.record_failure(self._db, stream.app_id, failures, str(error))
                delay = min(RETRY_SECONDS_MAX, RETRY_SECONDS * 2 ** min(failures, 10))
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - it only spreads retries
            else:
                return

    async def _remember(self, connection: Connection, stream: EventStream, after: Position, count: int) -> bool:
        await streams.record_success(connection, stream.app_id, count, self._server.clock())
        return await move_position(connection, stream.reader_name, after)


async def _try_lock(locks: "psycopg.AsyncConnection[Any]", stream: EventStream) -> bool:
    digest = hashlib.blake2b(stream.reader_name.encode(), digest_size=8).digest()
    row = await (
        await locks.execute("SELECT pg_try_advisory_lock(%s)", [int.from_bytes(digest, signed=True)])
    ).fetchone()
    return bool(row and row[0])


async def _rest(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
