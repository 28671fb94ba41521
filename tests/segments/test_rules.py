"""Every dimension and comparison, each as a table: a document, and who of the endpoints below is in it."""

from datetime import timedelta

import psycopg
import pytest

from tests.segments.population import NOW, create, dsn, insert_endpoints, members

ENDPOINTS = {
    "ann": {
        "channel_type": "EMAIL",
        "user_id": "u1",
        "attributes": {"Plan": ["gold"], "Likes": ["tea", "jazz"], "Since": ["2026-01-31T00:00:00Z"]},
        "metrics": {"Balance": 100.0, "Visits": 3},
        "demographic": {"Platform": "ios", "Make": "Acme", "Model": "X1", "AppVersion": "1.2"},
        "location": {"Country": "FR", "Latitude": 45.76, "Longitude": 4.84},
        "user_attributes": {"Tier": ["A", "B"]},
    },
    "ben": {
        "channel_type": "GCM",
        "attributes": {
            "Plan": ["Gold"],
            "Likes": ["jazz rock", 'say "hi", [you]'],
            "Since": ["2026-01-31T23:59:59.5Z"],
        },
        "metrics": {"Balance": 100.5},
        "demographic": {"Platform": "android", "Make": "Sony"},
        "location": {"Country": "GB", "Latitude": 51.5, "Longitude": -0.12},
        "effective_at": NOW - timedelta(hours=25),
    },
    "cat": {
        "channel_type": "SMS",
        "attributes": {"Plan": ["silver", "gold"], "Since": ["soon", "2026-02-01T00:00:00Z"]},
        "metrics": {"Balance": -0.5},
        "demographic": {"Platform": "ios", "AppVersion": "1.3"},
        "effective_at": NOW - timedelta(days=15),
        "user_attributes": {"Tier": ["C"]},
    },
    "dan": {
        "channel_type": None,
        "address": None,
        "attributes": {"Likes": ["a\\b", "new york "], "Since": ["2026-02-30T00:00:00Z"]},
        "effective_at": NOW - timedelta(days=31),
    },
}
EVERYONE = set(ENDPOINTS)


def attribute(kind, *values, name="Plan", member="Attributes"):
    return {member: {name: {"AttributeType": kind, "Values": list(values)}}}


def demographic(member, *values, kind="INCLUSIVE"):
    return {"Demographic": {member: {"DimensionType": kind, "Values": list(values)}}}


def metric(operator, value):
    return {"Metrics": {"Balance": {"ComparisonOperator": operator, "Value": value}}}


def recency(duration, kind="ACTIVE"):
    return {"Behavior": {"Recency": {"Duration": duration, "RecencyType": kind}}}


def near(latitude, longitude, kilometers):
    point = {"Latitude": latitude, "Longitude": longitude}
    return {"Location": {"GPSPoint": {"Coordinates": point, "RangeInKilometers": kilometers}}}


def since(kind, *values):
    return attribute(kind, *values, name="Since")


RULES = {
    "nothing is asked": ({}, EVERYONE),
    "a value is equal, case and all": (attribute("INCLUSIVE", "gold"), {"ann", "cat"}),
    "one value of several is equal": (attribute("INCLUSIVE", "Gold", "silver"), {"ben", "cat"}),
    "a type left out means inclusive": ({"Attributes": {"Plan": {"Values": ["silver"]}}}, {"cat"}),
    "more values than are looked for one by one": (
        attribute("INCLUSIVE", "gold", *(f"v{n}" for n in range(150))),
        {"ann", "cat"},
    ),
    "none of more values than are looked for one by one": (
        attribute("EXCLUSIVE", "silver", *(f"v{n}" for n in range(150))),
        EVERYONE - {"cat"},
    ),
    "no value is equal, or there is none": (attribute("EXCLUSIVE", "gold"), {"ben", "dan"}),
    "no value is equal to any of several": (attribute("EXCLUSIVE", "gold", "Gold"), {"dan"}),
    "a user attribute": (attribute("INCLUSIVE", "B", "C", name="Tier", member="UserAttributes"), {"ann", "cat"}),
    "a user attribute excluded": (
        attribute("EXCLUSIVE", "A", name="Tier", member="UserAttributes"),
        {"ben", "cat", "dan"},
    ),
    "a value contains": (attribute("CONTAINS", "jazz", name="Likes"), {"ann", "ben"}),
    "a value contains, case and all": (attribute("CONTAINS", "Jazz", name="Likes"), set()),
    "a value contains a comma": (attribute("CONTAINS", ", ", name="Likes"), {"ben"}),
    "a value contains a bracket": (attribute("CONTAINS", "]", name="Likes"), {"ben"}),
    "a value contains a quote": (attribute("CONTAINS", '"', name="Likes"), {"ben"}),
    "a value contains a backslash": (attribute("CONTAINS", "a\\b", name="Likes"), {"dan"}),
    "a value contains a space": (attribute("CONTAINS", " ", name="Likes"), {"ben", "dan"}),
    "a value contains one of many texts": (
        attribute("CONTAINS", "tea", *(f"t{n}" for n in range(30)), name="Likes"),
        {"ann"},
    ),
    "a value contains one of many texts, some of which quote": (
        attribute("CONTAINS", "tea", '"hi"', "a\\b", "a%", *(f"t{n}" for n in range(30)), name="Likes"),
        {"ann", "ben", "dan"},
    ),
    "slow conditions one after the other": (
        {
            **near(45.8, 4.8, 400),
            "Attributes": {
                "Since": {"AttributeType": "AFTER", "Values": ["2026-01-30T00:00:00Z"]},
                "Likes": {"AttributeType": "CONTAINS", "Values": ["jazz"]},
            },
            **metric("LESS_THAN", 101),
            **recency("DAY_30"),
        },
        {"ann"},
    ),
    "a time before, strictly": (since("BEFORE", "2026-01-31T23:59:59.5Z"), {"ann"}),
    "a time before, by a fraction": (since("BEFORE", "2026-01-31T23:59:59.6Z"), {"ann", "ben"}),
    "a time after, strictly": (since("AFTER", "2026-01-31T00:00:00Z"), {"ben", "cat"}),
    "a time after, by a fraction": (since("AFTER", "2026-01-31T23:59:59Z"), {"ben", "cat"}),
    "a time on a day": (since("ON", "2026-01-31T12:00:00Z"), {"ann", "ben"}),
    "a time on a day that stored nonsense names": (since("ON", "2026-02-28T00:00:00Z"), set()),
    "a time between, ends included": (
        since("BETWEEN", "2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z"),
        EVERYONE - {"dan"},
    ),
    "a time between, ends exchanged": (since("BETWEEN", "2026-01-31T12:00:00Z", "2026-01-31T00:00:00Z"), {"ann"}),
    "a metric greater": (metric("GREATER_THAN", 100), {"ben"}),
    "a metric greater or equal": (metric("GREATER_THAN_OR_EQUAL", 100), {"ann", "ben"}),
    "a metric less": (metric("LESS_THAN", 100), {"cat"}),
    "a metric less or equal": (metric("LESS_THAN_OR_EQUAL", 100), {"ann", "cat"}),
    "a metric equal": (metric("EQUAL", -0.5), {"cat"}),
    "a metric nobody has": ({"Metrics": {"Other": {"ComparisonOperator": "LESS_THAN", "Value": 1e300}}}, set()),
    "active for a day": (recency("HR_24"), {"ann"}),
    "active for a week": (recency("DAY_7"), {"ann", "ben"}),
    "active for a fortnight": (recency("DAY_14"), {"ann", "ben"}),
    "active for a month": (recency("DAY_30"), {"ann", "ben", "cat"}),
    "inactive for a month": (recency("DAY_30", "INACTIVE"), {"dan"}),
    "a channel": (demographic("Channel", "EMAIL", "SMS"), {"ann", "cat"}),
    "any channel for push": (demographic("Channel", "PUSH"), {"ben"}),
    "not a channel, or none": (demographic("Channel", "EMAIL", kind="EXCLUSIVE"), {"ben", "cat", "dan"}),
    "a platform": (demographic("Platform", "ios"), {"ann", "cat"}),
    "not a platform, or none": (demographic("Platform", "ios", kind="EXCLUSIVE"), {"ben", "dan"}),
    "a make": (demographic("Make", "Sony", "Acme"), {"ann", "ben"}),
    "a model": (demographic("Model", "X1"), {"ann"}),
    "an app's version": (demographic("AppVersion", "1.3"), {"cat"}),
    "a device type, which endpoints do not have": (demographic("DeviceType", "phone"), set()),
    "not a device type": (demographic("DeviceType", "phone", kind="EXCLUSIVE"), EVERYONE),
    "a country": ({"Location": {"Country": {"DimensionType": "INCLUSIVE", "Values": ["FR", "DE"]}}}, {"ann"}),
    "not a country, or none": (
        {"Location": {"Country": {"DimensionType": "EXCLUSIVE", "Values": ["FR"]}}},
        EVERYONE - {"ann"},
    ),
    "near a point, by coordinates of one decimal": (near(45.8, 4.8, 0.001), {"ann"}),
    "not near enough": (near(48.86, 2.35, 340), set()),
    "within two points' reach": (near(48.86, 2.35, 400), {"ann", "ben"}),
    "all members of one document apply": ({**demographic("Platform", "ios"), **metric("GREATER_THAN", 0)}, {"ann"}),
}


@pytest.fixture(scope="module")
def population(server):
    app_id = server.client().create_app(CreateApplicationRequest={"Name": "Rules"})["ApplicationResponse"]["Id"]
    with psycopg.connect(dsn(server)) as connection:
        insert_endpoints(connection, app_id, ENDPOINTS)
    return app_id


@pytest.mark.parametrize("rule", RULES)
def test_a_dimension_finds_whom_it_means(server, pinpoint, population, rule):
    dimensions, expected = RULES[rule]
    segment_id = create(pinpoint, population, Dimensions=dimensions)

    assert members(server, population, segment_id) == expected


GOLD, SILVER, IOS = attribute("INCLUSIVE", "gold"), attribute("INCLUSIVE", "silver"), demographic("Platform", "ios")
GROUPS = {
    "no groups": ({"Groups": []}, EVERYONE),
    "a group that asks nothing": ({"Groups": [{}]}, EVERYONE),
    "all dimensions, when nothing is said": ({"Groups": [{"Dimensions": [GOLD, SILVER]}]}, {"cat"}),
    "all dimensions": ({"Groups": [{"Dimensions": [GOLD, SILVER], "Type": "ALL"}]}, {"cat"}),
    "any dimension": ({"Groups": [{"Dimensions": [GOLD, SILVER], "Type": "ANY"}]}, {"ann", "cat"}),
    "no dimension": ({"Groups": [{"Dimensions": [GOLD, SILVER], "Type": "NONE"}]}, {"ben", "dan"}),
    "any dimension of too many values to look for one by one": (
        {
            "Groups": [
                {
                    "Dimensions": [
                        attribute("INCLUSIVE", *(f"v{n}" for n in range(90)), "gold"),
                        SILVER,
                        IOS,
                        *[SILVER] * 20,
                    ]
                }
                | {"Type": "ANY"},
            ]
        },
        {"ann", "cat"},
    ),
    "no dimension of one that everyone meets": ({"Groups": [{"Dimensions": [{}], "Type": "NONE"}]}, set()),
    "all groups": ({"Groups": [{"Dimensions": [GOLD]}, {"Dimensions": [SILVER]}], "Include": "ALL"}, {"cat"}),
    "any group": ({"Groups": [{"Dimensions": [GOLD]}, {"Dimensions": [SILVER]}], "Include": "ANY"}, {"ann", "cat"}),
    "no group": ({"Groups": [{"Dimensions": [GOLD]}, {"Dimensions": [SILVER]}], "Include": "NONE"}, {"ben", "dan"}),
    "any group, one of which asks nothing": ({"Groups": [{"Dimensions": [GOLD]}, {}], "Include": "ANY"}, EVERYONE),
    "lists without entries": ({"Groups": [{"SourceSegments": [], "Dimensions": [], "SourceType": "ANY"}]}, EVERYONE),
    "three levels of negation": (
        {"Groups": [{"Dimensions": [GOLD, IOS], "Type": "NONE"}, {"Dimensions": [SILVER]}], "Include": "NONE"},
        {"ann"},
    ),
}


@pytest.mark.parametrize("rule", GROUPS)
def test_groups_combine_as_they_say(server, pinpoint, population, rule):
    groups, expected = GROUPS[rule]
    segment_id = create(pinpoint, population, SegmentGroups=groups)

    assert members(server, population, segment_id) == expected


@pytest.mark.parametrize(
    ("how", "expected"), [("ALL", {"cat"}), ("ANY", {"ann", "cat"}), ("NONE", {"ben", "dan"}), (None, {"cat"})]
)
def test_source_segments_combine_as_their_type_says(server, pinpoint, population, how, expected):
    sources = [{"Id": create(pinpoint, population, Dimensions=one)} for one in (GOLD, SILVER)]
    group = {"SourceSegments": sources, **({"SourceType": how} if how else {})}
    segment_id = create(pinpoint, population, SegmentGroups={"Groups": [group]})

    assert members(server, population, segment_id) == expected


def test_dimensions_narrow_their_groups_sources(server, pinpoint, population):
    source = {"Id": create(pinpoint, population, Dimensions=GOLD)}
    group = {"SourceSegments": [source], "Dimensions": [SILVER]}
    segment_id = create(pinpoint, population, SegmentGroups={"Groups": [group]})

    assert members(server, population, segment_id) == {"cat"}


def test_a_source_is_followed_to_its_latest_version_unless_one_is_named(server, pinpoint, population):
    source = create(pinpoint, population, Dimensions=GOLD)
    pinned, latest = (
        create(pinpoint, population, SegmentGroups={"Groups": [{"SourceSegments": [{"Id": source, **version}]}]})
        for version in ({"Version": 1}, {})
    )
    pinpoint.update_segment(
        ApplicationId=population, SegmentId=source, WriteSegmentRequest={"Dimensions": demographic("Make", "Sony")}
    )

    assert members(server, population, pinned) == {"ann", "cat"}
    assert members(server, population, latest) == {"ben"}
    assert members(server, population, source, version=1) == {"ann", "cat"}
