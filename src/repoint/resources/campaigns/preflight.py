"""A campaign's next run, not run: whom it would reach, whom it would leave out and why, what would stop it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from repoint.resources.apps import load_app
from repoint.resources.call import Call, Server
from repoint.resources.campaigns import snapshot
from repoint.resources.campaigns.audience import Wave, condition_of, content_of, selection_of
from repoint.resources.campaigns.contents import is_in_app
from repoint.resources.campaigns.far_ends import faults_of
from repoint.resources.campaigns.faults import RunError
from repoint.resources.campaigns.schedule import known_zones, read_schedule
from repoint.resources.campaigns.snapshot import Counts
from repoint.resources.campaigns.store import StoredCampaign
from repoint.resources.campaigns.treatments import treatments_of

SAMPLE_MAX = 200


@dataclass(slots=True)
class Report:
    """What a run would do.

    `counts` are those of whom it would reach, and whom not; `faults` are what would stop it, `notes` what else its
    owner may not expect; `contents` each treatment's content as delivery gets it; `samples` some of the endpoints
    reached, with their treatment. `at` is the moment it is judged for: the next run's, or now.
    """

    at: datetime
    counts: Counts = field(default_factory=lambda: Counts({}, {}))
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    contents: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    samples: Sequence[tuple[str, str]] = ()


async def rehearse(server: Server, campaign: StoredCampaign) -> Report:
    """Judge the audience as the next run would, and write nothing."""
    app = await load_app(server.db, campaign.app_id)
    assert app is not None
    call = Call(server, app.region)
    await server.db.settle()
    coming = [state.next_at for state in campaign.states if state.next_at is not None]
    report = Report(at=max(server.clock(), min(coming, default=server.clock())))
    if campaign.fault is not None:
        report.faults.append(campaign.fault_reason)
    report.notes += _expectations(campaign)
    treatments = treatments_of(campaign.document)
    for treatment in treatments:
        try:
            content = await content_of(call, campaign, treatment, "preflight", None)
        except RunError as error:
            report.faults.append(error.reason)
        else:
            report.contents[treatment.treatment_id] = content
    report.faults += await faults_of(server, campaign.document)
    async with server.db.transaction() as connection:
        try:
            condition = await condition_of(call, connection, campaign, report.at)
        except RunError as error:
            report.faults.append(error.reason)
            return report
        if all(is_in_app(one) for one in treatments):
            report.notes.append(
                "in-app messages are not sent but fetched, by GetInAppMessages: there is no run to judge"
            )
            return report
        selection = selection_of(campaign, _everybody(campaign, report.at), report.at)
        report.counts = await snapshot.count(connection, condition, selection)
        report.samples = await snapshot.sample(connection, condition, selection, SAMPLE_MAX)
    if not any(report.counts.by_treatment.values()):
        report.notes.append("the segment is empty: nobody would be looked at")
    return report


def _expectations(campaign: StoredCampaign) -> list[str]:
    """What of the campaign itself its owner may not expect."""
    found = []
    is_over = campaign.status == "COMPLETED" and all(state.next_at is None for state in campaign.states)
    if campaign.fault is None and campaign.is_paused:
        found.append("the campaign is paused: its runs are skipped until it is resumed")
    elif campaign.fault is None and is_over:
        found.append("the campaign has run for the last time: this is whom it would reach now")
    if any(one.schedule.get("Frequency") == "EVENT" for one in treatments_of(campaign.document)):
        found.append("it answers events: of these, who reports one while it is open gets a message")
    return found


def _everybody(campaign: StoredCampaign, at: datetime) -> Wave:
    """All treatments and, where zones matter, all zones, as one wave."""
    treatments = treatments_of(campaign.document)
    is_local = any(read_schedule(one.schedule).is_local for one in treatments)
    return Wave(
        wave_id=None,
        app_id=campaign.app_id,
        campaign_id=campaign.campaign_id,
        version=campaign.version,
        slot=at,
        treatment_ids=[one.treatment_id for one in treatments],
        zones=sorted(known_zones()) if is_local else None,
        is_first=True,
        due_at=at,
    )
