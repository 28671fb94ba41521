"""The provider of SMS, push and voice while no other is configured."""

from collections.abc import Sequence

import msgspec

from repoint.clock import Clock
from repoint.db import Database
from repoint.delivery.provider import DeliveryStatus, Outcome, TextMessage
from repoint.inbox.store import NewMessage, append


def preview_of(message: TextMessage) -> str:
    """What the list shows of a message: its text, or else what it is instead."""
    raw = message.details.get("RawContent")
    silent = "A silent notification" if message.details.get("SilentPush") else ""
    return message.body or (raw if isinstance(raw, str) else silent)


class InboxTextProvider:
    """Every message arrives, in the inbox."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def send(self, messages: Sequence[TextMessage]) -> list[Outcome]:
        """Keep a batch, in one transaction."""
        now = self._clock()
        kept = [
            NewMessage(
                received_at=now,
                channel_type=message.channel_type,
                message_id=message.message_id,
                sender=message.origination or message.sender_id,
                recipient=message.address,
                subject=message.title,
                preview=preview_of(message),
                content=msgspec.json.encode(message),
            )
            for message in messages
        ]

        async def keep(connection: object) -> None:
            await append(connection, kept)  # type: ignore[arg-type]  # a Connection, by atomically's promise

        await self._db.atomically(keep)
        return [Outcome(DeliveryStatus.SUCCESSFUL, 200, "Delivered to the inbox") for _ in messages]

    async def close(self) -> None:
        """Nothing to give back."""
