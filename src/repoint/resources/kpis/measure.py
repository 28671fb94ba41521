"""What an event of the log counts as: one rule for each measure that a type of event counts in.

A client may report anything under any name: of what PutEvents brought, only the notifications that Pinpoint's SDKs
report as opened, and sessions, count.
"""

from dataclasses import dataclass
from typing import Final

HOUR: Final = "hour"
EVER: Final = "ever"


@dataclass(frozen=True, slots=True)
class Rule:
    """Events of a type count in a measure.

    `once` says how often one message counts: each time (''), once in a clock hour, or once ever. Events are the
    server's own, or what clients report; `is_success` asks for a campaign's send that succeeded, or one that did not.
    """

    event_type: str
    measure: str
    once: str = ""
    is_reported: bool = False
    is_success: bool | None = None


RULES: Final = (
    Rule("_email.send", "email.sent"),
    Rule("_email.hardbounce", "email.hard_bounced"),
    Rule("_email.softbounce", "email.soft_bounced"),
    Rule("_email.rejected", "email.rejected"),
    Rule("_email.complaint", "email.complained"),
    Rule("_email.delivered", "email.reached"),
    Rule("_email.open", "email.opened", once=HOUR),
    Rule("_email.click", "email.clicked", once=HOUR),
    Rule("_email.unsubscribe", "email.unsubscribed"),
    Rule("_SMS.BUFFERED", "sms.sent", once=EVER),
    Rule("_SMS.SUCCESS", "sms.sent", once=EVER),
    Rule("_SMS.SUCCESS", "sms.delivered", once=EVER),
    Rule("_SMS.FAILURE", "sms.sent", once=EVER),
    Rule("_SMS.FAILURE", "sms.failed", once=EVER),
    Rule("_campaign.send", "push.sent", is_success=True),
    Rule("_campaign.send", "push.failed", is_success=False),
    Rule("_campaign.opened_notification", "push.opened", is_reported=True),
    Rule("_session.start", "session.started", is_reported=True),
)
DISTINCT: Final = ("email.opened", "email.clicked", "email.reached", "sms.delivered", "push.sent")
"""Of which somebody asks for the number of endpoints."""
OTHER_CHANNELS: Final = ("EMAIL", "SMS")
"""Whose sends have events of their own, so that `_campaign.send` does not count for them."""
