"""What a run obeys: limits, quiet time, hook. Pure.

The campaign's own settings win over the application's, of which it has a copy from its creation. A daily limit of each
is kept by itself: the campaign's counts the campaign's messages, the application's those of all its campaigns. 0 is no
limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from repoint.resources.campaigns.treatments import Treatment

FILTERED_OUT = "FILTERED_OUT_BY_HOOK"  # why those get nothing whom the hook left out; Pinpoint has no word for it


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of one campaign: messages for one endpoint, messages per second, seconds from the scheduled start."""

    total: int
    daily: int
    daily_of_app: int
    rate: int | None
    seconds_max: int | None

    def expires_at(self, start: datetime) -> datetime | None:
        """When what is left of a run is given up."""
        return start + timedelta(seconds=self.seconds_max) if self.seconds_max else None


def rules_of(document: Mapping[str, Any], defaults: Mapping[str, Any]) -> Rules:
    """The limits that hold for a campaign."""
    own, general = document.get("Limits", {}), defaults.get("Limits", {})
    merged = {**general, **own}
    return Rules(
        total=merged.get("Total") or 0,
        daily=own.get("Daily") or 0,
        daily_of_app=general.get("Daily") or 0,
        rate=merged.get("MessagesPerSecond") or None,
        seconds_max=merged.get("MaximumDuration") or None,
    )


def quiet_time_of(treatment: Treatment, defaults: Mapping[str, Any]) -> Mapping[str, str]:
    """When a treatment's recipients are left in peace."""
    found: Mapping[str, str] = treatment.schedule.get("QuietTime") or defaults.get("QuietTime") or {}
    return found


def hook_of(document: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The function or URL that looks over the audience; empty when there is none."""
    hook: Mapping[str, str] = document.get("Hook") or defaults.get("CampaignHook") or {}
    return hook.get("LambdaFunctionName") or hook.get("WebUrl") or ""
