"""Access keys: who may sign requests, and what each may do. Managed by `repoint keys`, not by the API."""

import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from repoint.db import Database
from repoint.sealing import Seal, SealError

ID_ALPHABET = string.ascii_uppercase + "234567"
SECRET_ALPHABET = string.ascii_letters + string.digits + "+/"
ADMINISTRATOR_POLICY: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An access key as it is listed: everything but its secret."""

    access_key_id: str
    name: str
    policy: dict[str, Any]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: the one time its secret is seen."""

    access_key_id: str
    secret: str


def _new_key() -> NewKey:
    """An id and secret in AWS's own form, so that every tool's checks accept them."""
    return NewKey(
        "AKIA" + "".join(secrets.choice(ID_ALPHABET) for _ in range(16)),
        "".join(secrets.choice(SECRET_ALPHABET) for _ in range(40)),
    )


async def create_key(
    db: Database,
    seal: Seal,
    *,
    name: str,
    policy: dict[str, Any],
    now: datetime,
    expires_at: datetime | None = None,
) -> NewKey:
    """Make a key."""
    key = _new_key()
    async with db.settings_change() as connection:
        await connection.execute(
            """INSERT INTO access_key (access_key_id, name, secret, policy, created_at, expires_at)
               VALUES (%s, %s, %s, %s, %s, %s)""",
            [
                key.access_key_id,
                name,
                seal.seal(key.secret, key.access_key_id),
                Jsonb(policy),
                now,
                expires_at,
            ],
        )
    return key


async def create_first_key(db: Database, seal: Seal, *, now: datetime) -> NewKey | None:
    """The administrator's key of a new installation; None when there is any key, or another was first."""
    async with db.settings_change() as connection:
        await connection.execute("LOCK TABLE access_key IN EXCLUSIVE MODE")
        if await (await connection.execute("SELECT 1 FROM access_key LIMIT 1")).fetchone():
            return None
        key = _new_key()
        await connection.execute(
            """INSERT INTO access_key (access_key_id, name, secret, policy, created_at)
               VALUES (%s, 'administrator', %s, %s, %s)""",
            [key.access_key_id, seal.seal(key.secret, key.access_key_id), Jsonb(ADMINISTRATOR_POLICY), now],
        )
        return key


async def list_keys(db: Database) -> list[StoredKey]:
    """All keys, oldest first."""
    rows = await db.fetch_all(
        """SELECT access_key_id, name, policy, created_at, expires_at, last_used_at FROM access_key
           ORDER BY created_at, access_key_id"""
    )
    return [StoredKey(*row) for row in rows]


async def find_key(db: Database, access_key_id: str) -> tuple[StoredKey, bytes] | None:
    """A key with its sealed secret; for `Database.cached`."""
    row = await db.fetch_one(
        """SELECT access_key_id, name, policy, created_at, expires_at, last_used_at, secret FROM access_key
           WHERE access_key_id = %s""",
        [access_key_id],
    )
    return (StoredKey(*row[:6]), row[6]) if row else None


async def check_seal(db: Database, seal: Seal) -> None:
    """Whether this is the key that secrets here were sealed with: one of the access keys, if there are any, opens.

    Raises:
        SealError: when none does.
    """
    refused: SealError | None = None
    for access_key_id, secret in await db.fetch_all("SELECT access_key_id, secret FROM access_key"):
        try:
            seal.open(secret, access_key_id)
        except SealError as error:
            refused = error
        else:
            return
    if refused is not None:
        raise refused


async def rotate_key(
    db: Database, seal: Seal, *, access_key_id: str, now: datetime, old_expires_at: datetime
) -> NewKey | None:
    """A second key with the first one's name and policy; the first works until `old_expires_at`."""
    found = await find_key(db, access_key_id)
    if found is None:
        return None
    new = await create_key(db, seal, name=found[0].name, policy=found[0].policy, now=now)
    async with db.settings_change() as connection:
        await connection.execute(
            "UPDATE access_key SET expires_at = %s WHERE access_key_id = %s", [old_expires_at, access_key_id]
        )
    return new


async def revoke_key(db: Database, access_key_id: str) -> bool:
    """Delete a key; False when there is none of that id."""
    async with db.settings_change() as connection:
        cursor = await connection.execute("DELETE FROM access_key WHERE access_key_id = %s", [access_key_id])
        return cursor.rowcount > 0


async def record_use(db: Database, access_key_ids: Iterable[str], now: datetime) -> None:
    """When keys were last used, to the minute; written behind the requests, not in them."""
    await db.execute(
        "UPDATE access_key SET last_used_at = %s WHERE access_key_id = ANY(%s)", [now, list(access_key_ids)]
    )
