"""From a segment's tree to the one SQL condition that its endpoints meet.

The condition may be NULL, which is not a match; negation therefore is `IS NOT TRUE`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import sql

from repoint.resources.segments.conditions import HasValue, IsMember
from repoint.resources.segments.predicates import RANKS, SCANNED, SLOW, Part, Predicates, joined
from repoint.resources.segments.sources import Sources, tree_of
from repoint.resources.segments.store import StoredSegment
from repoint.resources.segments.tree import AllOf, AnyOf, Node, NoneOf, Reference

NEGATED_CONTAINMENTS_MAX = 4
"""What is negated no index can answer, and one pass over an attribute's values beats so many looks at it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on `endpoint AS e`, for a WHERE clause, and the named parameters it needs.

    The statement around it says `e.app_id = …` itself. Run it with `prepare=False`, so that the plan fits the values,
    in a transaction in which `db.allow_scans` was called. Parameters are named segment_1, segment_2 ….

    `by_user` is a condition, too: that an import names the endpoint's user. `user_sets` are the segments and the
    versions of their members in which users are named.
    """

    text: sql.Composed
    parameters: dict[str, Any]
    by_user: sql.Composable = field(default_factory=lambda: sql.SQL("false"))
    user_sets: Sequence[tuple[str, int]] = ()


def compile_segment(segment: StoredSegment, sources: Sources, now: datetime) -> Condition:
    """What an endpoint must meet to be in a segment, at this moment.

    Raises:
        BadRequestException: for what cannot be expressed, or rests on a segment that is gone.
    """
    return compile_node(tree_of(segment, sources, now))


def compile_node(node: Node) -> Condition:
    """What an endpoint must meet to match one tree."""
    predicates = Predicates()
    text = _Compiler(predicates).node(node)
    named = [one for one in _leaves(node) if isinstance(one, IsMember) and one.has_users]
    by_user = joined(" OR ", [predicates.names_user(one) for one in named], "false")
    user_sets = [(one.segment_id, one.member_version) for one in named]
    return Condition(sql.Composed([text]), predicates.parameters, by_user, user_sets)


class _Compiler:
    """Combines conditions as a tree says."""

    def __init__(self, predicates: Predicates) -> None:
        self._predicates = predicates

    def node(self, node: Node) -> Part:
        """One node's condition."""
        match node:
            case AllOf():
                return self.all_of(node)
            case AnyOf():
                return self.any_of(node)
            case NoneOf():
                return joined(" AND ", [self.negated(part) for part in _cheapest_first(node.parts)], "true")
            case Reference():
                raise AssertionError("references are followed before compiling")
            case _:
                return self._predicates.leaf(node)

    def all_of(self, node: AllOf) -> Part:
        """All parts. Those no index answers are asked one after the other, in our order, when one of them is slow.

        PostgreSQL goes by what operators are said to cost, which is the same for a regular expression as for a
        comparison of two numbers; CASE takes the order out of its hands.
        """
        parts = _cheapest_first(_flattened(node))
        scanned = [part for part in parts if isinstance(part, SCANNED)]
        if len(scanned) == 1 or not any(isinstance(part, SLOW) for part in scanned):
            scanned = []
        conditions = [self.node(part) for part in parts if part not in scanned]
        if scanned:
            *before, last = (self.node(part) for part in scanned)
            for condition in reversed(before):
                last = sql.SQL("CASE WHEN {} THEN {} ELSE false END").format(condition, last)
            conditions.append(last)
        return joined(" AND ", conditions, "true")

    def any_of(self, node: AnyOf) -> Part:
        """One of the parts. An index helps only if it answers all of them: all their values are looked up, or none."""
        left = self._predicates.containments_left
        are_too_many = sum(len(part.values) for part in _leaves(node) if isinstance(part, HasValue)) > left
        if are_too_many:
            self._predicates.containments_left = 0
        parts = [self.node(part) for part in _cheapest_first(node.parts)]
        if are_too_many:
            self._predicates.containments_left = left
        return joined(" OR ", parts, "false")

    def negated(self, node: Node) -> Part:
        """Not so. Membership is negated as it stands: PostgreSQL knows NOT EXISTS as a join."""
        if isinstance(node, HasValue) and len(node.values) > NEGATED_CONTAINMENTS_MAX:
            return sql.SQL("({}) IS NOT TRUE").format(self._predicates.has_value_of_many(node))
        template = "NOT ({})" if isinstance(node, IsMember) else "({}) IS NOT TRUE"
        return sql.SQL(template).format(self.node(node))


def _flattened(node: AllOf) -> list[Node]:
    """The parts of a conjunction, and of those that are conjunctions themselves."""
    return [one for part in node.parts for one in (_flattened(part) if isinstance(part, AllOf) else [part])]


def _leaves(node: Node) -> Iterator[Node]:
    """The conditions of a tree that are not negated."""
    if isinstance(node, AllOf | AnyOf):
        for part in node.parts:
            yield from _leaves(part)
    elif not isinstance(node, NoneOf):
        yield node


def _cheapest_first(parts: Iterable[Node]) -> list[Node]:
    return sorted(parts, key=_rank)


def _rank(node: Node) -> int:
    if isinstance(node, AllOf | AnyOf | NoneOf):
        return max((_rank(part) for part in node.parts), default=0)
    return len(RANKS) if isinstance(node, Reference) else RANKS.index(type(node))
