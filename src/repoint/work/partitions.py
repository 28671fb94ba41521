"""The event log's partitions, a day each: made ahead, dropped behind, and never in a writer's way for long.

Attaching and detaching lock the log for a moment. Whoever waits for that lock makes all writers wait behind it, so
nobody waits longer than `LOCK_MILLISECONDS`: what does not get the lock is done in the next round.
"""

import contextlib
import logging
from datetime import datetime, timedelta

import psycopg
from psycopg import sql

from repoint.db import Connection

logger = logging.getLogger(__name__)

DAYS_AHEAD = 3
LOCK_MILLISECONDS = 100
SLICE_ROWS_MAX = 10_000


async def make_partitions(connection: Connection, now: datetime) -> None:
    """A partition for each of the next days, made before anything needs it; meanwhile the default one takes all."""
    for ahead in range(DAYS_AHEAD + 1):
        day = now.date() + timedelta(days=ahead)
        name = f"event_{day:%Y%m%d}"
        found = await (await connection.execute("SELECT to_regclass(%s)", [name])).fetchone()
        if found is not None and found[0] is None:
            statement = sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF event FOR VALUES FROM ({}) TO ({})")
            bounds = (sql.Literal(f"{day}T00:00:00Z"), sql.Literal(f"{day + timedelta(days=1)}T00:00:00Z"))
            try:
                await _briefly(connection, statement.format(sql.Identifier(name), *bounds))
            except psycopg.errors.DuplicateTable:
                continue  # another process was quicker
            except psycopg.errors.CheckViolation:
                logger.warning("the events of %s stay in the default partition: they came before theirs was made", day)


async def drop_partitions(connection: Connection, before: datetime) -> None:
    """Drop the days before: detached first, which takes a moment, so that removing the files is in nobody's way."""
    rows = await (
        await connection.execute(
            """SELECT c.relname, EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = c.oid)
               FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
                 AND c.relname ~ '^event_[0-9]{8}$' AND c.relname < %s""",
            [f"event_{before:%Y%m%d}"],
        )
    ).fetchall()
    for name, is_attached in rows:
        table = sql.Identifier(name)
        if is_attached and not await _briefly(
            connection, sql.SQL("ALTER TABLE event DETACH PARTITION {}").format(table)
        ):
            continue
        with contextlib.suppress(psycopg.errors.UndefinedTable):
            await connection.execute(sql.SQL("DROP TABLE {}").format(table))
            logger.info("dropped %s", name)
    await _trim_default(connection, before)


async def _briefly(connection: Connection, statement: sql.Composed) -> bool:
    """Run what locks the log; False when it could not get the lock at once."""
    try:
        async with connection.transaction():
            await connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{LOCK_MILLISECONDS}ms"])
            await connection.execute(statement)
    except psycopg.errors.LockNotAvailable:
        logger.info("the event log is busy: its partitions wait for the next round")
        return False
    return True


async def _trim_default(connection: Connection, before: datetime) -> None:
    """What came on days that had no partition of their own."""
    while True:
        cursor = await connection.execute(
            """DELETE FROM event_default WHERE ctid IN (
                   SELECT ctid FROM event_default WHERE arrival_at < %s LIMIT %s)""",
            [before, SLICE_ROWS_MAX],
        )
        if cursor.rowcount < SLICE_ROWS_MAX:
            return
