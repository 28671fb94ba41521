"""Amazon SES's notifications and published events, as ours.

Source: Amazon SES developer guide, "Amazon SNS notification contents" and "Contents of event data". Sends, opens and
clicks are ours to know; what SES says of them is left alone.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from repoint.bounces.parse import clean
from repoint.delivery.bounces import BounceKind
from repoint.delivery.receipts import Report

MESSAGE_TAG = "repoint-message-id"
ID_CHARACTERS_MAX = 200
Document = Mapping[str, Any]


def message_id_of(notification: Document) -> str | None:
    """Our id of the mail: in a tag, or in the Message-ID header it was given to SES with."""
    mail = _dict(notification.get("mail"))
    tagged = _list(_dict(mail.get("tags")).get(MESSAGE_TAG))
    if tagged:
        return str(tagged[0])[:ID_CHARACTERS_MAX]
    for header in _list(mail.get("headers")):
        if _text(header, "name").lower() == "message-id":
            return _text(header, "value").strip("<> ").partition("@")[0][:ID_CHARACTERS_MAX]
    return None


def read_notification(notification: Document, message_id: str, address: str, arrived_at: datetime) -> Report | None:
    """The report in a notification of the mail to `address`, or None when it says nothing we count."""
    kind = str(notification.get("eventType") or notification.get("notificationType"))
    read = READERS.get(kind)
    return read(notification, message_id, address, arrived_at) if read else None


def _bounce(notification: Document, message_id: str, address: str, arrived_at: datetime) -> Report:
    bounce = _dict(notification.get("bounce"))
    kind = BounceKind(_text(bounce, "bounceType"), _text(bounce, "bounceSubType"))
    recipient = _recipient(bounce.get("bouncedRecipients"))
    return _bounced(message_id, arrived_at, kind, _bounce_detail(bounce, kind, recipient, address))


def _delay(notification: Document, message_id: str, address: str, arrived_at: datetime) -> Report:
    delay = _dict(notification.get("deliveryDelay"))
    kind = BounceKind("Transient", _text(delay, "delayType") or "General")
    recipient = {"action": "delayed", **_recipient(delay.get("delayedRecipients"))}
    named = {**delay, "feedbackId": _text(delay, "timestamp")}
    return _bounced(message_id, arrived_at, kind, _bounce_detail(named, kind, recipient, address))


def _bounce_detail(report: Document, kind: BounceKind, recipient: Document, address: str) -> dict[str, Any]:
    return {
        "bounce_type": kind.bounce_type,
        "bounce_sub_type": kind.bounce_sub_type,
        "bounced_recipients": [
            {
                "email_address": address,
                "action": _text(recipient, "action"),
                "status": _text(recipient, "status"),
                "diagnostic_code": _text(recipient, "diagnosticCode"),
            }
        ],
        "feedback_id": _text(report, "feedbackId"),
        "reporting_mta": _text(report, "reportingMTA"),
    }


def _bounced(message_id: str, arrived_at: datetime, kind: BounceKind, detail: dict[str, Any]) -> Report:
    return Report(
        message_id=message_id,
        event_type=kind.event_type,
        feedback=kind.feedback,
        detail={"bounce": detail},
        arrived_at=arrived_at,
        report_id="" if kind.is_hard else detail["feedback_id"],
        suppresses="BOUNCE" if kind.is_hard else "",
    )


def _complaint(notification: Document, message_id: str, address: str, arrived_at: datetime) -> Report:
    complaint = _dict(notification.get("complaint"))
    detail = {
        "complained_recipients": [{"email_address": address}],
        "feedback_id": _text(complaint, "feedbackId"),
        "user_agent": _text(complaint, "userAgent"),
        "complaint_feedback_type": _text(complaint, "complaintFeedbackType"),
    }
    return Report(
        message_id, "_email.complaint", "complaint", {"complaint": detail}, arrived_at, suppresses="COMPLAINT"
    )


def _delivery(notification: Document, message_id: str, address: str, arrived_at: datetime) -> Report:
    delivery = _dict(notification.get("delivery"))
    millis = delivery.get("processingTimeMillis")
    detail = {
        "smtp_response": _text(delivery, "smtpResponse"),
        "reporting_mta": _text(delivery, "reportingMTA"),
        "recipients": [address],
        "processing_time_millis": millis if isinstance(millis, int) else 0,
    }
    return Report(message_id, "_email.delivered", "delivered", {"delivery": detail}, arrived_at)


def _reject(notification: Document, message_id: str, address: str, arrived_at: datetime) -> Report:
    del address
    detail = {"reason": _text(_dict(notification.get("reject")), "reason")}
    return Report(message_id, "_email.rejected", "rejected", {"reject": detail}, arrived_at)


READERS = {
    "Bounce": _bounce,
    "Complaint": _complaint,
    "Delivery": _delivery,
    "DeliveryDelay": _delay,
    "Reject": _reject,
}


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _recipient(value: object) -> dict[str, Any]:
    return _dict(next(iter(_list(value)), None))


def _text(document: object, name: str) -> str:
    value = _dict(document).get(name)
    return clean(value) if isinstance(value, str) else ""
