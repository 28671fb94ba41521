"""Turns: work of many activities at once, of each no more than its share.

Nobody has more than is left for others: however many hang, who comes next finds room.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any


class Turns:
    """Who is at work. `freed` is set whenever somebody is done."""

    def __init__(self, all_max: int, *, of_activity_max: int) -> None:
        self.of_activity_max = of_activity_max
        self.freed = asyncio.Event()
        self._all_max = all_max
        self._running: Counter[str] = Counter()
        self._resting: dict[str, float] = {}
        self._room = asyncio.Event()
        self._room.set()

    @property
    def running(self) -> Mapping[str, int]:
        """How many each activity has, of those that have any."""
        return self._running

    @property
    def share(self) -> int:
        """How many an activity may have now."""
        return max(1, min(self.of_activity_max, self._all_max - self._running.total()))

    def full(self) -> list[str]:
        """The activities that have their share, or rest."""
        busy = [name for name, count in self._running.items() if count >= self.share]
        return [*busy, *self.resting()]

    def rest(self, activity_id: str, seconds: float) -> None:
        """Leave an activity alone for a while: its far end does not work."""
        self._resting[activity_id] = time.monotonic() + seconds

    def resting(self) -> list[str]:
        """The activities that are left alone."""
        now = time.monotonic()
        self._resting = {name: until for name, until in self._resting.items() if until > now}
        return list(self._resting)

    async def room(self) -> None:
        """Return once there is room for another."""
        await self._room.wait()

    def take(self, activity_id: str, work: Awaitable[None]) -> Coroutine[Any, Any, None]:
        """An activity's work, counted from now until it is done."""
        self._running[activity_id] += 1
        if self._running.total() >= self._all_max:
            self._room.clear()
        return self._during(activity_id, work)

    async def _during(self, activity_id: str, work: Awaitable[None]) -> None:
        try:
            await work
        finally:
            self._running[activity_id] -= 1
            if not self._running[activity_id]:
                del self._running[activity_id]
            self._room.set()
            self.freed.set()
