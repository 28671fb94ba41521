"""A KPI, asked of the API."""


def ask(client, app_id, name, **scope):
    """A KPI's rows, as {group: value}."""
    kind = "campaign" if "CampaignId" in scope else "journey" if "JourneyId" in scope else "application"
    operation = getattr(client, f"get_{kind}_date_range_kpi")
    answer = operation(ApplicationId=app_id, KpiName=name, **scope)[f"{kind.title()}DateRangeKpiResponse"]
    rows = answer["KpiResult"]["Rows"]
    return {
        (row["GroupedBys"][0]["Value"] if "GroupedBys" in row else ""): float(row["Values"][0]["Value"]) for row in rows
    }
