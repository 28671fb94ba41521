"""PostgreSQL's notifications, followed through outages."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import psycopg
from psycopg import sql

RECONNECT_SECONDS = 0.5


async def listen(dsn: str, channel: str) -> AsyncIterator[None]:
    """Tell of each notification, and of each connection: whatever was notified before it, nobody has heard."""
    while True:
        with contextlib.suppress(psycopg.OperationalError):
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                yield
                async for _ in connection.notifies():
                    yield
        await asyncio.sleep(RECONNECT_SECONDS)
