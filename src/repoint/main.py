"""The only place that builds things and joins them: settings in, running processes out."""

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import falcon
import falcon.asgi
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server as HttpServer

from repoint import health, operations
from repoint.bindings.functions import Functions
from repoint.bindings.storage import Storage
from repoint.bounces import web as bounce_routes
from repoint.bounces.smtp import take_bounces
from repoint.clock import system_clock
from repoint.config import Settings, reachable
from repoint.db import Database, DatabaseUnavailableError
from repoint.db.bulk import BulkDatabase
from repoint.db.embedded import EmbeddedPostgres
from repoint.db.migrate import load_migrations, migrate
from repoint.delivery.pipeline import Providers
from repoint.delivery.provider import EmailProvider
from repoint.delivery.providers.ses import SesProvider
from repoint.delivery.providers.smtp import SmtpProvider
from repoint.delivery.receipts import build_receipts
from repoint.delivery.returns import return_paths
from repoint.delivery.routing import EmailRouter
from repoint.delivery.worker import Worker
from repoint.gateway.http import AccessKey, Caller, Gateway, Unavailable
from repoint.gateway.policy import parse_policy
from repoint.gateway.rates import AWS_QUOTAS, RateLimiter
from repoint.gateway.router import Router
from repoint.gateway.sigv4 import SigningKeyCache
from repoint.inbox import pages
from repoint.inbox.provider import InboxTextProvider
from repoint.inbox.smtp import InboxSmtp
from repoint.metrics import Metrics, prepare_metrics
from repoint.processes import Life, Process, Supervisor, live, settle_garbage
from repoint.resources import keys
from repoint.resources.call import Call, Server
from repoint.resources.campaigns.run import Scheduler
from repoint.resources.jobs.run import Runner, run_until
from repoint.resources.kpis.rollup import keep
from repoint.sealing import Seal
from repoint.streams.forward import Forwarder
from repoint.streams.open import Sinks
from repoint.tracking import routes as tracking_routes
from repoint.tracking.hits import Door
from repoint.wire.model import Model
from repoint.work import queue

logger = logging.getLogger(__name__)

KEY_USE_SECONDS = 30
METRICS_SECONDS = 1.0
TEXT_CHANNELS = (
    "SMS",
    "VOICE",
    "GCM",
    "APNS",
    "APNS_SANDBOX",
    "APNS_VOIP",
    "APNS_VOIP_SANDBOX",
    "ADM",
    "BAIDU",
)
BACKLOG = 1024


@dataclass(slots=True)
class Installation:
    """One server's durable parts: its database, found or started, and the key to its secrets."""

    settings: Settings
    dsn: str
    seal: Seal
    embedded: EmbeddedPostgres | None

    @classmethod
    def open(cls, settings: Settings) -> "Installation":
        """Find or start the database, and bring its schema up to date."""
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        seal = Seal.from_settings(settings.secret_key, settings.data_dir)
        embedded = None if settings.database_url else EmbeddedPostgres(settings.data_dir.resolve())
        dsn = embedded.start() if embedded else settings.database_url
        try:
            for name in asyncio.run(migrate(dsn, load_migrations())):
                logger.info("migrated: %s", name)
            asyncio.run(queue.install(dsn))
        except BaseException:
            if embedded:
                embedded.stop()
            raise
        return cls(settings, dsn, seal, embedded)

    def close(self) -> None:
        """Stop the embedded database, if nobody else uses it."""
        if self.embedded:
            self.embedded.stop()

    @contextlib.asynccontextmanager
    async def server(self) -> AsyncIterator[Server]:
        """What a process shares between its calls, with the database connected."""
        db = Database(self.dsn, connections_max=self.settings.database_connections)
        await db.open()
        try:
            yield Server(
                db,
                self.seal,
                system_clock,
                self.settings.account_id,
                self.settings.send_deadline_seconds,
            )
        finally:
            await db.close()


def serve(settings: Settings) -> int:
    """`repoint serve`: the API and the workers, until told to stop; returns the exit status."""
    installation = Installation.open(settings)
    try:
        prepare_metrics(settings.data_dir / "metrics")
        uvloop.run(_announce_first_key(installation))
        with reserve_port(settings.host, settings.port) as port:
            installation.settings = reachable(settings, port)
            api = [
                Process(f"api-{number}", lambda life: api_process(installation, port, life))
                for number in range(1, settings.api_processes + 1)
            ]
            workers = [
                Process(f"worker-{number}", lambda life: worker_process(installation, life), niceness=5)
                for number in range(1, settings.workers + 1)
            ]
            if settings.bounce_domain and settings.bounce_smtp_port:
                workers.append(Process("bounces", lambda life: bounce_process(installation, life)))
            supervisor = Supervisor([*api, *workers], drain_seconds=settings.drain_seconds)
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            return supervisor.run(lambda: print(f"ready http://{host}:{port}", flush=True))  # noqa: T201
    finally:
        installation.close()


def work(settings: Settings) -> int:
    """`repoint work`: one worker in this process, for a server elsewhere on the same database."""
    installation = Installation.open(settings)
    try:
        prepare_metrics(settings.data_dir / "metrics")
        settle_garbage()
        uvloop.run(live(lambda life: worker_process(installation, life), lambda: print("ready", flush=True), None))  # noqa: T201
    finally:
        installation.close()
    return 0


async def _announce_first_key(installation: Installation) -> None:
    """Make the administrator's key at the first start, and show it, once."""
    async with installation.server() as server:
        key = await keys.create_first_key(server.db, server.seal, now=server.clock())
    if key is not None:
        lines = [
            "A first access key, for the administrator. It is shown this once:",
            f"  export AWS_ACCESS_KEY_ID={key.access_key_id}",
            f"  export AWS_SECRET_ACCESS_KEY={key.secret}",
        ]
        print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201


@contextlib.contextmanager
def reserve_port(host: str, port: int) -> Any:
    """The port, held by this process so that API processes can come and go on it; 0 becomes a free one.

    Raises:
        OSError: when somebody else listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if port:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    with socket.socket(family) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((host, port))
        yield holder.getsockname()[1]


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
        await _listening(installation.settings.host, port, serving)
        life.ready()
        await asyncio.wait({serving, asyncio.create_task(life.stopping.wait())}, return_when="FIRST_COMPLETED")
        http.stop()  # type: ignore[no-untyped-call]  # granian has not said what it takes: nothing
        await serving
        recording.cancel()
        flushing.cancel()
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
        used.clear()
        with contextlib.suppress(DatabaseUnavailableError):
            await keys.record_use(server.db, ids, server.clock())


async def _flush_metrics(metrics: Metrics) -> None:
    while True:
        await asyncio.sleep(METRICS_SECONDS)
        metrics.flush()


def build_app(server: Server, settings: Settings, metrics: Metrics, used_keys: set[str]) -> pages.App:
    """The HTTP application: the API under /v1, health, metrics, the inbox."""
    app: pages.App = falcon.asgi.App(cors_enable=False)
    gateway = build_gateway(server, settings, metrics, used_keys)
    health.add_routes(app, server.db, metrics)
    if settings.inbox:
        pages.add_routes(app, server.db, server.clock, hosts=settings.inbox_hosts)
    receipts = build_receipts(server, settings)
    tracking_routes.add_routes(app, server, Door(receipts, settings.trusted_proxies))
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
    for entry in settings.rate_limit:
        name, _, number = entry.partition("=")
        limits[name] = float(number)
    if not limits:
        return None
    return RateLimiter(limits, monotonic=asyncio.get_running_loop().time, share=1 / settings.api_processes)


async def worker_process(installation: Installation, life: Life) -> None:
    """One process that delivers."""
    async with installation.server() as server, joined_providers(installation.settings, server) as providers:
        paths = return_paths(server.seal, installation.settings)
        worker = Worker(server, providers, installation.settings, metrics := Metrics(), paths)
        async with forwarding(installation.settings, server, metrics, life.stopping):
            scheduler = Scheduler(server, installation.settings.campaign_late_seconds).run(life.stopping)
            jobs = run_jobs(installation, server, life.stopping)
            await asyncio.gather(worker.run(life.ready, life.stopping), scheduler, jobs)


@contextlib.asynccontextmanager
async def forwarding(
    settings: Settings, server: Server, metrics: Metrics, stopping: asyncio.Event
) -> AsyncIterator[None]:
    """The event streams, forwarded beside a worker's other work until `stopping`."""
    functions = Functions(server.db, server.seal, server.clock, api_url=_own_url(settings))
    sinks = Sinks(server, functions, settings.data_dir.resolve())
    forwarder = asyncio.create_task(Forwarder(server, sinks.open, metrics.observe_lag).run(stopping))
    counting = asyncio.create_task(keep(server.db))
    try:
        yield
    finally:
        await forwarder
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)
        await functions.close()


def _own_url(settings: Settings) -> str:
    """Where local functions reach this server's API; unknown when the port is chosen at start."""
    return f"http://{settings.host}:{settings.port}" if settings.port else ""


async def run_jobs(installation: Installation, server: Server, stopping: asyncio.Event) -> None:
    """Imports and exports, on connections of their own, until told to stop."""
    settings = installation.settings
    if settings.job_concurrency:
        bulk = BulkDatabase(installation.dsn, connections_max=settings.job_concurrency)
        validate = Model.load().validators.shape("EndpointBatchItem")
        runner = Runner(server, bulk, build_storage(settings), validate, stopping)
        await run_until(runner, concurrency=settings.job_concurrency, lease_seconds=settings.lease_seconds)


def build_storage(settings: Settings) -> Storage:
    """The buckets, as the settings bind them."""
    return Storage(settings.data_dir / "buckets", settings.bucket, s3_endpoint_url=settings.s3_endpoint_url)


async def bounce_process(installation: Installation, life: Life) -> None:
    """The process that takes bounces and abuse reports."""
    async with installation.server() as server:
        await take_bounces(build_receipts(server, installation.settings), installation.settings, life)


@contextlib.asynccontextmanager
async def joined_providers(settings: Settings, server: Server) -> AsyncIterator[Providers]:
    """The configured providers; what has none goes to the inbox, over SMTP where it is email."""
    inbox = InboxSmtp(server.db, server.clock, port=settings.inbox_smtp_port)
    urls = list(settings.smtp_url)
    if not urls:
        port = await inbox.start()
        urls = [f"smtp://127.0.0.1:{port}?starttls=never"]
        logger.warning("no SMTP relay is configured: email goes to the inbox, and nothing to the outside")
    email: EmailProvider = SmtpProvider.from_urls(urls)
    if settings.ses_identity:
        email = EmailRouter(settings.ses_identity, SesProvider(), email)
    text = InboxTextProvider(server.db, server.clock)
    providers = Providers(email, dict.fromkeys(TEXT_CHANNELS, text))
    try:
        yield providers
    finally:
        await providers.close()
        await inbox.stop()
