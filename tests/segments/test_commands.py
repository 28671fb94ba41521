"""`repoint segments …`, as an operator types it beside a running server."""

import json

import psycopg
import pytest
from click.testing import CliRunner

from repoint.cli import main
from tests.segments.population import create, dsn, import_segment, insert_endpoints

GOLD = {"Attributes": {"Plan": {"AttributeType": "INCLUSIVE", "Values": ["gold", "platinum"]}}}
NO_PUSH = {"Demographic": {"Channel": {"DimensionType": "EXCLUSIVE", "Values": ["PUSH"]}}}
RICH = {"Metrics": {"Balance": {"ComparisonOperator": "GREATER_THAN", "Value": 10}}}
ENDPOINTS = {
    "ann": {"attributes": {"Plan": ["gold"]}, "metrics": {"Balance": 20}},
    "ben": {"attributes": {"Plan": ["gold"]}, "metrics": {"Balance": 5}, "is_opted_out": True},
    "cat": {"attributes": {"Plan": ["gold"]}, "metrics": {"Balance": 50}, "channel_type": "GCM"},
    "dan": {"attributes": {"Plan": ["free"]}, "address": None},
}


@pytest.fixture
def population(server, app_id):
    with psycopg.connect(dsn(server)) as connection:
        insert_endpoints(connection, app_id, ENDPOINTS)
    return app_id


@pytest.fixture
def segments(server):
    """Run `repoint segments …`; what it printed, decoded when it was asked for JSON."""

    def run(*words, fails=False):
        done = CliRunner().invoke(main, ["segments", *words, "--data-dir", str(server.data_dir)])
        assert bool(done.exit_code) == fails, done.output
        return json.loads(done.stdout) if "--json" in words else done.stdout or done.stderr

    return run


def narrowed(pinpoint, app_id):
    """A segment over another, less push, with a metric; its id."""
    source = create(pinpoint, app_id, Name="gold", Dimensions=GOLD)
    group = {"SourceSegments": [{"Id": source}], "Dimensions": [NO_PUSH, RICH]}
    return create(pinpoint, app_id, Name="rich gold", SegmentGroups={"Groups": [group]})


def test_it_counts_members_and_those_that_could_be_sent_to(segments, pinpoint, population):
    segment_id = create(pinpoint, population, Dimensions=GOLD)

    assert segments("count", segment_id, "--json") == {"Total": 3, "Eligible": 2, "IsExact": True}
    assert segments("count", segment_id) == "3 endpoints, of which 2 could be sent to\n"


def test_an_estimate_of_few_is_exact(segments, pinpoint, population):
    segment_id = create(pinpoint, population)

    assert segments("count", segment_id, "--estimate", "--json") == {"Total": 4, "Eligible": 2, "IsExact": True}


def test_it_shows_some_of_its_members(segments, pinpoint, population):
    segment_id = create(pinpoint, population, Dimensions=GOLD)
    shown = segments("sample", segment_id, "--limit", "2", "--json")

    assert len(shown) == 2
    assert {one["Id"] for one in shown} < {"ann", "ben", "cat"}
    assert len(segments("sample", segment_id).splitlines()) == 3


def test_it_explains_itself_condition_by_condition(segments, pinpoint, population):
    segment_id = narrowed(pinpoint, population)

    assert [(one["Condition"], one["Endpoints"]) for one in segments("explain", segment_id, "--json")] == [
        ("attribute Plan has one of 'gold', 'platinum'", 3),
        (
            "Channel is one of 'PUSH', 'GCM', 'APNS', 'APNS_SANDBOX', 'APNS_VOIP', 'APNS_VOIP_SANDBOX', 'ADM', 'BAIDU'",
            1,
        ),
        ("metric Balance is greater than 10", 2),
    ]
    assert "is in segment 'gold'" in segments("explain", segment_id)


WHY = {
    "ann": (True, {"Plan has one of": "'gold'", "Channel": "'EMAIL'", "Balance": "20"}),
    "ben": (False, {"Balance": "5"}),
    "cat": (False, {"Channel": "'GCM'"}),
    "dan": (False, {"Plan has one of": "'free'", "Balance": "nothing"}),
}


@pytest.mark.parametrize("endpoint", WHY)
def test_it_says_which_conditions_decided_and_what_the_endpoint_has(segments, pinpoint, population, endpoint):
    is_member, reasons = WHY[endpoint]
    segment_id = narrowed(pinpoint, population)
    answer = segments("why", segment_id, endpoint, "--json")
    conditions = {one["Path"]: one for one in flat(answer["Conditions"])}
    decided = [conditions[path] for path in answer["DecidedBy"]]

    assert answer["IsMember"] is is_member
    assert len(decided) == len(reasons)
    for words, actual in reasons.items():
        assert [one["Actual"] for one in decided if words in one["Condition"]] == [actual]


def flat(condition):
    yield condition
    for part in condition.get("Parts", []):
        yield from flat(part)


def test_it_says_why_in_plain_words(segments, pinpoint, population):
    segment_id = narrowed(pinpoint, population)
    lines = segments("why", segment_id, "BEN").splitlines()

    assert lines[0] == "BEN is not in rich gold, because of:"
    assert lines[1] == "  no: metric Balance is greater than 10; it has 5"


def test_it_says_why_of_an_imported_segment(server, segments, population):
    segment_id = import_segment(server, population, ["ann"])

    assert segments("why", segment_id, "ann", "--json")["IsMember"] is True
    assert "is a member of imported segment" in segments("why", segment_id, "ben")


def test_segments_are_listed_and_shown(server, segments, pinpoint, population):
    ids = [create(pinpoint, population, Name="By rule", Dimensions=GOLD), import_segment(server, population, ["ann"])]
    listed = segments("list", "--app", population, "--json")

    assert [(one["Id"], one["SegmentType"]) for one in listed] == list(zip(ids, ["DIMENSIONAL", "IMPORT"], strict=True))
    assert segments("show", ids[0], "--json")["Dimensions"] == GOLD
    assert "s3://bucket/key" in segments("show", ids[1])


def test_a_name_will_do_where_it_is_unmistakable(segments, pinpoint, population):
    create(pinpoint, population, Name="twice")
    create(pinpoint, population, Name="twice")
    create(pinpoint, population, Name="once")

    assert segments("count", "once", "--app", population, "--json")["Total"] == 4
    assert "2 segments are named twice" in segments("count", "twice", "--app", population, fails=True)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["count", "nowhere"], "there is no segment nowhere"),
        (["count", "SEGMENT", "--version", "9"], "has no version 9"),
        (["why", "SEGMENT", "nobody"], "there is no endpoint nobody"),
    ],
)
def test_what_is_not_there_is_said_so(segments, pinpoint, population, words, complaint):
    segment_id = create(pinpoint, population)

    assert complaint in segments(*(word.replace("SEGMENT", segment_id) for word in words), fails=True)
