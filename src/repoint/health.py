"""What says from outside whether a process is well: `/healthz`, `/readyz` and `/metrics`."""

import asyncio

import falcon.asgi

from repoint.db import Database, DatabaseUnavailableError
from repoint.metrics import Metrics, exposition
from repoint.web import App

ANSWER_SECONDS = 4


def add_routes(app: App, db: Database, metrics: Metrics) -> None:
    """Put all three into an application."""
    app.add_route("/healthz", Health())
    app.add_route("/readyz", Readiness(db))
    app.add_route("/metrics", Exposition(metrics))


class Health:
    """`/healthz`: the process is alive."""

    async def on_get(self, _: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """Always 200."""
        response.media = {"status": "ok"}


class Readiness:
    """`/readyz`: the database answers."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def on_get(self, _: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """200, or 503 while the database is away, or silent: a disk that hangs, a line that is cut."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._db.settle()
        except (DatabaseUnavailableError, TimeoutError) as error:
            response.status = 503
            reason = str(error) or f"the database has not answered for {ANSWER_SECONDS} s"
            response.media = {"status": "unavailable", "reason": reason}
        else:
            response.media = {"status": "ready"}


class Exposition:
    """`/metrics`, for Prometheus."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def on_get(self, _: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """All processes' metrics."""
        self._metrics.flush()
        response.content_type = "text/plain; version=0.0.4; charset=utf-8"
        response.data = exposition()
