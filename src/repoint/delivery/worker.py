"""The worker: claims due messages, takes them through the pipeline, records what became of them.

Its loop is the second of the two places with a broad `except`: one message's bug must not stop the others.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import psycopg

from repoint.config import Settings
from repoint.db import Connection, Database, DatabaseUnavailableError
from repoint.delivery import pipeline
from repoint.delivery.pipeline import Delivery, Providers, Workshop
from repoint.delivery.provider import DeliveryStatus
from repoint.delivery.render import Templates
from repoint.metrics import Metrics
from repoint.resources.apps import load_app
from repoint.resources.call import Server
from repoint.resources.channels.store import load_channels
from repoint.resources.endpoints import store as endpoints
from repoint.resources.events import store as events
from repoint.resources.messages.recipients import TEMPLATE_TYPES
from repoint.resources.templates.store import load_template
from repoint.work import outbox, partitions, periodic
from repoint.work.outbox import Leased

logger = logging.getLogger(__name__)

BATCH_MESSAGES_MAX = 250
BATCHES_MAX = 3
IDLE_SECONDS_MAX = 5.0
HOUSEKEEPING_SECONDS = 60.0
RECONNECT_SECONDS = 0.5


class Worker:
    """Delivers until told to stop; then finishes what it has begun."""

    def __init__(self, server: Server, providers: Providers, settings: Settings, metrics: Metrics) -> None:
        self._server = server
        self._db: Database = server.db
        self._providers = providers
        self._settings = settings
        self._metrics = metrics
        self._workshop = Workshop(Templates(), {}, missing_fails=settings.missing_variables == "fail")
        self._wake = asyncio.Event()
        self._free = asyncio.Semaphore(BATCHES_MAX)
        self._batches: set[asyncio.Task[None]] = set()

    async def run(self, ready: Callable[[], None], stopping: asyncio.Event) -> None:
        """Work until `stopping`."""
        async with self._db.connection() as connection:
            await partitions.make_partitions(connection, self._server.clock())
        helpers = [asyncio.create_task(self._listen()), asyncio.create_task(self._keep_house())]
        stop = asyncio.create_task(stopping.wait())
        ready()
        while not stopping.is_set():
            await self._free.acquire()
            batch = await self._claim()
            if batch:
                task = asyncio.create_task(self._deliver(batch))
                self._batches.add(task)
                task.add_done_callback(self._done)
            else:
                self._free.release()
                await self._rest(stop)
        for helper in helpers:
            helper.cancel()
        if self._batches:
            await asyncio.wait(self._batches)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._batches.discard(task)
        self._free.release()
        self._wake.set()

    async def _claim(self) -> list[Leased]:
        self._wake.clear()
        try:
            return await outbox.claim(
                self._db, self._server.clock(), BATCH_MESSAGES_MAX, lease_seconds=self._settings.lease_seconds
            )
        except DatabaseUnavailableError as error:
            logger.warning("cannot claim messages: %s", error)
            return []

    async def _rest(self, stop: "asyncio.Task[bool]") -> None:
        """Until there is a new message, one becomes due, or we are to stop."""
        seconds = IDLE_SECONDS_MAX
        with contextlib.suppress(DatabaseUnavailableError):
            due = await outbox.next_due(self._db)
            if due is not None:
                seconds = min(seconds, max(0.01, (due - self._server.clock()).total_seconds()))
        wake = asyncio.create_task(self._wake.wait())
        await asyncio.wait({wake, stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        wake.cancel()

    async def _listen(self) -> None:
        """Wake up when messages are accepted; connect again when the connection is lost."""
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                connection = await psycopg.AsyncConnection.connect(self._db.dsn, autocommit=True)
                async with connection:
                    await connection.execute("LISTEN outbox")
                    self._wake.set()
                    async for _ in connection.notifies():
                        self._wake.set()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _keep_house(self) -> None:
        while True:
            try:
                await periodic.keep_house(
                    self._db,
                    self._server.clock(),
                    event_days=self._settings.event_retention_days,
                    message_days=self._settings.message_retention_days,
                )
                waiting, seconds = await outbox.measure(self._db, self._server.clock())
                self._metrics.outbox_messages.set(waiting)
                self._metrics.outbox_oldest_seconds.set(seconds)
            except (DatabaseUnavailableError, psycopg.Error) as error:
                logger.warning("housekeeping put off: %s", error)
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    async def _deliver(self, batch: list[Leased]) -> None:
        """One batch; when it fails as a whole, each of its messages alone."""
        try:
            async with self._leased(batch):
                with self._metrics.delivery_seconds.time():
                    await self.deliver(batch)
        except (DatabaseUnavailableError, psycopg.OperationalError) as error:
            logger.warning("a batch of %s is left to its lease: %s", len(batch), error)
        except Exception:
            logger.exception("a batch of %s failed", len(batch))
            if len(batch) > 1:
                for row in batch:
                    await self._deliver([row])
            else:
                await self._give_up(batch[0])

    @contextlib.asynccontextmanager
    async def _leased(self, batch: Sequence[Leased]) -> AsyncIterator[None]:
        """Extend the batch's lease for as long as it is being worked on."""

        async def extend() -> None:
            while True:
                await asyncio.sleep(self._settings.lease_seconds / 3)
                with contextlib.suppress(DatabaseUnavailableError):
                    await outbox.extend(
                        self._db,
                        [row.outbox_id for row in batch],
                        self._server.clock(),
                        lease_seconds=self._settings.lease_seconds,
                    )

        task = asyncio.create_task(extend())
        try:
            yield
        finally:
            task.cancel()

    async def deliver(self, batch: Sequence[Leased]) -> None:
        """Read what the batch needs, take each message through the steps, send, record."""
        deliveries = await self._gather(batch)
        for delivery in deliveries:
            pipeline.prepare(self._workshop, delivery)
        await pipeline.send(self._providers, deliveries)
        await self._db.atomically(lambda connection: self._record(connection, deliveries))
        for delivery in deliveries:
            assert delivery.outcome is not None
            self._metrics.messages.labels(delivery.row.channel_type, delivery.outcome.status.value).inc()

    async def _gather(self, batch: Sequence[Leased]) -> list[Delivery]:
        """The batch's content, applications, channels, templates and endpoints."""
        await self._db.settle()
        rows = await self._db.fetch_all(
            "SELECT activity_id, content FROM activity WHERE activity_id = ANY(%s)",
            [list({row.activity_id for row in batch})],
        )
        contents: dict[str, Any] = dict(rows)
        found = await self._endpoints([row for row in batch if row.personal.get("IsEndpoint")])
        now = self._server.clock()
        return [
            Delivery(
                row=row,
                shared=contents[row.activity_id],
                app=await self._db.cached(load_app, row.app_id),
                channel=(await self._db.cached(load_channels, row.app_id)).get(row.channel_type),
                template=await self._template(row.channel_type, contents[row.activity_id]),
                endpoint=found.get((row.app_id, row.endpoint_id)),
                now=now,
            )
            for row in batch
        ]

    async def _endpoints(self, rows: Sequence[Leased]) -> dict[tuple[str, str], endpoints.Endpoint]:
        keys = list({(row.app_id, row.endpoint_id) for row in rows})
        if not keys:
            return {}
        async with self._db.connection() as connection:
            found = await endpoints.get_many(connection, keys)
        return {key: endpoint for key, endpoint in zip(keys, found, strict=True) if endpoint is not None}

    async def _template(self, channel_type: str, shared: dict[str, Any]) -> dict[str, Any] | None:
        template_type = TEMPLATE_TYPES[channel_type]
        named = shared["Templates"].get(template_type)
        if named is None:
            return None
        key = (shared["Region"], template_type, named["Name"], named["Version"])
        stored = await self._db.cached(load_template, key)
        return stored.document if stored else None

    async def _record(self, connection: Connection, deliveries: Sequence[Delivery]) -> None:
        now = self._server.clock()
        settled = [pipeline.settle(delivery, now) for delivery in deliveries]
        happened = [
            event
            for delivery, one in zip(deliveries, settled, strict=True)
            if one.retry_at is None
            for event in pipeline.events_of(delivery, now)
        ]
        await outbox.settle(connection, settled, now)
        await events.append(connection, happened)

    async def _give_up(self, row: Leased) -> None:
        """A message we have a bug for: recorded as failed, so that it does not come back for ever."""
        delivery = Delivery(row, {}, None, None, None, None, self._server.clock())
        delivery.outcome = pipeline.failed(500, "An internal error; see the log", DeliveryStatus.UNKNOWN_FAILURE)
        with contextlib.suppress(DatabaseUnavailableError, psycopg.Error):
            await self._db.atomically(lambda connection: self._record(connection, [delivery]))
