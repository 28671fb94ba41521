"""Turns: work of many activities at once, for each far end no more than its share.

No far end has more than is left for others: however many hang, who comes next finds room. One that has failed again and
again gets a single call at a time, for a single message, until it works: a trial that fails costs somebody a message.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any

from repoint.bindings.far_ends import FarEnds

KNOWN_MAX = 1_000  # activities whose far ends are remembered


class Turns:
    """Who is at work. `freed` is set whenever somebody is done."""

    def __init__(self, all_max: int, *, of_far_end_max: int, far_ends: FarEnds) -> None:
        self.freed = asyncio.Event()
        self._all_max = all_max
        self._of_far_end_max = of_far_end_max
        self._states = far_ends
        self._far_ends: OrderedDict[str, Sequence[str]] = OrderedDict()
        self._running: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def running(self) -> Mapping[str, int]:
        """How many calls each activity has, of those that have any."""
        return self._running

    def meet(self, activity_id: str, far_ends: Sequence[str]) -> None:
        """Remember which far ends an activity calls."""
        self._far_ends[activity_id] = list(dict.fromkeys(far_ends))
        self._far_ends.move_to_end(activity_id)
        if len(self._far_ends) > KNOWN_MAX:
            self._far_ends.popitem(last=False)

    def full(self) -> list[str]:
        """The activities that call a far end which has its share of calls, or a trial; only those met are known."""
        ailing, share = self._states.ailing(), max(1, min(self._of_far_end_max, self._all_max - self._running.total()))
        return self._calling({name for name, calls in self._calls.items() if calls >= (1 if name in ailing else share)})

    def resting(self) -> list[str]:
        """The activities that call a far end which is left alone."""
        return self._calling({name for name in self._states.ailing() if self._states.rest_seconds(name)})

    def rest_seconds(self, activity_id: str) -> float:
        """For how long an activity is to wait, because its far end is left alone; 0 when it may call."""
        return max(map(self._states.rest_seconds, self._far_ends[activity_id]), default=0.0)

    def seconds_to_trial(self) -> float | None:
        """When the first of the far ends that are left alone is to be tried; None when there is none."""
        rests = [self._states.rest_seconds(name) for name in self._states.ailing()]
        return min((seconds for seconds in rests if seconds), default=None)

    def is_trial(self, activity_id: str) -> bool:
        """Whether an activity's next call will show if its far end works again."""
        return not self._states.ailing().isdisjoint(self._far_ends[activity_id])

    def _calling(self, far_ends: set[str]) -> list[str]:
        if not far_ends:
            return []
        return [one for one, called in self._far_ends.items() if not far_ends.isdisjoint(called)]

    async def room(self) -> None:
        """Return once there is room for another."""
        await self._room.wait()

    def take(self, activity_id: str, work: Awaitable[None]) -> Coroutine[Any, Any, None]:
        """An activity's call, counted from now until it is done."""
        far_ends = self._far_ends.get(activity_id, ())
        self._running[activity_id] += 1
        self._calls.update(far_ends)
        if self._running.total() >= self._all_max:
            self._room.clear()
        return self._during(activity_id, far_ends, work)

    async def _during(self, activity_id: str, far_ends: Sequence[str], work: Awaitable[None]) -> None:
        try:
            await work
        finally:
            self._running -= Counter([activity_id])
            self._calls -= Counter(far_ends)
            self._room.set()
            self.freed.set()
