"""The channel table: settings in clear, credentials sealed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from repoint.db import Connection, Database
from repoint.sealing import Seal
from repoint.wire.exceptions import NotFoundException


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as it is stored."""

    channel_type: str
    is_enabled: bool
    settings: dict[str, Any]
    credentials: bytes | None
    version: int
    created_at: datetime
    modified_at: datetime
    modified_by: str


async def load_channels(db: Database, app_id: str) -> dict[str, Channel]:
    """An application's channels by type; for `Database.cached`."""
    rows = await db.fetch_all(
        """SELECT channel_type, is_enabled, settings, credentials, version, created_at, modified_at, modified_by
           FROM channel WHERE app_id = %s""",
        [app_id],
    )
    return {row[0]: Channel(*row) for row in rows}


async def lock_channel(connection: Connection, app_id: str, channel_type: str) -> Channel | None:
    """A channel about to be changed, within the change's transaction.

    The application's row is the lock, since the channel may not be there yet; endpoints may be written meanwhile.

    Raises:
        NotFoundException: when the application has just been deleted.
    """
    app = await connection.execute("SELECT 1 FROM app WHERE app_id = %s FOR NO KEY UPDATE", [app_id])
    if await app.fetchone() is None:
        raise NotFoundException("Application not found")
    cursor = await connection.execute(
        """SELECT channel_type, is_enabled, settings, credentials, version, created_at, modified_at, modified_by
           FROM channel WHERE app_id = %s AND channel_type = %s""",
        [app_id, channel_type],
    )
    row = await cursor.fetchone()
    return Channel(*row) if row else None


async def put_channel(connection: Connection, app_id: str, channel: Channel) -> None:
    """Store a channel as it is now."""
    await connection.execute(
        """INSERT INTO channel (app_id, channel_type, is_enabled, settings, credentials, version, created_at,
               modified_at, modified_by)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (app_id, channel_type) DO UPDATE SET is_enabled = excluded.is_enabled,
               settings = excluded.settings, credentials = excluded.credentials, version = excluded.version,
               modified_at = excluded.modified_at, modified_by = excluded.modified_by""",
        [
            app_id,
            channel.channel_type,
            channel.is_enabled,
            Jsonb(channel.settings),
            channel.credentials,
            channel.version,
            channel.created_at,
            channel.modified_at,
            channel.modified_by,
        ],
    )


async def delete_channel(connection: Connection, app_id: str, channel_type: str) -> None:
    """Forget a channel and its credentials."""
    await connection.execute("DELETE FROM channel WHERE app_id = %s AND channel_type = %s", [app_id, channel_type])


def open_credentials(seal: Seal, app_id: str, channel: Channel | None) -> dict[str, str]:
    """A channel's secrets, for the provider that uses them."""
    if channel is None or channel.credentials is None:
        return {}
    text = seal.open(channel.credentials, f"{app_id}/{channel.channel_type}")
    return msgspec.json.decode(text, type=dict[str, str])


def seal_credentials(seal: Seal, app_id: str, channel_type: str, secrets: Mapping[str, str]) -> bytes | None:
    """The secrets as they are kept; None for none."""
    if not secrets:
        return None
    return seal.seal(msgspec.json.encode(secrets).decode(), f"{app_id}/{channel_type}")
