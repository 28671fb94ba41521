"""The courier: takes leased messages from the database to the wire, and what became of them back.

Reading, the steps, the wire and the record are each done for a whole batch. Of a slice the first two may happen while
others are on the wire; the other two are two slices at a time at most, so what a killed worker leaves unrecorded, and
is sent again, is two slices (and the called ones in work).
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from repoint.db import Connection, Database
from repoint.delivery import pipeline
from repoint.delivery.mime import DateLine
from repoint.delivery.pipeline import Delivery, Providers, Workshop
from repoint.delivery.plan import Plan, Planner, make_plan
from repoint.delivery.provider import DeliveryStatus
from repoint.delivery.recording import record
from repoint.delivery.render import Templates
from repoint.delivery.returns import ReturnPaths
from repoint.metrics import Metrics
from repoint.resources import suppression
from repoint.resources.call import Server
from repoint.resources.endpoints import store as endpoints
from repoint.resources.endpoints.store import Endpoint
from repoint.resources.messages import store as messages
from repoint.resources.suppression import Suppressed
from repoint.work import outbox, slices
from repoint.work.outbox import Leased
from repoint.work.slices import Slice

BREATH_MESSAGES = 50  # prepared in one go; between them, the wire gets its turn
NOBODY: Mapping[str, Any] = {"Message": {}, "Templates": {}}


class Courier:
    """Delivers batches."""

    def __init__(
        self, server: Server, providers: Providers, metrics: Metrics, paths: ReturnPaths, *, missing_fails: bool
    ) -> None:
        self._db: Database = server.db
        self._clock = server.clock
        self._providers = providers
        self._metrics = metrics
        self._planner = Planner(server.db, server.seal, paths)
        self._workshop = Workshop(Templates(), DateLine(), missing_fails=missing_fails)

    async def deliver(self, batch: Sequence[Leased]) -> None:
        """Rows of the outbox, from reading to record."""
        endpoints = await self._endpoints(batch)
        deliveries = await self._prepare([(row, endpoints.get((row.app_id, row.endpoint_id))) for row in batch])
        await self._send(deliveries)
        await self._record(deliveries)

    async def far_ends(self, activity_id: str) -> Sequence[str]:
        """The functions, webhooks and models that an activity's called slices need."""
        await self._db.settle()
        return await self._planner.far_ends(activity_id)

    async def split(self, one: Slice) -> None:
        """Make called slices of one message each of a slice."""

        async def write(connection: Connection) -> None:
            found = await messages.read_slices(connection, [one])
            await slices.split(connection, one, [row.endpoint_id for row, _ in found], self._clock())

        await self._db.atomically(write)

    async def prepare_slices(self, some: Sequence[Slice]) -> list[Delivery]:
        """The messages of an activity's slices, ready for the wire."""
        async with self._db.connection() as connection:
            found = await messages.read_slices(connection, some)
        return await self._prepare(found)

    async def deliver_slices(self, some: Sequence[Slice], deliveries: Sequence[Delivery]) -> None:
        """Prepared slices onto the wire, and the record of them; then they are gone."""
        await self._send(deliveries)
        await self._record(deliveries, some)

    async def give_up(self, row: Leased) -> None:
        """A message we have a bug for: recorded as failed, so that it does not come back for ever."""
        now = self._clock()
        delivery = Delivery(row, make_plan(row.channel_type, NOBODY, None, None, None), None, now)
        delivery.outcome = pipeline.failed(500, "An internal error; see the log", DeliveryStatus.UNKNOWN_FAILURE)
        await self._db.atomically(lambda connection: record(connection, [delivery], now))

    async def _endpoints(self, batch: Sequence[Leased]) -> Mapping[tuple[str, str], Endpoint]:
        keys = list({(row.app_id, row.endpoint_id) for row in batch if row.personal.get("IsEndpoint")})
        if not keys:
            return {}
        async with self._db.connection() as connection:
            found = await endpoints.get_many(connection, keys)
        return {key: endpoint for key, endpoint in zip(keys, found, strict=True) if endpoint is not None}

    async def _prepare(self, found: Sequence[tuple[Leased, Endpoint | None]]) -> list[Delivery]:
        """Everything up to the wire; what the steps need from the database is read here, in a few queries for all."""
        batch = [row for row, _ in found]
        plans = await self._planner.plans({(row.app_id, row.activity_id, row.channel_type) for row in batch})
        suppressed = await self._suppressed(batch, plans)
        now = self._clock()
        deliveries = [
            Delivery(
                row,
                plans[row.activity_id, row.channel_type],
                endpoint,
                now,
                suppressed.get((row.app_id, row.channel_type, row.address)) if suppressed else None,
            )
            for row, endpoint in found
        ]
        asking = [delivery for delivery in deliveries if delivery.plan.asks]
        if asking:
            await self._take_advice(asking)
            now = self._clock()
        for number, delivery in enumerate(deliveries, 1):
            delivery.now = now
            if delivery.outcome is None:
                pipeline.prepare(self._workshop, delivery)
            if number % BREATH_MESSAGES == 0:
                await asyncio.sleep(0)
        return deliveries

    async def _take_advice(self, asking: Sequence[Delivery]) -> None:
        """Ask functions about those whom no rule stops; the rules are looked at again when the answers are here."""
        for delivery in asking:
            pipeline.prepare(self._workshop, delivery, pipeline.RULES)
        await self._providers.advice.take([delivery for delivery in asking if delivery.outcome is None])

    async def _suppressed(
        self, batch: Sequence[Leased], plans: Mapping[tuple[str, str], Plan]
    ) -> Mapping[tuple[str, str, str], Suppressed]:
        """Which of the batch's addresses are on the suppression list, by application, channel and address."""
        wanted: dict[tuple[str, str], tuple[str, set[str]]] = {}
        for row in batch:
            plan = plans[row.activity_id, row.channel_type]
            if plan.channel_type in suppression.CHANNEL_TYPES and plan.app is not None:
                wanted.setdefault((row.app_id, plan.channel_type), (plan.app.region, set()))[1].add(row.address)
        return {
            (app_id, channel_type, address): entry
            for (app_id, channel_type), (region, addresses) in wanted.items()
            for address, entry in (await suppression.find(self._db, region, channel_type, addresses)).items()
        }

    async def _send(self, deliveries: Sequence[Delivery]) -> None:
        await pipeline.send(self._providers, deliveries)

    async def _record(self, deliveries: Sequence[Delivery], some: Sequence[Slice] = ()) -> None:
        """All that is still ours in one transaction, and then in the metrics."""
        now = self._clock()

        async def write(connection: Connection) -> Sequence[Delivery]:
            if some:
                held = await slices.remove(connection, some)
                ours = [delivery for delivery in deliveries if delivery.row.slice_id in held]
            else:
                held = await outbox.hold(connection, [delivery.row for delivery in deliveries])
                ours = [delivery for delivery in deliveries if delivery.row.outbox_id in held]
            await record(connection, ours, now)
            return ours

        recorded = await self._db.atomically(write)
        counts: dict[tuple[str, str], int] = {}
        for delivery in recorded:
            assert delivery.outcome is not None
            key = (delivery.plan.channel_type, delivery.outcome.status.value)
            counts[key] = counts.get(key, 0) + 1
        for key, count in counts.items():
            self._metrics.messages.labels(*key).inc(count)
