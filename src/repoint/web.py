"""What HTTP routes share, whatever they are for."""

import falcon
import falcon.asgi

App = falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response]


async def read_body(request: falcon.asgi.Request, bytes_max: int) -> bytes:
    """A request's body.

    Raises:
        HTTPPayloadTooLarge: over the limit.
    """
    body = await request.stream.read(bytes_max + 1)
    if len(body) > bytes_max:
        raise falcon.HTTPPayloadTooLarge
    return body
