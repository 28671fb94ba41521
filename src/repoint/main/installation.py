"""One server's durable parts, opened for as long as it runs."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from repoint.clock import system_clock
from repoint.config import Settings
from repoint.db import Database
from repoint.db.embedded import EmbeddedPostgres
from repoint.db.migrate import load_migrations, migrate
from repoint.resources.call import Server
from repoint.resources.events.restored import settle_restored
from repoint.resources.kpis.rollup import begin_again
from repoint.sealing import Seal
from repoint.work import queue

logger = logging.getLogger(__name__)


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
            asyncio.run(settle_restored(dsn, begin_again))
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
                self.settings.campaign_call_endpoints_max,
            )
        finally:
            await db.close()
