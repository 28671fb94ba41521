"""A segment's document, read and checked: {"Dimensions": …} or {"SegmentGroups": …} in, a tree of conditions out.

How lists combine (Pinpoint's guide and model): the members of one SegmentDimensions all apply; a group's dimensions by
its Type, its source segments by its SourceType, groups by Include; each ALL where it is left out. An empty list
restricts nothing.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from repoint.resources.segments.conditions import (
    Column,
    HasDate,
    HasText,
    HasValue,
    IsActiveSince,
    IsNear,
    MetricIs,
    MetricOperator,
    ScalarColumn,
    ScalarIs,
)
from repoint.resources.segments.tree import AllOf, AnyOf, Node, NoneOf, Reference
from repoint.wire.exceptions import BadRequestException

DIMENSIONS_MAX = 100
KILOMETERS_MAX = 20_040.0
HOURS = {"HR_24": 24, "DAY_7": 7 * 24, "DAY_14": 14 * 24, "DAY_30": 30 * 24}
OPERATORS = ("GREATER_THAN", "LESS_THAN", "GREATER_THAN_OR_EQUAL", "LESS_THAN_OR_EQUAL", "EQUAL")
DATE_VALUES = {"BEFORE": 1, "AFTER": 1, "ON": 1, "BETWEEN": 2}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT([01]\d|2[0-3])(:[0-5]\d){2}(\.\d{1,9})?Z", re.ASCII)
DEMOGRAPHIC = ("AppVersion", "DeviceType", "Make", "Model", "Platform")
PUSH_CHANNELS = ("GCM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "ADM", "BAIDU")
CHANNELS = frozenset((*PUSH_CHANNELS, "PUSH", "SMS", "VOICE", "EMAIL", "CUSTOM", "IN_APP"))
Given = Mapping[str, Any]


def read_criteria(criteria: Given, now: datetime) -> Node:
    """The tree of a dimensional segment; source segments are `Reference`s still.

    Raises:
        BadRequestException: naming the member and the rule, for what cannot be expressed.
    """
    reader = Reader(now)
    if "Dimensions" in criteria:
        return reader.dimensions("Dimensions", criteria["Dimensions"])
    return reader.groups("SegmentGroups", criteria.get("SegmentGroups", {}))


class Reader:
    """Reads one document: counts its dimensions, and knows the moment that recency is reckoned from."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.count = 0

    def groups(self, path: str, given: Given) -> Node:
        """A SegmentGroupList."""
        groups = [self.group(f"{path}.Groups[{i}]", group) for i, group in enumerate(given.get("Groups", ()))]
        return _combined(path, given.get("Include"), groups)

    def group(self, path: str, given: Given) -> Node:
        """A SegmentGroup: its base, narrowed by its dimensions."""
        sources: list[Node] = [
            _reference(f"{path}.SourceSegments[{i}]", source)
            for i, source in enumerate(given.get("SourceSegments", ()))
        ]
        dimensions = [
            self.dimensions(f"{path}.Dimensions[{i}]", one) for i, one in enumerate(given.get("Dimensions", ()))
        ]
        base = _combined(f"{path}.SourceSegments", given.get("SourceType"), sources)
        return AllOf(path, (base, _combined(f"{path}.Dimensions", given.get("Type"), dimensions)))

    def dimensions(self, path: str, given: Given) -> Node:
        """A SegmentDimensions: everything it names applies."""
        demographic, location = given.get("Demographic", {}), given.get("Location", {})
        parts: list[Node] = []
        if "Channel" in demographic:
            parts.append(self.scalar(f"{path}.Demographic", "channel_type", "Channel", demographic["Channel"]))
        if "Recency" in given.get("Behavior", {}):
            parts.append(self.recency(f"{path}.Behavior.Recency", given["Behavior"]["Recency"]))
        parts += [
            self.scalar(f"{path}.Demographic", "demographic", member, demographic[member])
            for member in DEMOGRAPHIC
            if member in demographic
        ]
        if "Country" in location:
            parts.append(self.scalar(f"{path}.Location", "location", "Country", location["Country"]))
        for member, column in (("Attributes", "attributes"), ("UserAttributes", "user_attributes")):
            for name, dimension in given.get(member, {}).items():
                parts.append(self.attribute(f"{path}.{member}.{name}", cast("Column", column), name, dimension))
        for name, dimension in given.get("Metrics", {}).items():
            parts.append(self.metric(f"{path}.Metrics.{name}", name, dimension))
        if "GPSPoint" in location:
            parts.append(self.near(f"{path}.Location.GPSPoint", location["GPSPoint"]))
        return AllOf(path, tuple(parts))

    def counted(self, path: str) -> None:
        """One more dimension."""
        self.count += 1
        if self.count > DIMENSIONS_MAX:
            raise BadRequestException(f"{path}: a segment has at most {DIMENSIONS_MAX} dimensions")

    def attribute(self, path: str, column: Column, name: str, given: Given) -> Node:
        """An AttributeDimension."""
        self.counted(path)
        values = _values(path, given)
        kind = given.get("AttributeType", "INCLUSIVE")
        if kind in DATE_VALUES:
            return HasDate(path, column, name, kind, _instants(path, kind, given["Values"]))
        if kind == "INCLUSIVE":
            return HasValue(path, column, name, values)
        if kind == "EXCLUSIVE":
            return NoneOf(path, (HasValue(path, column, name, values),))
        return HasText(path, column, name, values)

    def metric(self, path: str, name: str, given: Given) -> Node:
        """A MetricDimension; its operator is any string in the model."""
        self.counted(path)
        operator = given["ComparisonOperator"]
        if operator not in OPERATORS:
            raise BadRequestException(f"{path}.ComparisonOperator: must be one of {', '.join(OPERATORS)}")
        return MetricIs(path, name, cast("MetricOperator", operator), given["Value"])

    def scalar(self, path: str, column: ScalarColumn, member: str, given: Given) -> Node:
        """A SetDimension."""
        self.counted(f"{path}.{member}")
        values = _values(f"{path}.{member}", given)
        if member == "Channel":
            values = _channels(f"{path}.{member}", values)
        condition = ScalarIs(f"{path}.{member}", column, member, values)
        return NoneOf(condition.path, (condition,)) if given.get("DimensionType") == "EXCLUSIVE" else condition

    def near(self, path: str, given: Given) -> Node:
        """A GPSPointDimension, whose range is required although the model says it is not."""
        self.counted(path)
        point, kilometers = given["Coordinates"], given.get("RangeInKilometers")
        if kilometers is None or not 0 <= kilometers <= KILOMETERS_MAX or not math.isfinite(kilometers):
            raise BadRequestException(f"{path}.RangeInKilometers: must be from 0 to {KILOMETERS_MAX:g}")
        if not (-90 <= point["Latitude"] <= 90 and -180 <= point["Longitude"] <= 180):  # noqa: PLR2004 - degrees
            raise BadRequestException(f"{path}.Coordinates: Latitude is from -90 to 90, Longitude from -180 to 180")
        return IsNear(path, point["Latitude"], point["Longitude"], kilometers)

    def recency(self, path: str, given: Given) -> Node:
        """A RecencyDimension; who was never active counts as inactive."""
        self.counted(path)
        condition = IsActiveSince(path, self.now - timedelta(hours=HOURS[given["Duration"]]))
        return condition if given["RecencyType"] == "ACTIVE" else NoneOf(path, (condition,))


def _combined(path: str, how: str | None, parts: list[Node]) -> Node:
    """Parts by ALL, ANY or NONE; none at all restricts nothing."""
    if not parts or how in (None, "ALL"):
        return AllOf(path, tuple(parts))
    return (AnyOf if how == "ANY" else NoneOf)(path, tuple(parts))


def _reference(path: str, given: Given) -> Reference:
    version = given.get("Version")
    if version is not None and version < 1:
        raise BadRequestException(f"{path}.Version: must be at least 1")
    return Reference(path, given["Id"], version)


def _values(path: str, given: Given) -> tuple[str, ...]:
    if not given["Values"]:
        raise BadRequestException(f"{path}.Values: must have at least one value")
    return tuple(dict.fromkeys(given["Values"]))


def _channels(path: str, values: tuple[str, ...]) -> tuple[str, ...]:
    """Channel types; PUSH, which is what the console offers, stands for all of its kind."""
    unknown = [value for value in values if value not in CHANNELS]
    if unknown:
        raise BadRequestException(f"{path}.Values: {unknown[0]!r} is not a channel type")
    push = PUSH_CHANNELS if "PUSH" in values else ()
    return tuple(dict.fromkeys((*values, *push)))


def _instants(path: str, kind: str, values: list[str]) -> tuple[str, ...]:
    if len(values) != DATE_VALUES[kind]:
        raise BadRequestException(f"{path}.Values: {kind} takes exactly {DATE_VALUES[kind]} of them")
    for value in values:
        if not is_instant(value):
            raise BadRequestException(
                f"{path}.Values: {value[:60]!r} is not a time in UTC such as 2026-12-31T00:00:00Z"
            )
    return tuple(sorted(values, key=moment_of))


def is_instant(text: str) -> bool:
    """Whether a text is what Java calls an ISO instant: seconds, perhaps a fraction, a Z, and a day that exists."""
    if not INSTANT.fullmatch(text):
        return False
    try:
        moment_of(text)
    except ValueError:
        return False
    return True


def moment_of(text: str) -> datetime:
    """An ISO instant as a datetime.

    Raises:
        ValueError: for a day that does not exist.
    """
    return datetime.fromisoformat(text)
