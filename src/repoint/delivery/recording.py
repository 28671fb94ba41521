"""What became of a batch, written down: the ledger, the outbox and the log, in the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from repoint.db import Connection
from repoint.delivery import records, settlement, specimen
from repoint.delivery.pipeline import Delivery
from repoint.delivery.provider import DeliveryStatus
from repoint.resources import suppression
from repoint.resources.events import store as events
from repoint.resources.suppression import Suppressed
from repoint.work import outbox
from repoint.work.outbox import Settled


async def record(connection: Connection, deliveries: Sequence[Delivery], now: datetime) -> None:
    """Settle a batch: a statement for the plain successes of a slice, one for all others, one COPY for the events.

    The ledger's time is when the batch was prepared: it is what the events say a mail was sent at, and later events of
    the mail say it again.
    """
    sent_at = deliveries[0].now if deliveries else now
    sent = [delivery for delivery in deliveries if _is_plain(delivery)]
    lines: list[bytes] = []
    # A slice has one plan, or a few; slices that share a call may have been tried before.
    for _, group in groupby(sent, key=lambda delivery: (id(delivery.plan), delivery.row.attempts)):
        alike = list(group)
        lines += specimen.write_lines(alike, now)
        texts = [one.outcome.status_message.replace("\x00", "") for one in alike if one.outcome]
        await outbox.settle_sent(connection, [one.row for one in alike], texts, _own_subjects(alike), sent_at)
    others = [delivery for delivery in deliveries if not _is_plain(delivery)] if len(sent) < len(deliveries) else []
    if others:
        settled = [settlement.settle(delivery, now) for delivery in others]
        settled = await _in_doubt(connection, others, settled, now)
        await outbox.settle(connection, settled, sent_at)
        await suppression.add(connection, bounced_addresses(others, now))
        for delivery, one in zip(others, settled, strict=True):
            if one.retry_at is None:
                lines += [events.copy_line(event) for event in settlement.events_of(delivery, now)]
    if lines:
        await events.append_lines(connection, b"".join(lines))


async def _in_doubt(
    connection: Connection, deliveries: Sequence[Delivery], settled: list[Settled], now: datetime
) -> list[Settled]:
    """The same, but UNKNOWN for messages that end unsent though an earlier attempt may have sent them."""
    asked = [one for delivery, one in zip(deliveries, settled, strict=True) if settlement.is_doubtful(delivery, one)]
    doubted = await outbox.doubted(connection, asked) if asked else set()
    for delivery in deliveries:
        if (delivery.row.activity_id, delivery.row.endpoint_id) in doubted:
            assert delivery.outcome is not None
            delivery.outcome = settlement.in_doubt(delivery.outcome)
    return [settlement.settle(delivery, now) for delivery in deliveries] if doubted else settled


def _own_subjects(alike: Sequence[Delivery]) -> list[str] | None:
    """The subjects of one plan's emails, for the events still to come; None when the plan knows it."""
    if "{{" not in alike[0].plan.content.parts.get("Subject", ""):
        return None
    return [one.rendered.get("Subject", "").replace("\x00", "") for one in alike]


def bounced_addresses(deliveries: Sequence[Delivery], now: datetime) -> list[Suppressed]:
    """The addresses a relay has refused for good."""
    return [
        Suppressed(
            region=delivery.plan.app.region,
            channel_type="EMAIL",
            address=delivery.row.address,
            reason="BOUNCE",
            created_at=now,
            app_id=delivery.row.app_id,
            message_id=delivery.row.message_id,
            facts={"status_code": outcome.status_code, "diagnostic_code": outcome.status_message.replace("\x00", "")},
        )
        for delivery in deliveries
        if delivery.plan.channel_type == "EMAIL"
        and delivery.plan.app is not None
        and (outcome := delivery.outcome) is not None
        and outcome.status is DeliveryStatus.PERMANENT_FAILURE
        and outcome.status_code >= records.SMTP_PERMANENT_CODE
        and records.bounce_kind(outcome).is_hard
    ]


def _is_plain(delivery: Delivery) -> bool:
    """An email of a slice that was sent: nothing to say of it that cannot be said of its neighbours."""
    row, outcome = delivery.row, delivery.outcome
    assert outcome is not None
    return (
        row.outbox_id is None and delivery.plan.channel_type == "EMAIL" and outcome.status is DeliveryStatus.SUCCESSFUL
    )
