"""The metrics' tables, read: measures summed over a range of hours, by group."""

from dataclasses import dataclass
from datetime import datetime

from repoint.db import Database
from repoint.resources.kpis.definitions import Kpi


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose messages: one campaign's, one journey's, all campaigns', or else those of SendMessages alone."""

    campaign_id: str = ""
    journey_id: str = ""
    is_campaigns: bool = False

    @property
    def kind(self) -> str:
        """Which of the four."""
        if self.campaign_id:
            return "campaign"
        if self.journey_id:
            return "journey"
        return "campaigns" if self.is_campaigns else "transactional"


async def sums_by_group(
    db: Database, app_id: str, kpi: Kpi, scope: Scope, start: datetime, end: datetime
) -> dict[str, dict[str, float]]:
    """Each group's measures; one group of no name when the KPI is not grouped. Hours touched by the range count."""
    parameters = [kpi.group, app_id, list(kpi.measures), start, end, scope.kind, scope.campaign_id, scope.kind]
    if kpi.distinct:
        rows = await db.fetch_all(
            """SELECT grp, sum(bit_count(members)) FROM (
                   SELECT CASE %s WHEN 'Date' THEN to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD')
                                  WHEN 'CampaignId' THEN campaign_id
                                  WHEN 'CampaignActivityId' THEN campaign_activity_id ELSE '' END AS grp,
                          bit_or(members) AS members
                   FROM metric_scope JOIN metric_set USING (scope_id)
                   WHERE app_id = %s AND measure = ANY(%s) AND hour BETWEEN date_trunc('hour', %s::timestamptz) AND %s
                     AND CASE %s WHEN 'campaign' THEN campaign_id = %s WHEN 'campaigns' THEN campaign_id <> ''
                                 ELSE campaign_id = '' AND %s = 'transactional' END
                   GROUP BY grp, chunk) AS different
               GROUP BY grp ORDER BY grp""",
            parameters,
        )
        return {group: {"distinct": float(count)} for group, count in rows}
    rows = await db.fetch_all(
        """SELECT CASE %s WHEN 'Date' THEN to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD')
                          WHEN 'CampaignId' THEN campaign_id WHEN 'CampaignActivityId' THEN campaign_activity_id
                          WHEN 'JourneyActivityId' THEN journey_activity_id WHEN 'Country' THEN country
                          WHEN 'ErrorCode' THEN status ELSE '' END AS grp,
                  measure, sum(count)::float8, sum(parts)::float8, sum(millicents)
           FROM metric_hour
           WHERE app_id = %s AND measure = ANY(%s) AND hour BETWEEN date_trunc('hour', %s::timestamptz) AND %s
             AND CASE %s WHEN 'campaign' THEN campaign_id = %s WHEN 'campaigns' THEN campaign_id <> ''
                         WHEN 'journey' THEN journey_id = %s ELSE campaign_id = '' AND journey_id = '' END
           GROUP BY 1, 2 ORDER BY 1""",
        [*parameters[:-1], scope.journey_id],
    )
    found: dict[str, dict[str, float]] = {}
    for group, measure, count, parts, millicents in rows:
        sums = found.setdefault(group, {})
        sums[measure] = {"count": count, "parts": parts, "millicents": millicents}[kpi.column]
        sums[f"{measure}:count"], sums[f"{measure}:parts"] = count, parts
    return found
