"""The worker: claims what is due, has the courier deliver it, and keeps house.

Three lanes share it. Direct messages come from the outbox, as many as are due, in batches; slices of large activities
are made ready, two at a time, while others are on the wire; and slices that functions and webhooks deliver wait for
these, many at once.

Its loops are among the few places with a broad `except`: one message's bug must not stop the others.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg

from repoint.config import Settings
from repoint.db import Database, DatabaseUnavailableError, listen
from repoint.delivery.courier import Courier
from repoint.delivery.pipeline import Delivery, Providers
from repoint.delivery.returns import ReturnPaths
from repoint.delivery.turns import Turns
from repoint.metrics import Metrics
from repoint.resources.call import Server
from repoint.work import outbox, partitions, periodic, slices
from repoint.work.outbox import Leased
from repoint.work.slices import Slice

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

IN_FLIGHT_MESSAGES_MAX = 500  # direct messages claimed and not yet recorded: what a killed worker may send again
PREPARING_MAX = 2  # slices being made ready, so that the wire need not wait for one; nothing of them has been sent
SLICES_MAX = 2  # on the wire or being recorded: what a killed worker may send again
CLAIM_MESSAGES_MIN = 125  # waiting for so much room makes batches worth their statements
CALLS_MAX = 64  # called slices in work at once, of all activities
IDLE_SECONDS_MAX = 5.0
HOUSEKEEPING_SECONDS = 60.0
DRAW_BITS = 62


class Worker:
    """Delivers until told to stop; then finishes what it has begun."""

    def __init__(
        self, server: Server, providers: Providers, settings: Settings, metrics: Metrics, paths: ReturnPaths
    ) -> None:
        self._server = server
        self._db: Database = server.db
        self._settings = settings
        self._metrics = metrics
        self._courier = Courier(server, providers, metrics, paths, missing_fails=settings.missing_variables == "fail")
        self._lanes: list[asyncio.Event] = []
        self._in_flight = 0
        self._room = asyncio.Event()
        self._wire = asyncio.Semaphore(SLICES_MAX)
        self._calls = Turns(CALLS_MAX, of_far_end_max=settings.campaign_calls_max, far_ends=providers.far_ends)
        self._batches: set[asyncio.Task[None]] = set()

    async def run(self, ready: Callable[[], None], stopping: asyncio.Event) -> None:
        """Work until `stopping`."""
        async with self._db.connection() as connection:
            await partitions.make_partitions(connection, self._server.clock())
        servants = [asyncio.create_task(self._listen()), asyncio.create_task(self._keep_house())]
        lanes = [
            self._lane(self._next_batch, outbox.next_due, stopping),
            *(self._lane(self._next_slice, slices.next_due, stopping) for _ in range(PREPARING_MAX)),
            self._lane(self._next_called, self._next_called_due, stopping, self._calls.freed),
        ]
        ready()
        await asyncio.gather(*lanes)
        for servant in servants:
            servant.cancel()
        if self._batches:
            await asyncio.wait(self._batches)

    async def _lane(
        self,
        take: Callable[[], Awaitable[bool]],
        next_due: Callable[[Database], Awaitable[datetime | None]],
        stopping: asyncio.Event,
        wake: asyncio.Event | None = None,
    ) -> None:
        """Take what is due, again and again; rest when there is nothing, until `wake`."""
        wake = wake or asyncio.Event()
        self._lanes.append(wake)
        stop = asyncio.create_task(stopping.wait())
        while not stopping.is_set():
            wake.clear()
            try:
                found = await take()
            except (DatabaseUnavailableError, psycopg.OperationalError) as error:
                logger.warning("cannot claim messages: %s", error)
                found = False
            if not found:
                await self._rest(next_due, wake, stop)

    async def _next_batch(self) -> bool:
        """Claim direct messages, as many as there is room for, and start on them."""
        while (room := IN_FLIGHT_MESSAGES_MAX - self._in_flight) < CLAIM_MESSAGES_MIN:
            self._room.clear()
            await self._room.wait()
        lease = self._settings.lease_seconds
        batch = await outbox.claim(self._db, self._server.clock(), room, lease_seconds=lease)
        if batch:
            self._in_flight += len(batch)
            self._begin(self._deliver(batch), len(batch))
        return bool(batch)

    async def _next_slice(self) -> bool:
        """Claim a slice, make it ready, and put it on the wire when the one before is done."""
        lease = self._settings.lease_seconds
        draw = random.getrandbits(DRAW_BITS)
        one = await slices.claim(self._db, self._server.clock(), lease_seconds=lease, draw=draw)
        if one is None:
            return False
        keeping = asyncio.create_task(self._keep(lambda: self._extend_slices([one])))
        deliveries = await self._guarded([one], self._courier.prepare_slices([one]))
        if deliveries is None:
            keeping.cancel()
            return True
        await self._wire.acquire()
        self._begin(self._deliver_slice(one, deliveries, keeping), 0)
        return True

    async def _next_called(self) -> bool:
        """Claim a slice whose far ends have room, and start on it, together with what can share its call."""
        await self._calls.room()
        lease, calls, now = self._settings.lease_seconds, self._calls, self._server.clock()
        one = await slices.claim_called(
            self._db, now, lease_seconds=lease, busy=calls.running, full=calls.full(), resting=calls.resting()
        )
        if one is None:
            return False
        calls.meet(one.activity_id, await self._courier.far_ends(one.activity_id))
        is_late = one.expires_at <= now
        seconds = 0.0 if is_late else calls.rest_seconds(one.activity_id)
        if seconds or one.activity_id in calls.full():
            await slices.put_back(self._db, one, now + timedelta(seconds=seconds))
        elif one.messages > 1 and not is_late and calls.is_trial(one.activity_id):
            await self._guarded([one], self._courier.split(one))
        else:
            self._begin(calls.take(one.activity_id, self._deliver_called(await self._with_more(one))), 0)
        return True

    async def _with_more(self, one: Slice) -> list[Slice]:
        """A slice and those that can share its call; nobody shares a trial."""
        if one.messages > 1 or self._calls.is_trial(one.activity_id):
            return [one]
        lease, limit = self._settings.lease_seconds, self._settings.campaign_call_endpoints_max - 1
        return [one, *await slices.claim_more(self._db, one, self._server.clock(), lease_seconds=lease, limit=limit)]

    async def _next_called_due(self, db: Database) -> datetime | None:
        due = await slices.next_called_due(db, but_of=[*self._calls.full(), *self._calls.resting()])
        trial = self._calls.seconds_to_trial()
        moments = [due, None if trial is None else self._server.clock() + timedelta(seconds=trial)]
        return min((moment for moment in moments if moment is not None), default=None)

    async def _deliver_called(self, some: Sequence[Slice]) -> None:
        """Slices from reading to record, while others wait for their far ends."""
        keeping = asyncio.create_task(self._keep(lambda: self._extend_slices(some)))
        try:
            deliveries = await self._guarded(some, self._courier.prepare_slices(some))
            if deliveries is not None:
                await self._guarded(some, self._courier.deliver_slices(some, deliveries), is_begun=True)
        finally:
            keeping.cancel()

    def _begin(self, work: "Coroutine[Any, Any, None]", count: int) -> None:
        task = asyncio.create_task(work)
        self._batches.add(task)

        def done(_: "asyncio.Task[None]") -> None:
            self._batches.discard(task)
            self._in_flight -= count
            self._room.set()

        task.add_done_callback(done)

    async def _rest(
        self,
        next_due: Callable[[Database], Awaitable[datetime | None]],
        wake: asyncio.Event,
        stop: "asyncio.Task[bool]",
    ) -> None:
        """Until there is a new message, one becomes due, or we are to stop."""
        seconds = IDLE_SECONDS_MAX
        with contextlib.suppress(DatabaseUnavailableError):
            due = await next_due(self._db)
            if due is not None:
                seconds = min(seconds, max(0.01, (due - self._server.clock()).total_seconds()))
        waking = asyncio.create_task(wake.wait())
        await asyncio.wait({waking, stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        waking.cancel()

    def _wake_up(self) -> None:
        for wake in self._lanes:
            wake.set()

    async def _listen(self) -> None:
        """Wake up when messages are accepted."""
        async for _ in listen(self._db.dsn, "outbox"):
            self._wake_up()

    async def _keep_house(self) -> None:
        while True:
            try:
                await periodic.keep_house(
                    self._db,
                    self._server.clock(),
                    event_days=self._settings.event_retention_days,
                    message_days=self._settings.message_retention_days,
                    inbox_messages=self._settings.inbox_messages_max,
                )
                waiting, seconds = await outbox.measure(self._db, self._server.clock())
                self._metrics.outbox_messages.set(waiting)
                self._metrics.outbox_oldest_seconds.set(seconds)
            except (DatabaseUnavailableError, psycopg.Error) as error:
                logger.warning("housekeeping put off: %s", error)
            except Exception:
                logger.exception("housekeeping failed")
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    async def _deliver(self, batch: list[Leased]) -> None:
        """One batch; when it fails as a whole, each of its messages alone."""
        try:
            async with self._kept(batch):
                with self._metrics.delivery_seconds.time():
                    await self._courier.deliver(batch)
        except (DatabaseUnavailableError, psycopg.OperationalError) as error:
            logger.warning("a batch of %s is left to its lease: %s", len(batch), error)
        except Exception:
            logger.exception("a batch of %s failed", len(batch))
            if len(batch) > 1:
                for row in batch:
                    await self._deliver([row])
                return
            with contextlib.suppress(DatabaseUnavailableError, psycopg.Error):
                await self._courier.give_up(batch[0])

    async def _deliver_slice(self, one: Slice, deliveries: list[Delivery], keeping: "asyncio.Task[None]") -> None:
        try:
            with self._metrics.delivery_seconds.time():
                await self._guarded([one], self._courier.deliver_slices([one], deliveries), is_begun=True)
        finally:
            keeping.cancel()
            self._wire.release()

    async def _guarded(
        self, some: Sequence[Slice], work: "Awaitable[Result]", *, is_begun: bool = False
    ) -> "Result | None":
        """Work on slices; when it fails as a whole, their messages go to the outbox, to be delivered one by one."""
        try:
            return await work
        except (DatabaseUnavailableError, psycopg.OperationalError) as error:
            logger.warning("a slice of %s is left to its lease: %s", some[0].activity_id, error)
        except Exception:
            logger.exception("a slice of %s failed", some[0].activity_id)
            with contextlib.suppress(DatabaseUnavailableError, psycopg.Error):
                now = self._server.clock()
                await self._db.atomically(lambda connection: slices.scatter(connection, some, now, is_begun=is_begun))
                self._wake_up()
        return None

    @contextlib.asynccontextmanager
    async def _kept(self, batch: list[Leased]) -> AsyncIterator[None]:
        """Hold on to a batch for as long as it is being worked on."""
        ids = [row.outbox_id for row in batch if row.outbox_id is not None]

        async def extend() -> None:
            await outbox.extend(self._db, ids, self._server.clock(), lease_seconds=self._settings.lease_seconds)

        task = asyncio.create_task(self._keep(extend))
        try:
            yield
        finally:
            task.cancel()

    async def _extend_slices(self, some: Sequence[Slice]) -> None:
        await slices.extend(self._db, some, self._server.clock(), lease_seconds=self._settings.lease_seconds)

    async def _keep(self, extend: Callable[[], Awaitable[None]]) -> None:
        """Extend a lease again and again, well before it runs out."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            with contextlib.suppress(DatabaseUnavailableError):
                await extend()
