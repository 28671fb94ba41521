"""What the ledger and the log say of a message that has come to its end, or has to be tried again."""

import random
from datetime import datetime, timedelta

from repoint.delivery import campaigning, records
from repoint.delivery.pipeline import Delivery
from repoint.delivery.plan import CUSTOM
from repoint.delivery.provider import DeliveryStatus, Outcome, RestingOutcome
from repoint.resources.events.store import Event
from repoint.work.outbox import MAY_BE_SENT, Leased, Settled

RETRY_SECONDS_FIRST = 2.0
RETRY_SECONDS_MAX = 900.0
FIRST_ATTEMPTS = 12


def settle(delivery: Delivery, now: datetime) -> Settled:
    """The ledger's entry: final, or a time to try again."""
    assert delivery.outcome is not None
    row, outcome = delivery.row, delivery.outcome
    is_untried = isinstance(outcome, RestingOutcome)
    retry_at = retry_time(row, outcome, now)
    if outcome.status is DeliveryStatus.SUCCESSFUL:
        state = "SENT"
    elif retry_at is not None:
        state = "ACCEPTED"
    elif outcome.is_unknown:
        state = "UNKNOWN"
    elif outcome.is_stopped:
        state = "STOPPED"
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
        attempts=row.attempts - is_untried,
        retry_at=retry_at,
        expires_at=row.expires_at,
        is_called=delivery.plan.asks or delivery.plan.channel_type == CUSTOM,
        is_known=not (outcome.is_unknown or is_untried),
        mail=own_facts(delivery),
    )


def is_doubtful(delivery: Delivery, one: Settled) -> bool:
    """Whether a message ends unsent that an earlier attempt may have sent; the ledger has to be asked.

    What the far end refuses for good has failed: its reason is worth more than the doubt.
    """
    outcome = delivery.outcome
    assert outcome is not None
    is_refused = (
        outcome.status is DeliveryStatus.PERMANENT_FAILURE and outcome.status_code >= records.SMTP_PERMANENT_CODE
    )
    return one.attempts > 1 and one.retry_at is None and one.state != "SENT" and not is_refused


def in_doubt(outcome: Outcome) -> Outcome:
    """The outcome of a message that an earlier attempt may have sent."""
    text = f"{MAY_BE_SENT}; then: {outcome.status_message}"
    return Outcome(DeliveryStatus.UNKNOWN_FAILURE, outcome.status_code, text, is_unknown=True)


def own_facts(delivery: Delivery) -> dict[str, object] | None:
    """What later events of an email will say that its plan does not know; None when that is nothing."""
    if delivery.plan.channel_type != "EMAIL":
        return None
    own: dict[str, object] = {}
    subject = delivery.rendered.get("Subject", "").replace("\x00", "")
    if subject != delivery.plan.content.parts.get("Subject", ""):
        own["Subject"] = subject
    if delivery.row.personal.get("Context"):
        own["Context"] = delivery.row.personal["Context"]
    return own or None


def retry_time(row: Leased, outcome: Outcome, now: datetime) -> datetime | None:
    """When to try again: later each time, never at the same moment as the others, not past the deadline."""
    if not outcome.is_retryable:
        return None
    seconds = min(RETRY_SECONDS_MAX, RETRY_SECONDS_FIRST * 2 ** min(row.attempts - 1, FIRST_ATTEMPTS))
    retry_at = now + timedelta(seconds=seconds * random.uniform(0.7, 1.3))  # noqa: S311 - spreads load, hides nothing
    return retry_at if retry_at < row.expires_at else None


def events_of(delivery: Delivery, now: datetime) -> list[Event]:
    """What the log will say of a message that is settled; an endpoint's id is spelled as its owner spells it."""
    events = _events_of(delivery, now)
    if delivery.endpoint is not None:
        for event in events:
            event.document["client_id"] = delivery.endpoint.given_id
    return events


def _events_of(delivery: Delivery, now: datetime) -> list[Event]:
    assert delivery.outcome is not None
    if delivery.outcome.is_stopped and delivery.outcome.status_message in campaigning.SILENT:
        return []
    context = delivery.client_context or campaigning.context_of(delivery.endpoint)
    told = campaigning.send_events(delivery.row, delivery.plan, delivery.outcome, context, now)
    if delivery.outcome.is_unknown:
        return told  # a channel's events have no word for it
    is_unsent = delivery.outcome.is_stopped or campaigning.is_advised_against(delivery.outcome)
    return told if told and is_unsent else [*told, *_channel_events(delivery, now)]


def _channel_events(delivery: Delivery, now: datetime) -> list[Event]:
    """What a message's channel says of it."""
    assert delivery.outcome is not None
    row, plan, outcome = delivery.row, delivery.plan, delivery.outcome
    attributes = plan.attributes_for(row.personal)
    if plan.channel_type == "EMAIL":
        facts = records.mail_facts(row, plan.sender, delivery.rendered.get("Subject", ""), delivery.now)
        return records.email_events(row, outcome, facts, attributes, now)
    if plan.channel_type == "SMS":
        message = dict(plan.content.message)
        message["RenderedBody"] = delivery.rendered.get("Body", "")
        if delivery.text:
            message["OriginationNumber"] = delivery.text.origination or delivery.text.sender_id
        campaign = plan.shared["Context"] if "CampaignId" in plan.shared else {}
        return records.sms_events(row, outcome, message, attributes, now, campaign=campaign)
    return []
