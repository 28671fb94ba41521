"""Outcomes as events: what the event stream will say of a message (Pinpoint's developer guide, "Event streams")."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import msgspec

from repoint.clock import epoch_milliseconds
from repoint.delivery.bounces import ENHANCED, SOFT, SUPPRESSED, SUPPRESSED_CODE, BounceKind, classify
from repoint.delivery.countries import country_of
from repoint.delivery.provider import DeliveryStatus, Outcome
from repoint.resources.events.store import Event
from repoint.resources.messages.sizes import message_parts
from repoint.work.outbox import Leased

RENDERING_FAILURE_CODE = 422
TOO_LONG_CODE = 413
SMTP_PERMANENT_CODE = 500  # from here on: a far end's final word; below it: ours, before anything was sent
TRACE_ATTRIBUTE = "trace_id"
TREATMENT = {"treatment_id": "0"}  # of all that no experiment sends (the guide's tables of attributes)
SMS_STATUS = {
    DeliveryStatus.SUCCESSFUL: "DELIVERED",
    DeliveryStatus.THROTTLED: "RATE_EXCEEDED",
    DeliveryStatus.TEMPORARY_FAILURE: "TTL_EXPIRED",
    DeliveryStatus.OPT_OUT: "OPTED_OUT",
    DeliveryStatus.UNKNOWN_FAILURE: "UNKNOWN",
}
SMS_CODE_STATUS = {
    RENDERING_FAILURE_CODE: "INVALID_MESSAGE",
    TOO_LONG_CODE: "INVALID_MESSAGE",
    SUPPRESSED_CODE: "OPTED_OUT",
}


def email_events(
    row: Leased, outcome: Outcome, sent: Mapping[str, Any], attributes: Mapping[str, str], now: datetime
) -> list[Event]:
    """What became of an email.

    Taken by the relay: sent and delivered, unless it tells of deliveries by itself. Refused by it, or never taken: sent
    and bounced. Stopped before the wire: rejected, or a rendering failure; nothing was sent, and nobody's address is to
    blame.
    """
    if outcome.status_code in (RENDERING_FAILURE_CODE, TOO_LONG_CODE):
        failure = {"rendering_failure": {"error_message": outcome.status_message}}
        return [email_event(row, "rendering_failure", failure, sent, attributes, now)]
    if outcome.status_code == SUPPRESSED_CODE:
        return [_bounced(row, outcome, SUPPRESSED, sent, attributes, now)]
    is_final = outcome.status is DeliveryStatus.PERMANENT_FAILURE
    if outcome.status is DeliveryStatus.UNKNOWN_FAILURE or (is_final and outcome.status_code < SMTP_PERMANENT_CODE):
        rejected = {"reject": {"reason": outcome.status_message}}
        return [email_event(row, "rejected", rejected, sent, {"feedback": "rejected", **attributes}, now)]
    events = [email_event(row, "send", {"send": {}}, sent, {"feedback": "received", **attributes}, now)]
    if outcome.status is DeliveryStatus.SUCCESSFUL:
        if outcome.is_told_later:
            return events
        delivery = {
            "smtp_response": outcome.status_message,
            "reporting_mta": "",
            "recipients": [row.address],
            "processing_time_millis": max(0, epoch_milliseconds(now) - sent["message_send_timestamp"]),
        }
        events.append(
            email_event(row, "delivered", {"delivery": delivery}, sent, {"feedback": "delivered", **attributes}, now),
        )
    else:
        events.append(_bounced(row, outcome, bounce_kind(outcome), sent, attributes, now))
    return events


def bounce_kind(outcome: Outcome) -> BounceKind:
    """What a far end's refusal means: a temporary one is soft, and so is what it has against the content."""
    if outcome.status is not DeliveryStatus.PERMANENT_FAILURE:
        return SOFT
    return classify("", outcome.status_message, outcome.status_code)


def _bounced(
    row: Leased,
    outcome: Outcome,
    kind: BounceKind,
    sent: Mapping[str, Any],
    attributes: Mapping[str, str],
    now: datetime,
) -> Event:
    """As Amazon SES words it: the enhanced status (RFC 3463) if the reply has one, and the reply itself."""
    enhanced = ENHANCED.search(outcome.status_message)
    reply = outcome.status_message
    if not reply.startswith(str(outcome.status_code)):
        reply = f"{outcome.status_code} {reply}"
    bounce = {
        "bounce_type": kind.bounce_type,
        "bounce_sub_type": kind.bounce_sub_type,
        "bounced_recipients": [
            {
                "email_address": row.address,
                "action": "failed",
                "status": enhanced[0] if enhanced else str(outcome.status_code),
                "diagnostic_code": f"smtp; {reply}",
            }
        ],
        "feedback_id": _uuid_of(f"bounce/{row.message_id}"),
        "reporting_mta": "",
    }
    return email_event(row, kind.feedback, {"bounce": bounce}, sent, {"feedback": kind.feedback, **attributes}, now)


def email_event(
    row: Leased,
    kind: str,
    detail: Mapping[str, Any],
    sent: Mapping[str, Any],
    attributes: Mapping[str, str],
    now: datetime,
) -> Event:
    """One event of an email; `sent` is what `mail_facts` says of it."""
    document = {
        "attributes": {**TREATMENT, **attributes},
        "client_context": {"custom": {"legacy_identifier": row.app_id}},
        "facets": {"email_channel": {"mail_event": {"mail": sent, **detail}}},
    }
    sent_at = datetime.fromtimestamp(sent["message_send_timestamp"] / 1000, UTC)
    return Event(row.app_id, _client_id(row), f"_email.{kind}", sent_at, now, document)


def mail_facts(row: Leased, sender: str, subject: str, sent_at: datetime) -> dict[str, Any]:
    """What every event of an email says of the email itself."""
    headers = {"From": sender, "To": row.address, "Subject": subject}
    return {
        "message_id": row.message_id,
        "message_send_timestamp": epoch_milliseconds(sent_at),
        "from_address": sender,
        "destination": [row.address],
        "headers_truncated": False,
        "headers": [{"name": name, "value": value} for name, value in headers.items()],
        "common_headers": {
            "from": sender,
            "to": [row.address],
            "subject": subject,
            "date": format_datetime(sent_at.astimezone(UTC)),
        },
    }


def sms_events(
    row: Leased,
    outcome: Outcome,
    message: Mapping[str, Any],
    attributes: Mapping[str, str],
    now: datetime,
    *,
    campaign: Mapping[str, str],
) -> list[Event]:
    """Handed over, or given up on; `attributes` are the message's Context, its trace id and what names its campaign."""
    is_sent = outcome.status is DeliveryStatus.SUCCESSFUL
    status = SMS_CODE_STATUS.get(outcome.status_code) or SMS_STATUS.get(outcome.status, "INVALID")
    context = {name: value for name, value in attributes.items() if name != TRACE_ATTRIBUTE and name not in campaign}
    origination = message.get("OriginationNumber") or message.get("SenderId")
    country = country_of(row.address)
    document = {
        "attributes": {
            "sender_request_id": row.activity_id,
            **TREATMENT,
            **campaign,
            **({"origination_phone_number": origination} if origination else {}),
            "destination_phone_number": row.address,
            "record_status": status,
            **({"iso_country_code": country} if country else {}),
            "number_of_message_parts": str(message_parts(str(message.get("RenderedBody", "")))),
            "message_id": row.message_id,
            "message_type": str(message.get("MessageType", "TRANSACTIONAL")).title(),
            **({"customer_context": msgspec.json.encode(context).decode()} if context else {}),
            **({TRACE_ATTRIBUTE: attributes[TRACE_ATTRIBUTE]} if TRACE_ATTRIBUTE in attributes else {}),
        },
        "metrics": {"price_in_millicents_usd": 0.0},
    }
    return [Event(row.app_id, _client_id(row), "_SMS.SUCCESS" if is_sent else "_SMS.FAILURE", now, now, document)]


def _client_id(row: Leased) -> str:
    """The endpoint's id; for a bare address a UUID, the same in all events of its message."""
    return row.endpoint_id if row.personal.get("IsEndpoint") else _uuid_of(row.message_id)


def _uuid_of(text: str) -> str:
    digits = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
