"""The runs of campaigns, as they are kept and shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from repoint.clock import iso8601
from repoint.db import Connection
from repoint.resources.campaigns.rules import FILTERED_OUT
from repoint.wire import shapes


@dataclass(frozen=True, slots=True)
class Activity:
    """One run of one treatment.

    `metrics` are endpoints by the reason they were left out; `counts` messages by what became of them: ACCEPTED (still
    to be sent), SENT, FAILED, STOPPED, UNKNOWN, FILTERED_OUT_BY_HOOK. `waves` are the run's time zone groups, all and
    done.
    """

    activity_id: str
    app_id: str
    campaign_id: str
    version: int
    treatment_id: str
    slot: datetime
    scheduled_start: datetime
    state: str
    result: str | None
    reason: str
    started_at: datetime | None
    ended_at: datetime | None
    metrics: Mapping[str, int]
    counts: Mapping[str, int]
    waves_total: int
    waves_done: int

    @property
    def total(self) -> int:
        """How many endpoints a message is, or was, attempted for: all but those a hook has left out."""
        return sum(self.counts.values()) - self.counts.get(FILTERED_OUT, 0)

    def document(self) -> shapes.ActivityResponse:
        """As GetCampaignActivities shows it."""
        filtered = {FILTERED_OUT: self.counts[FILTERED_OUT]} if FILTERED_OUT in self.counts else {}
        metrics = {**self.metrics, **filtered}
        shown: dict[str, Any] = {
            "ApplicationId": self.app_id,
            "CampaignId": self.campaign_id,
            "ExecutionMetrics": {name: str(count) for name, count in sorted(metrics.items())},
            "Id": self.activity_id,
            "ScheduledStart": iso8601(self.scheduled_start),
            "State": self.state,
            "SuccessfulEndpointCount": self.counts.get("SENT", 0),
            "TimezonesCompletedCount": self.waves_done,
            "TimezonesTotalCount": self.waves_total,
            "TotalEndpointCount": self.total,
            "TreatmentId": self.treatment_id,
        }
        if self.started_at is not None:
            shown["Start"] = iso8601(self.started_at)
        if self.ended_at is not None:
            shown["End"] = iso8601(self.ended_at)
        if self.result is not None:
            shown["Result"] = self.result
        return cast("shapes.ActivityResponse", shown)


async def list_activities(
    connection: Connection, app_id: str, campaign_id: str, *, before: tuple[datetime, str] | None, limit: int
) -> list[Activity]:
    """A campaign's runs before a position (slot and activity), the latest first.

    A run under way is counted in the ledger as it is now; one that has ended has its final counts with it.
    """
    cursor = await connection.execute(
        """SELECT a.activity_id, a.app_id, a.campaign_id, a.version, a.treatment_id, a.slot, a.scheduled_start,
                  a.state, a.result, a.reason, a.started_at, a.ended_at, a.metrics,
                  coalesce(a.counts, '{}'),
                  count(w.wave_id), count(w.done_at)
           FROM campaign_activity a LEFT JOIN campaign_wave w
             ON w.app_id = a.app_id AND w.campaign_id = a.campaign_id AND w.slot = a.slot
            AND a.treatment_id = ANY(w.treatment_ids)
           WHERE a.app_id = %s AND a.campaign_id = %s
             AND (%s::timestamptz IS NULL OR (a.slot, a.activity_id) < (%s::timestamptz, %s))
           GROUP BY a.activity_id ORDER BY a.slot DESC, a.activity_id DESC LIMIT %s""",
        [app_id, campaign_id, before and before[0], before and before[0], before[1] if before else "", limit],
    )
    found = [Activity(*row) for row in await cursor.fetchall()]
    counts = await _count_now(connection, app_id, [one.activity_id for one in found if not one.counts])
    return [replace(one, counts=counts.get(one.activity_id, one.counts)) for one in found]


async def _count_now(connection: Connection, app_id: str, activity_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Messages by what became of them, of each of these runs."""
    if not activity_ids:
        return {}
    cursor = await connection.execute(
        """SELECT l.activity_id, CASE WHEN m.state = 'STOPPED' AND m.status_message = %s THEN m.status_message
                                      ELSE m.state END, count(*)
           FROM (SELECT ledger_id, activity_id FROM campaign_ledger WHERE activity_id = ANY (%s::text[])) l
           JOIN message m ON m.app_id = %s AND m.activity_id = l.ledger_id
           GROUP BY 1, 2""",
        [FILTERED_OUT, list(activity_ids), app_id],
    )
    counts: dict[str, dict[str, int]] = {}
    for activity_id, outcome, messages in await cursor.fetchall():
        counts.setdefault(activity_id, {})[outcome] = messages
    return counts
