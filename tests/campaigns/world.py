"""A world for simulated campaigns: PostgreSQL, relay and delivery are real; the clock, and who dies when, are ours.

Everything runs on one event loop, by one seed: ids are drawn from it, too, so the same seed goes the same way.
"""

import asyncio
import contextlib
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from repoint import operations
from repoint.bindings.far_ends import FarEnds
from repoint.config import Settings
from repoint.db import Database
from repoint.delivery.pipeline import Providers
from repoint.delivery.providers.smtp import SmtpProvider
from repoint.delivery.returns import return_paths
from repoint.delivery.worker import Worker
from repoint.metrics import Metrics
from repoint.resources.call import Call, Server
from repoint.resources.campaigns.plan import plan_next
from repoint.resources.campaigns.run import Scheduler
from repoint.resources.campaigns.triggers import answer_events, find_open
from repoint.resources.kpis.rollup import BATCH_EVENTS_MAX, roll
from repoint.sealing import Seal
from repoint.work.periodic import keep_house
from tests.delivery.hostile_smtp import DROP, HostileRelay
from tests.mails import EMAIL, MESSAGE_ID

START = datetime(2031, 3, 1, 9, 0, tzinfo=UTC)
LEASE_SECONDS = 60.0
LATE_SECONDS = 3_600.0
DEADLINE_SECONDS = 14_400
REGION = "us-east-1"
PATIENCE_SECONDS = 30


@dataclass
class Relay:
    """An SMTP server whose mood changes; mailboxes named bad… it refuses for good."""

    draw: random.Random
    mood: str = "good"
    times: Counter = field(default_factory=Counter)
    server: HostileRelay = None

    def __post_init__(self):
        self.server = HostileRelay({"RCPT": self._recipient, "END": self._end, "CONNECT": self._connect})

    def _connect(self, _):
        return "421 4.3.2 not now" if self.mood == "closed" else None

    def _recipient(self, session):
        if session.recipient.startswith("bad"):
            return "550 5.1.1 nobody here"
        return "451 4.7.1 come back later" if self.mood == "greylisting" and self.draw.random() < 0.5 else None

    def _end(self, _):
        if self.mood == "dropping" and self.draw.random() < 0.1:
            return DROP
        return "452 4.3.1 full" if self.mood == "full" and self.draw.random() < 0.5 else None

    def collect(self):
        """How often each message has arrived, by its id."""
        for _, content in self.server.messages:
            self.times[MESSAGE_ID.search(content)[1].decode()] += 1
        self.server.messages.clear()
        return self.times


@dataclass
class World:
    """What there is, the hour, and what has died so far."""

    seed: int
    dsn: str
    relay: Relay
    draw: random.Random
    now: datetime = START
    server: Server = None
    app_id: str = ""
    excused: Counter = field(default_factory=Counter)  # times a message was on the wire when its worker died

    def clock(self):
        return self.now

    async def call(self, name, **given):
        """One operation, as the gateway would have it done."""
        await self.server.db.settle()
        return await operations.call(name, Call(self.server, REGION), {"ApplicationId": self.app_id, **given})

    async def ask(self, query, *parameters):
        return await self.server.db.fetch_all(query, parameters)

    async def execute(self, query, *parameters):
        await self.server.db.execute(query, parameters)

    async def wait(self, **ahead):
        """Time goes by, and the house is kept."""
        self.now += timedelta(**ahead)
        await keep_house(self.server.db, self.now, event_days=90, message_days=90, inbox_messages=90)

    @contextlib.asynccontextmanager
    async def process(self) -> AsyncIterator[Server]:
        """What a process of its own would have."""
        db = Database(self.dsn, connections_max=4)
        await db.open()
        try:
            yield replace(self.server, db=db)
        finally:
            await db.close()

    async def plan(self):
        """The runs that are due are written down; their audiences are not taken yet."""
        db = self.server.db
        await db.settle()
        while await db.atomically(lambda connection: plan_next(connection, self.now, late_seconds=LATE_SECONDS)):
            pass

    async def schedule(self, schedulers=1, *, dies_after=None):
        """Whatever is due begins, by some schedulers at once; they may die in the midst of it."""
        async with contextlib.AsyncExitStack() as stack:
            servers = [await stack.enter_async_context(self.process()) for _ in range(schedulers)]
            ticks = [asyncio.create_task(Scheduler(one, LATE_SECONDS, lambda *_: None).tick()) for one in servers]
            if dies_after is not None:
                await asyncio.sleep(dies_after)
                for tick in ticks:
                    tick.cancel()
            for result in await asyncio.gather(*ticks, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    async def answer(self):
        """Campaigns that wait for events look into the log."""
        db = self.server.db
        await db.settle()
        while waiting := await db.atomically(find_open):
            if not await db.atomically(lambda connection, one=waiting: answer_events(self.server, connection, one)):
                return

    def providers(self):
        """Who carries mail: connections of one's own to the relay."""
        return Providers(SmtpProvider.from_urls([self.relay.server.url("starttls=never")]), {}, None, None, FarEnds())

    async def work(self, *, dies_after=None):
        """A worker is started, delivers what is due, and stops; or dies when the relay has taken so many mails."""
        stopping, died = asyncio.Event(), asyncio.Event()
        self.relay.collect()
        self.relay.server.messages = Mails(dies_after, died)
        async with self.process() as server:
            before = asyncio.all_tasks()
            settings = Settings(lease_seconds=LEASE_SECONDS)
            providers = self.providers()
            worker = Worker(server, providers, settings, Metrics(), return_paths(server.seal, settings))
            running = asyncio.create_task(worker.run(lambda: None, stopping))
            await self._until_idle(died)
            if died.is_set():
                await self._kill(asyncio.all_tasks() - before)
            stopping.set()
            await asyncio.gather(running, return_exceptions=True)
            await providers.close()
        if died.is_set():
            await self._excuse()
        self.relay.collect()

    async def _until_idle(self, died):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not died.is_set() and await self.due():
            assert time.monotonic() < deadline, "the worker does not do what is due"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.004):
                    await died.wait()

    async def due(self):
        """How many messages may be sent now."""
        rows = await self.ask(
            """SELECT (SELECT count(*) FROM outbox WHERE due_at <= %s)
                    + (SELECT coalesce(sum(messages), 0) FROM outbox_slice WHERE due_at <= %s)""",
            self.now,
            self.now,
        )
        return int(rows[0][0])

    async def _kill(self, tasks):
        """As a SIGKILL would: nothing of the worker's goes on, whatever it was doing."""
        own = [task for task in tasks if task not in self.relay.server.sessions and task is not asyncio.current_task()]
        for task in own:
            task.cancel()
        await asyncio.gather(*own, return_exceptions=True)

    async def _excuse(self):
        """What had arrived and was not recorded may come once more."""
        arrived = Counter(MESSAGE_ID.search(content)[1].decode() for _, content in self.relay.server.messages)
        rows = await self.ask(
            "SELECT message_id FROM message WHERE state = 'ACCEPTED' AND message_id = ANY (%s)", list(arrived)
        )
        self.excused.update(message_id for (message_id,) in rows)

    async def put(self, name, **given):
        """Somebody with an address of their own."""
        request = {"ChannelType": "EMAIL", "Address": f"{name}@x.example", **given}
        await self.call("UpdateEndpoint", EndpointId=name, EndpointRequest=request)

    async def campaign(self, **given):
        """A campaign for everybody; its id."""
        segment = await self.call("CreateSegment", WriteSegmentRequest={"Name": "all"})
        wanted = {"Name": "c", "SegmentId": segment["Id"], "MessageConfiguration": EMAIL, **given}
        return (await self.call("CreateCampaign", WriteCampaignRequest=wanted))["Id"]

    async def status(self, campaign):
        return (await self.call("GetCampaign", CampaignId=campaign))["State"]["CampaignStatus"]

    async def activities(self, campaign):
        return (await self.call("GetCampaignActivities", CampaignId=campaign))["Item"]

    async def run(self, **ahead):
        """Time goes by; then all that is due is begun, sent and brought to its end."""
        await self.wait(**ahead)
        await self.schedule()
        await self.work()
        await self.schedule()

    async def received(self):
        """The ids of endpoints mails have arrived for, as often as they did."""
        rows = await self.ask("SELECT message_id, endpoint_id FROM message")
        return sorted(name for message_id, name in rows for _ in range(self.relay.times[message_id]))

    async def count(self):
        """The metrics are counted up to now."""
        while (batch := await roll(self.server.db, BATCH_EVENTS_MAX)) and not batch.is_last:
            pass


class Mails(list):
    """Remembers mails, and says when there are so many."""

    def __init__(self, limit, reached):
        super().__init__()
        self.limit, self.reached = limit, reached

    def append(self, mail):
        super().append(mail)
        if len(self) == self.limit:
            self.reached.set()


@contextlib.asynccontextmanager
async def world_of(seed, dsn):
    """A fresh world on a fresh database."""
    draw = random.Random(seed)
    random.seed(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=draw.getrandbits(128), version=4))
        db = Database(dsn, connections_max=4)
        await db.open()
        relay = Relay(random.Random(seed))
        async with relay.server:
            world = World(seed, dsn, relay, draw)
            world.server = Server(db, Seal(bytes(32)), world.clock, "123456789012", DEADLINE_SECONDS)
            await world.wait(seconds=0)
            app = await world.call("CreateApp", CreateApplicationRequest={"Name": "Simulation"})
            world.app_id = app["Id"]
            try:
                yield world
            finally:
                await db.close()


def fresh_database(dsn, name):
    """A copy of the database `migrated`; returns how to reach it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE migrated STRATEGY file_copy")
    return dsn.replace("dbname=postgres", f"dbname={name}")
