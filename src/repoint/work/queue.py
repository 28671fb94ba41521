"""Coarse work (a piece of a file, an export) as jobs in PostgreSQL, by procrastinate.

Its tables live in a schema of their own, `procrastinate`, which is brought up to date under the migrations' lock. A job
is deferred on the caller's connection, so it is there when, and only when, the caller's transaction commits.
Jobs run at least once: what they do must be safe to be done again.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import procrastinate
import psycopg
from procrastinate.exceptions import ConnectorException
from procrastinate.schema import SchemaManager
from procrastinate.worker import Worker

from repoint.db import Connection
from repoint.db.migrate import LOCK

logger = logging.getLogger(__name__)

NAME = "jobs"
ATTEMPTS_MAX = 8
POLL_SECONDS = 5.0
AGAIN_SECONDS = 1.0
VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)_(\d+)_")

Job = Callable[..., Awaitable[None]]


class Queue:
    """The queue of coarse work.

    `jobs` are the functions that can be deferred, by name; their arguments travel as JSON. `give_up` is called with a
    job's name and arguments, and the fault, when it has failed for the last time.
    """

    def __init__(
        self,
        dsn: str,
        jobs: Mapping[str, Job],
        give_up: Callable[[str, Mapping[str, Any], Exception], Awaitable[None]],
        *,
        lease_seconds: float,
    ) -> None:
        logging.getLogger("procrastinate").setLevel(logging.WARNING)  # it tells of every job twice
        self._lease_seconds = lease_seconds
        self._give_up = give_up
        self._app = procrastinate.App(connector=connector_of(dsn, connections_max=2))
        for name, job in jobs.items():
            retry = procrastinate.RetryStrategy(max_attempts=ATTEMPTS_MAX, exponential_wait=2)
            self._app.task(name=name, queue=NAME, retry=retry, pass_context=True)(self._guarded(name, job))

    def _guarded(self, name: str, job: Job) -> Callable[..., Awaitable[None]]:
        async def run(context: procrastinate.JobContext, **arguments: Any) -> None:
            try:
                await job(**arguments)
            except Exception as error:
                logger.warning("%s %s failed, attempt %s", name, arguments, context.job.attempts + 1, exc_info=True)
                if context.job.attempts + 1 < ATTEMPTS_MAX:
                    raise
                await self._give_up(name, arguments, error)

        return run

    async def run(self, stopping: asyncio.Event, *, concurrency: int) -> None:
        """Do jobs, so many at once, until told to stop; jobs of workers that died are taken up again.

        While the database is away, or its disk is full, jobs wait. What procrastinate was doing is then as good as lost
        with it: it stops, and another worker of its begins, which takes that up again when its lease has run out.
        """
        async with self._app.open_async():
            told = asyncio.create_task(stopping.wait())
            rescuing = asyncio.create_task(self._rescue_again_and_again())
            try:
                while not stopping.is_set():
                    try:
                        await self._work(told, concurrency)
                    except ConnectorException as error:
                        logger.warning("jobs wait for the database: %s", error.__cause__ or error)
                        await asyncio.wait({told}, timeout=AGAIN_SECONDS)
            finally:
                rescuing.cancel()
                told.cancel()

    async def _work(self, told: "asyncio.Task[bool]", concurrency: int) -> None:
        """Do jobs until told to stop.

        Raises:
            ConnectorException: when the database refuses, or is not there.
        """
        worker = Worker(
            self._app,
            queues=[NAME],
            concurrency=concurrency,
            fetch_job_polling_interval=POLL_SECONDS,
            delete_jobs="always",
            install_signal_handlers=False,
            update_heartbeat_interval=max(0.2, self._lease_seconds / 4),
            stalled_worker_timeout=self._lease_seconds,
        )
        working = asyncio.create_task(worker.run())  # type: ignore[no-untyped-call]  # it takes nothing
        await asyncio.wait({working, told}, return_when="FIRST_COMPLETED")
        worker.stop()  # type: ignore[no-untyped-call]  # it takes nothing
        await working

    async def _rescue_again_and_again(self) -> None:
        while True:
            with contextlib.suppress(ConnectorException):
                stalled = await self._app.job_manager.get_stalled_jobs(
                    queue=NAME, seconds_since_heartbeat=self._lease_seconds
                )
                for job in stalled:
                    logger.warning("job %s lost its worker: again", job.call_string)
                    await self._app.job_manager.retry_job(job)
            await asyncio.sleep(max(0.2, self._lease_seconds / 4))


async def defer(connection: Connection, name: str, arguments: list[dict[str, Any]]) -> None:
    """Put jobs on the queue, one for each of the arguments; they exist when the caller's transaction commits."""
    await connection.execute("SET LOCAL search_path TO public, procrastinate")
    app = procrastinate.App(connector=procrastinate.PsycopgConnector())  # never opened: the connection is the caller's
    deferrer = app.configure_task(name, queue=NAME, connection=connection)
    await deferrer.batch_defer_async(*arguments)


def connector_of(dsn: str, *, connections_max: int) -> procrastinate.PsycopgConnector:
    """Connections that see procrastinate's schema."""
    return procrastinate.PsycopgConnector(
        conninfo=dsn,
        min_size=0,
        max_size=connections_max,
        kwargs={"options": "-c search_path=procrastinate"},
    )


@contextlib.asynccontextmanager
async def _locked(dsn: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        yield connection


async def install(dsn: str) -> list[str]:
    """Make procrastinate's tables, or bring them to the version that is installed; returns what was run.

    The package brings its schema and the steps between its versions; which of them this database has seen stands in
    `procrastinate.repoint_step`. It is one transaction, under the lock our own migrations take.
    """
    steps = _steps()
    async with _locked(dsn) as connection, connection.transaction():
        await connection.execute("CREATE SCHEMA IF NOT EXISTS procrastinate")
        await connection.execute("SET LOCAL search_path TO procrastinate")
        await connection.execute("CREATE TABLE IF NOT EXISTS procrastinate.repoint_step (name text PRIMARY KEY)")
        rows = await (await connection.execute("SELECT name FROM procrastinate.repoint_step")).fetchall()
        seen = {row[0] for row in rows}
        new = [step for step in steps if step.name not in seen]
        if not seen:
            await connection.execute(SchemaManager.get_schema().encode())
        else:
            for step in new:
                await connection.execute(step.read_bytes())
        for step in new:
            await connection.execute("INSERT INTO procrastinate.repoint_step (name) VALUES (%s)", [step.name])
    return [step.name for step in new]


def _steps() -> list[Path]:
    """The package's steps from version to version, in order."""
    return sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"), key=lambda step: _version(step.name))


def _version(name: str) -> tuple[int, ...]:
    match = VERSION.match(name)
    assert match is not None, name
    return tuple(int(part) for part in match.groups())
