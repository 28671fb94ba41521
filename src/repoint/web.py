"""What HTTP routes share, whatever they are for."""

import asyncio

import falcon
import falcon.asgi

BODY_SECONDS = 30.0
App = falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response]


async def read_body(request: falcon.asgi.Request, bytes_max: int, *, seconds: float = BODY_SECONDS) -> bytes:
    """A request's body.

    Raises:
        HTTPPayloadTooLarge: over the limit.
        HTTPError: 408, when it does not arrive in time.
    """
    try:
        async with asyncio.timeout(seconds):
            body = await request.stream.read(bytes_max + 1)
    except TimeoutError:
        raise falcon.HTTPError(falcon.HTTP_408) from None
    if len(body) > bytes_max:
        raise falcon.HTTPPayloadTooLarge
    return body
