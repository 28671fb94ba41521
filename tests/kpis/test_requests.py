"""What the three operations ask for and answer: names, times, the form of rows, and what is refused."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from repoint.resources.kpis import definitions
from tests.kpis.asking import ask
from tests.kpis.test_kpis import counted  # noqa: F401 - a fixture
from tests.signed import send_raw

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "kpis.md"
ROW = re.compile(r"\| `([a-z-]+)` \| (✓?) ?\| ?([a-z, -]*?) ?\|")
TABLES = (
    definitions.APPLICATION_CAMPAIGNS,
    definitions.APPLICATION_TRANSACTIONAL,
    definitions.CAMPAIGN,
    definitions.JOURNEY,
)


def test_the_page_has_the_names_that_are_served():
    sections = PAGE.read_text().split("\n## ")[1:]
    named = [
        {
            *(name for name, alone, _ in ROW.findall(section) if alone),
            *(
                f"{name}-grouped-by-{group}"
                for name, _, groups in ROW.findall(section)
                for group in groups.split(", ")
                if group
            ),
        }
        for section in sections
    ]

    assert named == [set(table) for table in TABLES]
    assert [len(table) for table in TABLES] == [10, 22 + 16, 18, 18]


def test_the_answer_has_pinpoints_shape(counted):  # noqa: F811
    client, app_id, _ = counted
    end = datetime.now(UTC).replace(microsecond=0)
    answer = client.get_application_date_range_kpi(
        ApplicationId=app_id, KpiName="txn-emails-sent-grouped-by-date", StartTime=end - timedelta(days=20), EndTime=end
    )["ApplicationDateRangeKpiResponse"]
    row = answer["KpiResult"]["Rows"][0]

    assert (answer["ApplicationId"], answer["KpiName"]) == (app_id, "txn-emails-sent-grouped-by-date")
    assert (answer["EndTime"], answer["StartTime"]) == (end, end - timedelta(days=20))
    assert row["GroupedBys"][0] | {"Value": ""} == {"Key": "Date", "Type": "String", "Value": ""}
    assert row["Values"][0] | {"Value": ""} == {"Key": "TxnEmailsSent", "Type": "Double", "Value": ""}
    assert row["Values"][0]["Value"].endswith(".0")


def test_nothing_is_no_rows(pinpoint, app_id):
    assert ask(pinpoint, app_id, "txn-emails-sent") == {}
    assert ask(pinpoint, app_id, "email-open-rate", CampaignId="none") == {}


@pytest.mark.parametrize(
    ("name", "start", "end", "why"),
    [
        ("made-up", 1, 0, "kpi-name: must be one of"),
        ("txn-emails-sent", 33, 0, "at most 31 days apart"),
        ("txn-emails-sent", 100, 80, "less than 90 days ago"),
        ("txn-emails-sent", 90, 80, "less than 90 days ago"),
        ("txn-emails-sent", 1, 2, "must not be later"),
    ],
)
def test_what_cannot_be_answered_is_refused(pinpoint, app_id, name, start, end, why):
    now = datetime.now(UTC)
    with pytest.raises(pinpoint.exceptions.BadRequestException, match=why):
        pinpoint.get_application_date_range_kpi(
            ApplicationId=app_id, KpiName=name, StartTime=now - timedelta(days=start), EndTime=now - timedelta(days=end)
        )


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [((None, None), 31, 0), ((40, None), 40, 9), ((5, None), 5, 0), ((None, 20), 51, 20), ((89, 60), 89, 60)],
)
def test_times_that_are_left_out_are_filled_in(pinpoint, app_id, given, start, end):
    now = datetime.now(UTC).replace(microsecond=0)
    named = {name: now - timedelta(days=days) for name, days in zip(TIMES, given, strict=True) if days is not None}
    answer = pinpoint.get_application_date_range_kpi(ApplicationId=app_id, KpiName="txn-sms-sent", **named)
    answer = answer["ApplicationDateRangeKpiResponse"]

    assert abs(answer["StartTime"] - (now - timedelta(days=start))) < timedelta(minutes=1)
    assert abs(answer["EndTime"] - (now - timedelta(days=end))) < timedelta(minutes=1)


TIMES = ("StartTime", "EndTime")


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("end-time=0001-01-01T00:00:00Z", "end-time: must be less than 90 days ago"),
        ("start-time=0001-01-01T00:00:00Z", "start-time: must be less than 90 days ago"),
        ("start-time=0001-01-01T00:00:00%2B14:00", "start-time: must be an ISO 8601 timestamp"),
        ("end-time=9999-12-31T23:59:59-14:00", "end-time: must be an ISO 8601 timestamp"),
        ("start-time=9999-12-31T23:00:00Z", "start-time: must not be in the future"),
        ("start-time=9999-12-31T23:00:00Z&end-time=9999-01-01T00:00:00Z", "start-time: must not be later than"),
    ],
)
def test_times_at_the_calendars_ends_are_refused_by_name(server, app_id, query, why):
    path = f"/v1/apps/{app_id}/kpis/daterange/txn-emails-sent?{query}"
    status, _, answer = send_raw(server, "GET", path, None)

    assert (status, answer["Message"][: len(why)]) == (400, why)


def test_a_rate_is_a_fraction_of_one(counted):  # noqa: F811
    client, app_id, _ = counted
    for kind, name, scope in (
        ("application", "successful-delivery-rate", {}),
        ("application", "txn-emails-delivery-rate-grouped-by-date", {}),
        ("campaign", "hard-bounce-rate-grouped-by-campaign-activity", {"CampaignId": "c1"}),
    ):
        answer = getattr(client, f"get_{kind}_date_range_kpi")(ApplicationId=app_id, KpiName=name, **scope)
        rows = answer[f"{kind.title()}DateRangeKpiResponse"]["KpiResult"]["Rows"]

        assert rows
        assert all(0 <= float(row["Values"][0]["Value"]) <= 1 for row in rows)
        assert all(isinstance(row["Values"][0]["Value"], str) for row in rows)


def test_each_operation_has_its_own_names(pinpoint, app_id):
    def refusal(operation, name, **scope):
        with pytest.raises(ClientError) as raised:
            getattr(pinpoint, f"get_{operation}_date_range_kpi")(ApplicationId=app_id, KpiName=name, **scope)
        return raised.value.response["Error"]["Code"]

    assert refusal("application", "hard-bounce-rate") == "BadRequestException"
    assert refusal("campaign", "txn-emails-sent", CampaignId="c") == "BadRequestException"
    assert refusal("journey", "emails-sent", JourneyId="j") == "BadRequestException"


def test_an_unknown_application_is_not_found(pinpoint):
    with pytest.raises(pinpoint.exceptions.NotFoundException):
        pinpoint.get_application_date_range_kpi(ApplicationId="0" * 32, KpiName="txn-emails-sent")


def test_pages_are_ignored(counted):  # noqa: F811
    client, app_id, _ = counted
    name = "txn-emails-sent-grouped-by-date"
    answers = [
        client.get_application_date_range_kpi(ApplicationId=app_id, KpiName=name, **paging)
        for paging in ({}, {"PageSize": "1"}, {"NextToken": "any"})
    ]
    rows = [answer["ApplicationDateRangeKpiResponse"]["KpiResult"]["Rows"] for answer in answers]

    assert len(rows[0]) > 1
    assert rows[0] == rows[1] == rows[2]
