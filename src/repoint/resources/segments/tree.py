"""How a segment's conditions combine: a tree, with conditions at its leaves."""

from collections.abc import Iterator
from dataclasses import dataclass

from repoint.resources.segments.conditions import Leaf


@dataclass(frozen=True, slots=True)
class Reference:
    """Membership in another segment, by id and version (None: the latest); not followed yet."""

    path: str
    segment_id: str
    version: int | None


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part matches; without parts, everyone does."""

    path: str
    parts: tuple["Node", ...]
    label: str = ""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Some part matches; without parts, nobody does."""

    path: str
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """No part matches; without parts, everyone does."""

    path: str
    parts: tuple["Node", ...]


Node = Leaf | Reference | AllOf | AnyOf | NoneOf


def leaves_of(node: Node) -> Iterator[Leaf]:
    """The conditions of a tree, in its order."""
    if isinstance(node, AllOf | AnyOf | NoneOf):
        for part in node.parts:
            yield from leaves_of(part)
    else:
        assert not isinstance(node, Reference), "references are followed before"
        yield node


def words_of(node: AllOf | AnyOf | NoneOf) -> str:
    """A combination in words."""
    if isinstance(node, AllOf) and node.label:
        return f"is in {node.label}"
    if not node.parts:
        return "every endpoint"
    return {AllOf: "all of these", AnyOf: "at least one of these", NoneOf: "none of these"}[type(node)]


def outline(node: Node, depth: int = 0) -> Iterator[tuple[int, str, Leaf | None]]:
    """A tree line by line: how deep, in words, and the condition itself where it is one."""
    if isinstance(node, AllOf | AnyOf | NoneOf):
        yield depth, words_of(node), None
        for part in node.parts:
            yield from outline(part, depth + 1)
    else:
        assert not isinstance(node, Reference), "references are followed before"
        yield depth, node.words(), node
