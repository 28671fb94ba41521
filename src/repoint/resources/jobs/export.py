"""An export: a snapshot of endpoints as gzip JSON lines, in parts, as GetEndpoint shows them.

PostgreSQL writes the JSON: one COPY of one statement in one REPEATABLE READ transaction, so that an export of millions
is of one moment and takes no more memory than a part's buffer. Coordinates keep all their digits, unlike GetEndpoint's,
so that an export imported again loses nothing.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator

from psycopg import sql

from repoint.bindings.storage import Place, Storage, parse_url
from repoint.db import Connection, allow_scans
from repoint.db.bulk import BulkDatabase
from repoint.resources.call import Server
from repoint.resources.jobs import store
from repoint.resources.segments.audience import load_condition
from repoint.resources.segments.compile import Condition
from repoint.resources.segments.store import load_segment
from repoint.wire.exceptions import NotFoundException
from repoint.work import queue

PART_BYTES = 128 * 1024 * 1024
BLOCK_BYTES = 1024 * 1024
PROGRESS_ROWS = 50_000
COMPRESSION = 3


class _StoppingError(Exception):
    """The worker is to stop; the export begins again elsewhere."""


async def export(server: Server, bulk: BulkDatabase, storage: Storage, job: store.Job, stopping: asyncio.Event) -> None:
    """Write all parts, then say so.

    Raises:
        StorageError: when the store refuses.
        NotFoundException: when the segment is gone.
    """
    place = parse_url(job.definition["S3UrlPrefix"])
    folder = place.key if not place.key or place.key.endswith("/") else f"{place.key}/"
    prefix = Place(place.bucket, f"{folder}{job.job_id}_part-")
    await storage.forget_unfinished(prefix)
    await _forget_parts(storage, prefix, first=0)
    try:
        async with bulk.connection() as connection:
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                parts, rows = await _write_parts(
                    server, storage, prefix, lines(server, connection, job, stopping), job.job_id
                )
            finally:
                await connection.execute("ROLLBACK")
    except _StoppingError:
        await server.db.atomically(lambda one: queue.defer(one, "export", [{"job_id": job.job_id}]))
        return
    await _forget_parts(storage, prefix, first=parts)

    async def finish(one: Connection) -> None:
        await store.set_export_progress(one, job.job_id, rows=rows, parts=parts, is_complete=True)
        await store.complete(one, job.job_id, "COMPLETED", server.clock())

    await server.db.atomically(finish)


async def lines(
    server: Server, connection: Connection, job: store.Job, stopping: asyncio.Event
) -> AsyncIterator[bytes]:
    """The endpoints' lines of JSON; COPY hands over one row at a time."""
    condition = await wanted(server, connection, job)
    await allow_scans(connection)
    parameters = {"app_id": job.app_id, **condition.parameters}
    async with connection.cursor() as cursor, cursor.copy(selection(condition), parameters) as copy:
        async for row in copy:
            if stopping.is_set():
                raise _StoppingError
            yield bytes(row)


async def wanted(server: Server, connection: Connection, job: store.Job) -> Condition:
    """Which endpoints the job is for: all, or those of a segment as it is at this moment.

    Raises:
        NotFoundException: when the segment, or that version of it, is gone.
        BadRequestException: when it rests on a segment that is gone.
    """
    if job.segment_id is None:
        return Condition(sql.Composed([sql.SQL("true")]), {})
    version = job.definition.get("SegmentVersion")
    segment = await load_segment(server.db, (job.app_id, job.segment_id, version))
    if segment is None:
        raise NotFoundException(f"there is no segment {job.segment_id}, or no version {version} of it")
    return await load_condition(connection, segment, server.clock())


def selection(condition: Condition) -> sql.Composed:
    """COPY of what the job is for.

    COPY's CSV form with a quote and a delimiter that JSON cannot contain leaves the lines as they are.
    """
    return sql.SQL(
        """COPY (
            SELECT jsonb_strip_nulls(jsonb_build_object(
                'Id', e.given_id, 'ApplicationId', e.app_id, 'Address', e.address, 'ChannelType', e.channel_type,
                'Attributes', e.attributes, 'CohortId', e.cohort_id::text,
                'CreationDate', to_char(e.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                'Demographic', e.demographic,
                'EffectiveDate', to_char(e.effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                'EndpointStatus', CASE WHEN e.is_active THEN 'ACTIVE' ELSE 'INACTIVE' END,
                'Location', e.location, 'Metrics', e.metrics,
                'OptOut', CASE WHEN e.is_opted_out THEN 'ALL' ELSE 'NONE' END, 'RequestId', e.request_id,
                'User', jsonb_build_object('UserId', e.user_id, 'UserAttributes', e.user_attributes)))
            FROM endpoint AS e WHERE e.app_id = %(app_id)s AND {}
        ) TO STDOUT (FORMAT csv, DELIMITER E'\\x02', QUOTE E'\\x01')"""
    ).format(condition.text)


async def _write_parts(
    server: Server, storage: Storage, prefix: Place, rows: AsyncIterator[bytes], job_id: str
) -> tuple[int, int]:
    """Write parts until the rows end; returns how many parts and rows there are."""
    part, done = 0, 0
    is_more = True
    while is_more:
        place = Place(prefix.bucket, f"{prefix.key}{part:05}.gz")
        packer = zlib.compressobj(COMPRESSION, wbits=31)
        written, block, is_more = 0, bytearray(), False
        async with storage.write(place) as writer:
            async for row in rows:
                block += row
                done += 1
                if done % PROGRESS_ROWS == 0:
                    await server.db.atomically(
                        lambda one, rows=done, parts=part: store.set_export_progress(  # type: ignore[misc]
                            one, job_id, rows=rows, parts=parts, is_complete=False
                        )
                    )
                if len(block) >= BLOCK_BYTES:
                    packed = await asyncio.to_thread(packer.compress, bytes(block))
                    block.clear()
                    written += len(packed)
                    await writer.write(packed)
                    if written >= PART_BYTES:
                        is_more = True
                        break
            await writer.write(await asyncio.to_thread(_finish, packer, bytes(block)))
        part += 1
    return part, done


def _finish(packer: "zlib._Compress", block: bytes) -> bytes:
    return packer.compress(block) + packer.flush()


async def _forget_parts(storage: Storage, prefix: Place, *, first: int) -> None:
    """Remove parts, from this number on: they are of another attempt, and of another moment."""
    for one in await storage.find(Place(prefix.bucket, prefix.key)):
        number = one.key.removeprefix(prefix.key).removesuffix(".gz")
        if number.isdigit() and int(number) >= first:
            await storage.delete(Place(prefix.bucket, one.key))
