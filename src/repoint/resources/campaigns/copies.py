"""A campaign sent to another audience at once: what an import of a watched file starts.

It is a copy, not the campaign itself: each file's recipients and counts stay apart, and a campaign that is over, or
waits paused as a pattern, can be sent as often as files come.
"""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from repoint.db import Connection
from repoint.resources.call import new_id
from repoint.resources.campaigns.contents import is_in_app
from repoint.resources.campaigns.schedule import IMMEDIATE
from repoint.resources.campaigns.store import StoredCampaign, TreatmentState, find_campaign, insert_campaign
from repoint.resources.campaigns.treatments import treatments_of
from repoint.resources.jobs.store import Job
from repoint.resources.segments.store import StoredSegment


async def why_not(connection: Connection, app_id: str, campaign_id: str) -> str | None:
    """What keeps a campaign from being copied; None if nothing does."""
    return _problem(campaign_id, await find_campaign(connection, app_id, campaign_id))


def _problem(campaign_id: str, campaign: StoredCampaign | None) -> str | None:
    if campaign is None:
        return f"there is no campaign {campaign_id}"
    if any(is_in_app(treatment) for treatment in treatments_of(campaign.document)):
        return f"campaign {campaign_id} has in-app messages, which wait for events and cannot be sent"
    return None


async def start_copy(connection: Connection, job: Job, segment: StoredSegment, now: datetime) -> str | None:
    """Start a copy of the job's campaign on this segment, within the transaction that makes the segment.

    Returns what keeps it from being started, or None.
    """
    assert job.campaign_id is not None
    campaign = await find_campaign(connection, job.app_id, job.campaign_id)
    problem = _problem(job.campaign_id, campaign)
    if campaign is None or problem:
        return problem
    file = PurePosixPath(job.definition["S3Url"]).name
    copy = dataclasses.replace(
        campaign,
        campaign_id=new_id(),
        version=1,
        latest_version=1,
        document=_document(campaign.document, segment, file),
        fault=None,
        fault_reason="",
        created_at=now,
        modified_at=now,
    )
    states = tuple(
        TreatmentState(one.treatment_id, now, now, None, is_running=False, is_open=False)
        for one in treatments_of(copy.document)
    )
    await insert_campaign(connection, dataclasses.replace(copy, states=states))
    return None


def _document(pattern: Mapping[str, Any], segment: StoredSegment, file: str) -> dict[str, Any]:
    """The pattern's request, for this segment and now; of its schedules only the quiet time is kept."""
    document = {
        **pattern,
        "Name": f"{pattern['Name']}: {file}" if pattern.get("Name") else file,
        "SegmentId": segment.segment_id,
        "SegmentVersion": segment.version,
        "Schedule": _now(pattern["Schedule"]),
        "IsPaused": False,
    }
    if pattern.get("AdditionalTreatments"):
        document["AdditionalTreatments"] = [
            {**treatment, "Schedule": _now(treatment["Schedule"])} if treatment.get("Schedule") else treatment
            for treatment in pattern["AdditionalTreatments"]
        ]
    return document


def _now(schedule: Mapping[str, Any]) -> dict[str, Any]:
    quiet_time = schedule.get("QuietTime")
    return {"StartTime": IMMEDIATE, **({"QuietTime": quiet_time} if quiet_time else {})}
