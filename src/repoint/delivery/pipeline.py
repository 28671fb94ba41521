"""A batch of messages on its way: the steps each goes through, in order, and then the wire and the record.

A step gets one delivery and returns None to go on, or the outcome that ends it here. Everything the batch needs from
the database is read before the first step, and written after the last, each in a few statements for all.
"""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from repoint.delivery import records
from repoint.delivery.content import Content, resolve
from repoint.delivery.mime import CompiledEmail, EmailParts, HeaderError, compile_email, prepare_raw
from repoint.delivery.provider import (
    DeliveryStatus,
    Email,
    EmailProvider,
    Outcome,
    TextMessage,
    TextProvider,
)
from repoint.delivery.render import RenderingError, Templates, render_parts, variables_of
from repoint.resources.apps import App
from repoint.resources.channels.store import Channel
from repoint.resources.endpoints.store import Endpoint
from repoint.resources.events.store import Event
from repoint.work.outbox import Leased, Settled

RETRY_SECONDS_FIRST = 2.0
RETRY_SECONDS_MAX = 900.0
FIRST_ATTEMPTS = 12
HEADERS_RESERVED = frozenset({"from", "to", "subject", "date", "message-id", "mime-version", "bcc", "cc", "sender"})


@dataclass(frozen=True, slots=True)
class Providers:
    """Who carries what; a channel without a provider of its own goes to the inbox."""

    email: EmailProvider
    text: Mapping[str, TextProvider]

    async def close(self) -> None:
        """Close all, each once."""
        await self.email.close()
        for provider in set(self.text.values()):
            await provider.close()


@dataclass(slots=True)
class Delivery:
    """One message between claim and record."""

    row: Leased
    shared: Mapping[str, Any]
    app: App | None
    channel: Channel | None
    template: Mapping[str, Any] | None
    endpoint: Endpoint | None
    now: datetime
    content: Content | None = None
    rendered: dict[str, str] = field(default_factory=dict)
    sender: str = ""
    email: Email | None = None
    text: TextMessage | None = None
    outcome: Outcome | None = None

    @property
    def attributes(self) -> dict[str, str]:
        """What the caller wants to see again in the message's events."""
        context = {**self.shared.get("Context", {}), **self.row.personal.get("Context", {})}
        return {**context, **({"trace_id": self.shared["TraceId"]} if self.shared.get("TraceId") else {})}


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the steps work with, besides the delivery."""

    templates: Templates
    compiled_emails: dict[Any, CompiledEmail]
    missing_fails: bool


def failed(status_code: int, message: str, status: DeliveryStatus = DeliveryStatus.PERMANENT_FAILURE) -> Outcome:
    """An outcome that ends a delivery before the wire."""
    return Outcome(status, status_code, message)


def stop_if_expired(_: Workshop, delivery: Delivery) -> Outcome | None:
    """Nothing is tried for ever; a first attempt is made however late it is."""
    if delivery.row.attempts > 1 and delivery.row.expires_at <= delivery.now:
        return failed(400, "Not deliverable before its deadline")
    return None


def stop_if_app_is_gone(_: Workshop, delivery: Delivery) -> Outcome | None:
    """The application was deleted after the request."""
    return failed(404, "The application was deleted") if delivery.app is None else None


def stop_if_channel_is_disabled(_: Workshop, delivery: Delivery) -> Outcome | None:
    """A channel turned off since stops what waits, but for direct email (Pinpoint's console guide)."""
    channel = delivery.channel
    if channel is not None and not channel.is_enabled and delivery.row.channel_type != "EMAIL":
        return failed(400, f"The {delivery.row.channel_type} channel is not enabled for this application")
    return None


def resolve_content(_: Workshop, delivery: Delivery) -> Outcome | None:
    """Which text: request, template or default."""
    delivery.content = resolve(delivery.row.channel_type, delivery.shared, delivery.row.personal, delivery.template)
    if not delivery.content.parts and delivery.content.raw is None:
        return failed(400, f"There is no content for the {delivery.row.channel_type} channel")
    return None


def render(workshop: Workshop, delivery: Delivery) -> Outcome | None:
    """Fill in this recipient's values."""
    assert delivery.content is not None
    try:
        delivery.rendered = render_parts(
            workshop.templates,
            delivery.content,
            variables_of(delivery.endpoint, delivery.row.app_id),
            now=delivery.now,
            missing_fails=workshop.missing_fails,
        )
    except RenderingError as error:
        return failed(records.RENDERING_FAILURE_CODE, str(error))
    return None


def build(workshop: Workshop, delivery: Delivery) -> Outcome | None:
    """Make what the provider will carry."""
    return build_email(workshop, delivery) if delivery.row.channel_type == "EMAIL" else build_text(delivery)


def build_email(workshop: Workshop, delivery: Delivery) -> Outcome | None:
    """A finished RFC 5322 message, with its envelope."""
    assert delivery.content is not None
    row, message = delivery.row, delivery.content.message
    configured = delivery.channel.settings.get("FromAddress") if delivery.channel else None
    delivery.sender = message.get("FromAddress") or configured or ""
    if not delivery.sender:
        return failed(400, "No FromAddress: neither the message nor the email channel has one")
    try:
        raw = delivery.content.raw
        if isinstance(raw, str):
            raw = raw.encode()
        content = (
            prepare_raw(raw, to=row.address, message_id=row.message_id, date=delivery.now)
            if raw is not None
            else _compose(workshop, delivery, message)
        )
    except HeaderError as error:
        return failed(records.RENDERING_FAILURE_CODE, str(error))
    delivery.email = Email(row.message_id, mailbox_of(delivery.sender), row.address, content)
    return None


def _compose(workshop: Workshop, delivery: Delivery, message: Mapping[str, Any]) -> bytes:
    assert delivery.content is not None
    rendered = delivery.rendered
    parts = EmailParts(
        from_address=delivery.sender,
        reply_to=tuple(message.get("ReplyToAddresses", ())),
        has_text="TextPart" in rendered,
        has_html="HtmlPart" in rendered,
    )
    key = (parts.from_address, parts.reply_to, parts.has_text, parts.has_html)
    compiled = workshop.compiled_emails.get(key)
    if compiled is None:
        compiled = workshop.compiled_emails[key] = compile_email(parts)
    headers = {name: value for name, value in delivery.content.headers if name.lower() not in HEADERS_RESERVED}
    return compiled.build(
        to=delivery.row.address,
        subject=rendered.get("Subject", ""),
        text=rendered.get("TextPart", ""),
        html=rendered.get("HtmlPart", ""),
        message_id=delivery.row.message_id,
        date=delivery.now,
        headers=headers,
    )


def mailbox_of(sender: str) -> str:
    """The bare address of `Name <address>`."""
    return sender.rpartition("<")[2].rstrip("> ").strip() if "<" in sender else sender.strip()


def build_text(delivery: Delivery) -> Outcome | None:
    """An SMS, a push notification or a call: what its provider needs."""
    assert delivery.content is not None
    row, message, rendered = delivery.row, delivery.content.message, delivery.rendered
    raw = delivery.content.raw
    details: dict[str, object] = {name: value for name, value in rendered.items() if name not in ("Body", "Title")}
    details |= {name: value for name, value in message.items() if isinstance(value, str | int | bool)}
    delivery.text = TextMessage(
        message_id=row.message_id,
        channel_type=row.channel_type,
        address=row.address,
        body=rendered.get("Body", "") or (raw.decode(errors="replace") if isinstance(raw, bytes) else raw or ""),
        origination=message.get("OriginationNumber") or (_setting(delivery, "ShortCode")),
        sender_id=message.get("SenderId") or (_setting(delivery, "SenderId")),
        message_type=message.get("MessageType", "TRANSACTIONAL"),
        title=rendered.get("Title", ""),
        details=details,
    )
    return None


def _setting(delivery: Delivery, name: str) -> str:
    return str(delivery.channel.settings.get(name) or "") if delivery.channel else ""


STEPS = (
    stop_if_expired,
    stop_if_app_is_gone,
    stop_if_channel_is_disabled,
    resolve_content,
    render,
    build,
)


def prepare(workshop: Workshop, delivery: Delivery) -> None:
    """Take one delivery through the steps, as far as it goes."""
    for step in STEPS:
        outcome = step(workshop, delivery)
        if outcome is not None:
            delivery.outcome = outcome
            return


async def send(providers: Providers, deliveries: Sequence[Delivery]) -> None:
    """Hand what has come through to its providers, a batch each."""
    going = [delivery for delivery in deliveries if delivery.outcome is None]
    emails = [delivery for delivery in going if delivery.email is not None]
    outcomes = await providers.email.send([one.email for one in emails if one.email]) if emails else []
    for delivery, outcome in zip(emails, outcomes, strict=True):
        delivery.outcome = outcome
    texts = sorted((one for one in going if one.text is not None), key=lambda one: one.row.channel_type)
    for channel_type, group in itertools.groupby(texts, key=lambda one: one.row.channel_type):
        batch = list(group)
        provider = providers.text[channel_type]
        outcomes = await provider.send([one.text for one in batch if one.text])
        for delivery, outcome in zip(batch, outcomes, strict=True):
            delivery.outcome = outcome


def settle(delivery: Delivery, now: datetime) -> Settled:
    """The ledger's entry: final, or a time to try again."""
    assert delivery.outcome is not None
    row, outcome = delivery.row, delivery.outcome
    retry_at = retry_time(row, outcome, now)
    if outcome.status is DeliveryStatus.SUCCESSFUL:
        state = "SENT"
    elif retry_at is not None:
        state = "ACCEPTED"
    else:
        state = "FAILED"
    return Settled(
        outbox_id=row.outbox_id,
        app_id=row.app_id,
        activity_id=row.activity_id,
        endpoint_id=row.endpoint_id,
        state=state,
        status_code=outcome.status_code,
        status_message=outcome.status_message[:1000].replace("\x00", ""),
        attempts=row.attempts,
        retry_at=retry_at,
    )


def retry_time(row: Leased, outcome: Outcome, now: datetime) -> datetime | None:
    """When to try again: later each time, never at the same moment as the others, not past the deadline."""
    if not outcome.is_retryable:
        return None
    seconds = min(RETRY_SECONDS_MAX, RETRY_SECONDS_FIRST * 2 ** min(row.attempts - 1, FIRST_ATTEMPTS))
    retry_at = now + timedelta(seconds=seconds * random.uniform(0.7, 1.3))  # noqa: S311 - spreads load, hides nothing
    return retry_at if retry_at < row.expires_at else None


def events_of(delivery: Delivery, now: datetime) -> list[Event]:
    """What the log will say of a message that is settled."""
    assert delivery.outcome is not None
    row, outcome = delivery.row, delivery.outcome
    if row.channel_type == "EMAIL":
        facts = records.mail_facts(row, delivery.sender, delivery.rendered.get("Subject", ""), delivery.now)
        return records.email_events(row, outcome, facts, delivery.attributes, now)
    if row.channel_type == "SMS":
        message = dict(delivery.content.message) if delivery.content else {}
        message["RenderedBody"] = delivery.rendered.get("Body", "")
        return records.sms_events(row, outcome, message, delivery.attributes, now)
    return []
