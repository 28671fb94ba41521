"""Treatments: what each part of an audience gets, and which part that is. Pure.

Every endpoint has a cohort from 0 to 99. A campaign turns the wheel of cohorts by an offset of its own, so that not
the same people are always held out; then the first HoldoutPercent positions get nothing, the next ones the additional
treatments in their order, and what is left the default treatment. Nothing of this changes between runs.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COHORTS = 100
DEFAULT_ID = "0"
HOLDOUT = "HOLDOUT"
INHERITED = ("MessageConfiguration", "TemplateConfiguration", "CustomDeliveryConfiguration")


@dataclass(frozen=True, slots=True)
class Treatment:
    """One treatment, with what it inherits from the campaign filled in; `path` leads to it in the request."""

    treatment_id: str
    name: str
    size_percent: int
    schedule: Mapping[str, Any]
    message: Mapping[str, Any]
    templates: Mapping[str, Any]
    custom_delivery: Mapping[str, Any]
    path: str = ""


def treatments_of(document: Mapping[str, Any]) -> list[Treatment]:
    """A campaign's treatments, the default one first.

    An additional treatment without content of any kind has the campaign's, one without a schedule runs by the
    campaign's: so a test of sending times needs to repeat nothing.
    """
    additional = document.get("AdditionalTreatments", [])
    share = COHORTS - document.get("HoldoutPercent", 0) - sum(one["SizePercent"] for one in additional)
    found = [_treatment(DEFAULT_ID, document, share, "")]
    for index, given in enumerate(additional):
        content = given if any(given.get(name) for name in INHERITED) else document
        merged = {
            **{name: content.get(name) for name in INHERITED},
            "Schedule": given.get("Schedule") or document.get("Schedule"),
            "TreatmentName": given.get("TreatmentName"),
        }
        found.append(_treatment(str(index + 1), merged, given["SizePercent"], f"AdditionalTreatments[{index}]."))
    return found


def _treatment(treatment_id: str, given: Mapping[str, Any], share: int, path: str) -> Treatment:
    return Treatment(
        treatment_id=treatment_id,
        name=given.get("TreatmentName") or "",
        size_percent=share,
        schedule=given.get("Schedule") or {},
        message=given.get("MessageConfiguration") or {},
        templates=given.get("TemplateConfiguration") or {},
        custom_delivery=given.get("CustomDeliveryConfiguration") or {},
        path=path,
    )


def cohort_treatments(campaign_id: str, document: Mapping[str, Any]) -> list[str]:
    """For each cohort from 0 to 99 its treatment's id, or HOLDOUT."""
    wheel = [HOLDOUT] * document.get("HoldoutPercent", 0)
    first, *others = treatments_of(document)
    for treatment in others:
        wheel += [treatment.treatment_id] * treatment.size_percent
    wheel += [first.treatment_id] * first.size_percent
    offset = zlib.crc32(campaign_id.encode()) % COHORTS
    return [wheel[(cohort + offset) % COHORTS] for cohort in range(COHORTS)]
