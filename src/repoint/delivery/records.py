"""Outcomes as events: what the event stream will say of a message (Pinpoint's developer guide, "Event streams")."""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import msgspec

from repoint.clock import epoch_milliseconds
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
ENHANCED_STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.])")
SMS_STATUS = {
    DeliveryStatus.SUCCESSFUL: "DELIVERED",
    DeliveryStatus.THROTTLED: "RATE_EXCEEDED",
    DeliveryStatus.TEMPORARY_FAILURE: "TTL_EXPIRED",
    DeliveryStatus.OPT_OUT: "OPTED_OUT",
    DeliveryStatus.UNKNOWN_FAILURE: "UNKNOWN",
}
SMS_CODE_STATUS = {RENDERING_FAILURE_CODE: "INVALID_MESSAGE", TOO_LONG_CODE: "INVALID_MESSAGE"}


def email_events(
    row: Leased, outcome: Outcome, sent: Mapping[str, Any], attributes: Mapping[str, str], now: datetime
) -> list[Event]:
    """What became of an email.

    Taken by the relay: sent and delivered. Refused by it, or never taken: sent and bounced. Stopped before the wire:
    rejected, or a rendering failure; nothing was sent, and nobody's address is to blame.
    """
    given = {**attributes, **TREATMENT}
    if outcome.status_code in (RENDERING_FAILURE_CODE, TOO_LONG_CODE):
        failure = {"rendering_failure": {"error_message": outcome.status_message}}
        return [_email(row, "rendering_failure", failure, sent, given, now)]
    is_final = outcome.status is DeliveryStatus.PERMANENT_FAILURE
    if outcome.status is DeliveryStatus.UNKNOWN_FAILURE or (is_final and outcome.status_code < SMTP_PERMANENT_CODE):
        rejected = {"reject": {"reason": outcome.status_message}}
        return [_email(row, "rejected", rejected, sent, {"feedback": "rejected", **given}, now)]
    events = [_email(row, "send", {"send": {}}, sent, {"feedback": "received", **given}, now)]
    if outcome.status is DeliveryStatus.SUCCESSFUL:
        delivery = {
            "smtp_response": outcome.status_message,
            "reporting_mta": "",
            "recipients": [row.address],
            "processing_time_millis": max(0, epoch_milliseconds(now) - sent["message_send_timestamp"]),
        }
        events.append(
            _email(row, "delivered", {"delivery": delivery}, sent, {"feedback": "delivered", **given}, now),
        )
    else:
        kind = "hardbounce" if is_final else "softbounce"
        bounce = {"bounce": _bounce(row, outcome, is_hard=is_final)}
        events.append(_email(row, kind, bounce, sent, {"feedback": kind, **given}, now))
    return events


def _bounce(row: Leased, outcome: Outcome, *, is_hard: bool) -> dict[str, Any]:
    """As Amazon SES words it: the enhanced status (RFC 3463) if the reply has one, and the reply itself."""
    enhanced = ENHANCED_STATUS.search(outcome.status_message)
    reply = outcome.status_message
    if not reply.startswith(str(outcome.status_code)):
        reply = f"{outcome.status_code} {reply}"
    return {
        "bounce_type": "Permanent" if is_hard else "Transient",
        "bounce_sub_type": "General",
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


def _email(
    row: Leased,
    kind: str,
    detail: Mapping[str, Any],
    sent: Mapping[str, Any],
    attributes: Mapping[str, str],
    now: datetime,
) -> Event:
    document = {
        "attributes": attributes,
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
    row: Leased, outcome: Outcome, message: Mapping[str, Any], attributes: Mapping[str, str], now: datetime
) -> list[Event]:
    """Handed over, or given up on; `attributes` are the message's Context and its trace id."""
    is_sent = outcome.status is DeliveryStatus.SUCCESSFUL
    status = SMS_CODE_STATUS.get(outcome.status_code) or SMS_STATUS.get(outcome.status, "INVALID")
    context = {name: value for name, value in attributes.items() if name != TRACE_ATTRIBUTE}
    origination = message.get("OriginationNumber") or message.get("SenderId")
    country = country_of(row.address)
    document = {
        "attributes": {
            "sender_request_id": row.activity_id,
            **TREATMENT,
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
