"""The addresses behind `/t/`."""

from typing import Any, Protocol

from repoint.resources.call import Server
from repoint.tracking.hits import Door, Link, Pixel
from repoint.tracking.subscriptions import Desk, Preferences, Unsubscribe


class Routable(Protocol):
    """An HTTP application that routes can be put into."""

    def add_route(self, uri_template: str, resource: Any) -> None:
        """Put a resource at an address."""


def add_routes(app: Routable, server: Server, door: Door) -> None:
    """Put tracking, unsubscribing and preferences into an application."""
    desk = Desk(door, server)
    app.add_route("/t/o/{token}", Pixel(door))
    app.add_route("/t/c/{token}/{link}", Link(door))
    app.add_route("/t/u/{token}", Unsubscribe(desk))
    app.add_route("/t/p/{token}", Preferences(desk))
