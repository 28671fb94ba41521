"""What became of a batch, written down: the ledger, the outbox and the log, in the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from repoint.db import Connection
from repoint.delivery import pipeline, specimen
from repoint.delivery.pipeline import Delivery
from repoint.delivery.provider import DeliveryStatus
from repoint.resources.events import store as events
from repoint.work import outbox


async def record(connection: Connection, deliveries: Sequence[Delivery], now: datetime) -> None:
    """Settle a batch: a statement for the plain successes of a slice, one for all others, one COPY for the events."""
    sent = [delivery for delivery in deliveries if _is_plain(delivery)]
    lines: list[bytes] = []
    for _, group in groupby(sent, key=lambda delivery: id(delivery.plan)):  # a slice has one plan, or a few
        alike = list(group)
        lines += specimen.write_lines(alike, now)
        texts = [one.outcome.status_message.replace("\x00", "") for one in alike if one.outcome]
        await outbox.settle_sent(connection, [one.row for one in alike], texts, now)
    others = [delivery for delivery in deliveries if not _is_plain(delivery)] if len(sent) < len(deliveries) else []
    if others:
        settled = [pipeline.settle(delivery, now) for delivery in others]
        await outbox.settle(connection, settled, now)
        for delivery, one in zip(others, settled, strict=True):
            if one.retry_at is None:
                lines += [events.copy_line(event) for event in pipeline.events_of(delivery, now)]
    if lines:
        await events.append_lines(connection, b"".join(lines))


def _is_plain(delivery: Delivery) -> bool:
    """An email of a slice that was sent: nothing to say of it that cannot be said of its neighbours."""
    row, outcome = delivery.row, delivery.outcome
    assert outcome is not None
    return row.outbox_id is None and row.channel_type == "EMAIL" and outcome.status is DeliveryStatus.SUCCESSFUL
