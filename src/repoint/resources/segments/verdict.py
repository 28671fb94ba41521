"""Why an endpoint is in a segment or not: the tree again, with what came of each part and the values that decided."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from repoint.clock import iso8601
from repoint.resources.endpoints.store import Endpoint
from repoint.resources.segments.conditions import (
    HasDate,
    HasText,
    HasValue,
    IsActiveSince,
    IsMember,
    IsNear,
    Leaf,
    MetricIs,
    ScalarIs,
)
from repoint.resources.segments.tree import AllOf, AnyOf, Node, NoneOf, Reference, words_of

NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one condition or combination. `actual` is what the endpoint has where a condition looks."""

    is_met: bool
    path: str
    words: str
    actual: str | None = None
    is_negation: bool = False
    parts: tuple["Verdict", ...] = ()

    def document(self) -> dict[str, Any]:
        """For JSON."""
        document: dict[str, Any] = {"IsMet": self.is_met, "Path": self.path, "Condition": self.words}
        if self.actual is not None:
            document["Actual"] = self.actual
        if self.parts:
            document["Parts"] = [part.document() for part in self.parts]
        return document

    def line(self) -> str:
        """For people: the condition, whether it is met, and what the endpoint has."""
        actual = "" if self.actual is None else f"; it has {self.actual}"
        return f"{'yes' if self.is_met else 'no'}: {self.words}{actual}"

    def lines(self, depth: int = 0) -> Iterator[str]:
        """A line for each condition, indented under what combines them."""
        yield "  " * depth + self.line()
        for part in self.parts:
            yield from part.lines(depth + 1)

    def deciding(self) -> Iterator["Verdict"]:
        """The conditions that made it come out as it did: with any of them otherwise, it might not have."""
        if not self.parts:
            yield self
        for part in self.parts:
            if part.is_met == (self.is_met != self.is_negation):
                yield from part.deciding()


def judge(node: Node, endpoint: Endpoint, answers: Sequence[bool]) -> Verdict:
    """The verdict on an endpoint; `answers` are the database's, one for each of `leaves_of`, in that order."""
    return _judge(node, endpoint, iter(answers))


def _judge(node: Node, endpoint: Endpoint, answers: Iterator[bool]) -> Verdict:
    if not isinstance(node, AllOf | AnyOf | NoneOf):
        assert not isinstance(node, Reference), "references are followed before"
        return Verdict(next(answers), node.path, node.words(), actual_of(node, endpoint))
    parts = tuple(_judge(part, endpoint, answers) for part in node.parts)
    met = [part.is_met for part in parts]
    is_negation = isinstance(node, NoneOf)
    is_met = all(met) if isinstance(node, AllOf) else any(met) != is_negation
    return Verdict(is_met, node.path, words_of(node), None, is_negation, parts)


def actual_of(leaf: Leaf, endpoint: Endpoint) -> str | None:
    """What the endpoint has where a condition looks; None where that says nothing more than the condition."""
    match leaf:
        case HasValue() | HasText() | HasDate():
            values = getattr(endpoint, leaf.column).get(leaf.name, ())
            return ", ".join(map(repr, values)) or NOTHING
        case MetricIs():
            value = endpoint.metrics.get(leaf.name)
            return NOTHING if value is None else f"{value:g}"
        case ScalarIs():
            scalar = (
                endpoint.channel_type if leaf.member == "Channel" else getattr(endpoint, leaf.column).get(leaf.member)
            )
            return NOTHING if scalar is None else repr(scalar)
        case IsNear():
            latitude, longitude = endpoint.location.get("Latitude"), endpoint.location.get("Longitude")
            return NOTHING if latitude is None or longitude is None else f"{latitude:.1f}, {longitude:.1f}"
        case IsActiveSince():
            return iso8601(endpoint.effective_at)
        case IsMember():
            return None
