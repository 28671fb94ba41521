"""What a segment asks of an endpoint, condition by condition. How they combine is in `tree`.

Every condition knows its `path`, the place in the segment's document it was read from, and can say itself in words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Column = Literal["attributes", "user_attributes"]
DateComparison = Literal["BEFORE", "AFTER", "ON", "BETWEEN"]
MetricOperator = Literal["GREATER_THAN", "LESS_THAN", "GREATER_THAN_OR_EQUAL", "LESS_THAN_OR_EQUAL", "EQUAL"]
ScalarColumn = Literal["channel_type", "demographic", "location"]

OPERATOR_WORDS: dict[MetricOperator, str] = {
    "GREATER_THAN": "greater than",
    "LESS_THAN": "less than",
    "GREATER_THAN_OR_EQUAL": "at least",
    "LESS_THAN_OR_EQUAL": "at most",
    "EQUAL": "equal to",
}
VALUES_SHOWN_MAX = 10


def _listed(values: Sequence[str]) -> str:
    shown = ", ".join(repr(value) for value in values[:VALUES_SHOWN_MAX])
    left = len(values) - VALUES_SHOWN_MAX
    return f"{shown} or {left} more" if left > 0 else shown


@dataclass(frozen=True, slots=True)
class HasValue:
    """Some value of an attribute equals one of `values`."""

    path: str
    column: Column
    name: str
    values: tuple[str, ...]

    def words(self) -> str:
        """The condition as a sentence without a subject."""
        return f"{_attribute(self.column, self.name)} has one of {_listed(self.values)}"


@dataclass(frozen=True, slots=True)
class HasText:
    """Some value of an attribute contains one of `texts`, letter for letter."""

    path: str
    column: Column
    name: str
    texts: tuple[str, ...]

    def words(self) -> str:
        """The condition as a sentence without a subject."""
        return f"{_attribute(self.column, self.name)} contains one of {_listed(self.texts)}"


@dataclass(frozen=True, slots=True)
class HasDate:
    """Some value of an attribute is an ISO instant before, after, on the UTC day of, or between `instants`.

    BEFORE and AFTER are strict; BETWEEN includes both ends. Values that are no ISO instants never match.
    """

    path: str
    column: Column
    name: str
    comparison: DateComparison
    instants: tuple[str, ...]

    def words(self) -> str:
        """The condition as a sentence without a subject."""
        moments = " and ".join(self.instants)
        return f"{_attribute(self.column, self.name)} has a time {self.comparison.lower()} {moments}"


@dataclass(frozen=True, slots=True)
class MetricIs:
    """A metric compares so to `value`; an endpoint without the metric does not match."""

    path: str
    name: str
    operator: MetricOperator
    value: float

    def words(self) -> str:
        """The condition as a sentence without a subject."""
        return f"metric {self.name} is {OPERATOR_WORDS[self.operator]} {self.value:g}"


@dataclass(frozen=True, slots=True)
class ScalarIs:
    """A single value (the channel; a member of the demographic or the location) is one of `values`."""

    path: str
    column: ScalarColumn
    member: str
    values: tuple[str, ...]

    def words(self) -> str:
        """The condition as a sentence without a subject."""
        return f"{self.member} is one of {_listed(self.values)}"


@dataclass(frozen=True, slots=True)
class IsNear:
    """The great-circle distance to a point (degrees) is at most `kilometers`.

    Coordinates count as Pinpoint keeps them: rounded to one decimal.
    """

    path: str
    latitude: float
    longitude: float
    kilometers: float

    def words(self) -> str:
        """The condition as a sentence without a subject."""
        return f"location is within {self.kilometers:g} km of {self.latitude:g}, {self.longitude:g}"


@dataclass(frozen=True, slots=True)
class IsActiveSince:
    """The endpoint was last heard of at `moment` or later."""

    path: str
    moment: datetime

    def words(self) -> str:
        """The condition as a sentence without a subject."""
        return f"was active since {self.moment:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class IsMember:
    """The endpoint, or its user, is among an imported segment's members."""

    path: str
    segment_id: str
    member_version: int
    name: str
    has_users: bool

    def words(self) -> str:
        """The condition as a sentence without a subject."""
        return f"is a member of imported segment {self.name!r} ({self.segment_id})"


Leaf = HasValue | HasText | HasDate | MetricIs | ScalarIs | IsNear | IsActiveSince | IsMember


def _attribute(column: Column, name: str) -> str:
    return f"{'attribute' if column == 'attributes' else 'user attribute'} {name}"
