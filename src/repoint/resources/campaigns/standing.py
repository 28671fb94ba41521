"""Where a campaign's treatments stand once it has been written: what runs next, and what does not run again. Pure."""

import dataclasses
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from repoint.resources.campaigns.checks import PAST_SECONDS_MAX
from repoint.resources.campaigns.schedule import IMMEDIATE, Timetable, next_slot, opens_at, read_schedule
from repoint.resources.campaigns.store import StoredCampaign, TreatmentState
from repoint.resources.campaigns.treatments import DEFAULT_ID, Treatment, treatments_of


def first_states(campaign: StoredCampaign) -> tuple[TreatmentState, ...]:
    """Where the treatments of a new campaign stand."""
    found = []
    for treatment in treatments_of(campaign.document):
        timetable = read_schedule(treatment.schedule)
        found.append(_state(treatment, timetable, next_slot(timetable, None, campaign.created_at), None))
    return tuple(found)


def changed_states(
    campaign: StoredCampaign, before: StoredCampaign, given: Mapping[str, Any], failed: Collection[str]
) -> StoredCampaign:
    """A new version with its states: as before while a schedule is the same, else by the new one from now on.

    A campaign that has become impossible goes by its schedule again once it is mended, which whoever resumes it or
    changes it says; while it is paused, or has no run to come, it stays what it was. `failed` are the treatments whose
    last run has failed; these begin at once when an IMMEDIATE schedule is `given` once more, and no others do.
    """
    states = tuple(_changed_state(campaign, before, one, given, failed) for one in treatments_of(campaign.document))
    stays = before.fault is not None and (
        campaign.is_paused or not any(one.next_at is not None or one.is_open for one in states)
    )
    if stays:
        states = tuple(dataclasses.replace(one, next_slot=None, next_at=None) for one in states)
        return dataclasses.replace(campaign, states=states)
    return dataclasses.replace(campaign, states=states, fault=None, fault_reason="")


def _changed_state(
    campaign: StoredCampaign,
    before: StoredCampaign,
    treatment: Treatment,
    given: Mapping[str, Any],
    failed: Collection[str],
) -> TreatmentState:
    state, known = _origin(before, treatment)
    timetable, now = read_schedule(treatment.schedule), campaign.modified_at
    is_known = known == treatment.schedule
    if state is not None and is_known and before.fault is None and not _missed(state, timetable, now):
        return state if campaign.is_paused else _due(timetable, state)
    last = state.last_slot if state else None
    # What began IMMEDIATE does not begin again because its schedule's other members change.
    began = last if last and known is not None and known.get("StartTime") == IMMEDIATE else None
    if began and treatment.treatment_id in failed and _names_schedule(campaign, treatment, given):
        began = None
    slot = next_slot(timetable, _passed(now, last), began or now)
    is_open = state is not None and state.is_open
    if slot is None and not is_open and timetable.is_windowed and _is_inside(timetable, now):
        slot = now
    return _state(treatment, timetable, slot, last, state)


def _origin(before: StoredCampaign, treatment: Treatment) -> tuple[TreatmentState | None, Mapping[str, Any] | None]:
    """Where a treatment stood, and by which schedule.

    One that is new and runs by the schedule of the default treatment joins that: it begins with its next run, and does
    not make up for one that went to those who are its own now.
    """
    states = {state.treatment_id: state for state in before.states}
    schedules = {one.treatment_id: one.schedule for one in treatments_of(before.document)}
    found = states.get(treatment.treatment_id)
    if found is None and DEFAULT_ID in states and schedules[DEFAULT_ID] == treatment.schedule:
        first = states[DEFAULT_ID]
        joined = dataclasses.replace(first, treatment_id=treatment.treatment_id, is_running=False, is_open=False)
        return joined, treatment.schedule
    return found, schedules.get(treatment.treatment_id)


def _due(timetable: Timetable, state: TreatmentState) -> TreatmentState:
    """A recipient-local run that was put off by a pause begins when that ends."""
    slot = state.next_slot
    return dataclasses.replace(state, next_at=opens_at(timetable, slot) if slot else None)


def _missed(state: TreatmentState, timetable: Timetable, now: datetime) -> bool:
    """Whether it should wait for events by now, and neither does nor will."""
    return timetable.is_windowed and not state.is_open and state.next_at is None and _is_inside(timetable, now)


def _is_inside(timetable: Timetable, now: datetime) -> bool:
    return (timetable.start is None or timetable.start <= now) and (timetable.end is None or now < timetable.end)


def _names_schedule(campaign: StoredCampaign, treatment: Treatment, given: Mapping[str, Any]) -> bool:
    """Whether the request has the schedule the treatment runs by."""
    if treatment.treatment_id == DEFAULT_ID:
        return bool(given.get("Schedule"))
    own = campaign.document["AdditionalTreatments"][int(treatment.treatment_id) - 1].get("Schedule")
    return bool(given.get("AdditionalTreatments" if own else "Schedule"))


def _passed(now: datetime, last: datetime | None) -> datetime:
    """The moment after which a new schedule's slots count: those that went by before it was written do not."""
    lenient = now - timedelta(seconds=PAST_SECONDS_MAX)
    return max(last, lenient) if last else lenient


def _state(
    treatment: Treatment,
    timetable: Timetable,
    slot: datetime | None,
    last: datetime | None,
    state: TreatmentState | None = None,
) -> TreatmentState:
    opens = opens_at(timetable, slot) if slot else None
    running, is_open = (state.is_running, state.is_open) if state else (False, False)
    return TreatmentState(treatment.treatment_id, slot, opens, last, running, is_open)
