"""Batches of concurrent callers."""

import asyncio

from repoint.db import Gatherer


def test_what_is_under_way_comes_to_its_end_though_nobody_waits_for_it():
    """A connection that is closed under a running statement takes the whole process with it."""
    done = []

    async def story():
        going = asyncio.Event()

        async def run(items):
            await going.wait()
            done.extend(items)
            return items

        gatherer = Gatherer(run, batch_max=10)
        caller = asyncio.create_task(gatherer.submit("one"))
        await asyncio.sleep(0)
        caller.cancel()
        asyncio.get_running_loop().call_soon(going.set)
        await gatherer.finish()

    asyncio.run(story())

    assert done == ["one"]
