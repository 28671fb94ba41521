"""Turns: work of many activities at once, of each no more than its share."""

import asyncio
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
        self._room = asyncio.Event()
        self._room.set()

    @property
    def running(self) -> Mapping[str, int]:
        """How many each activity has, of those that have any."""
        return self._running

    def full(self) -> list[str]:
        """The activities that have their share."""
        return [name for name, count in self._running.items() if count >= self.of_activity_max]

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
