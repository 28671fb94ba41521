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


FIND: Final = """
WITH conversion AS MATERIALIZED (
    SELECT c.event_id, least(c.event_at, c.arrival_at) AS moment,
        CASE WHEN c.user_id <> '' THEN 'user/' || c.user_id ELSE 'endpoint/' || c.endpoint_id END AS person,
        coalesce(c.attributes ->> 'campaign_id', '') AS campaign_id,
        coalesce(c.attributes ->> 'treatment_id', '') AS treatment_id,
        coalesce(c.attributes ->> '_currency', '') AS currency,
        CASE WHEN %(revenue)s <> '' THEN (c.metrics ->> %(revenue)s)::numeric
             WHEN c.event_type = %(purchase)s THEN (c.metrics ->> '_item_price')::numeric
                  * coalesce((c.metrics ->> '_quantity')::numeric, 1) END AS amount
    FROM (
        SELECT v.*, v.document -> 'attributes' AS attributes, v.document -> 'metrics' AS metrics,
            coalesce(v.document #>> '{endpoint,UserId}', e.user_id, '') AS user_id
        FROM event v LEFT JOIN endpoint e ON e.app_id = v.app_id AND e.endpoint_id = v.endpoint_id
        WHERE v.app_id = %(app_id)s AND v.event_type = %(event_type)s AND v.document ? 'application'
          AND v.arrival_at >= %(start)s AND v.arrival_at < %(end)s
          AND v.document -> 'attributes' @> %(attributes)s) c
), touch AS MATERIALIZED (
    SELECT t.event_id, t.moment, t.campaign_id, t.treatment_id,
        CASE WHEN u.user_id <> '' THEN 'user/' || u.user_id ELSE 'endpoint/' || t.endpoint_id END AS person
    FROM (
        SELECT v.app_id, v.event_id, least(v.event_at, v.arrival_at) AS moment,
            v.document #>> '{attributes,campaign_id}' AS campaign_id,
            coalesce(v.document #>> '{attributes,treatment_id}', '') AS treatment_id,
            v.document #>> '{endpoint,UserId}' AS user_id,
            CASE WHEN v.fills IS NULL THEN v.endpoint_id
                 ELSE ('"' || split_part(line, E'\\t', 1) || '"')::jsonb #>> '{}' END AS endpoint_id
        FROM event v LEFT JOIN LATERAL string_to_table(v.fills, E'\\n') AS line ON true
        WHERE v.app_id = %(app_id)s AND v.document #>> '{attributes,campaign_id}' <> ''
          AND v.arrival_at >= %(start)s - %(window)s AND v.arrival_at < %(end)s
          AND CASE v.event_type
              WHEN '_campaign.send' THEN NOT v.document ? 'application'
                  AND v.document #>> '{attributes,campaign_send_status}' = 'SUCCESS'
              WHEN '_inapp.message_displayed' THEN v.document ? 'application' ELSE false END) t
    LEFT JOIN endpoint e ON e.app_id = t.app_id AND e.endpoint_id = t.endpoint_id,
    LATERAL (SELECT coalesce(t.user_id, e.user_id, '') AS user_id) u
), latest AS (
    SELECT DISTINCT ON (c.event_id) c.event_id, t.campaign_id, t.treatment_id
    FROM conversion c JOIN touch t
      ON t.person = c.person AND t.moment <= c.moment AND t.moment >= c.moment - %(window)s
    WHERE c.campaign_id = ''
    ORDER BY c.event_id, t.moment DESC, t.event_id DESC
), credited AS (
    SELECT c.person, c.currency, c.amount, c.campaign_id <> '' AS is_named,
        CASE WHEN c.campaign_id <> '' THEN c.campaign_id ELSE coalesce(l.campaign_id, '') END AS campaign_id,
        CASE WHEN NOT %(by_treatment)s THEN ''
             WHEN c.campaign_id <> '' THEN c.treatment_id ELSE coalesce(l.treatment_id, '') END AS treatment_id
    FROM conversion c LEFT JOIN latest l ON l.event_id = c.event_id
)
SELECT 'reached', campaign_id, CASE WHEN %(by_treatment)s THEN treatment_id ELSE '' END AS treatment_id, '',
       0, 0, count(DISTINCT person), NULL::numeric
FROM touch GROUP BY 2, 3
UNION ALL
SELECT 'converted', campaign_id, treatment_id, '', count(*), count(*) FILTER (WHERE is_named),
       count(DISTINCT person), NULL
FROM credited GROUP BY 2, 3
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
