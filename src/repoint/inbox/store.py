"""The inbox's table: shared by all processes, trimmed to the newest messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from repoint.db import Connection, Database

PREVIEW_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message that has arrived."""

    received_at: datetime
    channel_type: str
    message_id: str
    sender: str
    recipient: str
    subject: str
    preview: str
    content: bytes


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """A message as it is listed."""

    inbox_id: int
    received_at: datetime
    channel_type: str
    message_id: str
    sender: str
    recipient: str
    subject: str
    preview: str
    is_read: bool
    size: int


async def append(connection: Connection, messages: Sequence[NewMessage]) -> list[None]:
    """Keep messages; for `Database.gather`."""
    await connection.execute(
        """WITH kept AS (
               INSERT INTO inbox_message (received_at, channel_type, message_id, sender, recipient, subject, preview,
                   content)
               SELECT * FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                   %s::text[], %s::bytea[]))
           SELECT pg_notify('inbox', '')""",
        [
            [one.received_at for one in messages],
            [one.channel_type for one in messages],
            [one.message_id for one in messages],
            [_storable(one.sender) for one in messages],
            [_storable(one.recipient) for one in messages],
            [_storable(one.subject) for one in messages],
            [_storable(one.preview)[:PREVIEW_CHARACTERS] for one in messages],
            [one.content for one in messages],
        ],
    )
    return [None] * len(messages)


def _storable(text: str) -> str:
    """What PostgreSQL's text can hold of anything that claims to be text."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")


async def list_messages(
    db: Database, *, query: str, channel: str, recipient: str, before: int, limit: int
) -> list[InboxMessage]:
    """Messages, newest first, older than `before`, that contain the query."""
    pattern = "%" + query.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    rows = await db.fetch_all(
        """SELECT inbox_id, received_at, channel_type, message_id, sender, recipient, subject, preview, is_read,
                  octet_length(content)
           FROM inbox_message
           WHERE inbox_id < %s AND (%s = '' OR channel_type = %s) AND (%s = '' OR recipient = %s)
             AND (%s = '' OR concat_ws(' ', sender, recipient, subject, preview) ILIKE %s)
           ORDER BY inbox_id DESC LIMIT %s""",
        [before, channel, channel, recipient, recipient, query, pattern, limit],
    )
    return [InboxMessage(*row) for row in rows]


async def get_message(db: Database, inbox_id: int) -> tuple[InboxMessage, bytes] | None:
    """One message with its content; it counts as read from now on."""
    row = await db.fetch_one(
        """UPDATE inbox_message SET is_read = true WHERE inbox_id = %s
           RETURNING inbox_id, received_at, channel_type, message_id, sender, recipient, subject, preview, is_read,
                     octet_length(content), content""",
        [inbox_id],
    )
    return (InboxMessage(*row[:10]), row[10]) if row else None


async def delete_message(db: Database, inbox_id: int) -> bool:
    """Forget one."""
    return await db.execute("DELETE FROM inbox_message WHERE inbox_id = %s", [inbox_id]) > 0


async def delete_all(db: Database) -> int:
    """Forget all."""
    return await db.execute("DELETE FROM inbox_message")
