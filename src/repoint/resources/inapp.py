"""GetInAppMessages: the in-app campaigns that wait for an endpoint's events.

The client matches events and counts views; the server says which campaigns are open to the endpoint: their window is,
the endpoint is in their segment, and its cohort has a treatment. An opted-out or inactive endpoint gets none, nor does
one whose type is not IN_APP (Pinpoint's user guide, "Amazon Pinpoint in-app messaging channel").
"""

from collections.abc import Mapping
from typing import Any, cast

from repoint.clock import iso8601
from repoint.resources.apps import require_app
from repoint.resources.call import Call
from repoint.resources.campaigns import store
from repoint.resources.campaigns.audience import condition_in, segment_of
from repoint.resources.campaigns.contents import IN_APP_MEMBERS, template_named
from repoint.resources.campaigns.faults import RunError
from repoint.resources.campaigns.rules import quiet_time_of
from repoint.resources.campaigns.schedule import read_schedule
from repoint.resources.campaigns.snapshot import is_member
from repoint.resources.campaigns.store import StoredCampaign
from repoint.resources.campaigns.treatments import Treatment, cohort_treatments, treatments_of
from repoint.resources.endpoints import store as endpoints
from repoint.resources.endpoints.store import Endpoint
from repoint.resources.templates.store import load_scheduled_template
from repoint.wire import shapes
from repoint.wire.exceptions import NotFoundException

IN_APP = "IN_APP"
PRIORITY_LOWEST = 5


async def get_in_app_messages(call: Call, request: shapes.GetInAppMessagesRequest) -> shapes.InAppMessagesResponse:
    """The in-app messages an endpoint may show, the most urgent first."""
    app = await require_app(call, request["ApplicationId"])
    endpoint = await endpoints.get(call.db, app.app_id, request["EndpointId"])
    if endpoint is None:
        raise NotFoundException("Endpoint not found")
    found: list[dict[str, Any]] = []
    if endpoint.channel_type == IN_APP and endpoint.is_active and not endpoint.is_opted_out:
        for campaign, treatment in await _open_to(call, endpoint):
            if await _is_in_segment(call, campaign, endpoint):
                message = await _message_of(call, treatment)
                if message:
                    found.append(_document(campaign, treatment, message))
    found.sort(key=lambda one: (one["Priority"], one["CampaignId"]))
    return cast("shapes.InAppMessagesResponse", {"InAppMessageCampaigns": found})


async def _open_to(call: Call, endpoint: Endpoint) -> list[tuple[StoredCampaign, Treatment]]:
    """The open campaigns that have a treatment for the endpoint's cohort, with that."""
    rows = await call.db.fetch_all(
        """SELECT campaign_id, array_agg(treatment_id) FROM campaign_activity
           WHERE app_id = %s AND ended_at IS NULL AND state = 'RUNNING' AND frequency = 'IN_APP_EVENT'
             AND (expires_at IS NULL OR expires_at > %s)
           GROUP BY campaign_id""",
        [endpoint.app_id, call.now()],
    )
    if not rows:
        return []
    keys = [(endpoint.app_id, campaign_id) for campaign_id, _ in rows]
    async with call.db.connection() as connection:
        campaigns = await store.find_latest(connection, keys)
    found = []
    for key, (_, treatment_ids) in zip(keys, rows, strict=True):
        campaign = campaigns.get(key)
        if campaign is None or campaign.is_paused or campaign.fault:
            continue
        mine = cohort_treatments(campaign.campaign_id, campaign.document)[endpoint.cohort_id]
        if mine in treatment_ids:
            treatments = treatments_of(campaign.document)
            found.append((campaign, next(one for one in treatments if one.treatment_id == mine)))
    return found


async def _is_in_segment(call: Call, campaign: StoredCampaign, endpoint: Endpoint) -> bool:
    """Whether the campaign is for the endpoint.

    No connection is held while another is asked for: at a time when nothing is cached, requests that each held one
    would wait for one another.
    """
    try:
        segment = await segment_of(call, campaign)
        async with call.db.connection() as connection:
            condition = await condition_in(connection, segment, call.now())
            return await is_member(connection, condition, endpoint.app_id, endpoint.endpoint_id)
    except RunError:
        return False


async def _message_of(call: Call, treatment: Treatment) -> Mapping[str, Any] | None:
    """The template's content, or the treatment's own; None when the template is gone."""
    if not template_named(treatment, "InAppTemplate"):
        return {name: value for name, value in treatment.message["InAppMessage"].items() if name in IN_APP_MEMBERS}
    named = treatment.templates["InAppTemplate"]
    template = await call.db.cached(
        load_scheduled_template, (call.region, "INAPP", named["Name"], named.get("Version"))
    )
    if template is None:
        return None
    return {name: value for name, value in template.document.items() if name in IN_APP_MEMBERS}


def _document(campaign: StoredCampaign, treatment: Treatment, message: Mapping[str, Any]) -> dict[str, Any]:
    limits = {**campaign.defaults.get("Limits", {}), **campaign.document.get("Limits", {})}
    timetable = read_schedule(treatment.schedule)
    schedule: dict[str, Any] = {"EventFilter": _event_filter(treatment.schedule["EventFilter"])}
    if timetable.end is not None:
        schedule["EndDate"] = iso8601(timetable.end)
    quiet_time = quiet_time_of(treatment, campaign.defaults)
    if quiet_time:
        schedule["QuietTime"] = quiet_time
    return {
        "CampaignId": campaign.campaign_id,
        "TreatmentId": treatment.treatment_id,
        "Priority": campaign.document.get("Priority", PRIORITY_LOWEST),
        "DailyCap": limits.get("Daily", 0),
        "SessionCap": limits.get("Session", 0),
        "TotalCap": limits.get("Total", 0),
        "InAppMessage": message,
        "Schedule": schedule,
    }


def _event_filter(given: Mapping[str, Any]) -> dict[str, Any]:
    """The filter with both of its maps, as Pinpoint shows it to clients."""
    return {**given, "Dimensions": {"Attributes": {}, "Metrics": {}, **given["Dimensions"]}}
