"""The addresses that are not sent to: they bounced for good, complained, or somebody said so. One list a region."""

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from repoint.db import Connection, Database
from repoint.resources.domains import ascii_domain

REASONS = ("BOUNCE", "COMPLAINT", "UNSUBSCRIBE", "MANUAL")
CHANNEL_TYPES = ("EMAIL", "SMS", "VOICE")
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Suppressed:
    """One address; `facts` is the report that put it on the list."""

    region: str
    channel_type: str
    address: str
    reason: str
    created_at: datetime
    app_id: str = ""
    message_id: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def normal(channel_type: str, address: str) -> str:
    """One spelling for one mailbox: lower case, though RFC 5321 lets a host tell Ann@ from ann@, because none does.

    A phone number is written in E.164, with its plus.
    """
    address = address.strip()
    if channel_type != "EMAIL":
        return address if address.startswith("+") else f"+{address}"
    if address.isascii():
        return address.lower()
    local, at, domain = address.rpartition("@")
    with contextlib.suppress(UnicodeError):
        domain = domain if domain.isascii() else ascii_domain(domain)
    return f"{local}{at}{domain}".lower()


async def add(connection: Connection, entries: Sequence[Suppressed]) -> None:
    """Put addresses on the list, within the transaction of what they did; a newer reason replaces an older one."""
    if not entries:
        return
    rows = {(one.region, one.channel_type, normal(one.channel_type, one.address)): one for one in entries}
    items = [{**asdict(rows[key]), "address": key[2]} for key in sorted(rows)]
    await connection.execute(
        """INSERT INTO suppression (region, channel_type, address, reason, created_at, modified_at, app_id, message_id,
               facts)
           SELECT region, channel_type, address, reason, created_at, created_at, app_id, message_id, facts
           FROM json_to_recordset(%s::json) AS given (
               region text, channel_type text, address text, reason text, created_at timestamptz, app_id text,
               message_id text, facts jsonb)
           ON CONFLICT (region, channel_type, address) DO UPDATE SET
               reason = excluded.reason, modified_at = excluded.modified_at, app_id = excluded.app_id,
               message_id = excluded.message_id, facts = excluded.facts""",
        [msgspec.json.encode(items).decode()],
    )


async def find(db: Database, region: str, channel_type: str, addresses: Collection[str]) -> dict[str, Suppressed]:
    """Which of these addresses are on the list, each as it was given."""
    wanted = [normal(channel_type, address) for address in addresses]
    rows = await db.fetch_all(
        """SELECT region, channel_type, address, reason, modified_at, app_id, message_id, facts FROM suppression
           WHERE region = %s AND channel_type = %s
             AND address = ANY (ARRAY(SELECT json_array_elements_text(%s::json)))""",
        [region, channel_type, msgspec.json.encode(wanted).decode()],  # as an array it would cost psycopg 400 us
    )
    if not rows:
        return {}
    found = {row[2]: Suppressed(*row) for row in rows}
    return {given: found[one] for given, one in zip(addresses, wanted, strict=True) if one in found}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which part of the list; empty is all."""

    region: str = ""
    channel_type: str = ""
    reason: str = ""
    since: datetime | None = None
    address: str = ""


async def list_page(db: Database, wanted: Filter, *, after: Key, limit: int) -> list[Suppressed]:
    """A page of the list, by region, channel and address, that begins after a key."""
    rows = await db.fetch_all(
        """SELECT region, channel_type, address, reason, modified_at, app_id, message_id, facts FROM suppression
           WHERE (region, channel_type, address) > (%s, %s, %s)
             AND (%s = '' OR region = %s) AND (%s = '' OR channel_type = %s) AND (%s = '' OR reason = %s)
             AND (%s::timestamptz IS NULL OR modified_at >= %s) AND (%s = '' OR address = %s)
           ORDER BY region, channel_type, address LIMIT %s""",
        [
            *after,
            *(wanted.region, wanted.region),
            *(wanted.channel_type, wanted.channel_type),
            *(wanted.reason, wanted.reason),
            *(wanted.since, wanted.since),
            *(wanted.address, wanted.address),
            limit,
        ],
    )
    return [Suppressed(*row) for row in rows]


async def remove(db: Database, region: str, channel_type: str, address: str) -> bool:
    """Take one address off the list; whether it was on it."""
    return (
        await db.execute(
            "DELETE FROM suppression WHERE region = %s AND channel_type = %s AND address = %s",
            [region, channel_type, normal(channel_type, address)],
        )
        > 0
    )


async def clear(db: Database, wanted: Filter) -> int:
    """Take all that fit the filter off the list; how many there were."""
    return await db.execute(
        """DELETE FROM suppression
           WHERE (%s = '' OR region = %s) AND (%s = '' OR channel_type = %s) AND (%s = '' OR reason = %s)
             AND (%s::timestamptz IS NULL OR modified_at >= %s)""",
        [
            *(wanted.region, wanted.region),
            *(wanted.channel_type, wanted.channel_type),
            *(wanted.reason, wanted.reason),
            *(wanted.since, wanted.since),
        ],
    )
