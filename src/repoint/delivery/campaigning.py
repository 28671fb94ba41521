"""What a campaign's messages have besides what all have: rules at the time of sending, and events of their own.

The audience was selected by these rules; but a campaign may take hours to send, and quiet time may have begun since,
or a recipient have opted out.
"""

import functools
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from repoint.clock import iso8601
from repoint.delivery.plan import Plan
from repoint.delivery.provider import CalledOutcome, DeliveryStatus, Outcome
from repoint.resources.campaigns.rules import FILTERED_OUT
from repoint.resources.campaigns.schedule import is_quiet, known_zones
from repoint.resources.endpoints.store import Endpoint
from repoint.resources.events.records import ShownEndpoint
from repoint.resources.events.store import Event
from repoint.work.outbox import Leased

SEND_STATUS = {
    DeliveryStatus.SUCCESSFUL: "SUCCESS",
    DeliveryStatus.THROTTLED: "THROTTLED",
    DeliveryStatus.TEMPORARY_FAILURE: "TRANSIENT_FAILURE",
    DeliveryStatus.PERMANENT_FAILURE: "FAILURE_PERMANENT",
    DeliveryStatus.UNKNOWN_FAILURE: "UNKNOWN",
    DeliveryStatus.OPT_OUT: "FAILURE_PERMANENT",
    DeliveryStatus.DUPLICATE: "DUPLICATE_ADDRESS",
}
REASONS = frozenset({"EXPIRED", "QUIET_TIME"})
ZONES_MAX = 1024
OPTED_OUT = "ENDPOINT_OPT_OUT"
SILENT = frozenset({OPTED_OUT, FILTERED_OUT})  # campaign_send_status has no word for these


def reason_to_stop(shared: Mapping[str, Any], endpoint: Endpoint | None, now: datetime) -> str | None:
    """Why a message of a campaign must not be sent now, in the words of campaign_send_status; None when it may.

    Who opts out is skipped in silence, as campaigns of Pinpoint do: for that there is no such word.
    """
    if "CampaignId" not in shared:
        return None
    if endpoint is not None and endpoint.is_opted_out:
        return OPTED_OUT
    if shared.get("ExpiresAt") and now.timestamp() >= shared["ExpiresAt"]:
        return "EXPIRED"
    quiet = shared.get("QuietTime")
    if quiet and endpoint is not None:
        zone = endpoint.demographic.get("Timezone")
        if zone in known_zones() and _is_quiet_in(zone, quiet.get("Start"), quiet.get("End"), now):
            return "QUIET_TIME"
    return None


@functools.lru_cache(ZONES_MAX)  # recipients of a slice are few zones at one moment
def _is_quiet_in(zone: str, start: str | None, end: str | None, now: datetime) -> bool:
    return is_quiet({"Start": start or "", "End": end or ""}, now.astimezone(ZoneInfo(zone)).time())


def context_of(endpoint: Endpoint | None) -> str:
    """The endpoint as the event's client_context has it: JSON in a string."""
    if endpoint is None:
        return "{}"
    return ShownEndpoint(
        channel_type=endpoint.channel_type or None,
        endpoint_status="ACTIVE" if endpoint.is_active else "INACTIVE",
        opt_out="ALL" if endpoint.is_opted_out else "NONE",
        request_id=endpoint.request_id or None,
        effective_date=iso8601(endpoint.effective_at),
        user={"UserId": endpoint.user_id} if endpoint.user_id else {},
    ).text()


def send_events(row: Leased, plan: Plan, outcome: Outcome, client_context: str, now: datetime) -> list[Event]:
    """`_campaign.send` with what became of the message; nothing for a message that is not a campaign's."""
    if "CampaignId" not in plan.shared:
        return []
    attributes = {
        **(outcome.event_attributes if isinstance(outcome, CalledOutcome) else {}),
        **plan.shared["Context"],
        "delivery_type": plan.channel_type,
        "campaign_send_status": _send_status(outcome),
    }
    document = {"attributes": attributes, "client_context": {"custom": {"endpoint": client_context}}}
    return [Event(row.app_id, row.endpoint_id, "_campaign.send", now, now, document)]


def _send_status(outcome: Outcome) -> str:
    if outcome.is_unknown:
        return SEND_STATUS[DeliveryStatus.UNKNOWN_FAILURE]
    if outcome.send_status:
        return outcome.send_status
    if outcome.is_stopped and outcome.status_message in REASONS:
        return outcome.status_message
    return SEND_STATUS[outcome.status]


def is_advised_against(outcome: Outcome) -> bool:
    """Whether a function, webhook or model failed that had to be asked first: nothing has been sent."""
    return isinstance(outcome, CalledOutcome) and bool(outcome.send_status)
