"""What functions and webhooks are told: the payload of a call, in the words of Pinpoint's developer guide.

Sources: "Creating custom channels in Amazon Pinpoint" and "Customizing segments with AWS Lambda".
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from repoint.bindings.local import PAYLOAD_BYTES_MAX
from repoint.clock import iso8601
from repoint.resources.endpoints.store import Endpoint

BRACKETS_BYTES = 64  # around a payload and between its parts, amply
Documents = Mapping[str, Mapping[str, Any]]  # endpoints' definitions, by the ids their owner calls them


def custom_head(shared: Mapping[str, Any], app_id: str, now: datetime) -> dict[str, Any]:
    """A custom channel's payload, less its Endpoints."""
    return {"Message": {}, "Data": shared["CustomDelivery"]["Data"], **activity_members(shared, app_id, now)}


def hook_head(shared: Mapping[str, Any], app_id: str, now: datetime) -> dict[str, Any]:
    """A campaign hook's payload, less its Endpoints."""
    return {"MessageConfiguration": shared["Message"], **activity_members(shared, app_id, now)}


def activity_members(shared: Mapping[str, Any], app_id: str, now: datetime) -> dict[str, Any]:
    """Which run of which campaign calls; one that answers events has no time of its own but the call's."""
    context = shared["Context"]
    return {
        "ApplicationId": app_id,
        "CampaignId": context["campaign_id"],
        "TreatmentId": context["treatment_id"],
        "ActivityId": context["campaign_activity_id"],
        "ScheduledTime": shared.get("ScheduledTime") or iso8601(now),
    }


def endpoint_document(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint's definition; its id is the key it stands under, and its cohort is among its attributes."""
    user: dict[str, Any] = {"UserAttributes": endpoint.user_attributes}
    if endpoint.user_id is not None:
        user["UserId"] = endpoint.user_id
    return {
        "ChannelType": endpoint.channel_type,
        "Address": endpoint.address,
        "EndpointStatus": "ACTIVE" if endpoint.is_active else "INACTIVE",
        "OptOut": "ALL" if endpoint.is_opted_out else "NONE",
        "Location": endpoint.location,
        "Demographic": endpoint.demographic,
        "EffectiveDate": iso8601(endpoint.effective_at),
        "Attributes": {**endpoint.attributes, "CohortId": [str(endpoint.cohort_id)]},
        "Metrics": endpoint.metrics,
        "User": user,
        "CreationDate": iso8601(endpoint.created_at),
    }


def sound(text: str) -> str:
    """Text that PostgreSQL and the wire can hold: a local function may answer with any."""
    return text.replace("\x00", "").encode(errors="replace").decode()


def divide(head: Mapping[str, Any], endpoints: Documents, endpoints_max: int) -> Iterator[Documents]:
    """The endpoints by call, each as many, and as many bytes, as are allowed; one too large goes alone, and fails."""
    room_max = PAYLOAD_BYTES_MAX - len(msgspec.json.encode(head)) - BRACKETS_BYTES
    call: dict[str, Mapping[str, Any]] = {}
    room = room_max
    for endpoint_id, document in endpoints.items():
        size = len(msgspec.json.encode({endpoint_id: document})) + 1
        if call and (len(call) == endpoints_max or size > room):
            yield call
            call, room = {}, room_max
        call[endpoint_id] = document
        room -= size
    if call:
        yield call
