"""The ledger of messages, and the work each leaves in the outbox."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from repoint.db import Connection

ID_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
ID_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message accepted for one recipient."""

    endpoint_id: str
    message_id: str
    channel_type: str
    address: str
    personal: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewActivity:
    """What is sent (`content`), and to whom."""

    activity_id: str
    app_id: str
    content: dict[str, Any]
    messages: Sequence[NewMessage]
    created_at: datetime
    expires_at: datetime


def new_message_id() -> str:
    """Forty characters of [0-9a-v], as Pinpoint's look."""
    number = secrets.randbits(ID_CHARACTERS * 5)
    return "".join(ID_ALPHABET[number >> shift & 31] for shift in range(0, ID_CHARACTERS * 5, 5))


async def insert(connection: Connection, activities: Sequence[NewActivity]) -> list[None]:
    """Accept messages: content, ledger and outbox rows in one statement; for `Database.gather`.

    Safe to repeat: what an earlier, unanswered attempt has inserted is left as it is.
    """
    await connection.execute(
        """
        WITH given AS (
            SELECT * FROM json_to_recordset(%s::json) AS given (
                activity_id text, app_id text, content jsonb, messages json, created_at timestamptz,
                expires_at timestamptz)
        ), new_activity AS (
            INSERT INTO activity (activity_id, app_id, content, created_at)
            SELECT activity_id, app_id, content, created_at FROM given
            ON CONFLICT DO NOTHING
        ), item AS (
            SELECT given.activity_id, given.app_id, given.created_at, given.expires_at, one.*
            FROM given, json_to_recordset(given.messages) AS one (
                endpoint_id text, message_id text, channel_type text, address text, personal jsonb)
        ), new_message AS (
            INSERT INTO message (app_id, activity_id, endpoint_id, message_id, channel_type, address, state,
                created_at, modified_at)
            SELECT app_id, activity_id, endpoint_id, message_id, channel_type, address, 'ACCEPTED',
                created_at, created_at
            FROM item
            ON CONFLICT DO NOTHING
            RETURNING message_id
        ), new_work AS (
            INSERT INTO outbox (app_id, activity_id, endpoint_id, message_id, channel_type, address, personal,
                due_at, expires_at)
            SELECT app_id, activity_id, endpoint_id, message_id, channel_type, address, personal,
                created_at, expires_at
            FROM item WHERE message_id IN (SELECT message_id FROM new_message)
        )
        SELECT pg_notify('outbox', '')
        """,
        [msgspec.json.encode(activities).decode()],
    )
    return [None] * len(activities)
