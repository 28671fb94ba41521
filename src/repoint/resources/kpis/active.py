"""Active, new and returning endpoints and users, by day in UTC.

Who reported an event on a day was active on it. A user or an endpoint is new on the day the endpoint was created,
for a user the first of those they have.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

from repoint.db import Database
from repoint.resources.kpis.scan import scan

MONTH_DAYS: Final = 30
RETURN_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class ActiveDay:
    """One day's numbers of endpoints, or of users.

    `monthly` were active on the day or one of the 29 before it; `returned` of the day's active were active again
    within the next seven days, which is None as long as these are not over.
    """

    day: date
    daily: int
    monthly: int
    new: int
    returned: int | None

    @property
    def sticky(self) -> float | None:
        """How much of a month's active come on one day."""
        return self.daily / self.monthly if self.monthly else None

    @property
    def retention(self) -> float | None:
        """How much of a day's active come again."""
        return self.returned / self.daily if self.daily and self.returned is not None else None


async def active_days(
    db: Database, app_id: str, first: date, last: date, today: date, *, users: bool
) -> list[ActiveDay]:
    """Each day from `first` to `last`, of an application's endpoints or of its users."""
    rows = await scan(
        db,
        """
        WITH day AS (
            SELECT one::date AS day FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS one
        ), seen AS (
            SELECT DISTINCT hashtextextended(CASE WHEN %(users)s THEN user_id ELSE endpoint_id END, 0) AS who, day
            FROM metric_active
            WHERE app_id = %(app_id)s AND (user_id <> '' OR NOT %(users)s)
              AND day BETWEEN %(first)s::date - %(month)s + 1 AND %(last)s::date + %(again)s
        ), visit AS MATERIALIZED (
            SELECT day, lead(day) OVER (PARTITION BY who ORDER BY day) AS next FROM seen
        ), run AS MATERIALIZED (
            SELECT day, least(day + %(month)s, next) AS until, count(*) AS number
            FROM visit GROUP BY 1, 2
        ), daily AS (
            SELECT day, count(*) AS number, count(*) FILTER (WHERE next - day <= %(again)s) AS returned
            FROM visit GROUP BY 1
        ), fresh AS (
            SELECT day, count(*) AS number FROM (
                SELECT (min(created_at) AT TIME ZONE 'UTC')::date AS day
                FROM endpoint WHERE %(users)s AND app_id = %(app_id)s AND user_id IS NOT NULL
                GROUP BY hashtextextended(user_id, 0)
                UNION ALL
                SELECT (created_at AT TIME ZONE 'UTC')::date
                FROM endpoint WHERE NOT %(users)s AND app_id = %(app_id)s) created
            GROUP BY 1
        )
        SELECT day.day, coalesce(daily.number, 0),
               (SELECT coalesce(sum(run.number), 0)::bigint FROM run WHERE day.day >= run.day AND day.day < run.until),
               coalesce(fresh.number, 0),
               CASE WHEN day.day + %(again)s < %(today)s::date THEN coalesce(daily.returned, 0) END
        FROM day LEFT JOIN daily USING (day) LEFT JOIN fresh USING (day) ORDER BY day.day
        """,
        {
            "app_id": app_id,
            "first": first,
            "last": last,
            "today": today,
            "users": users,
            "month": MONTH_DAYS,
            "again": RETURN_DAYS,
        },
    )
    return [ActiveDay(*row) for row in rows]
