"""A message on its way: the steps it goes through, in order, and the wire.

A step gets one delivery and returns None to go on, or the outcome that ends it here. What a delivery shares with
others is in its plan; everything else it needs has been read before the first step.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from repoint.bindings.far_ends import FarEnds
from repoint.delivery import campaigning, dkim, payloads, records
from repoint.delivery.bounces import SUPPRESSED_CODE
from repoint.delivery.mime import DateLine, HeaderError, header_line, prepare_raw
from repoint.delivery.plan import CUSTOM, Plan
from repoint.delivery.provider import (
    CustomMessage,
    CustomProvider,
    DeliveryStatus,
    Email,
    EmailProvider,
    Outcome,
    TextMessage,
    TextProvider,
)
from repoint.delivery.render import RenderingError, Templates, render_parts, variables_of
from repoint.resources.endpoints.store import Endpoint
from repoint.resources.messages.content import Content
from repoint.resources.messages.recipients import CONFIGURED_TYPES
from repoint.resources.messages.sizes import fault_of
from repoint.resources.suppression import Suppressed
from repoint.work.outbox import Leased


@dataclass(frozen=True, slots=True)
class Providers:
    """Who carries what, a channel without a provider of its own goes to the inbox; and who is asked before.

    `far_ends` are the functions, webhooks and models that both of these call.
    """

    email: EmailProvider
    text: Mapping[str, TextProvider]
    custom: CustomProvider
    advice: "Adviser"
    far_ends: FarEnds

    async def close(self) -> None:
        """Close all, each once."""
        await self.email.close()
        for provider in set(self.text.values()):
            await provider.close()


@dataclass(slots=True)
class Delivery:
    """One message between claim and record.

    `headers` are the recipient's own, `envelope_from` is where its bounces go; steps before `build` may set both.
    `client_context` stands in events for the endpoint's own, if it is set. `recommended` are variables besides the
    endpoint's.
    """

    row: Leased
    plan: Plan
    endpoint: Endpoint | None
    now: datetime
    suppressed: Suppressed | None = None
    content: Content | None = None
    rendered: dict[str, str] = field(default_factory=dict)
    headers: list[tuple[str, str]] = field(default_factory=list)
    envelope_from: str = ""
    client_context: str = ""
    recommended: Mapping[str, Any] | None = None
    email: Email | None = None
    text: TextMessage | None = None
    custom: CustomMessage | None = None
    outcome: Outcome | None = None


class Adviser(Protocol):
    """Has functions, webhooks and models say what should become of deliveries."""

    async def take(self, deliveries: Sequence[Delivery]) -> None:
        """Ask for these; whom it is decided for gets an outcome."""
        ...


Step = Callable[["Workshop", Delivery], Outcome | None]


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the steps work with, besides the delivery."""

    templates: Templates
    dates: DateLine
    missing_fails: bool


def failed(status_code: int, message: str, status: DeliveryStatus = DeliveryStatus.PERMANENT_FAILURE) -> Outcome:
    """An outcome that ends a delivery before the wire."""
    return Outcome(status, status_code, message)


def stopped(status_code: int, message: str, status: DeliveryStatus = DeliveryStatus.PERMANENT_FAILURE) -> Outcome:
    """An outcome that ends a delivery on purpose: a rule says that this recipient gets nothing."""
    return Outcome(status, status_code, message, is_stopped=True)


def stop_if_expired(_: Workshop, delivery: Delivery) -> Outcome | None:
    """Nothing is tried for ever; a first attempt is made however late it is."""
    if delivery.row.attempts > 1 and delivery.row.expires_at <= delivery.now:
        return failed(451, "Not deliverable before its deadline", DeliveryStatus.TEMPORARY_FAILURE)
    return None


def stop_if_app_is_gone(_: Workshop, delivery: Delivery) -> Outcome | None:
    """The application was deleted after the request."""
    return failed(404, "The application was deleted") if delivery.plan.app is None else None


def stop_if_channel_is_disabled(_: Workshop, delivery: Delivery) -> Outcome | None:
    """A channel that is not set up, or was turned off since, but for direct email (Pinpoint's console guide)."""
    channel, channel_type = delivery.plan.channel, delivery.plan.channel_type
    is_on = channel_type not in CONFIGURED_TYPES if channel is None else channel.is_enabled
    if is_on or channel_type == "EMAIL":
        return None
    outcome = failed(400, f"The {channel_type} channel is not enabled for this application")
    return replace(outcome, send_status="UNSUPPORTED_CHANNEL")


def stop_if_endpoint_is_gone(_: Workshop, delivery: Delivery) -> Outcome | None:
    """Who was deleted since is not written to any more."""
    if delivery.endpoint is None and delivery.row.personal.get("IsEndpoint"):
        return stopped(404, "The endpoint was deleted")
    return None


def stop_if_campaign_forbids(_: Workshop, delivery: Delivery) -> Outcome | None:
    """A campaign's run has an end, and its recipients may have opted out or have quiet time by now."""
    reason = campaigning.reason_to_stop(delivery.plan.shared, delivery.endpoint, delivery.now)
    return stopped(400, reason) if reason else None


def stop_if_suppressed(_: Workshop, delivery: Delivery) -> Outcome | None:
    """The address bounced for good, or somebody there complained; the log shows it as a bounce, as SES would."""
    if delivery.suppressed is None:
        return None
    reason = f"{delivery.suppressed.reason} of {delivery.suppressed.created_at:%Y-%m-%d}"
    return stopped(SUPPRESSED_CODE, f"The address is on the suppression list: {reason}")


def resolve_content(_: Workshop, delivery: Delivery) -> Outcome | None:
    """Which text: the plan's, unless the recipient has overrides."""
    content = delivery.content = delivery.plan.content_for(delivery.row.personal)
    if content.is_empty:
        return failed(400, f"There is no content for the {delivery.row.channel_type} channel")
    return None


def compose(workshop: Workshop, delivery: Delivery) -> Outcome | None:
    """The message: a letter filled in where that is all it takes, or made from its parts."""
    if not _fill_in(workshop, delivery):
        for step in MAKING:
            outcome = step(workshop, delivery)
            if outcome is not None:
                return outcome
    return None


def _fill_in(workshop: Workshop, delivery: Delivery) -> bool:
    """Whether the plan's letter will do for this recipient."""
    plan, endpoint = delivery.plan, delivery.endpoint
    if endpoint is None or delivery.content is not plan.content or delivery.recommended or workshop.missing_fails:
        return False
    letter = plan.letter()
    if letter is None:
        return False
    filled = letter.fill(delivery.row, endpoint, workshop.dates.line(delivery.now), delivery.now)
    if filled is None:
        return False
    delivery.rendered = {"Subject": filled.subject}
    delivery.envelope_from = filled.envelope_from
    delivery.email = _email(delivery, filled.content)
    delivery.email.may_have_dots = filled.may_have_dots
    return True


def render(workshop: Workshop, delivery: Delivery) -> Outcome | None:
    """Fill in this recipient's values, in the parts and in those headers that have variables."""
    assert delivery.content is not None
    variables = variables_of(delivery.endpoint, delivery.row.app_id)
    if delivery.recommended:
        variables |= delivery.recommended
    returns = delivery.plan.returns
    if returns is not None and (urls := returns.urls(delivery.content, delivery.row)):
        variables["Pinpoint"] = {**variables["Pinpoint"], **urls}
    templates, missing_fails, now = workshop.templates, workshop.missing_fails, delivery.now
    personal = {name: value for name, value in delivery.plan.headers if "{{" in value}
    try:
        delivery.rendered = render_parts(templates, delivery.content, variables, now=now, missing_fails=missing_fails)
        if personal:
            headers = replace(delivery.content, parts=personal)
            rendered = render_parts(templates, headers, variables, now=now, missing_fails=missing_fails)
            delivery.headers.extend(rendered.items())
    except RenderingError as error:
        return failed(records.RENDERING_FAILURE_CODE, str(error))
    return None


def stop_if_too_long(_: Workshop, delivery: Delivery) -> Outcome | None:
    """How long a message is, is known when it is rendered."""
    problem = fault_of(delivery.plan.channel_type, delivery.rendered)
    return failed(records.TOO_LONG_CODE, problem) if problem else None


def stamp(_: Workshop, delivery: Delivery) -> Outcome | None:
    """Make what comes back traceable: the recipient's pixel and links, unsubscribe headers, envelope sender."""
    row, rendered, returns = delivery.row, delivery.rendered, delivery.plan.returns
    if returns is not None:
        token, delivery.envelope_from, stop_address = returns.stamp(row)
        delivery.headers.extend(returns.unsubscribe_headers(row, stop_address))
        if "HtmlPart" in rendered:
            rendered["HtmlPart"] = returns.stamped(rendered["HtmlPart"], token)
    return None


def build(workshop: Workshop, delivery: Delivery) -> Outcome | None:
    """Make what the provider will carry."""
    if delivery.plan.channel_type == "EMAIL":
        return build_email(workshop, delivery)
    return build_custom(delivery) if delivery.plan.channel_type == CUSTOM else build_text(delivery)


def build_email(workshop: Workshop, delivery: Delivery) -> Outcome | None:
    """A finished RFC 5322 message, with its envelope."""
    if not delivery.plan.sender:
        return failed(400, "No FromAddress: neither the message nor the email channel has one")
    try:
        content = _compose(workshop, delivery)
    except HeaderError as error:
        return failed(records.RENDERING_FAILURE_CODE, str(error))
    delivery.email = _email(delivery, content)
    return None


def _email(delivery: Delivery, content: bytes) -> Email:
    """A finished message in its envelope."""
    row, plan = delivery.row, delivery.plan
    return Email(
        row.message_id,
        delivery.envelope_from or plan.bounces_to,
        row.address,
        content,
        plan.mailbox,
        plan.identity,
        plan.configuration_set,
    )


def _compose(workshop: Workshop, delivery: Delivery) -> bytes:
    """The recipient's bytes: the plan's, with their own parts put in; or what the caller has made whole."""
    assert delivery.content is not None
    row, rendered, raw = delivery.row, delivery.rendered, delivery.content.raw
    if raw is not None:
        return prepare_raw(raw, to=row.address, message_id=row.message_id, date=delivery.now)
    has_text, has_html = "TextPart" in rendered, "HtmlPart" in rendered
    return delivery.plan.email(has_text=has_text, has_html=has_html).build(
        to=row.address,
        subject=rendered.get("Subject", ""),
        text=rendered.get("TextPart", ""),
        html=rendered.get("HtmlPart", ""),
        message_id=row.message_id,
        date_line=workshop.dates.line(delivery.now),
        headers=b"".join([header_line(name, value) for name, value in delivery.headers]),
    )


def sign(_: Workshop, delivery: Delivery) -> Outcome | None:
    """With every DKIM key of the sender's domain."""
    email, keys = delivery.email, delivery.plan.dkim_keys
    if keys and email is not None:
        email.content = dkim.sign(email.content, keys, delivery.now)
    return None


def build_text(delivery: Delivery) -> Outcome | None:
    """An SMS, a push notification or a call: what its provider needs."""
    assert delivery.content is not None
    row, message, rendered = delivery.row, delivery.content.message, delivery.rendered
    details: dict[str, object] = {name: value for name, value in rendered.items() if name not in ("Body", "Title")}
    details |= {name: value for name, value in message.items() if name not in ("Body", "Substitutions")}
    context = delivery.plan.attributes_for(row.personal)
    if context:
        details["Context"] = context
    delivery.text = TextMessage(
        message_id=row.message_id,
        channel_type=row.channel_type,
        address=row.address,
        body=rendered.get("Body", ""),
        origination=message.get("OriginationNumber") or (_setting(delivery, "ShortCode")),
        sender_id=message.get("SenderId") or (_setting(delivery, "SenderId")),
        message_type=message.get("MessageType", "TRANSACTIONAL"),
        title=rendered.get("Title", ""),
        details=details,
    )
    return None


def build_custom(delivery: Delivery) -> Outcome | None:
    """An endpoint's part in a call of the campaign's function or webhook."""
    assert delivery.endpoint is not None
    delivery.custom = CustomMessage(
        message_id=delivery.row.message_id,
        uri=delivery.plan.shared["CustomDelivery"]["DeliveryUri"],
        head=delivery.plan.call_head(delivery.row.app_id, delivery.now),
        endpoint_id=delivery.endpoint.given_id,
        endpoint=payloads.endpoint_document(delivery.endpoint),
    )
    return None


def _setting(delivery: Delivery, name: str) -> str:
    return str(delivery.plan.channel.settings.get(name) or "") if delivery.plan.channel else ""


RULES = (
    stop_if_expired,
    stop_if_app_is_gone,
    stop_if_channel_is_disabled,
    stop_if_endpoint_is_gone,
    stop_if_campaign_forbids,
    stop_if_suppressed,
)
MAKING = (render, stop_if_too_long, stamp, build)
STEPS = (*RULES, resolve_content, compose, sign)


def prepare(workshop: Workshop, delivery: Delivery, steps: Sequence[Step] = STEPS) -> None:
    """Take one delivery through the steps, as far as it goes."""
    for step in steps:
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
    called = [delivery for delivery in going if delivery.custom is not None]
    outcomes = await providers.custom.send([one.custom for one in called if one.custom]) if called else []
    for delivery, outcome in zip(called, outcomes, strict=True):
        delivery.outcome = outcome
