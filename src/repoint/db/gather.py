"""Group commit: concurrent callers of one function share one transaction.

A caller hands in an item and waits; items that arrive while a batch is in flight form the next batch. Nobody is
answered before the commit, nobody waits for a timer, and under load one commit carries hundreds of requests.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Waiting = tuple[Any, "asyncio.Future[Any]"]


class Gatherer(Generic[Item, Result]):
    """Collects items for `run`, which does a whole batch and returns one result (or exception) for each item.

    When a batch of several fails as a whole, each of its items is run alone, so one bad item spares its neighbours.
    """

    def __init__(
        self, run: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]], *, batch_max: int
    ) -> None:
        self._run = run
        self._batch_max = batch_max
        self._waiting: deque[Waiting] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """Wait for the batch this item becomes part of, and return the item's own result."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        return await future

    async def finish(self) -> None:
        """Return when nothing is under way any more: a batch goes on after those who waited for it have gone."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _drain(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), self._batch_max)
                await self._run_batch([self._waiting.popleft() for _ in range(count)])
        finally:
            self._task = None

    async def _run_batch(self, batch: list[Waiting]) -> None:
        try:
            results = await self._run([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the callers that wait
            if len(batch) == 1:
                _settle(batch[0][1], error)
                return
            for one in batch:
                await self._run_batch([one])
            return
        for (_, future), result in zip(batch, results, strict=True):
            _settle(future, result)


def _settle(future: "asyncio.Future[Any]", result: Any) -> None:
    """Hand the result over, unless its caller has gone away meanwhile."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
