"""GetApplicationDateRangeKpi, GetCampaignDateRangeKpi, GetJourneyDateRangeKpi."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from repoint.clock import iso8601
from repoint.resources.apps import require_app
from repoint.resources.call import Call
from repoint.resources.kpis import definitions
from repoint.resources.kpis.definitions import Kpi
from repoint.resources.kpis.store import Scope, sums_by_group
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException

RANGE = timedelta(days=31)
AGE_MAX = timedelta(days=90)


async def get_application_date_range_kpi(
    call: Call, request: shapes.GetApplicationDateRangeKpiRequest
) -> shapes.ApplicationDateRangeKpiResponse:
    """A metric of an application: of all its campaigns, or of what SendMessages sent."""
    name = request["KpiName"]
    scope = Scope(is_campaigns=name in definitions.APPLICATION_CAMPAIGNS)
    kpis = definitions.APPLICATION_CAMPAIGNS | definitions.APPLICATION_TRANSACTIONAL
    return cast("shapes.ApplicationDateRangeKpiResponse", await _answer(call, cast("Any", request), kpis, scope))


async def get_campaign_date_range_kpi(
    call: Call, request: shapes.GetCampaignDateRangeKpiRequest
) -> shapes.CampaignDateRangeKpiResponse:
    """A metric of one campaign."""
    scope = Scope(campaign_id=request["CampaignId"])
    answer = await _answer(call, cast("Any", request), definitions.CAMPAIGN, scope)
    return cast("shapes.CampaignDateRangeKpiResponse", answer | {"CampaignId": request["CampaignId"]})


async def get_journey_date_range_kpi(
    call: Call, request: shapes.GetJourneyDateRangeKpiRequest
) -> shapes.JourneyDateRangeKpiResponse:
    """An engagement metric of one journey."""
    scope = Scope(journey_id=request["JourneyId"])
    answer = await _answer(call, cast("Any", request), definitions.JOURNEY, scope)
    return cast("shapes.JourneyDateRangeKpiResponse", answer | {"JourneyId": request["JourneyId"]})


async def _answer(call: Call, request: Mapping[str, Any], kpis: Mapping[str, Kpi], scope: Scope) -> dict[str, Any]:
    app = await require_app(call, request["ApplicationId"])
    name = request["KpiName"]
    if name not in kpis:
        raise BadRequestException(f"kpi-name: must be one of {', '.join(sorted(kpis))}")
    start, end = _range(request, call.now())
    kpi = kpis[name]
    found = await sums_by_group(call.db, app.app_id, kpi, scope, start, end)
    key = "".join(word.capitalize() for word in name.partition("-grouped-by-")[0].split("-"))
    rows = [
        _row(kpi.group, group, key, value) for group, sums in found.items() if (value := kpi.value(sums)) is not None
    ]
    return {
        "ApplicationId": app.app_id,
        "KpiName": name,
        "StartTime": iso8601(start),
        "EndTime": iso8601(end),
        "KpiResult": {"Rows": rows},
    }


def _range(request: Mapping[str, Any], now: datetime) -> tuple[datetime, datetime]:
    """The time asked for; without a start the 31 days before its end."""
    start: datetime | None = request.get("StartTime")
    end: datetime | None = request.get("EndTime")
    if now - (start or end or now) >= AGE_MAX:
        raise BadRequestException(f"{'start' if start else 'end'}-time: must be less than {AGE_MAX.days} days ago")
    if start and not end and start > now:
        raise BadRequestException("start-time: must not be in the future")
    end = end or (min(now, start + RANGE) if start else now)
    start = start or end - RANGE
    if start > end:
        raise BadRequestException("start-time: must not be later than end-time")
    if end - start > RANGE:
        raise BadRequestException(f"start-time and end-time: must be at most {RANGE.days} days apart")
    if now - start >= AGE_MAX:
        raise BadRequestException(f"start-time: must be less than {AGE_MAX.days} days ago, 31 days before the end-time")
    return start, end


def _row(kind: str, group: str, key: str, value: float) -> dict[str, Any]:
    row: dict[str, Any] = {"Values": [{"Key": key, "Type": "Double", "Value": str(float(value))}]}
    if kind:
        row["GroupedBys"] = [{"Key": kind, "Type": "String", "Value": group}]
    return row
