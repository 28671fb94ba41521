"""Bodies that do not arrive."""

import asyncio

import falcon
import falcon.asgi
import falcon.testing
import pytest

from repoint.gateway.bodies import BodyReader, BodyTimeoutError
from repoint.web import read_body


async def nothing():
    """A client that has stopped sending."""
    return await asyncio.get_running_loop().create_future()


def half_sent():
    scope = falcon.testing.create_scope(method="POST", path="/v1/apps", content_length=10)
    return falcon.asgi.Request(scope, nothing)


def test_a_body_that_does_not_arrive_is_given_up():
    async def read():
        reader = BodyReader(seconds=0.01)
        return await asyncio.gather(*[reader.read(half_sent()) for _ in range(3)], return_exceptions=True)

    assert [type(outcome) for outcome in asyncio.run(read())] == [BodyTimeoutError] * 3


def test_who_cancels_a_reader_gets_no_timeout():
    async def read():
        task = asyncio.create_task(BodyReader().read(half_sent()))
        asyncio.get_running_loop().call_soon(task.cancel)
        return await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(read())


def test_nor_is_one_of_the_open_routes_waited_for():
    with pytest.raises(falcon.HTTPError) as given_up:
        asyncio.run(read_body(half_sent(), 1000, seconds=0.01))

    assert given_up.value.status_code == 408
