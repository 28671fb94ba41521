"""What one event of the log counts as.

A client may report anything under any name: of what PutEvents brought, only the notifications that Pinpoint's SDKs
report as received and opened count for a campaign.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from repoint.resources.events.reader import LoggedEvent

PATTERN: Final = r"^_(email|SMS|campaign)\."  # the types that count as anything
EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
EMAIL: Final = {
    "_email.send": "email.sent",
    "_email.hardbounce": "email.hard_bounced",
    "_email.softbounce": "email.soft_bounced",
    "_email.rejected": "email.rejected",
    "_email.complaint": "email.complained",
    "_email.delivered": "email.reached",
    "_email.open": "email.opened",
    "_email.click": "email.clicked",
    "_email.unsubscribe": "email.unsubscribed",
}
BY_CLOCK_HOUR: Final = {"email.opened", "email.clicked"}  # repeats within a clock hour count once
DISTINCT: Final = {"email.opened", "email.clicked", "email.reached", "sms.delivered", "push.sent"}
OTHER_CHANNELS: Final = {"EMAIL", "SMS"}  # whose sends have events of their own


@dataclass(frozen=True, slots=True)
class Counted:
    """One event's part in one measure. `once` is the message it may be counted once for, in `once_hour`."""

    app_id: str
    hour: datetime
    measure: str
    endpoint_id: str
    campaign_id: str = ""
    campaign_activity_id: str = ""
    journey_id: str = ""
    journey_activity_id: str = ""
    country: str = ""
    status: str = ""
    parts: int = 0
    millicents: float = 0.0
    once: str = ""
    once_hour: datetime = EVER

    @property
    def is_distinct(self) -> bool:
        """Whether somebody asks for the number of endpoints of this measure."""
        return self.measure in DISTINCT and not self.journey_id


def counted(event: LoggedEvent) -> list[Counted]:
    """The measures an event counts in; often none."""
    attributes = event.document.get("attributes", {})
    common: dict[str, Any] = {
        "app_id": event.app_id,
        "hour": event.arrival_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0),
        "endpoint_id": event.endpoint_id,
        "campaign_id": str(attributes.get("campaign_id", "")),
        "campaign_activity_id": str(attributes.get("campaign_activity_id", "")),
        "journey_id": str(attributes.get("journey_id", "")),
        "journey_activity_id": str(attributes.get("journey_activity_id", "")),
    }
    if event.event_type == "_campaign.opened_notification":
        return [Counted(measure="push.opened", **common)] if common["campaign_id"] else []
    if "application" in event.document:
        return []
    if event.event_type in EMAIL:
        return [_email(event, common)]
    if event.event_type.startswith("_SMS."):
        return _sms(event, attributes, common)
    if event.event_type == "_campaign.send" and attributes.get("delivery_type") not in OTHER_CHANNELS:
        is_sent = attributes.get("campaign_send_status") == "SUCCESS"
        return [Counted(measure="push.sent" if is_sent else "push.failed", **common)]
    return []


def _email(event: LoggedEvent, common: dict[str, Any]) -> Counted:
    measure = EMAIL[event.event_type]
    if measure not in BY_CLOCK_HOUR:
        return Counted(measure=measure, **common)
    mail = event.document.get("facets", {}).get("email_channel", {}).get("mail_event", {}).get("mail", {})
    message = str(mail.get("message_id", ""))
    return Counted(measure=measure, once=message, once_hour=common["hour"], **common)


def _sms(event: LoggedEvent, attributes: dict[str, Any], common: dict[str, Any]) -> list[Counted]:
    """Sent with the first word of it, delivered with the receipt; an SMS has a part at least."""
    message = str(attributes.get("message_id", ""))
    parts = str(attributes.get("number_of_message_parts", "1"))
    common |= {
        "country": str(attributes.get("iso_country_code", "")),
        "parts": int(parts) if parts.isdecimal() else 1,
        "millicents": float(event.document.get("metrics", {}).get("price_in_millicents_usd", 0.0)),
        "once": message,
    }
    if event.event_type == "_SMS.OPTOUT":
        return []
    found = [Counted(measure="sms.sent", **common)]
    if event.event_type == "_SMS.SUCCESS":
        found.append(Counted(measure="sms.delivered", **common))
    elif event.event_type == "_SMS.FAILURE":
        found.append(Counted(measure="sms.failed", status=str(attributes.get("record_status", "UNKNOWN")), **common))
    return found
