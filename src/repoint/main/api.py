"""A process that answers HTTP: the gateway, the pages and the routes of recipients, joined."""

import asyncio
import contextlib
from typing import Any

import falcon
import falcon.asgi
import psycopg
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server as HttpServer

from repoint import health, operations
from repoint.bounces import web as bounce_routes
from repoint.config import Settings
from repoint.db import Database, DatabaseUnavailableError
from repoint.delivery.receipts import build_receipts
from repoint.gateway.bodies import BodyReader
from repoint.gateway.http import AccessKey, Caller, Gateway, Unavailable
from repoint.gateway.policy import parse_policy
from repoint.gateway.proxies import Proxies
from repoint.gateway.rates import AWS_QUOTAS, RateLimiter, parse_limits
from repoint.gateway.router import Router
from repoint.gateway.sigv4 import SigningKeyCache
from repoint.inbox import pages
from repoint.main.installation import Installation
from repoint.metrics import Metrics
from repoint.processes import Life
from repoint.resources import keys
from repoint.resources.call import Call, Server
from repoint.sealing import Seal
from repoint.tracking import routes as tracking_routes
from repoint.tracking.hits import Door
from repoint.web import App
from repoint.wire.model import Model
from repoint.work import outbox

KEY_USE_SECONDS = 30
METRICS_SECONDS = 1.0
OUTBOX_SECONDS = 15.0
BACKLOG = 1024


async def api_process(installation: Installation, port: int, life: Life) -> None:
    """One process that answers HTTP."""
    async with installation.server() as server:
        metrics = Metrics()
        used_keys: set[str] = set()
        app = build_app(server, installation.settings, metrics, used_keys)
        http = HttpServer(
            app,
            address=installation.settings.host,
            port=port,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,  # looking for HTTP/2 first, it would wait for ever for a connection's first byte
            backlog=BACKLOG,
            log_enabled=False,
            websockets=False,
            http1_settings=HTTP1Settings(header_read_timeout=round(installation.settings.idle_seconds * 1000)),
        )
        serving = asyncio.create_task(http.serve())
        recording = asyncio.create_task(_record_key_use(server, used_keys))
        flushing = asyncio.create_task(_flush_metrics(metrics))
        measuring = asyncio.create_task(_measure_outbox(server, metrics))
        await _listening(installation.settings.host, port, serving)
        life.ready()
        await asyncio.wait({serving, asyncio.create_task(life.stopping.wait())}, return_when="FIRST_COMPLETED")
        http.stop()  # type: ignore[no-untyped-call]  # granian has not said what it takes: nothing
        await serving
        recording.cancel()
        flushing.cancel()
        measuring.cancel()
        metrics.flush()
        await keys.record_use(server.db, used_keys, server.clock())


async def _listening(host: str, port: int, serving: "asyncio.Task[None]") -> None:
    """Return once the HTTP server takes connections."""
    while not serving.done():
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            return
        await asyncio.sleep(0.005)


async def _record_key_use(server: Server, used: set[str]) -> None:
    while True:
        await asyncio.sleep(KEY_USE_SECONDS)
        ids = list(used)
        with contextlib.suppress(DatabaseUnavailableError):
            await keys.record_use(server.db, ids, server.clock())
            used.difference_update(ids)


async def _flush_metrics(metrics: Metrics) -> None:
    while True:
        await asyncio.sleep(METRICS_SECONDS)
        metrics.flush()


async def _measure_outbox(server: Server, metrics: Metrics) -> None:
    """How much waits, and how long it has; asked here, too, since workers may be elsewhere, hang, or not be at all."""
    while True:
        with contextlib.suppress(DatabaseUnavailableError, psycopg.Error):
            waiting, seconds = await outbox.measure(server.db, server.clock())
            metrics.outbox_messages.set(waiting)
            metrics.outbox_oldest_seconds.set(seconds)
        await asyncio.sleep(OUTBOX_SECONDS)


def build_app(server: Server, settings: Settings, metrics: Metrics, used_keys: set[str]) -> App:
    """The HTTP application: the API under /v1, health, metrics, the inbox."""
    app: App = falcon.asgi.App(cors_enable=False)
    gateway = build_gateway(server, settings, metrics, used_keys)
    health.add_routes(app, server.db, metrics)
    if settings.inbox:
        pages.add_routes(app, server.db, server.clock, hosts=settings.inbox_hosts)
    receipts = build_receipts(server, settings)
    tracking_routes.add_routes(app, server, Door(receipts, Proxies(settings.trusted_proxies)))
    bounce_routes.add_routes(app, receipts, frozenset(settings.ses_topic_arn), settings.sns_trusted_url)

    async def api(req: falcon.asgi.Request, resp: falcon.asgi.Response | None, **_: Any) -> None:
        assert resp is not None
        await gateway.handle(req, resp)

    app.add_sink(api, "/")
    return app


def build_gateway(server: Server, settings: Settings, metrics: Metrics, used_keys: set[str]) -> Gateway:
    """The wire, joined to the operations and the access keys."""
    model = Model.load()

    async def call(name: str, caller: Caller, request: dict[str, Any]) -> Any:
        context = Call(server, caller.region, caller.access_key_name, caller.request_id, caller.invocation_id)
        try:
            return await operations.call(name, context, request)
        except DatabaseUnavailableError as error:
            raise Unavailable(str(error)) from error

    async def find_key(access_key_id: str) -> AccessKey | None:
        try:
            await server.db.settle()
            found = await server.db.cached(_load_key, (server.seal, access_key_id))
        except DatabaseUnavailableError as error:
            raise Unavailable(str(error)) from error
        if found is not None:
            used_keys.add(access_key_id)
        return found

    return Gateway(
        model=model,
        router=Router(model.operations.values()),
        call=call,
        find_key=find_key,
        account_id=settings.account_id,
        clock=server.clock,
        observe=metrics.observe_request,
        rates=build_rates(settings),
        signing_keys=SigningKeyCache(),
        bodies=BodyReader(),
        proxies=Proxies(settings.trusted_proxies),
    )


async def _load_key(db: Database, key: tuple[Seal, str]) -> AccessKey | None:
    """An access key as the gateway needs it: opened, its policy parsed."""
    seal, access_key_id = key
    found = await keys.find_key(db, access_key_id)
    if found is None:
        return None
    stored, sealed = found
    secret = seal.open(sealed, access_key_id)
    return AccessKey(stored.name, secret, parse_policy(stored.policy), stored.expires_at)


def build_rates(settings: Settings) -> RateLimiter | None:
    """The configured limits; each process has its share of them."""
    limits = dict(AWS_QUOTAS) if settings.rate_limits == "aws" else {}
    limits |= parse_limits(settings.rate_limit, operations.OPERATIONS)
    if not limits:
        return None
    return RateLimiter(limits, monotonic=asyncio.get_running_loop().time, share=1 / settings.api_processes)
