"""The job tables: jobs, their pieces, and what has become of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from repoint.db import Connection, Database

FAILURES_MAX = 100
RUNNING_MAX = 10
Failure = tuple[int, str]
"""A line of a piece, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Job:
    """A stored job; `definition` is the request, `campaign_id` the campaign a copy of which follows an import."""

    job_id: str
    app_id: str
    job_type: str
    status: str
    definition: dict[str, Any]
    created_at: datetime
    completed_at: datetime | None
    segment_id: str | None
    member_version: int | None
    reason: str | None
    campaign_id: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file; offsets are bytes (of a gzip file after decompression, but for its end).

    A gzip file's pieces share it, chunk by chunk; each begins where its first chunk does, or a line before.
    """

    job_id: str
    piece: int
    key: str
    e_tag: str | None
    file_bytes: int
    begins_at: int
    ends_at: int
    is_gzip: bool
    status: str
    read_to: int
    lines: int
    processed: int
    failed: int
    failures: list[Failure]
    reason: str | None


async def running(connection: Connection, job_type: str) -> int:
    """How many jobs of this type are under way, counted by one caller at a time."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"jobs/{job_type}"])
    cursor = await connection.execute(
        "SELECT count(*) FROM job WHERE job_type = %s AND completed_at IS NULL", [job_type]
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def insert(connection: Connection, job: Job) -> None:
    """A new job."""
    await connection.execute(
        """INSERT INTO job (job_id, app_id, job_type, status, definition, created_at, segment_id, campaign_id)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
        [
            job.job_id,
            job.app_id,
            job.job_type,
            job.status,
            Jsonb(job.definition),
            job.created_at,
            job.segment_id,
            job.campaign_id,
        ],
    )


async def get(db: Database, job_id: str) -> Job | None:
    """One job."""
    row = await db.fetch_one(
        """SELECT job_id, app_id, job_type, status, definition, created_at, completed_at, segment_id, member_version,
                  reason, campaign_id
           FROM job WHERE job_id = %s""",
        [job_id],
    )
    return Job(*row) if row else None


async def list_jobs(
    db: Database, app_id: str, job_type: str, segment_id: str | None, *, before: Sequence[Any] | None, limit: int
) -> list[Job]:
    """Jobs of an application, or of one of its segments, the newest first, after the one `before` names by its id."""
    rows = await db.fetch_all(
        """SELECT job_id, app_id, job_type, status, definition, created_at, completed_at, segment_id, member_version,
                  reason, campaign_id
           FROM job WHERE app_id = %s AND job_type = %s AND (%s::text IS NULL OR segment_id = %s)
             AND (%s::text IS NULL OR (created_at, job_id) < (
                 SELECT created_at, job_id FROM job last WHERE last.job_id = %s))
           ORDER BY created_at DESC, job_id DESC LIMIT %s""",
        [app_id, job_type, segment_id, segment_id, *([before[0]] * 2 if before else [None, None]), limit],
    )
    return [Job(*row) for row in rows]


async def pieces_of(db: Database, job_ids: Sequence[str]) -> list[Piece]:
    """All pieces of these jobs, in order."""
    rows = await db.fetch_all(
        """SELECT job_id, piece, key, e_tag, file_bytes, begins_at, ends_at, is_gzip, status, read_to, lines,
                  processed, failed, failures, reason
           FROM job_piece WHERE job_id = ANY(%s) ORDER BY job_id, piece""",
        [list(job_ids)],
    )
    return [Piece(*row) for row in rows]


async def get_piece(db: Database, job_id: str, piece: int) -> Piece | None:
    """One piece."""
    row = await db.fetch_one(
        """SELECT job_id, piece, key, e_tag, file_bytes, begins_at, ends_at, is_gzip, status, read_to, lines,
                  processed, failed, failures, reason
           FROM job_piece WHERE job_id = %s AND piece = %s""",
        [job_id, piece],
    )
    return Piece(*row) if row else None


async def set_status(db: Database, job_id: str, status: str, *, of: Sequence[str]) -> bool:
    """Move a job from one of these states to another; False if it was in none of them."""
    return bool(
        await db.execute(
            "UPDATE job SET status = %s WHERE job_id = %s AND status = ANY(%s)", [status, job_id, list(of)]
        )
    )


async def begin(connection: Connection, job: Job, pieces: Sequence[Piece], member_version: int | None) -> bool:
    """The job's pieces are known: it is being processed; False when another process has come here before."""
    cursor = await connection.execute(
        """UPDATE job SET status = 'PROCESSING', member_version = %s, segment_id = %s
           WHERE job_id = %s AND status = 'INITIALIZING'""",
        [member_version, job.segment_id, job.job_id],
    )
    if cursor.rowcount == 0:
        return False
    async with connection.cursor() as writer:
        await writer.executemany(
            """INSERT INTO job_piece (job_id, piece, key, e_tag, file_bytes, begins_at, ends_at, is_gzip, status,
                                      read_to, reason)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
            [
                (
                    one.job_id,
                    one.piece,
                    one.key,
                    one.e_tag,
                    one.file_bytes,
                    one.begins_at,
                    one.ends_at,
                    one.is_gzip,
                    one.status,
                    one.read_to,
                    one.reason,
                )
                for one in pieces
            ],
        )
    return True


async def advance(
    connection: Connection, piece: Piece, *, read_to: int, lines: int, processed: int, failures: Sequence[Failure]
) -> bool:
    """What a chunk adds to its piece; False when the piece is not where this chunk began, or is gone.

    Of the failures only as many are kept as the job shows.
    """
    kept = list(failures[: max(0, FAILURES_MAX - len(piece.failures))])
    cursor = await connection.execute(
        """UPDATE job_piece SET read_to = %s, lines = lines + %s, processed = processed + %s, failed = failed + %s,
               failures = failures || %s
           WHERE job_id = %s AND piece = %s AND read_to = %s AND status = 'WAITING'""",
        [read_to, lines, processed, len(failures), Jsonb(kept), piece.job_id, piece.piece, piece.read_to],
    )
    return cursor.rowcount == 1


async def settle_piece(connection: Connection, job_id: str, piece: int, status: str, reason: str | None) -> int:
    """A piece is done with, well or not; returns how many of its job's are not.

    Pieces of a job settle one at a time, so exactly one of them sees that it is the last.
    """
    await connection.execute("SELECT 1 FROM job WHERE job_id = %s FOR NO KEY UPDATE", [job_id])
    await connection.execute(
        "UPDATE job_piece SET status = %s, reason = %s WHERE job_id = %s AND piece = %s AND status = 'WAITING'",
        [status, reason, job_id, piece],
    )
    cursor = await connection.execute(
        "SELECT count(*) FROM job_piece WHERE job_id = %s AND status = 'WAITING'", [job_id]
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def complete(connection: Connection, job_id: str, status: str, now: datetime, reason: str | None = None) -> bool:
    """A job's end; False when it had ended, or is gone."""
    cursor = await connection.execute(
        """UPDATE job SET status = %s, completed_at = %s, reason = coalesce(reason, %s)
           WHERE job_id = %s AND completed_at IS NULL""",
        [status, now, reason, job_id],
    )
    return cursor.rowcount == 1


async def note(connection: Connection, job_id: str, reason: str) -> None:
    """What is to be told of a job that has ended, first among its failures."""
    await connection.execute("UPDATE job SET reason = %s WHERE job_id = %s", [reason, job_id])


async def set_export_progress(connection: Connection, job_id: str, *, rows: int, parts: int, is_complete: bool) -> None:
    """How far an export is: one row of job_piece for each part that is written, the endpoints counted in the first."""
    await connection.execute("DELETE FROM job_piece WHERE job_id = %s", [job_id])
    await connection.execute(
        """INSERT INTO job_piece (job_id, piece, key, file_bytes, begins_at, ends_at, is_gzip, status, read_to,
                                  processed)
           SELECT %s, part, '', 0, 0, 0, true, CASE WHEN part < %s THEN 'COMPLETED' ELSE 'WAITING' END, 0,
               CASE part WHEN 0 THEN %s::bigint ELSE 0 END
           FROM generate_series(0, %s) AS part""",
        [job_id, parts, rows, parts - 1 if is_complete else parts],
    )
