"""The addresses behind `/t/`."""

import logging
from typing import Any

import falcon
import falcon.asgi

from repoint.db import DatabaseUnavailableError
from repoint.resources.call import Server
from repoint.tracking.hits import Door, Link, Pixel
from repoint.tracking.subscriptions import Desk, Preferences, Unsubscribe
from repoint.web import App

logger = logging.getLogger(__name__)

RETRY_SECONDS = 30


def add_routes(app: App, server: Server, door: Door) -> None:
    """Put tracking, unsubscribing and preferences into an application."""
    desk = Desk(door, server)
    app.add_error_handler(DatabaseUnavailableError, put_off)
    app.add_route("/t/o/{token}", Pixel(door))
    app.add_route("/t/c/{token}/{link}", Link(door))
    app.add_route("/t/u/{token}", Unsubscribe(desk))
    app.add_route("/t/p/{token}", Preferences(desk))


async def put_off(request: falcon.asgi.Request, _: Any, error: Exception, __: Any) -> None:
    """What cannot be read or kept now is asked for again."""
    logger.warning("%s %s is put off: %s", request.method, request.path[:4], error)
    raise falcon.HTTPServiceUnavailable(retry_after=RETRY_SECONDS)
