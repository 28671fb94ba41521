"""From a segment to the tree of all that it asks, its source segments' trees in their places."""

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from repoint.db import Connection
from repoint.resources.segments.conditions import IsMember
from repoint.resources.segments.dimensions import read_criteria
from repoint.resources.segments.store import Reference, StoredSegment, load_references
from repoint.resources.segments.tree import AllOf, AnyOf, Node, NoneOf
from repoint.resources.segments.tree import Reference as ReferenceNode
from repoint.wire.exceptions import BadRequestException

SOURCES_MAX = 100
"""How many segments one may rest on, directly and through others; a segment named twice counts twice."""
Sources = Mapping[Reference, StoredSegment]


def references_of(criteria: Mapping[str, Any]) -> Iterator[Reference]:
    """The source segments a document names."""
    for group in criteria.get("SegmentGroups", {}).get("Groups", ()):
        for source in group.get("SourceSegments", ()):
            yield source["Id"], source.get("Version")


async def load_sources(
    connection: Connection, app_id: str, criteria: Mapping[str, Any]
) -> dict[Reference, StoredSegment]:
    """All segments that a document names, and that those name, and so on; what is not there is left out.

    Raises:
        BadRequestException: when they are too many.
    """
    found: dict[Reference, StoredSegment] = {}
    wanted = set(references_of(criteria))
    asked: set[Reference] = set()
    while wanted:
        asked |= wanted
        if len(asked) > SOURCES_MAX:
            raise BadRequestException(f"SourceSegments: a segment rests on at most {SOURCES_MAX} others")
        loaded = await load_references(connection, app_id, sorted(wanted, key=str))
        for segment in loaded:
            found[segment.segment_id, segment.version] = segment
            if segment.version == segment.latest_version:
                found[segment.segment_id, None] = segment
        wanted = {reference for segment in loaded for reference in references_of(segment.criteria)} - asked
    return found


def tree_of(segment: StoredSegment, sources: Sources, now: datetime) -> Node:
    """Everything a segment asks of an endpoint.

    Raises:
        BadRequestException: for a source that is gone, or leads back to where it came from, or too many of them.
    """
    return simplified(Expansion(sources, now).segment("", segment, ()))


def simplified(node: Node) -> Node:
    """The same with fewer words: combinations of one part, and parts that everyone meets, left out."""
    if not isinstance(node, AllOf | AnyOf | NoneOf):
        return node
    parts = tuple(simplified(part) for part in node.parts)
    if isinstance(node, NoneOf):
        return dataclasses.replace(node, parts=parts)
    if isinstance(node, AnyOf):
        everyone = next((part for part in parts if isinstance(part, AllOf) and not part.parts), None)
        return everyone or (parts[0] if len(parts) == 1 else dataclasses.replace(node, parts=parts))
    flat = tuple(part for one in parts for part in (one.parts if isinstance(one, AllOf) and not one.label else (one,)))
    return flat[0] if len(flat) == 1 and not node.label else dataclasses.replace(node, parts=flat)


class Expansion:
    """Puts trees in the place of references, and counts them: shared sources could multiply without end."""

    def __init__(self, sources: Sources, now: datetime) -> None:
        self.sources = sources
        self.now = now
        self.count = 0

    def segment(self, path: str, segment: StoredSegment, trail: tuple[tuple[str, int], ...]) -> Node:
        """One segment's tree, reached by way of the versions of the trail."""
        here = (segment.segment_id, segment.version)
        if here in trail:
            raise BadRequestException(f"{path}: segment {segment.segment_id} leads back to itself")
        if segment.member_version is not None:
            return IsMember(path, segment.segment_id, segment.member_version, segment.name, segment.has_users)
        return self.node(read_criteria(segment.criteria, self.now), (*trail, here))

    def node(self, node: Node, trail: tuple[tuple[str, int], ...]) -> Node:
        """The node with what it refers to in place."""
        if isinstance(node, ReferenceNode):
            return self.reference(node, trail)
        if isinstance(node, AllOf | AnyOf | NoneOf):
            return dataclasses.replace(node, parts=tuple(self.node(part, trail) for part in node.parts))
        return node

    def reference(self, node: ReferenceNode, trail: tuple[tuple[str, int], ...]) -> Node:
        """The tree of a source segment."""
        self.count += 1
        if self.count > SOURCES_MAX:
            raise BadRequestException(f"{node.path}: a segment rests on at most {SOURCES_MAX} others")
        source = self.sources.get((node.segment_id, node.version))
        if source is None:
            version = "" if node.version is None else f" version {node.version}"
            raise BadRequestException(f"{node.path}: there is no segment {node.segment_id}{version}")
        label = f"segment {source.name!r} ({source.segment_id}) version {source.version}"
        return AllOf(node.path, (self.segment(node.path, source, trail),), label)


def check_sources(criteria: Mapping[str, Any], sources: Sources) -> None:
    """A group rests on any number of dimensional segments, or on one imported segment alone (Pinpoint's model).

    Raises:
        BadRequestException: naming the group.
    """
    for index, group in enumerate(criteria.get("SegmentGroups", {}).get("Groups", ())):
        given = [sources.get((one["Id"], one.get("Version"))) for one in group.get("SourceSegments", ())]
        if len(given) > 1 and any(source is not None and source.is_imported for source in given):
            raise BadRequestException(
                f"SegmentGroups.Groups[{index}].SourceSegments: an imported segment must be a group's only source"
            )
