"""Outcomes as events: what the event stream will say of a message (Pinpoint's developer guide, "Event streams")."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from repoint.clock import epoch_milliseconds
from repoint.delivery.provider import DeliveryStatus, Outcome
from repoint.resources.events.store import Event
from repoint.work.outbox import Leased

SMS_STATUS = {
    DeliveryStatus.SUCCESSFUL: "DELIVERED",
    DeliveryStatus.PERMANENT_FAILURE: "INVALID",
    DeliveryStatus.OPT_OUT: "OPTED_OUT",
}


def email_events(
    row: Leased, outcome: Outcome, sent: Mapping[str, Any], attributes: Mapping[str, str], now: datetime
) -> list[Event]:
    """Accepted by the relay: sent and delivered. Refused by it: sent and bounced. Never rendered: that alone."""
    if outcome.status_code == RENDERING_FAILURE_CODE:
        failure = {"rendering_failure": {"error_message": outcome.status_message}}
        return [_email(row, "_email.rendering_failure", failure, sent, {**attributes}, now)]
    if outcome.status is DeliveryStatus.SUCCESSFUL:
        delivery = {
            "smtp_response": outcome.status_message,
            "reporting_mta": "",
            "recipients": [row.address],
            "processing_time_millis": max(0, epoch_milliseconds(now) - sent["message_send_timestamp"]),
        }
        return [
            _email(row, "_email.send", {"send": {}}, sent, {**attributes, "feedback": "received"}, now),
            _email(
                row,
                "_email.delivered",
                {"delivery": delivery},
                sent,
                {**attributes, "feedback": "delivered"},
                now,
            ),
        ]
    is_hard = outcome.status is DeliveryStatus.PERMANENT_FAILURE
    kind = "hardbounce" if is_hard else "softbounce"
    bounce = {
        "bounce_type": "Permanent" if is_hard else "Transient",
        "bounce_sub_type": "General",
        "bounced_recipients": [
            {
                "email_address": row.address,
                "action": "failed",
                "status": str(outcome.status_code),
                "diagnostic_code": outcome.status_message,
            }
        ],
        "feedback_id": str(uuid.uuid4()),
        "reporting_mta": "",
    }
    return [_email(row, f"_email.{kind}", {"bounce": bounce}, sent, {**attributes, "feedback": kind}, now)]


RENDERING_FAILURE_CODE = 422


def _email(
    row: Leased,
    event_type: str,
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
    return _event(row, event_type, document, now)


def mail_facts(row: Leased, sender: str, subject: str, sent_at: datetime) -> dict[str, Any]:
    """What every event of an email says of the email itself."""
    return {
        "message_id": row.message_id,
        "message_send_timestamp": epoch_milliseconds(sent_at),
        "from_address": sender,
        "destination": [row.address],
        "headers_truncated": False,
        "headers": [{"name": "From", "value": sender}, {"name": "Subject", "value": subject}],
        "common_headers": {"from": sender, "to": [row.address], "subject": subject},
    }


def sms_events(
    row: Leased, outcome: Outcome, message: Mapping[str, Any], attributes: Mapping[str, str], now: datetime
) -> list[Event]:
    """Handed over, or given up on."""
    is_sent = outcome.status is DeliveryStatus.SUCCESSFUL
    context = dict(attributes)
    document = {
        "attributes": {
            "sender_request_id": row.activity_id,
            "destination_phone_number": row.address,
            "record_status": SMS_STATUS.get(outcome.status, "UNKNOWN"),
            "message_id": row.message_id,
            "message_type": str(message.get("MessageType", "TRANSACTIONAL")).title(),
            "number_of_message_parts": str(message_parts(str(message.get("RenderedBody", "")))),
            **({"origination_phone_number": message["OriginationNumber"]} if message.get("OriginationNumber") else {}),
            **({"customer_context": msgspec.json.encode(context).decode()} if context else {}),
        },
        "metrics": {"price_in_millicents_usd": 0.0},
    }
    return [_event(row, "_SMS.SUCCESS" if is_sent else "_SMS.FAILURE", document, now)]


GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENDED = frozenset("^{}\\[~]|€\f")


def message_parts(body: str) -> int:
    """How many SMS a text takes: 160 GSM-7 or 70 UCS-2 characters, 153 or 67 each when split (3GPP TS 23.040)."""
    if all(character in GSM or character in GSM_EXTENDED for character in body):
        length = len(body) + sum(character in GSM_EXTENDED for character in body)
        return 1 if length <= 160 else -(-length // 153)  # noqa: PLR2004 - the standard's own numbers
    length = len(body.encode("utf-16-be")) // 2
    return 1 if length <= 70 else -(-length // 67)  # noqa: PLR2004 - the same


def _event(row: Leased, event_type: str, document: dict[str, Any], now: datetime) -> Event:
    client_id = row.endpoint_id if row.personal.get("IsEndpoint") else str(uuid.uuid4())
    return Event(row.app_id, client_id, event_type, now, now, document)
