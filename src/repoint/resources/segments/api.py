"""The operations on segments; those on their import and export jobs are the jobs' own."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from repoint.clock import iso8601
from repoint.db import Connection
from repoint.resources import tags
from repoint.resources.apps import require_app
from repoint.resources.call import Call, new_id, page_of
from repoint.resources.segments import store
from repoint.resources.segments.compile import compile_segment
from repoint.resources.segments.sources import check_sources, load_sources
from repoint.resources.segments.store import StoredSegment
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException, NotFoundException
from repoint.wire.paging import split_page

NAME_CHARACTERS_MAX = 256


async def create_segment(call: Call, request: shapes.CreateSegmentRequest) -> shapes.SegmentResponse:
    """Create a dimensional segment; without Dimensions and SegmentGroups it is every endpoint."""
    app = await require_app(call, request["ApplicationId"])
    given = cast("Mapping[str, Any]", request["WriteSegmentRequest"])
    given_tags = given.get("tags", {})
    tags.check_tags(given_tags)
    segment_id = new_id()
    criteria = _criteria(given) or {}
    async with call.db.settings_change() as connection:
        segment = await store.create_dimensional(
            connection, app.app_id, segment_id, name=_name(given) or "", criteria=criteria, now=call.now()
        )
        await _check(call, connection, segment)
        if given_tags:
            await tags.replace_tags(connection, _arn(call, segment), given_tags)
    return _document(call, segment, given_tags)


async def update_segment(call: Call, request: shapes.UpdateSegmentRequest) -> shapes.SegmentResponse:
    """Make a new version; what is left out stays as it was. Tags are ignored, as AWS has done since May 2023."""
    app = await require_app(call, request["ApplicationId"])
    given = cast("Mapping[str, Any]", request["WriteSegmentRequest"])
    name, criteria = _name(given), _criteria(given)
    async with call.db.settings_change() as connection:
        latest = await store.lock_segment(connection, app.app_id, request["SegmentId"])
        if latest.is_imported and criteria is not None:
            raise BadRequestException("An imported segment has neither Dimensions nor SegmentGroups; it can be renamed")
        segment = dataclasses.replace(
            store.next_version(latest, call.now()),
            name=latest.name if name is None else name,
            criteria=latest.criteria if criteria is None else criteria,
        )
        await store.insert_version(connection, segment)
        await _check(call, connection, segment)
    return await _tagged(call, segment)


async def get_segment(call: Call, request: shapes.GetSegmentRequest) -> shapes.SegmentResponse:
    """A segment's latest version."""
    app = await require_app(call, request["ApplicationId"])
    return await _tagged(call, await require_segment(call, app.app_id, request["SegmentId"]))


async def get_segments(call: Call, request: shapes.GetSegmentsRequest) -> shapes.SegmentsResponse:
    """An application's segments in their latest versions, by id."""
    app = await require_app(call, request["ApplicationId"])
    page = page_of(request.get("PageSize"), request.get("Token"), f"segments/{app.app_id}")
    after = str(page.after[0]) if page.after else ""
    found = await store.list_segments(call.db, app.app_id, after=after, limit=page.size + 1)
    shown, token = split_page(found, page, lambda segment: [segment.segment_id])
    return await _listed(call, shown, token)


async def get_segment_version(call: Call, request: shapes.GetSegmentVersionRequest) -> shapes.SegmentResponse:
    """One of a segment's versions."""
    app = await require_app(call, request["ApplicationId"])
    text = request["Version"]
    if not (text.isascii() and text.isdigit()):
        raise BadRequestException("version: must be a number")
    version = min(int(text[:10]), store.VERSION_MAX)
    return await _tagged(call, await require_segment(call, app.app_id, request["SegmentId"], version))


async def get_segment_versions(call: Call, request: shapes.GetSegmentVersionsRequest) -> shapes.SegmentsResponse:
    """A segment's versions, newest first."""
    app = await require_app(call, request["ApplicationId"])
    await require_segment(call, app.app_id, request["SegmentId"])
    page = page_of(request.get("PageSize"), request.get("Token"), f"segments/{app.app_id}/{request['SegmentId']}")
    before = page.after[0] if page.after else store.VERSION_MAX
    if not isinstance(before, int) or not 0 <= before <= store.VERSION_MAX:
        raise BadRequestException("token: was not given out by a previous page")
    found = await store.list_versions(call.db, app.app_id, request["SegmentId"], before=before, limit=page.size + 1)
    shown, token = split_page(found, page, lambda segment: [segment.version])
    return await _listed(call, shown, token)


async def delete_segment(call: Call, request: shapes.DeleteSegmentRequest) -> shapes.SegmentResponse:
    """Delete a segment with all its versions. What rests on it cannot be used until it names another source."""
    app = await require_app(call, request["ApplicationId"])
    document = await get_segment(call, {"ApplicationId": app.app_id, "SegmentId": request["SegmentId"]})
    async with call.db.settings_change() as connection:
        latest = await store.lock_segment(connection, app.app_id, request["SegmentId"])
        await store.delete_segment(connection, app.app_id, latest.segment_id)
        await tags.delete_tags(connection, _arn(call, latest))
    return document


async def require_segment(call: Call, app_id: str, segment_id: str, version: int | None = None) -> StoredSegment:
    """A segment of an application, in one version or the latest.

    Raises:
        NotFoundException: when there is none.
    """
    segment = await call.db.cached(store.load_segment, (app_id, segment_id, version))
    if segment is None:
        raise NotFoundException("Resource not found")
    return segment


async def _check(call: Call, connection: Connection, segment: StoredSegment) -> None:
    """Refuse, before it is committed, what could not be evaluated."""
    sources = await load_sources(connection, segment.app_id, segment.criteria)
    if any(segment_id == segment.segment_id for segment_id, _ in sources):
        raise BadRequestException("SourceSegments: the segment would rest on itself")
    check_sources(segment.criteria, sources)
    compile_segment(segment, sources, call.now())


def _name(given: Mapping[str, Any]) -> str | None:
    name: str | None = given.get("Name")
    if name is not None and len(name) > NAME_CHARACTERS_MAX:
        raise BadRequestException(f"Name: must be at most {NAME_CHARACTERS_MAX} characters")
    return name


def _criteria(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the request says of who is in it; None: nothing."""
    criteria = {member: given[member] for member in ("Dimensions", "SegmentGroups") if member in given}
    if len(criteria) > 1:
        raise BadRequestException("Dimensions and SegmentGroups cannot be given together")
    return criteria or None


def _arn(call: Call, segment: StoredSegment) -> str:
    return call.arn(f"apps/{segment.app_id}/segments/{segment.segment_id}")


async def _tagged(call: Call, segment: StoredSegment) -> shapes.SegmentResponse:
    arn = _arn(call, segment)
    return _document(call, segment, (await tags.tags_of(call, [arn])).get(arn, {}))


async def _listed(call: Call, segments: list[StoredSegment], token: str | None) -> shapes.SegmentsResponse:
    found = await tags.tags_of(call, list({_arn(call, segment) for segment in segments}))
    items = [_document(call, segment, found.get(_arn(call, segment), {})) for segment in segments]
    answer: shapes.SegmentsResponse = {"Item": items}
    if token:
        answer["NextToken"] = token
    return answer


def _document(call: Call, segment: StoredSegment, segment_tags: dict[str, str]) -> shapes.SegmentResponse:
    document: dict[str, Any] = {
        "ApplicationId": segment.app_id,
        "Arn": _arn(call, segment),
        "CreationDate": iso8601(segment.created_at),
        "Id": segment.segment_id,
        "LastModifiedDate": iso8601(segment.modified_at),
        "Name": segment.name,
        "SegmentType": "IMPORT" if segment.is_imported else "DIMENSIONAL",
        "Version": segment.version,
        "tags": segment_tags,
        **segment.criteria,
    }
    if segment.import_definition is not None:
        document["ImportDefinition"] = segment.import_definition
    return cast("shapes.SegmentResponse", document)
