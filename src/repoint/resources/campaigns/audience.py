"""A wave's audience: whom the segment names, who gets which treatment, what each treatment's content is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from repoint.bindings.webhooks import shown
from repoint.db import Connection
from repoint.resources.call import Call
from repoint.resources.campaigns.checks import channel_fault
from repoint.resources.campaigns.contents import (
    TEMPLATE_TYPES,
    channels_of,
    custom_delivery,
    custom_types,
    direct_message,
    is_custom,
    template_named,
)
from repoint.resources.campaigns.faults import RunError, invalid
from repoint.resources.campaigns.rules import hook_of, quiet_time_of, rules_of
from repoint.resources.campaigns.schedule import known_zones, quiet_zones
from repoint.resources.campaigns.snapshot import Selection
from repoint.resources.campaigns.store import StoredCampaign
from repoint.resources.campaigns.treatments import DEFAULT_ID, HOLDOUT, Treatment, cohort_treatments, treatments_of
from repoint.resources.segments.audience import load_condition
from repoint.resources.segments.compile import Condition
from repoint.resources.segments.store import StoredSegment, load_segment
from repoint.resources.templates.store import load_scheduled_template
from repoint.wire.exceptions import BadRequestException

CALLING = ("CustomDelivery", "Hook", "Recommends")


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where messages of an activity are in the ledger. `is_called`: sending them takes calls of functions."""

    ledger_id: str
    is_called: bool


def ledger_of(ledger_id: str, content: Mapping[str, Any]) -> Ledger:
    """The ledger for an activity's content."""
    return Ledger(ledger_id, any(content.get(name) for name in CALLING))


@dataclass(frozen=True, slots=True)
class Wave:
    """Some treatments of a run, for everybody or for some time zones. `wave_id` is None for one that is not stored."""

    wave_id: int | None
    app_id: str
    campaign_id: str
    version: int
    slot: datetime
    treatment_ids: Sequence[str]
    zones: Sequence[str] | None
    is_first: bool
    due_at: datetime
    other_zones: Sequence[str] = ()


def treatments_in(campaign: StoredCampaign, wave: Wave) -> list[Treatment]:
    """The treatments a wave is for."""
    return [one for one in treatments_of(campaign.document) if one.treatment_id in wave.treatment_ids]


async def segment_of(call: Call, campaign: StoredCampaign) -> StoredSegment:
    """The campaign's segment, in the version the campaign has pinned.

    Raises:
        RunError: when it is gone.
    """
    segment_id, version = campaign.document["SegmentId"], campaign.document["SegmentVersion"]
    segment = await call.db.cached(load_segment, (campaign.app_id, segment_id, version))
    if segment is None:
        raise RunError("DELETED", f"The segment {segment_id} was deleted")
    return segment


async def condition_in(connection: Connection, segment: StoredSegment, now: datetime) -> Condition:
    """Who is in a segment.

    Raises:
        RunError: when it rests on one that is gone.
    """
    try:
        return await load_condition(connection, segment, now)
    except BadRequestException as error:
        raise invalid(error) from None


async def condition_of(call: Call, connection: Connection, campaign: StoredCampaign, now: datetime) -> Condition:
    """Who is in the campaign's segment.

    Raises:
        RunError: when the segment is gone, or rests on one that is.
    """
    return await condition_in(connection, await segment_of(call, campaign), now)


def selection_of(
    campaign: StoredCampaign,
    wave: Wave,
    now: datetime,
    *,
    forced_reason: str | None = None,
    endpoint_ids: Sequence[str] | None = None,
    earlier: Sequence[str] = (),
) -> Selection:
    """Whom of the segment the wave is for, and what keeps them from it."""
    treatments = treatments_in(campaign, wave)
    positions = {one.treatment_id: position for position, one in enumerate(treatments, start=1)}
    cohorts = cohort_treatments(campaign.campaign_id, campaign.document)
    rules = rules_of(campaign.document, campaign.defaults)
    zones = sorted(known_zones())
    quiet = [
        f"{positions[one.treatment_id]}:{zone}"
        for one in treatments
        for zone in quiet_zones(quiet_time_of(one, campaign.defaults), now, zones)
    ]
    return Selection(
        app_id=campaign.app_id,
        campaign_id=campaign.campaign_id,
        treatments=[one.treatment_id for one in treatments],
        owners=[positions.get(DEFAULT_ID if name == HOLDOUT else name, 0) for name in cohorts],
        held_out=[cohort for cohort, name in enumerate(cohorts) if name == HOLDOUT],
        channels=[f"{positions[one.treatment_id]}:{name}" for one in treatments for name in sorted(channels_of(one))],
        custom=[f"{positions[one.treatment_id]}:{name}" for one in treatments for name in sorted(custom_types(one))],
        quiet=quiet,
        zones=wave.zones,
        all_zones=zones if wave.zones is not None else (),
        other_zones=wave.other_zones,
        is_first=wave.is_first,
        total_cap=rules.total,
        daily_cap=rules.daily,
        daily_cap_of_app=rules.daily_of_app,
        due_at=now if wave.wave_id is None else wave.due_at,
        now=now,
        forced_reason=forced_reason,
        endpoint_ids=endpoint_ids,
        earlier=earlier,
    )


async def content_of(
    call: Call, campaign: StoredCampaign, treatment: Treatment, activity_id: str, expires_at: datetime | None
) -> dict[str, Any]:
    """What all messages of an activity share, with its templates' versions pinned to those of this moment.

    Raises:
        RunError: when a template is gone or the channel cannot send.
    """
    templates, recommends = {}, False
    for member, template_type in TEMPLATE_TYPES.items():
        if template_named(treatment, member):
            named = treatment.templates[member]
            key = (call.region, template_type, named["Name"], named.get("Version"))
            template = await call.db.cached(load_scheduled_template, key)
            if template is None:
                raise RunError("INVALID", f"The {template_type} template {named['Name']} was deleted")
            templates[template_type] = {"Name": named["Name"], "Version": str(template.version)}
            recommends = recommends or bool(template.document.get("RecommenderId"))
    fault = await channel_fault(call, campaign.app_id, treatment)
    if fault is not None:
        raise RunError("INVALID", f"{fault[0]}: {fault[1]}")
    return {
        "Region": call.region,
        "Message": direct_message(treatment),
        "Templates": templates,
        "Context": event_attributes(campaign.campaign_id, activity_id, treatment.treatment_id),
        "TraceId": None,
        "CampaignId": campaign.campaign_id,
        "ExpiresAt": expires_at.timestamp() if expires_at else None,
        "QuietTime": dict(quiet_time_of(treatment, campaign.defaults)),
        **({"CustomDelivery": custom_delivery(treatment)} if is_custom(treatment) else {}),
        **({"Hook": hook} if (hook := hook_of(campaign.document, campaign.defaults)) else {}),
        **({"Recommends": True} if recommends else {}),
    }


def event_attributes(campaign_id: str, activity_id: str, treatment_id: str) -> dict[str, str]:
    """What every event of a campaign's message says of where it comes from."""
    return {"campaign_id": campaign_id, "campaign_activity_id": activity_id, "treatment_id": treatment_id}


def facts_of(
    campaign: StoredCampaign, treatment: Treatment, content: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """What held when an audience was selected, for whoever asks later why."""
    cohorts = cohort_treatments(campaign.campaign_id, campaign.document)
    rules = rules_of(campaign.document, campaign.defaults)
    return {
        "SegmentId": campaign.document["SegmentId"],
        "SegmentVersion": campaign.document["SegmentVersion"],
        "CampaignVersion": campaign.version,
        "Templates": content["Templates"],
        "Channels": sorted(channels_of(treatment)),
        "CustomTypes": sorted(custom_types(treatment)),
        "Cohorts": [cohort for cohort, name in enumerate(cohorts) if name == treatment.treatment_id],
        "HoldoutCohorts": [cohort for cohort, name in enumerate(cohorts) if name == HOLDOUT],
        "Total": rules.total,
        "Daily": rules.daily,
        "DailyOfApplication": rules.daily_of_app,
        "QuietTime": dict(quiet_time_of(treatment, campaign.defaults)),
        "Hook": shown(content.get("Hook", "")) or None,
        "SelectedAt": now.isoformat(),
    }
