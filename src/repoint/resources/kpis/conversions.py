"""Conversions and revenue: what people did because of a campaign.

An event belongs to a campaign if its `campaign_id` attribute names one, as Pinpoint's SDKs write into what a user does
after opening a push notification. Otherwise it belongs to the campaign that touched the same person last, within a
window before it: by a message that was sent, or by an in-app message that was displayed. A person is the event's user,
or the one the endpoint belongs to, or else the endpoint itself.

An event's moment is its Timestamp, but never later than it arrived: clients' clocks may be ahead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from psycopg.types.json import Jsonb

from repoint.db import Database
from repoint.resources.kpis.scan import Range, scan

WINDOW: Final = timedelta(days=7)
PURCHASE: Final = "_monetization.purchase"


@dataclass(frozen=True, slots=True)
class Goal:
    """What counts as a conversion: a type of event that clients report, with these attributes.

    Its revenue is the metric `revenue`; of a purchase, unless one is named, `_item_price` times `_quantity`.
    """

    event_type: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    revenue: str = ""


@dataclass(slots=True)
class Conversions:
    """What a campaign, or one treatment of it, has brought; of no campaign's, what nobody is credited with.

    `reached` are people it touched in the range or within the window before, `converters` people who converted,
    `named` the conversions that named the campaign themselves. Revenue is by currency.
    """

    campaign_id: str
    treatment_id: str
    reached: int = 0
    conversions: int = 0
    named: int = 0
    converters: int = 0
    revenue: dict[str, Decimal] = field(default_factory=dict)

    @property
    def rate(self) -> float | None:
        """Converters of those reached; of none there is no rate."""
        return self.converters / self.reached if self.reached else None


# A person is the hash of who they are: of a million people the odds that two have the same one are 1 in 37 million.
FIND: Final = """
WITH conversion AS MATERIALIZED (
    SELECT d.event_id, d.moment, d.endpoint_id, d.user_id,
        coalesce(d.attributes ->> 'campaign_id', '') AS campaign_id,
        coalesce(d.attributes ->> 'treatment_id', '') AS treatment_id,
        coalesce(d.attributes ->> '_currency', '') AS currency,
        CASE WHEN %(revenue)s <> '' THEN (d.metrics ->> %(revenue)s)::numeric
             WHEN %(event_type)s = %(purchase)s THEN (d.metrics ->> '_item_price')::numeric
                  * coalesce((d.metrics ->> '_quantity')::numeric, 1) END AS amount
    FROM metric_reported r,
        unnest(event_ids, arrivals, moments, endpoint_ids, user_ids, r.attributes, r.metrics)
            AS d (event_id, arrival_at, moment, endpoint_id, user_id, attributes, metrics)
    WHERE r.app_id = %(app_id)s AND r.event_type = %(event_type)s
      AND r.last_at >= %(start)s AND r.first_at < %(end)s AND d.arrival_at >= %(start)s AND d.arrival_at < %(end)s
      AND d.attributes @> %(attributes)s
), told AS MATERIALIZED (
    SELECT event_id, least(event_at, arrival_at) AS moment, document #>> '{attributes,campaign_id}' AS campaign_id,
        document #>> '{attributes,treatment_id}' AS treatment_id, endpoint_id, '' AS user_id, fills
    FROM event
    WHERE app_id = %(app_id)s AND arrival_at >= %(start)s - %(window)s AND arrival_at < %(end)s
      AND event_type = '_campaign.send' AND NOT document ? 'application'
      AND document #>> '{attributes,campaign_send_status}' = 'SUCCESS'
    UNION ALL
    SELECT d.event_id, d.moment, d.attributes ->> 'campaign_id', d.attributes ->> 'treatment_id', d.endpoint_id,
        d.user_id, NULL
    FROM metric_reported r,
        unnest(event_ids, arrivals, moments, endpoint_ids, user_ids, r.attributes)
            AS d (event_id, arrival_at, moment, endpoint_id, user_id, attributes)
    WHERE r.app_id = %(app_id)s AND r.event_type = '_inapp.message_displayed'
      AND r.last_at >= %(start)s - %(window)s AND r.first_at < %(end)s
      AND d.arrival_at >= %(start)s - %(window)s AND d.arrival_at < %(end)s
), touched AS MATERIALIZED (
    SELECT event_id, moment, user_id, event_endpoint(endpoint_id, line) AS endpoint_id
    FROM told LEFT JOIN LATERAL string_to_table(fills, E'\\n') AS line ON true
    WHERE campaign_id <> ''
), owner AS MATERIALIZED (
    SELECT endpoint_id, hashtextextended('user/' || user_id, 0) AS person FROM endpoint
    WHERE app_id = %(app_id)s AND user_id <> '' AND endpoint_id IN (
        SELECT endpoint_id FROM touched UNION SELECT endpoint_id FROM conversion WHERE user_id = '')
), touch AS MATERIALIZED (
    SELECT DISTINCT t.event_id, t.moment, CASE WHEN t.user_id <> '' THEN hashtextextended('user/' || t.user_id, 0)
        ELSE coalesce(o.person, hashtextextended('endpoint/' || t.endpoint_id, 0)) END AS person
    FROM touched t LEFT JOIN owner o ON t.user_id = '' AND o.endpoint_id = t.endpoint_id
), converted AS MATERIALIZED (
    SELECT c.*, CASE WHEN c.user_id <> '' THEN hashtextextended('user/' || c.user_id, 0)
        ELSE coalesce(o.person, hashtextextended('endpoint/' || c.endpoint_id, 0)) END AS person
    FROM conversion c LEFT JOIN owner o ON c.user_id = '' AND o.endpoint_id = c.endpoint_id
), latest AS (
    SELECT DISTINCT ON (c.event_id) c.event_id, t.event_id AS touch_id
    FROM converted c JOIN touch t
      ON t.person = c.person AND t.moment <= c.moment AND t.moment >= c.moment - %(window)s
    WHERE c.campaign_id = ''
    ORDER BY c.event_id, t.moment DESC, t.event_id DESC
), credited AS MATERIALIZED (
    SELECT CASE WHEN c.campaign_id <> '' THEN c.campaign_id ELSE coalesce(t.campaign_id, '') END AS campaign_id,
        CASE WHEN NOT %(by_treatment)s THEN '' WHEN c.campaign_id <> '' THEN c.treatment_id
             ELSE coalesce(t.treatment_id, '') END AS treatment_id,
        c.campaign_id <> '' AS is_named, c.person, c.currency, c.amount
    FROM converted c LEFT JOIN latest l ON l.event_id = c.event_id LEFT JOIN told t ON t.event_id = l.touch_id
)
SELECT 'reached', campaign_id, treatment_id, '', 0, 0, count(*), NULL::numeric
FROM (SELECT DISTINCT campaign_id, CASE WHEN %(by_treatment)s THEN coalesce(treatment_id, '') ELSE '' END
                 AS treatment_id, person
      FROM touch JOIN told USING (event_id)) people
GROUP BY 2, 3
UNION ALL
SELECT 'converted', campaign_id, treatment_id, '', sum(number), sum(named), count(*), NULL
FROM (SELECT campaign_id, treatment_id, person, count(*)::int AS number,
             (count(*) FILTER (WHERE is_named))::int AS named
      FROM credited GROUP BY 1, 2, 3) people
GROUP BY 2, 3
UNION ALL
SELECT 'earned', campaign_id, treatment_id, currency, 0, 0, 0, trim_scale(sum(amount))
FROM credited WHERE amount IS NOT NULL GROUP BY 2, 3, 4
"""


async def conversions(
    db: Database, within: Range, goal: Goal, *, window: timedelta = WINDOW, by_treatment: bool = False
) -> list[Conversions]:
    """Every campaign that touched somebody or brought conversions in the range, by id; those of none first."""
    rows = await scan(db, FIND, _parameters(within, goal, window, by_treatment=by_treatment))
    found: dict[tuple[str, str], Conversions] = {}
    for kind, campaign_id, treatment_id, currency, count, named, people, amount in rows:
        one = found.setdefault((campaign_id, treatment_id), Conversions(campaign_id, treatment_id))
        if kind == "reached":
            one.reached = people
        elif kind == "converted":
            one.conversions, one.named, one.converters = count, named, people
        else:
            one.revenue[currency] = amount
    return [found[key] for key in sorted(found)]


def _parameters(within: Range, goal: Goal, window: timedelta, *, by_treatment: bool) -> dict[str, Any]:
    return {
        "app_id": within.app_id,
        "start": within.start,
        "end": within.end,
        "event_type": goal.event_type,
        "attributes": Jsonb(dict(goal.attributes)),
        "revenue": goal.revenue,
        "purchase": PURCHASE,
        "window": window,
        "by_treatment": by_treatment,
    }
