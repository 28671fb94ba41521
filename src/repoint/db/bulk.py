"""Connections for bulk work: their own few, so that a large import leaves the others to who sends and answers."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import psycopg
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from repoint.db.database import CONNECT_SECONDS, Connection, DatabaseUnavailableError, learn_cluster

# Temporary tables of a chunk should stay in memory: a chunk is some 8 MB of text, twice that as rows.
TEMP_BUFFERS = "64MB"
WORK_MEM = "32MB"


class BulkDatabase:
    """A pool of connections in autocommit, set up for statements over tens of thousands of rows."""

    def __init__(self, dsn: str, *, connections_max: int) -> None:
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            min_size=0,
            max_size=connections_max,
            max_idle=30,
            open=False,
            timeout=CONNECT_SECONDS,
            kwargs=_CONNECTION,
            connection_class=Connection,
            configure=_set_up,
        )

    async def open(self) -> None:
        """Connections are made when they are first needed, and given back when they are not."""
        await self._pool.open()

    async def close(self) -> None:
        """Give the connections back."""
        await self._pool.close()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit.

        Raises:
            DatabaseUnavailableError: when PostgreSQL is away, or goes away meanwhile.
        """
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise DatabaseUnavailableError(str(error)) from error


# No prepared statements: their temporary tables live for one transaction.
_CONNECTION: dict[str, Any] = {"autocommit": True, "prepare_threshold": None, "connect_timeout": CONNECT_SECONDS}


async def _set_up(connection: Connection) -> None:
    """Chunks join temporary tables, without statistics, to millions of endpoints: always by index."""
    set_json_loads(msgspec.json.decode, connection)
    await learn_cluster(connection)
    await connection.execute("SET enable_hashjoin = off")
    await connection.execute("SET enable_mergejoin = off")
    await connection.execute("SET enable_seqscan = off")
    await connection.execute("SELECT set_config('temp_buffers', %s, false)", [TEMP_BUFFERS])
    await connection.execute("SELECT set_config('work_mem', %s, false)", [WORK_MEM])
