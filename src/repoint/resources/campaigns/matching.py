"""Whether an event is one that a campaign waits for. Pure.

Several values of one attribute are alternatives; the event type, every attribute and every metric must match. An
event's attributes are single strings. ENDPOINT events are those that applications report by PutEvents, SYSTEM events
those that deliveries leave in the log.
"""

import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from repoint.resources.events.reader import LoggedEvent
from repoint.resources.segments.dimensions import DATE_VALUES

COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "GREATER_THAN": operator.gt,
    "LESS_THAN": operator.lt,
    "GREATER_THAN_OR_EQUAL": operator.ge,
    "LESS_THAN_OR_EQUAL": operator.le,
    "EQUAL": operator.eq,
}


def matches(event_filter: Mapping[str, Any], event: LoggedEvent) -> bool:
    """Whether a CampaignEventFilter lets an event through."""
    is_reported = "application" in event.document
    if is_reported != (event_filter["FilterType"] == "ENDPOINT"):
        return False
    dimensions = event_filter["Dimensions"]
    wanted = dimensions.get("EventType", {})
    if (event.event_type in wanted.get("Values", ())) != (wanted.get("DimensionType", "INCLUSIVE") == "INCLUSIVE"):
        return False
    attributes, metrics = event.document.get("attributes", {}), event.document.get("metrics", {})
    return all(
        _attribute_matches(dimension, attributes.get(name))
        for name, dimension in dimensions.get("Attributes", {}).items()
    ) and all(
        name in metrics and COMPARISONS[dimension["ComparisonOperator"]](metrics[name], dimension["Value"])
        for name, dimension in dimensions.get("Metrics", {}).items()
    )


def mistake_in(dimension: Mapping[str, Any]) -> str | None:
    """Why no event can ever match an AttributeDimension as its author thought, or None."""
    kind, values = dimension.get("AttributeType", "INCLUSIVE"), dimension["Values"]
    if not values:
        return "must have at least one value"
    if kind not in DATE_VALUES:
        return None
    if len(values) != DATE_VALUES[kind]:
        return f"{kind} takes exactly {DATE_VALUES[kind]} of them"
    wrong = next((value for value in values if read_instant(value) is None), None)
    return None if wrong is None else f"{wrong[:60]!r} is not a time in UTC such as 2026-12-31T00:00:00Z"


def _attribute_matches(dimension: Mapping[str, Any], value: str | None) -> bool:
    kind, values = dimension.get("AttributeType", "INCLUSIVE"), dimension["Values"]
    if kind == "EXCLUSIVE":
        return value not in values
    if value is None:
        return False
    if kind == "INCLUSIVE":
        return value in values
    if kind == "CONTAINS":
        return any(one in value for one in values)
    return _date_matches(kind, values, value)


def _date_matches(kind: str, values: list[str], value: str) -> bool:
    """BEFORE and AFTER are strict, ON compares days of UTC, BETWEEN includes both ends, as in segments."""
    moment = read_instant(value)
    operands = [read_instant(one) for one in values]
    if moment is None or not operands or None in operands:
        return False
    known = [one for one in operands if one is not None]
    if kind == "BEFORE":
        return moment < known[0]
    if kind == "AFTER":
        return moment > known[0]
    if kind == "ON":
        return moment.date() == known[0].date()
    return len(known) == 2 and known[0] <= moment <= known[1]  # noqa: PLR2004 - a span has two ends


def read_instant(text: str) -> datetime | None:
    """An ISO_INSTANT, such as 2031-05-06T07:00:00Z; None when it is not one."""
    if not text.endswith("Z"):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None
