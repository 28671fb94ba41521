"""The time that all processes of an installation share: the database's.

A lease is a time in the future. Were each process to go by its own machine's clock, one that is ahead by the length of
a lease would take what is on another's wire for abandoned, and send it a second time; so would one whose clock is set
forward while it works.
"""

import asyncio
import contextlib
import logging
import time
from datetime import datetime, timedelta
from typing import NoReturn

from repoint.clock import system_clock
from repoint.db.database import Database, DatabaseUnavailableError

logger = logging.getLogger(__name__)

MEASURE_SECONDS = 30.0
TOLERATED = timedelta(seconds=1)  # leases are longer, and stamps that jump to and fro are of no use


def steady_seconds() -> float:
    """Seconds that nobody sets; where the system has such a clock, they pass while it sleeps, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class DatabaseClock:
    """Time as the database has it, carried on by this machine's steady clock, and compared again and again."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._since = steady_seconds()
        self._moment = system_clock()

    def __call__(self) -> datetime:
        """Now, in UTC."""
        return self._moment + timedelta(seconds=steady_seconds() - self._since)

    async def measure(self) -> None:
        """Ask the database what time it is, and follow it, if this clock is off by more than what is tolerated.

        Raises:
            DatabaseUnavailableError: it does not answer.
        """
        asked = self()
        row = await self._db.fetch_one("SELECT clock_timestamp()")
        assert row is not None
        half = (self() - asked) / 2
        off: timedelta = row[0] - (asked + half)
        if abs(off) > TOLERATED + half:
            self._moment += off
            behind = "behind" if off > timedelta(0) else "ahead of"
            seconds = abs(off).total_seconds()
            logger.warning("the clock here was %.1f s %s the database's, and follows it now", seconds, behind)

    async def keep(self) -> NoReturn:
        """Measure for ever."""
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            with contextlib.suppress(DatabaseUnavailableError):
                await self.measure()
