"""The compiled SQL finds whom a naive evaluation finds, over random endpoints and random nested documents."""

import math
from datetime import timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repoint.resources.segments.compile import compile_segment
from repoint.resources.segments.store import StoredSegment
from tests.segments.naive import is_in
from tests.segments.population import NOW, dsn, insert_endpoints, insert_members

WORDS = ["a", "b", "ab", "A", 'q"', "x, y", "[", "\\", "é", "", " ", "a b", "%", "a_"]
TIMES = [
    "2000-02-29T00:00:00Z", "2026-02-28T23:59:59.000Z", "2026-02-28T23:59:59.001Z", "2026-12-31T23:59:59Z",
    "2026-02-28T00:00:00Z", "2026-02-28T23:59:59Z", "2026-02-28T23:59:59.5Z", "2026-03-01T00:00:00Z",
    "2024-02-29T12:00:00Z",
]  # fmt: skip
NOT_TIMES = [
    "2100-02-29T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "2026-02-28T00:00:60Z",
    "2026-02-29T00:00:00Z",
    "2026-02-28",
    "2026-02-28T24:00:00Z",
    "2026-02-28T00:00:00+01:00",
    "soon",
    "Z",
]
NAMES = st.sampled_from(["p", 'n"é'])
NUMBERS = st.sampled_from([0, 1, -1, 0.1, 0.30000000000000004, 1e-9, 1e300, -1e300, 123456789.123])
CHANNELS = ["EMAIL", "SMS", "GCM", "APNS", "CUSTOM"]
SCALARS = ["ios", "web", "FR", "é"]
COMBINATION = st.sampled_from(["ALL", "ANY", "NONE"])
MEMBERS = st.sampled_from(["Platform", "Make", "Model", "AppVersion", "DeviceType"])


def maps(values, names=NAMES):
    return st.dictionaries(names, values, max_size=3)


def optional(**members):
    return st.fixed_dictionaries({}, optional=members)


def lists(items, size=3):
    return st.lists(st.sampled_from(items), min_size=1, max_size=size)


POINT = {
    "Latitude": st.floats(-90, 90).map(lambda number: round(number, 3)),
    "Longitude": st.floats(-180, 180).map(lambda number: round(number, 3)),
}
LOCATION = st.one_of(
    optional(Country=st.sampled_from(SCALARS)),
    st.fixed_dictionaries(POINT, optional={"Country": st.sampled_from(SCALARS)}),
)
ENDPOINT = optional(
    channel_type=st.sampled_from([*CHANNELS, None]),
    effective_at=st.sampled_from([0, 23, 24, 25, 168, 169, 336, 720, 721]).map(
        lambda hours: NOW - timedelta(hours=hours)
    ),
    user_id=st.sampled_from(["u1", "u2", None]),
    attributes=maps(lists(WORDS + TIMES + NOT_TIMES)),
    user_attributes=maps(lists(WORDS + TIMES)),
    metrics=maps(NUMBERS),
    demographic=maps(st.sampled_from(SCALARS), st.sampled_from(["Platform", "Make", "Model", "AppVersion"])),
    location=LOCATION,
)
SET = st.fixed_dictionaries(
    {"Values": lists(SCALARS)}, optional={"DimensionType": st.sampled_from(["INCLUSIVE", "EXCLUSIVE"])}
)
CHANNEL = st.fixed_dictionaries(
    {"Values": lists([*CHANNELS, "PUSH"])}, optional={"DimensionType": st.sampled_from(["INCLUSIVE", "EXCLUSIVE"])}
)


def dimension_of(kind, values):
    return st.fixed_dictionaries({"AttributeType": kind, "Values": values})


ATTRIBUTE = st.one_of(
    dimension_of(st.sampled_from(["INCLUSIVE", "EXCLUSIVE", "CONTAINS"]), lists(WORDS, 7)),
    dimension_of(
        st.sampled_from(["INCLUSIVE", "EXCLUSIVE", "CONTAINS"]), st.just([*WORDS[:3], *(f"v{n}" for n in range(101))])
    ),
    dimension_of(st.sampled_from(["BEFORE", "AFTER", "ON"]), lists(TIMES, 1)),
    dimension_of(st.just("BETWEEN"), st.lists(st.sampled_from(TIMES), min_size=2, max_size=2)),
)
METRIC = st.fixed_dictionaries(
    {
        "ComparisonOperator": st.sampled_from(
            ["GREATER_THAN", "LESS_THAN", "GREATER_THAN_OR_EQUAL", "LESS_THAN_OR_EQUAL", "EQUAL"]
        ),
        "Value": NUMBERS,
    }
)
GPS = st.fixed_dictionaries(
    {
        "Coordinates": st.fixed_dictionaries(POINT),
        "RangeInKilometers": st.sampled_from([0.5, 3_000.5, 10_000.5, 20_040]),
    }
)
RECENCY = st.fixed_dictionaries(
    {
        "Duration": st.sampled_from(["HR_24", "DAY_7", "DAY_14", "DAY_30"]),
        "RecencyType": st.sampled_from(["ACTIVE", "INACTIVE"]),
    }
)
ONE_DIMENSION = st.one_of(
    st.fixed_dictionaries({"Attributes": st.dictionaries(NAMES, ATTRIBUTE, min_size=1, max_size=1)}),
    st.fixed_dictionaries({"UserAttributes": st.dictionaries(NAMES, ATTRIBUTE, min_size=1, max_size=1)}),
    st.fixed_dictionaries({"Metrics": st.dictionaries(NAMES, METRIC, min_size=1, max_size=1)}),
    st.fixed_dictionaries({"Demographic": st.fixed_dictionaries({"Channel": CHANNEL})}),
    st.fixed_dictionaries({"Demographic": st.dictionaries(MEMBERS, SET, min_size=1, max_size=1)}),
    st.fixed_dictionaries({"Location": st.fixed_dictionaries({"Country": SET})}),
    st.fixed_dictionaries({"Location": st.fixed_dictionaries({"GPSPoint": GPS})}),
    st.fixed_dictionaries({"Behavior": st.fixed_dictionaries({"Recency": RECENCY})}),
)
SEVERAL_DIMENSIONS = optional(
    Attributes=maps(ATTRIBUTE),
    UserAttributes=maps(ATTRIBUTE),
    Metrics=maps(METRIC),
    Demographic=optional(Channel=CHANNEL, Platform=SET, Make=SET, DeviceType=SET),
    Location=optional(Country=SET, GPSPoint=GPS),
    Behavior=st.fixed_dictionaries({"Recency": RECENCY}),
)
DIMENSIONS = st.one_of(ONE_DIMENSION, ONE_DIMENSION, ONE_DIMENSION, SEVERAL_DIMENSIONS)


def segment_over(ids):
    """A random segment that may rest on those of these ids."""
    sources = st.lists(st.sampled_from(ids).map(lambda one: {"Id": one}), max_size=2) if ids else st.just([])
    group = optional(
        Dimensions=st.lists(DIMENSIONS, max_size=2), Type=COMBINATION, SourceSegments=sources, SourceType=COMBINATION
    )
    groups = optional(Groups=st.lists(group, max_size=3), Include=COMBINATION)
    return st.one_of(
        st.fixed_dictionaries({"SegmentGroups": groups}), st.fixed_dictionaries({"Dimensions": DIMENSIONS})
    )


@st.composite
def worlds(draw):
    """Endpoints, an imported segment's members, and segments of which each may rest on those before it."""
    endpoints = {f"e{number}": given for number, given in enumerate(draw(st.lists(ENDPOINT, min_size=8, max_size=8)))}
    imported = {
        "by-endpoint": draw(st.sets(st.sampled_from(sorted(endpoints)))),
        "by-user": draw(st.sampled_from([{"u1"}, {"u2"}])),
    }
    segments = {f"d{number}": {"Dimensions": draw(ONE_DIMENSION)} for number in range(10)}
    for number in range(5):
        segments[f"s{number}"] = draw(segment_over([*imported, *list(segments)[-4:]]))
    return endpoints, imported, segments


def stored(segment_id, criteria):
    return StoredSegment("app", segment_id, 1, 1, segment_id, criteria, None, None, NOW, NOW)


def imported_segment(segment_id, has_users):
    return StoredSegment("app", segment_id, 1, 1, segment_id, {}, {"Size": 1}, 1, NOW, NOW, has_users)


@pytest.fixture(scope="module")
def connection(server):
    with psycopg.connect(dsn(server)) as connection:
        connection.execute("SET enable_seqscan = on")
        yield connection
        connection.rollback()


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(world=worlds())
def test_the_compiled_condition_finds_whom_a_naive_evaluation_finds(connection, world):
    endpoints, imported, segments = world
    sources = {(one, None): stored(one, criteria) for one, criteria in segments.items()}
    sources |= {(one, None): imported_segment(one, one == "by-user") for one in imported}
    members = imported | {
        "by-user": {name for name, one in endpoints.items() if one.get("user_id") in imported["by-user"]}
    }
    connection.rollback()
    insert_endpoints(connection, "app", endpoints)
    insert_members(connection, "app", "by-endpoint", imported["by-endpoint"])
    insert_members(connection, "app", "by-user", [], imported["by-user"])
    everyone = [complete(name, one) for name, one in endpoints.items()]
    for name, document in segments.items():
        condition = compile_segment(sources[name, None], sources, NOW)
        expected = {one["id"] for one in everyone if is_in(document, one, segments, members, NOW)}

        assert (document, found_by(connection, condition)) == (document, expected)


def found_by(connection, condition):
    query = psycopg.sql.SQL("SELECT e.endpoint_id FROM endpoint AS e WHERE e.app_id = 'app' AND {}")
    return {row[0] for row in connection.execute(query.format(condition.text), condition.parameters)}


def complete(name, given):
    empty = {"attributes": {}, "user_attributes": {}, "metrics": {}, "demographic": {}, "location": {}}
    return {"id": name, "channel_type": "EMAIL", "effective_at": NOW, **empty, **given}


def test_every_time_compares_with_every_other_as_it_should(connection):
    values = [*TIMES, *NOT_TIMES]
    endpoints = {f"e{number}": {"attributes": {"t": [value]}} for number, value in enumerate(values)}
    criteria = [{"AttributeType": kind, "Values": [one]} for kind in ("BEFORE", "AFTER", "ON") for one in TIMES]
    criteria += [{"AttributeType": "BETWEEN", "Values": [one, other]} for one in TIMES for other in TIMES]
    connection.rollback()
    insert_endpoints(connection, "app", endpoints)
    everyone = [complete(name, one) for name, one in endpoints.items()]
    for criterion in criteria:
        document = {"Dimensions": {"Attributes": {"t": criterion}}}
        expected = {one["id"] for one in everyone if is_in(document, one, {}, {}, NOW)}
        condition = compile_segment(stored("s", document), {}, NOW)

        assert (criterion, found_by(connection, condition)) == (criterion, expected)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    latitude=st.sampled_from([-90, -89.9, -66, -0.04, 0, 45.8, 89, 90]) | POINT["Latitude"],
    longitude=st.sampled_from([-180, -179.9, 0, 180]) | POINT["Longitude"],
    kilometers=st.sampled_from([0.5, 30.5, 3_000.5, 9_990.5, 20_000.5]),
)
def test_a_circle_ends_where_it_should_on_every_side(connection, latitude, longitude, kilometers):
    places = [
        place_at(latitude, longitude, bearing, kilometers * share)
        for bearing in range(0, 360, 15)
        for share in (0.3, 0.98, 0.999, 1.001, 1.02)
    ]
    point = {"Coordinates": {"Latitude": latitude, "Longitude": longitude}, "RangeInKilometers": kilometers}
    document = {"Dimensions": {"Location": {"GPSPoint": point}}}
    endpoints = {f"e{number}": {"location": place} for number, place in enumerate(places)}
    connection.rollback()
    insert_endpoints(connection, "app", endpoints)
    expected = {name for name, one in endpoints.items() if is_in(document, complete(name, one), {}, {}, NOW)}

    assert found_by(connection, compile_segment(stored("s", document), {}, NOW)) == expected


def place_at(latitude, longitude, bearing, kilometers):
    """Where one gets to, so far in this direction."""
    north, east, turn = map(math.radians, (latitude, longitude, bearing))
    angle = kilometers / 6371.0088
    sine = math.sin(north) * math.cos(angle) + math.cos(north) * math.sin(angle) * math.cos(turn)
    there = math.asin(max(-1, min(1, sine)))
    east += math.atan2(math.sin(turn) * math.sin(angle) * math.cos(north), math.cos(angle) - math.sin(north) * sine)
    degrees = math.remainder(math.degrees(east), 360)
    return {"Latitude": round(math.degrees(there), 4), "Longitude": round(degrees, 4)}
