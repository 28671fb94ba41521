"""One event stream, followed: read from its position on, written to its far end, remembered."""

import asyncio
import functools
import logging
import random
from collections.abc import Callable, Sequence

from repoint.bindings.store import Binding
from repoint.db import Connection
from repoint.resources.call import Server
from repoint.resources.events import stream as streams
from repoint.resources.events.reader import LoggedEvent, Position, load_position, move_position, read
from repoint.resources.events.records import line_of, record_of
from repoint.resources.events.stream import EventStream
from repoint.streams.open import Sinks
from repoint.streams.sink import Sink, SinkError, StreamRecord, TooLargeError

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
RETRY_SECONDS = 0.25
RETRY_SECONDS_MAX = 10.0
FIRST_EVENTS = 100
BATCH_BYTES = 16 * 1024 * 1024  # about so much is read of the log at a time
Observe = Callable[[str, float], None]


def retry_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    longest: float = min(RETRY_SECONDS_MAX, RETRY_SECONDS * 2 ** min(failures, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - it only spreads retries


class Following:
    """One stream, and what its ARN is bound to."""

    def __init__(self, server: Server, sinks: Sinks, stream: EventStream, binding: Binding | None) -> None:
        self.stream = stream
        self.binding = binding
        self.has_arrived = False
        """Whether anything has, since it began."""
        self._server = server
        self._sinks = sinks
        self._limit = FIRST_EVENTS

    def is_of(self, stream: EventStream, binding: Binding | None) -> bool:
        """Whether this follows the stream as it is now."""
        before = self.stream
        return (stream.destination_arn, stream.modified_at, binding) == (
            before.destination_arn,
            before.modified_at,
            self.binding,
        )

    async def run(self, snapshot: Callable[[], str], observe_lag: Observe) -> None:
        """Read, write, remember; from the last position on, until cancelled or the stream is gone.

        `snapshot` is the newest that is known of the log: while it is the one read up to, there is nothing new.
        """
        async with self._server.db.connection() as connection:
            position = await load_position(connection, self.stream.reader_name)
        sink = self._sinks.open(self.stream.destination_arn, self.binding)
        try:
            while position is not None:
                if position.target is None and snapshot() == position.done:
                    await asyncio.sleep(POLL_SECONDS)
                    continue
                position = await self._step(sink, position, observe_lag)
        finally:
            await sink.close()

    async def _step(self, sink: Sink, position: Position, observe_lag: Observe) -> Position | None:
        """The next batch, however long its far end refuses it; None when the stream is gone."""
        limit = min(self._limit, sink.records_max)
        async with self._server.db.connection() as connection:
            events, after = await read(connection, position, limit, app_id=self.stream.app_id)
        if not events:
            observe_lag(self.stream.reader_name, 0.0)
            await asyncio.sleep(POLL_SECONDS)
            return after
        size = 0
        for start in range(0, len(events), sink.records_max):
            some = events[start : start + sink.records_max]
            records = self._records(some)
            size += sum(len(record.data) for record in records)
            await self._write(sink, records, functools.partial(self._observe, observe_lag, some[0]))
        self._limit = max(1, BATCH_BYTES * len(events) // size)
        is_kept = await self._server.db.atomically(lambda connection: self._remember(connection, after, len(events)))
        self.has_arrived = True
        return after if is_kept else None

    def _observe(self, observe_lag: Observe, oldest: LoggedEvent) -> None:
        observe_lag(self.stream.reader_name, (self._server.clock() - oldest.arrival_at).total_seconds())

    def _records(self, events: Sequence[LoggedEvent]) -> list[StreamRecord]:
        return [
            StreamRecord(
                event.endpoint_id,
                f"{int(event.xid):026}{event.event_id:026}{event.place:04}",
                line_of(record_of(event, self._server.account_id)),
            )
            for event in events
        ]

    async def _write(self, sink: Sink, records: Sequence[StreamRecord], observe: Callable[[], None]) -> None:
        """Until all records have arrived, or been set aside; what has arrived is not written again."""
        left, failures = records, 0
        while left:
            observe()
            try:
                left = await self._attempt(sink, left)
                failures = 0
            except SinkError as error:
                failures = failures + 1 if len(error.left) == len(left) else 1
                left = error.left
                logger.warning("event stream of %s: %s", self.stream.app_id, error)
                await streams.record_failure(self._server.db, self.stream.app_id, failures, str(error))
                await asyncio.sleep(retry_seconds(failures))

    async def _attempt(self, sink: Sink, records: Sequence[StreamRecord]) -> Sequence[StreamRecord]:
        """Write; what is left then is what comes after a record that had to be set aside."""
        try:
            await sink.write(records)
        except TooLargeError as error:
            await self._set_aside(error)
            return error.left[1:]
        return ()

    async def _set_aside(self, refused: TooLargeError) -> None:
        """What its far end never takes goes to a file, so that what comes after it can arrive."""
        try:
            await self._sinks.aside(self.stream.destination_arn).write(refused.left[:1])
        except SinkError as error:
            raise SinkError(str(error), refused.left) from refused
        logger.error("event stream of %s: a record is set aside: %s", self.stream.app_id, refused)
        await streams.record_set_aside(self._server.db, self.stream.app_id)

    async def _remember(self, connection: Connection, after: Position, count: int) -> bool:
        await streams.record_success(connection, self.stream.app_id, count, self._server.clock())
        return await move_position(connection, self.stream.reader_name, after)
