"""The scheduler: every worker has one, and they agree through the rows they lock.

It sleeps until something is due or a campaign was changed, and looks after runs under way once a second.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import datetime

import psycopg

from repoint.db import DatabaseUnavailableError, listen
from repoint.resources.call import Server
from repoint.resources.campaigns.finish import look_after
from repoint.resources.campaigns.plan import plan_next
from repoint.resources.campaigns.take import take_next
from repoint.resources.campaigns.triggers import EVENTS_MAX, READER, Open, answer_events, find_open, pass_by

logger = logging.getLogger(__name__)

BUSY_SECONDS = 1.0
EVENTS_SECONDS = 0.03
IDLE_SECONDS_MAX = 30.0
LATE_SECONDS_MIN = 60.0


class Scheduler:
    """Begins the runs that are due, and brings those under way to their end."""

    def __init__(self, server: Server, late_seconds: float, observe_lag: Callable[[str, float], None]) -> None:
        self._server = server
        self._observe_lag = observe_lag
        self._late_seconds = max(LATE_SECONDS_MIN, late_seconds)
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping`."""
        helpers = [asyncio.create_task(self._listen()), asyncio.create_task(self._answer_events())]
        stop = asyncio.create_task(stopping.wait())
        while not stopping.is_set():
            self._wake.clear()
            try:
                seconds = await self.tick()
            except (DatabaseUnavailableError, psycopg.OperationalError) as error:
                logger.warning("campaigns are put off: %s", error)
                seconds = BUSY_SECONDS
            wake = asyncio.create_task(self._wake.wait())
            await asyncio.wait({wake, stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            wake.cancel()
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)

    async def tick(self) -> float:
        """Do all that is due; returns in how many seconds to look again."""
        db, now = self._server.db, self._server.clock()
        await db.settle()
        while await db.atomically(lambda connection: plan_next(connection, now, late_seconds=self._late_seconds)):
            self._changed.set()
        while await db.atomically(
            lambda connection: take_next(self._server, connection, now, late_seconds=self._late_seconds)
        ):
            pass
        going = await db.atomically(lambda connection: look_after(connection, now))
        return BUSY_SECONDS if going else await self._idle_seconds(now)

    async def _answer_events(self) -> None:
        """Follow the log for the campaigns that wait for events, if there are any."""
        waiting, looked_at = list[Open](), -BUSY_SECONDS
        while True:
            self._changed.clear()
            try:
                if time.monotonic() - looked_at >= BUSY_SECONDS:
                    waiting, looked_at = await self._find_waiting(), time.monotonic()
                if waiting and await self._answer(waiting):
                    continue
            except (DatabaseUnavailableError, psycopg.OperationalError) as error:
                logger.warning("events wait for their answer: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVENTS_SECONDS if waiting else IDLE_SECONDS_MAX):
                    await self._changed.wait()
                    looked_at = -BUSY_SECONDS

    async def _find_waiting(self) -> list[Open]:
        db = self._server.db
        await db.settle()
        waiting = await db.atomically(find_open)
        if not waiting:
            await db.atomically(pass_by)
        return waiting

    async def _answer(self, waiting: list[Open]) -> bool:
        """Answer the next events; False when there were none."""
        db = self._server.db
        events = await db.atomically(lambda connection: answer_events(self._server, connection, waiting))
        if events:
            age = (self._server.clock() - events[-1].arrival_at).total_seconds()
            self._observe_lag(READER, age if len(events) >= EVENTS_MAX else 0.0)
        return bool(events)

    async def _idle_seconds(self, now: datetime) -> float:
        row = await self._server.db.fetch_one(
            """SELECT least((SELECT min(next_at) FROM campaign_treatment WHERE next_at IS NOT NULL),
                            (SELECT min(due_at) FROM campaign_wave WHERE done_at IS NULL))"""
        )
        if row is None or row[0] is None:
            return IDLE_SECONDS_MAX
        seconds: float = (row[0] - now).total_seconds()
        return min(IDLE_SECONDS_MAX, max(0.01, seconds))

    async def _listen(self) -> None:
        """Wake up when campaigns are written."""
        async for _ in listen(self._server.db.dsn, "campaigns"):
            self._wake.set()
            self._changed.set()
