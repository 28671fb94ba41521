"""Who is in a segment, worked out one endpoint at a time from the documents alone; knows nothing of the product."""

import math
import re
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

HOURS = {"HR_24": 24, "DAY_7": 168, "DAY_14": 336, "DAY_30": 720}
PUSH = {"GCM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "ADM", "BAIDU"}
COMPARE = {
    "GREATER_THAN": lambda a, b: a > b,
    "LESS_THAN": lambda a, b: a < b,
    "GREATER_THAN_OR_EQUAL": lambda a, b: a >= b,
    "LESS_THAN_OR_EQUAL": lambda a, b: a <= b,
    "EQUAL": lambda a, b: a == b,
}


def combined(how, results):
    if not results:
        return True
    return {"ALL": all, "ANY": any, "NONE": lambda given: not any(given)}[how](results)


def is_in(segment, endpoint, segments, imported, now):
    """`segment` is a request's document; `segments` has those by id, `imported` the members of the others."""
    if "Dimensions" in segment:
        return meets(segment["Dimensions"], endpoint, now)
    groups = segment.get("SegmentGroups", {})
    results = []
    for group in groups.get("Groups", []):
        sources = [
            endpoint["id"] in imported[one["Id"]]
            if one["Id"] in imported
            else is_in(segments[one["Id"]], endpoint, segments, imported, now)
            for one in group.get("SourceSegments", [])
        ]
        dimensions = [meets(one, endpoint, now) for one in group.get("Dimensions", [])]
        results.append(
            combined(group.get("SourceType", "ALL"), sources) and combined(group.get("Type", "ALL"), dimensions)
        )
    return combined(groups.get("Include", "ALL"), results)


def meets(dimensions, endpoint, now):
    demographic, location = dimensions.get("Demographic", {}), dimensions.get("Location", {})
    facts = endpoint["demographic"] | {"Channel": endpoint["channel_type"]}
    checks = [set_meets(one, facts.get(member)) for member, one in demographic.items()]
    if "Country" in location:
        checks.append(set_meets(location["Country"], endpoint["location"].get("Country")))
    if "GPSPoint" in location:
        checks.append(is_near(location["GPSPoint"], endpoint["location"]))
    for member, column in (("Attributes", "attributes"), ("UserAttributes", "user_attributes")):
        for name, one in dimensions.get(member, {}).items():
            checks.append(attribute_meets(one, endpoint[column].get(name, [])))
    for name, one in dimensions.get("Metrics", {}).items():
        value = endpoint["metrics"].get(name)
        checks.append(value is not None and COMPARE[one["ComparisonOperator"]](value, one["Value"]))
    if "Behavior" in dimensions:
        recency = dimensions["Behavior"]["Recency"]
        is_active = endpoint["effective_at"] >= now - timedelta(hours=HOURS[recency["Duration"]])
        checks.append(is_active == (recency["RecencyType"] == "ACTIVE"))
    return all(checks)


def set_meets(one, value):
    wanted = set(one["Values"]) | (PUSH if "PUSH" in one["Values"] else set())
    return (value in wanted) == (one.get("DimensionType", "INCLUSIVE") == "INCLUSIVE")


def attribute_meets(one, values):
    kind, wanted = one.get("AttributeType", "INCLUSIVE"), one["Values"]
    if kind in ("INCLUSIVE", "EXCLUSIVE"):
        return bool(set(values) & set(wanted)) == (kind == "INCLUSIVE")
    if kind == "CONTAINS":
        return any(text in value for text in wanted for value in values)
    moments = [moment for moment in map(moment_of, values) if moment is not None]
    edges = sorted(map(moment_of, wanted))
    return {
        "BEFORE": any(moment < edges[0] for moment in moments),
        "AFTER": any(moment > edges[0] for moment in moments),
        "ON": any(moment.date() == edges[0].date() for moment in moments),
        "BETWEEN": any(edges[0] <= moment <= edges[-1] for moment in moments),
    }[kind]


def moment_of(text):
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?Z", text, re.ASCII):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def is_near(one, location):
    if "Latitude" not in location or "Longitude" not in location:
        return False
    degrees = [
        float(Decimal(repr(location[name])).quantize(Decimal("0.1"), ROUND_HALF_UP))
        for name in ("Latitude", "Longitude")
    ]
    here, there = (
        list(map(math.radians, pair)) for pair in (degrees, [one["Coordinates"][n] for n in ("Latitude", "Longitude")])
    )
    angle = math.acos(
        max(
            -1,
            min(
                1,
                math.sin(here[0]) * math.sin(there[0])
                + math.cos(here[0]) * math.cos(there[0]) * math.cos(here[1] - there[1]),
            ),
        )
    )
    return angle * 6371.0088 <= one["RangeInKilometers"]
