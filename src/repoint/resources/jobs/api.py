"""The eight operations on import and export jobs."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from repoint.bindings.storage import StorageUrlError, parse_url
from repoint.clock import iso8601
from repoint.db import Connection
from repoint.resources.apps import require_app
from repoint.resources.call import Call, new_id, page_of
from repoint.resources.jobs import store
from repoint.resources.segments.store import load_segment
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException, NotFoundException, TooManyRequestsException
from repoint.wire.paging import split_page
from repoint.work import queue

Also = Callable[[Connection, store.Job], Awaitable[None]]


async def create_import_job(call: Call, request: shapes.CreateImportJobRequest) -> shapes.ImportJobResponse:
    """Begin an import; workers do it behind the reply."""
    app = await require_app(call, request["ApplicationId"])
    definition = cast("dict[str, Any]", request["ImportJobRequest"])
    job = await create_import(call, app.app_id, definition)
    return cast("shapes.ImportJobResponse", _document(job, []))


async def create_import(
    call: Call, app_id: str, definition: dict[str, Any], *, also: Also | None = None, campaign_id: str | None = None
) -> store.Job:
    """An import job, checked and on the queue; `also` is done in the same transaction.

    With `campaign_id`, a copy of that campaign starts on the segment that is defined.

    Raises:
        BadRequestException: for a definition that asks for nothing, or for what cannot be.
        NotFoundException: for a segment that is not there.
        TooManyRequestsException: when as many are running as may.
    """
    _check_url("S3Url", definition["S3Url"])
    if definition.get("SegmentId"):
        await _check_imported(call, app_id, definition["SegmentId"])
    defines = definition.get("DefineSegment", bool(definition.get("SegmentId")))
    if not definition.get("RegisterEndpoints", True) and not defines:
        raise BadRequestException("RegisterEndpoints, DefineSegment: at least one of them must be true")
    if not defines and (definition.get("SegmentId") or definition.get("SegmentName")):
        raise BadRequestException("DefineSegment: must be true where SegmentId or SegmentName is given")
    segment_id = definition.get("SegmentId") or (new_id() if defines else None)
    job = replace(_new(call, app_id, "IMPORT", definition, segment_id), campaign_id=campaign_id)
    await _enqueue(call, job, "begin_import", also)
    return job


async def create_export_job(call: Call, request: shapes.CreateExportJobRequest) -> shapes.ExportJobResponse:
    """Begin an export; a worker does it behind the reply."""
    app = await require_app(call, request["ApplicationId"])
    definition = cast("dict[str, Any]", request["ExportJobRequest"])
    job = await create_export(call, app.app_id, definition)
    return cast("shapes.ExportJobResponse", _document(job, []))


async def create_export(call: Call, app_id: str, definition: dict[str, Any]) -> store.Job:
    """An export job, checked and on the queue.

    Raises:
        BadRequestException: for a definition that cannot be.
        NotFoundException: for a segment, or a version of it, that is not there.
        TooManyRequestsException: when as many are running as may.
    """
    _check_url("S3UrlPrefix", definition["S3UrlPrefix"])
    segment_id, version = definition.get("SegmentId"), definition.get("SegmentVersion")
    if segment_id is None and version is not None:
        raise BadRequestException("SegmentVersion: needs a SegmentId")
    if segment_id is not None and await load_segment(call.db, (app_id, segment_id, version)) is None:
        raise NotFoundException("Resource not found")
    job = _new(call, app_id, "EXPORT", definition, segment_id)
    await _enqueue(call, job, "export", None)
    return job


def _check_url(member: str, url: str) -> None:
    try:
        parse_url(url)
    except StorageUrlError as error:
        raise BadRequestException(f"{member}: {error}") from None


async def _check_imported(call: Call, app_id: str, segment_id: str) -> None:
    segment = await load_segment(call.db, (app_id, segment_id, None))
    if segment is None:
        raise NotFoundException("Resource not found")
    if not segment.is_imported:
        raise BadRequestException("SegmentId: names a segment that was not imported")


def _new(call: Call, app_id: str, job_type: str, definition: dict[str, Any], segment_id: str | None) -> store.Job:
    return store.Job(new_id(), app_id, job_type, "CREATED", definition, call.now(), None, segment_id, None, None)


async def _enqueue(call: Call, job: store.Job, task: str, also: Also | None) -> None:
    """The job and its first task, in one commit.

    Raises:
        TooManyRequestsException: when as many are running as may.
    """

    async def create(connection: Connection) -> None:
        if await store.running(connection, job.job_type) >= store.RUNNING_MAX:
            raise TooManyRequestsException(f"{store.RUNNING_MAX} jobs of this type are running; try again later")
        await store.insert(connection, job)
        await queue.defer(connection, task, [{"job_id": job.job_id}])
        if also is not None:
            await also(connection, job)

    await call.db.atomically(create)


async def get_import_job(call: Call, request: shapes.GetImportJobRequest) -> shapes.ImportJobResponse:
    """One import job."""
    return cast("shapes.ImportJobResponse", await _get(call, request["ApplicationId"], request["JobId"], "IMPORT"))


async def get_export_job(call: Call, request: shapes.GetExportJobRequest) -> shapes.ExportJobResponse:
    """One export job."""
    return cast("shapes.ExportJobResponse", await _get(call, request["ApplicationId"], request["JobId"], "EXPORT"))


async def get_import_jobs(call: Call, request: shapes.GetImportJobsRequest) -> shapes.ImportJobsResponse:
    """An application's import jobs, the newest first."""
    return cast("shapes.ImportJobsResponse", await _list(call, cast("Mapping[str, Any]", request), "IMPORT"))


async def get_export_jobs(call: Call, request: shapes.GetExportJobsRequest) -> shapes.ExportJobsResponse:
    """An application's export jobs, the newest first."""
    return cast("shapes.ExportJobsResponse", await _list(call, cast("Mapping[str, Any]", request), "EXPORT"))


async def get_segment_import_jobs(call: Call, request: shapes.GetSegmentImportJobsRequest) -> shapes.ImportJobsResponse:
    """The import jobs that made or changed a segment, the newest first."""
    return cast("shapes.ImportJobsResponse", await _list(call, cast("Mapping[str, Any]", request), "IMPORT"))


async def get_segment_export_jobs(call: Call, request: shapes.GetSegmentExportJobsRequest) -> shapes.ExportJobsResponse:
    """The export jobs of a segment, the newest first."""
    return cast("shapes.ExportJobsResponse", await _list(call, cast("Mapping[str, Any]", request), "EXPORT"))


async def _get(call: Call, app_id: str, job_id: str, job_type: str) -> dict[str, Any]:
    app = await require_app(call, app_id)
    job = await store.get(call.db, job_id)
    if job is None or job.app_id != app.app_id or job.job_type != job_type:
        raise NotFoundException("Resource not found")
    return _document(job, await store.pieces_of(call.db, [job_id]))


async def _list(call: Call, request: Mapping[str, Any], job_type: str) -> dict[str, Any]:
    app = await require_app(call, request["ApplicationId"])
    segment_id = request.get("SegmentId")
    if segment_id is not None and await load_segment(call.db, (app.app_id, segment_id, None)) is None:
        raise NotFoundException("Resource not found")
    page = page_of(request.get("PageSize"), request.get("Token"), f"{job_type}/{app.app_id}/{segment_id or ''}")
    if page.after is not None and (len(page.after) != 1 or not isinstance(page.after[0], str)):
        raise BadRequestException("token: was not given out by a previous page")
    found = await store.list_jobs(call.db, app.app_id, job_type, segment_id, before=page.after, limit=page.size + 1)
    jobs, token = split_page(found, page, lambda job: [job.job_id])
    pieces = await store.pieces_of(call.db, [job.job_id for job in jobs])
    items = [_document(job, [piece for piece in pieces if piece.job_id == job.job_id]) for job in jobs]
    return {"Item": items, **({"NextToken": token} if token else {})}


def _document(job: store.Job, pieces: list[store.Piece]) -> dict[str, Any]:
    """A job as the API shows it; TotalProcessed counts all rows that were read, the failed among them."""
    document: dict[str, Any] = {
        "ApplicationId": job.app_id,
        "Id": job.job_id,
        "Type": job.job_type,
        "JobStatus": job.status,
        "CreationDate": iso8601(job.created_at),
        "Definition": job.definition,
    }
    if job.status != "CREATED":
        failures = failures_of(job, pieces)
        document |= {
            "TotalPieces": len(pieces),
            "CompletedPieces": sum(piece.status == "COMPLETED" for piece in pieces),
            "FailedPieces": sum(piece.status == "FAILED" for piece in pieces),
            "TotalProcessed": sum(piece.processed for piece in pieces),
            "TotalFailures": sum(piece.failed for piece in pieces),
            "Failures": failures[: store.FAILURES_MAX],
        }
    if job.completed_at is not None:
        document["CompletionDate"] = iso8601(job.completed_at)
    return document


def failures_of(job: store.Job, pieces: list[store.Piece]) -> list[str]:
    """What failed, in the order of the files: whole pieces, and lines by their number in the file.

    A piece knows its own lines, a gzip file's those of the file. How many came before a piece in its file is known when
    the pieces before it are done; until then its lines are told by the byte it begins at.
    """
    failures = [job.reason] if job.reason else []
    before: dict[str, int | None] = {}
    for piece in pieces:
        lines = 0 if piece.is_gzip else before.get(piece.key, 0)
        if piece.reason:
            failures.append(f"{piece.key}: {piece.reason}")
        for number, reason in piece.failures:
            where = f"line {lines + number}" if lines is not None else f"byte {piece.begins_at} on, line {number}"
            failures.append(f"{piece.key}: {where}: {reason}")
        before[piece.key] = lines + piece.lines if lines is not None and piece.status == "COMPLETED" else None
    return failures
