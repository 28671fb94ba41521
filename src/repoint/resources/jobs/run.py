"""An import as it runs: begun, its pieces done by whichever workers are free, finished by whoever does the last.

Every step may be done again: what has been done stands in the job's own rows, changed in the transaction that did it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from repoint.bindings.storage import Storage, StorageError, parse_url
from repoint.db import Connection, DatabaseUnavailableError
from repoint.db.bulk import BulkDatabase
from repoint.resources.apps import load_app
from repoint.resources.call import Call, Server
from repoint.resources.endpoints import meanwhile
from repoint.resources.jobs import members, store
from repoint.resources.jobs.csv_rows import CsvTable, read_header
from repoint.resources.jobs.export import export
from repoint.resources.jobs.files import Chunk, chunks, first_line, plan_pieces
from repoint.resources.jobs.load import Import, MovedOnError, load
from repoint.resources.jobs.rows import FileError, Validate
from repoint.resources.segments import store as segments
from repoint.wire.exceptions import WireError
from repoint.work import queue

logger = logging.getLogger(__name__)

CHUNK_ATTEMPTS_MAX = 6
RETRY_SECONDS = 0.1
# Starts a copy of a job's campaign on the segment its import made, or says why it cannot.
StartCampaign = Callable[[Connection, store.Job, segments.StoredSegment, datetime], Awaitable[str | None]]
BEGINNING = ("CREATED", "PREPARING_FOR_INITIALIZATION", "INITIALIZING")


@dataclass(frozen=True, slots=True)
class Runner:
    """What runs import and export jobs: the functions a worker's queue calls by name.

    Jobs know nothing of campaigns: `start_campaign` does.
    """

    server: Server
    bulk: BulkDatabase
    storage: Storage
    validate: Validate
    start_campaign: StartCampaign
    stopping: asyncio.Event

    def jobs(self) -> Mapping[str, queue.Job]:
        """The functions, by the names they are deferred by."""
        return {
            "begin_import": self.begin_import,
            "import_piece": self.import_piece,
            "finish_import": self.finish_import,
            "export": self.export,
        }

    async def give_up(self, name: str, arguments: Mapping[str, Any], error: Exception) -> None:
        """What has failed too often fails its piece, or its job."""
        reason = f"given up: {error}" if str(error) else "given up: an internal error, see the log"
        if name == "import_piece":
            await self._settle(arguments["job_id"], arguments["piece"], "FAILED", reason)
        else:
            await self._fail(arguments["job_id"], reason)

    async def begin_import(self, job_id: str) -> None:
        """Find the files, divide them into pieces, put those on the queue."""
        job = await store.get(self.server.db, job_id)
        if job is None:
            return
        await store.set_status(self.server.db, job_id, "PREPARING_FOR_INITIALIZATION", of=["CREATED"])
        await store.set_status(self.server.db, job_id, "INITIALIZING", of=BEGINNING)
        await meanwhile.wait_for_writers(self.server.db, job.app_id)  # from here on, they know of this import
        try:
            place = parse_url(job.definition["S3Url"])
            pieces = await plan_pieces(self.storage, place, job.definition["Format"], job_id)
        except FileError as error:
            await self._fail(job_id, str(error))
            return
        except StorageError as error:
            if not error.is_permanent:
                raise
            await self._fail(job_id, str(error))
            return
        try:
            await self.server.db.atomically(lambda connection: self._start(connection, job, pieces))
        except WireError as error:  # the segment, or the application, has been deleted meanwhile
            await self._fail(job_id, error.message)

    async def _start(self, connection: Connection, job: store.Job, pieces: list[store.Piece]) -> None:
        version = await _reserve(connection, job)
        if not await store.begin(connection, job, pieces, version):
            return
        todo = [{"job_id": job.job_id, "piece": one.piece} for one in pieces if one.status == "WAITING"]
        if todo:
            await queue.defer(connection, "import_piece", todo)
        else:
            await queue.defer(connection, "finish_import", [{"job_id": job.job_id}])

    async def import_piece(self, job_id: str, piece: int) -> None:
        """Do what is left of a piece, chunk by chunk; hand it back when the worker is to stop."""
        job = await store.get(self.server.db, job_id)
        found = await store.get_piece(self.server.db, job_id, piece)
        if job is None or found is None or found.status != "WAITING":
            return
        try:
            await self._import(job, found)
        except MovedOnError:
            return
        except FileError as error:
            await self._settle(job_id, piece, "FAILED", str(error))
        except StorageError as error:
            if not error.is_permanent:
                raise
            await self._settle(job_id, piece, "FAILED", str(error))

    async def _import(self, job: store.Job, piece: store.Piece) -> None:
        bucket = parse_url(job.definition["S3Url"]).bucket
        one = await self._context(job, piece, bucket)
        async with contextlib.aclosing(_ahead(chunks(self.storage, bucket, piece))) as content:
            async for chunk in content:
                await self._load(one, piece, chunk)
                current = await store.get_piece(self.server.db, job.job_id, piece.piece)
                if current is None:
                    return
                piece = current
                if self.stopping.is_set():
                    await self._hand_back(piece)
                    return
        await self._settle(job.job_id, piece.piece, "COMPLETED", None)

    async def _hand_back(self, piece: store.Piece) -> None:
        """Put what is left of a piece on the queue again, for another worker."""
        arguments = {"job_id": piece.job_id, "piece": piece.piece}
        await self.server.db.atomically(lambda connection: queue.defer(connection, "import_piece", [arguments]))

    async def _context(self, job: store.Job, piece: store.Piece, bucket: str) -> Import:
        app = await load_app(self.server.db, job.app_id)
        if app is None:
            raise MovedOnError
        table = None
        if job.definition["Format"] == "CSV":
            table = CsvTable(read_header(await first_line(self.storage, bucket, piece)))
        registers = job.definition.get("RegisterEndpoints", True)
        if table is not None and table.is_users and job.segment_id is None:
            raise FileError("names users alone, which is for segments, and DefineSegment is false")
        segment = None
        if job.segment_id is not None and job.member_version is not None:
            segment = members.MemberSet(job.app_id, job.segment_id, job.member_version)
        call = Call(self.server, app.region)
        return Import(call, self.bulk, self.validate, job.app_id, registers, segment, table)

    async def _load(self, one: Import, piece: store.Piece, chunk: Chunk) -> None:
        """One chunk; again, when it lost a deadlock or its connection.

        A chunk writes rows in no order that requests know: beside enough of them it would lose each time. So it is
        alone the next.
        """
        for attempt in range(1, CHUNK_ATTEMPTS_MAX + 1):
            try:
                await load(one, piece, chunk, is_alone=attempt > 1)
            except DatabaseUnavailableError:
                if attempt == CHUNK_ATTEMPTS_MAX:
                    raise
                await asyncio.sleep(RETRY_SECONDS * 2**attempt)
            else:
                return

    async def _settle(self, job_id: str, piece: int, status: str, reason: str | None) -> None:
        async def settle(connection: Connection) -> None:
            if await store.settle_piece(connection, job_id, piece, status, reason) == 0:
                await queue.defer(connection, "finish_import", [{"job_id": job_id}])

        await self.server.db.atomically(settle)

    async def finish_import(self, job_id: str) -> None:
        """Settle what requests have written meanwhile, then end."""
        job = await store.get(self.server.db, job_id)
        if job is None:
            return
        if job.completed_at is None:
            await meanwhile.settle(self.server.db, job.app_id)
            await self._finish(job)
        await meanwhile.forget(self.server.db, job.app_id)

    async def _finish(self, job: store.Job) -> None:
        """Make the segment, start the campaign that waits for it, and say how the import ended: one transaction."""
        pieces = await store.pieces_of(self.server.db, [job.job_id])
        if any(piece.status == "FAILED" for piece in pieces):
            await self._fail(job.job_id, None)
            return
        await store.set_status(self.server.db, job.job_id, "COMPLETING", of=["PROCESSING"])
        try:
            async with self.server.db.settings_change() as connection:
                if await store.complete(connection, job.job_id, "COMPLETED", self.server.clock()) and job.segment_id:
                    segment = await self._define_segment(connection, job, pieces)
                    if job.campaign_id is not None:
                        await self._start_campaign(connection, job, segment)
        except WireError as error:  # the segment has been deleted meanwhile
            await self._fail(job.job_id, error.message)

    async def _start_campaign(self, connection: Connection, job: store.Job, segment: segments.StoredSegment) -> None:
        problem = await self.start_campaign(connection, job, segment, self.server.clock())
        if problem:
            await store.note(connection, job.job_id, f"no campaign was started: {problem}")

    async def _define_segment(
        self, connection: Connection, job: store.Job, pieces: list[store.Piece]
    ) -> segments.StoredSegment:
        assert job.segment_id is not None
        assert job.member_version is not None
        to = members.MemberSet(job.app_id, job.segment_id, job.member_version)
        given = job.definition
        definition = {
            "ChannelCounts": await members.count_channels(connection, to),
            "ExternalId": given.get("ExternalId", ""),
            "Format": given["Format"],
            "RoleArn": given["RoleArn"],
            "S3Url": given["S3Url"],
            "Size": sum(piece.processed - piece.failed for piece in pieces),
        }
        now = self.server.clock()
        if given.get("SegmentId"):
            return await segments.add_version(
                connection, job.app_id, job.segment_id, definition=definition, member_version=to.version, now=now
            )
        name = given.get("SegmentName", "")
        return await segments.create_imported(
            connection, job.app_id, job.segment_id, name=name, definition=definition, now=now
        )

    async def _fail(self, job_id: str, reason: str | None) -> None:
        """A job fails: what it has imported stays, what it was to define does not come to be."""
        job = await store.get(self.server.db, job_id)
        if job is None:
            return
        await store.set_status(self.server.db, job_id, "FAILING", of=[*BEGINNING, "PROCESSING", "COMPLETING"])
        async with self.bulk.connection() as connection, connection.transaction():
            ended = await store.complete(connection, job_id, "FAILED", self.server.clock(), reason)
            if ended and job.job_type == "IMPORT" and job.segment_id is not None and job.member_version is not None:
                await members.forget(connection, members.MemberSet(job.app_id, job.segment_id, job.member_version))
        if job.job_type == "IMPORT":
            await meanwhile.forget(self.server.db, job.app_id)

    async def export(self, job_id: str) -> None:
        """Do an export from its beginning: a snapshot does not outlive its worker."""
        job = await store.get(self.server.db, job_id)
        if job is None or job.completed_at is not None:
            return
        await store.set_status(self.server.db, job_id, "PROCESSING", of=BEGINNING)
        try:
            await export(self.server, self.bulk, self.storage, job, self.stopping)
        except StorageError as error:
            if not error.is_permanent:
                raise
            await self._fail(job_id, str(error))
        except WireError as error:
            await self._fail(job_id, error.message)


async def _reserve(connection: Connection, job: store.Job) -> int | None:
    """The number this import's members get: of the segment it makes (1), or of the one it adds a version to."""
    if job.segment_id is None:
        return None
    if job.definition.get("SegmentId"):
        return await segments.reserve_members(connection, job.app_id, job.segment_id)
    return 1


async def _ahead(source: AsyncIterator[Chunk]) -> AsyncGenerator[Chunk, None]:
    """The same chunks, the next being read while one is done."""

    async def following() -> Chunk | None:
        return await anext(source, None)

    reading = asyncio.create_task(following())
    try:
        while (chunk := await reading) is not None:
            reading = asyncio.create_task(following())
            yield chunk
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError, FileError, StorageError):
            await reading


async def run_until(runner: Runner, *, concurrency: int, lease_seconds: float) -> None:
    """Do what is on the queue, so many pieces at once, until the runner's `stopping` is set."""
    jobs = queue.Queue(runner.server.db.dsn, runner.jobs(), runner.give_up, lease_seconds=lease_seconds)
    await runner.bulk.open()
    try:
        await jobs.run(runner.stopping, concurrency=concurrency)
    finally:
        await runner.bulk.close()
