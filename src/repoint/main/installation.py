"""One server's durable parts, opened for as long as it runs."""

import asyncio
import contextlib
import logging
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from repoint.config import Settings
from repoint.db import Database, DatabaseClock
from repoint.db.embedded import EmbeddedPostgres
from repoint.db.migrate import MigrationError, load_migrations, migrate
from repoint.resources.call import Server
from repoint.resources.events.restored import settle_restored
from repoint.resources.kpis.rollup import begin_again
from repoint.sealing import Seal, SealError
from repoint.work import queue

logger = logging.getLogger(__name__)

# What the kernel does about a database whose machine, or the line to it, has gone without a word: by itself it would
# wait for two hours on a silent connection, and for a quarter of one on what was sent.
WATCHED = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}


class CannotOpenError(Exception):
    """The installation cannot be opened; says why, in a sentence."""


@dataclass(slots=True)
class Installation:
    """One server's durable parts: its database, found or started, and the key to its secrets."""

    settings: Settings
    dsn: str
    seal: Seal
    embedded: EmbeddedPostgres | None

    @staticmethod
    def exists(settings: Settings) -> bool:
        """Whether there is one to open, or a database elsewhere: opening it will make none in the data directory."""
        return bool(settings.database_url) or (settings.data_dir / "postgres").is_dir()

    @classmethod
    def open(cls, settings: Settings) -> "Installation":
        """Find or start the database, and bring its schema up to date.

        Raises:
            CannotOpenError: when its folder, its key or its database is not to be had.
        """
        try:
            return cls._open(settings)
        except (psycopg.Error, MigrationError, SealError, subprocess.SubprocessError, RuntimeError, OSError) as error:
            reason = " ".join(str(error).split())
            raise CannotOpenError(f"the installation cannot be opened: {reason}") from error

    @classmethod
    def _open(cls, settings: Settings) -> "Installation":
        embedded = None if settings.database_url else EmbeddedPostgres(settings.data_dir.resolve())
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        seal = Seal.from_settings(settings.secret_key, settings.data_dir)
        dsn = embedded.start() if embedded else _watched(settings.database_url)
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
        clock = DatabaseClock(db)
        keeping = asyncio.create_task(clock.keep())
        try:
            await clock.measure()
            yield Server(
                db,
                self.seal,
                clock,
                self.settings.account_id,
                self.settings.send_deadline_seconds,
                self.settings.campaign_call_endpoints_max,
            )
        finally:
            keeping.cancel()
            await db.close()


def _watched(url: str) -> str:
    """A database's URL, and that its connections are to be given up when the other end has gone; what it says holds."""
    given = conninfo_to_dict(url)
    return make_conninfo(url, **{name: value for name, value in WATCHED.items() if name not in given})
