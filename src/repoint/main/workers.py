"""A process that works: delivery, campaigns, jobs and streams, joined; and the one that takes bounces."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from repoint.bindings.far_ends import FarEnds
from repoint.bindings.functions import Functions
from repoint.bindings.models import Models
from repoint.bindings.storage import Storage
from repoint.bounces.smtp import take_bounces
from repoint.config import Settings, http_url
from repoint.db.bulk import BulkDatabase
from repoint.delivery.advice import Advice
from repoint.delivery.pipeline import Providers
from repoint.delivery.provider import EmailProvider
from repoint.delivery.providers.custom import CalledProvider
from repoint.delivery.providers.ses import SesProvider
from repoint.delivery.providers.smtp import SmtpProvider
from repoint.delivery.receipts import build_receipts
from repoint.delivery.returns import return_paths
from repoint.delivery.routing import EmailRouter
from repoint.delivery.subscribers import Subscribers
from repoint.delivery.worker import Worker
from repoint.inbox.provider import InboxTextProvider
from repoint.inbox.smtp import InboxSmtp
from repoint.main.installation import Installation
from repoint.metrics import Metrics
from repoint.processes import Life
from repoint.resources.call import Server
from repoint.resources.campaigns.copies import start_copy
from repoint.resources.campaigns.run import Scheduler
from repoint.resources.jobs.run import Runner, run_until
from repoint.resources.kpis.rollup import keep
from repoint.streams.forward import Forwarder
from repoint.streams.open import Sinks
from repoint.wire.model import Model

logger = logging.getLogger(__name__)

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


async def worker_process(installation: Installation, life: Life) -> None:
    """One process that delivers."""
    async with (
        installation.server() as server,
        calling(installation.settings, server, metrics := Metrics()) as functions,
        joined_providers(installation.settings, server, functions) as providers,
    ):
        paths = return_paths(server.seal, installation.settings)
        worker = Worker(server, providers, installation.settings, metrics, paths)
        async with forwarding(installation.settings, server, functions, metrics, life.stopping):
            scheduler = Scheduler(server, installation.settings.campaign_late_seconds, metrics.observe_lag).run(
                life.stopping
            )
            jobs = run_jobs(installation, server, life.stopping)
            await asyncio.gather(worker.run(life.ready, life.stopping), scheduler, jobs)


@contextlib.asynccontextmanager
async def calling(settings: Settings, server: Server, metrics: Metrics) -> AsyncIterator[Functions]:
    """The functions a worker calls, for whatever purpose."""
    far_ends = FarEnds(metrics)
    functions = Functions(server.db, server.seal, server.clock, api_url=_own_url(settings), far_ends=far_ends)
    try:
        yield functions
    finally:
        await functions.close()


@contextlib.asynccontextmanager
async def forwarding(
    settings: Settings, server: Server, functions: Functions, metrics: Metrics, stopping: asyncio.Event
) -> AsyncIterator[None]:
    """The event streams, forwarded beside a worker's other work until `stopping`."""
    sinks = Sinks(server, functions, settings.data_dir.resolve())
    forwarder = asyncio.create_task(Forwarder(server, sinks, metrics.observe_lag).run(stopping))
    counting = asyncio.create_task(keep(server.db, server.clock, metrics.observe_lag))
    try:
        yield
    finally:
        await forwarder
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)


def _own_url(settings: Settings) -> str:
    """Where local functions reach this server's API; unknown when the port is chosen at start."""
    return http_url(settings.host, settings.port) if settings.port else ""


async def run_jobs(installation: Installation, server: Server, stopping: asyncio.Event) -> None:
    """Imports and exports, on connections of their own, until told to stop."""
    settings = installation.settings
    if settings.job_concurrency:
        bulk = BulkDatabase(installation.dsn, connections_max=settings.job_concurrency)
        validate = Model.load().validators.shape("EndpointBatchItem")
        runner = Runner(server, bulk, build_storage(settings), validate, start_copy, stopping)
        await run_until(runner, concurrency=settings.job_concurrency, lease_seconds=settings.lease_seconds)


def build_storage(settings: Settings) -> Storage:
    """The buckets, as the settings bind them."""
    return Storage(settings.data_dir / "buckets", settings.bucket, s3_endpoint_url=settings.s3_endpoint_url)


async def bounce_process(installation: Installation, life: Life) -> None:
    """The process that takes bounces, abuse reports and mail that unsubscribes."""
    async with installation.server() as server:
        subscribers = Subscribers(server, build_receipts(server, installation.settings))
        await take_bounces(subscribers, installation.settings, life)


@contextlib.asynccontextmanager
async def joined_providers(settings: Settings, server: Server, functions: Functions) -> AsyncIterator[Providers]:
    """The configured providers; what has none goes to the inbox, over SMTP where it is email."""
    inbox = InboxSmtp(server.db, server.clock, port=settings.inbox_smtp_port)
    urls = list(settings.smtp_url)
    if not urls:
        port = await inbox.start()
        urls = [f"smtp://127.0.0.1:{port}?starttls=never"]
        logger.warning("no SMTP relay is configured: email goes to the inbox, and nothing to the outside")
    email: EmailProvider = SmtpProvider.from_urls(urls)
    if settings.ses_identity:
        email = EmailRouter(settings.ses_identity, SesProvider(is_reporting=bool(settings.ses_topic_arn)), email)
    text = InboxTextProvider(server.db, server.clock)
    custom = CalledProvider(functions, endpoints_max=settings.campaign_call_endpoints_max)
    models = Models(server.db, server.seal, functions.far_ends)
    advice = Advice(functions, models, endpoints_max=settings.campaign_call_endpoints_max)
    providers = Providers(email, dict.fromkeys(TEXT_CHANNELS, text), custom, advice, functions.far_ends)
    try:
        yield providers
    finally:
        await providers.close()
        models.close()
        await inbox.stop()
