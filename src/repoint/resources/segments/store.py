"""The segment tables: definitions and their versions. Members of imported segments are written by whoever imports."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from repoint.db import Connection, Database
from repoint.wire.exceptions import BadRequestException, NotFoundException

VERSION_MAX = 2**31 - 1
Reference = tuple[str, int | None]
"""A segment's id, and the version meant; None is the latest."""


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """One version of a segment.

    `criteria` is {"Dimensions": …}, {"SegmentGroups": …} or {} (everyone). An imported segment has an
    `import_definition` (the model's SegmentImportResource) instead, and a `member_version`: the number its rows in
    segment_member and segment_user bear.
    """

    app_id: str
    segment_id: str
    version: int
    latest_version: int
    name: str
    criteria: dict[str, Any]
    import_definition: dict[str, Any] | None
    member_version: int | None
    created_at: datetime
    modified_at: datetime
    has_users: bool = False
    """Whether rows of segment_user, too, say who its members are."""

    @property
    def is_imported(self) -> bool:
        """Whether its members were imported, instead of being found by dimensions."""
        return self.import_definition is not None


async def load_segment(db: Database, key: tuple[str, str, int | None]) -> StoredSegment | None:
    """A segment's version by (app, segment, version or None for the latest); for `Database.cached`."""
    app_id, segment_id, version = key
    row = await db.fetch_one(
        """SELECT s.app_id, s.segment_id, v.version, s.latest_version, v.name, v.criteria, v.import_definition,
                  v.member_version, s.created_at, v.modified_at,
                  EXISTS (SELECT 1 FROM segment_user u WHERE u.app_id = s.app_id AND u.segment_id = s.segment_id
                          AND u.version = v.member_version)
           FROM segment s JOIN segment_version v USING (app_id, segment_id)
           WHERE s.app_id = %s AND s.segment_id = %s AND v.version = coalesce(%s::int, s.latest_version)""",
        [app_id, segment_id, version],
    )
    return StoredSegment(*row) if row else None


async def load_references(connection: Connection, app_id: str, references: Sequence[Reference]) -> list[StoredSegment]:
    """Those versions of these that are there, in no order; several at once, for walking from segments to sources."""
    cursor = await connection.execute(
        """SELECT s.app_id, s.segment_id, v.version, s.latest_version, v.name, v.criteria, v.import_definition,
                  v.member_version, s.created_at, v.modified_at,
                  EXISTS (SELECT 1 FROM segment_user u WHERE u.app_id = s.app_id AND u.segment_id = s.segment_id
                          AND u.version = v.member_version)
           FROM unnest(%s::text[], %s::int[]) AS wanted (segment_id, version)
           JOIN segment s ON s.app_id = %s AND s.segment_id = wanted.segment_id
           JOIN segment_version v ON v.app_id = s.app_id AND v.segment_id = s.segment_id
             AND v.version = coalesce(wanted.version, s.latest_version)""",
        [[segment_id for segment_id, _ in references], [version for _, version in references], app_id],
    )
    return [StoredSegment(*row) for row in await cursor.fetchall()]


async def list_segments(db: Database, app_id: str, *, after: str, limit: int) -> list[StoredSegment]:
    """The latest versions of an application's segments, by id."""
    rows = await db.fetch_all(
        """SELECT s.app_id, s.segment_id, v.version, s.latest_version, v.name, v.criteria, v.import_definition,
                  v.member_version, s.created_at, v.modified_at,
                  EXISTS (SELECT 1 FROM segment_user u WHERE u.app_id = s.app_id AND u.segment_id = s.segment_id
                          AND u.version = v.member_version)
           FROM segment s JOIN segment_version v
             ON v.app_id = s.app_id AND v.segment_id = s.segment_id AND v.version = s.latest_version
           WHERE s.app_id = %s AND s.segment_id > %s ORDER BY s.segment_id LIMIT %s""",
        [app_id, after, limit],
    )
    return [StoredSegment(*row) for row in rows]


async def find_segments(db: Database, text: str | None, app_id: str | None) -> list[tuple[str, str]]:
    """(app, segment) of those with this id or this name; all of them without a text; in one application, if given."""
    rows = await db.fetch_all(
        """SELECT s.app_id, s.segment_id FROM segment s JOIN segment_version v
             ON v.app_id = s.app_id AND v.segment_id = s.segment_id AND v.version = s.latest_version
           WHERE (%s::text IS NULL OR s.segment_id = %s OR v.name = %s) AND (%s::text IS NULL OR s.app_id = %s)
           ORDER BY s.app_id, s.created_at""",
        [text, text, text, app_id, app_id],
    )
    return [(row[0], row[1]) for row in rows]


async def list_versions(db: Database, app_id: str, segment_id: str, *, before: int, limit: int) -> list[StoredSegment]:
    """A segment's versions below a number, newest first."""
    rows = await db.fetch_all(
        """SELECT s.app_id, s.segment_id, v.version, s.latest_version, v.name, v.criteria, v.import_definition,
                  v.member_version, s.created_at, v.modified_at,
                  EXISTS (SELECT 1 FROM segment_user u WHERE u.app_id = s.app_id AND u.segment_id = s.segment_id
                          AND u.version = v.member_version)
           FROM segment s JOIN segment_version v USING (app_id, segment_id)
           WHERE s.app_id = %s AND s.segment_id = %s AND v.version < %s ORDER BY v.version DESC LIMIT %s""",
        [app_id, segment_id, before, limit],
    )
    return [StoredSegment(*row) for row in rows]


async def lock_segments(connection: Connection, app_id: str) -> None:
    """From here to the end of the transaction nobody else changes this application's segments, or deletes it.

    Whether segments refer to each other in a circle can only be told while none of them moves.

    Raises:
        NotFoundException: when the application is gone.
    """
    cursor = await connection.execute("SELECT 1 FROM app WHERE app_id = %s FOR NO KEY UPDATE", [app_id])
    if await cursor.fetchone() is None:
        raise NotFoundException("Application not found")


async def create_dimensional(
    connection: Connection, app_id: str, segment_id: str, *, name: str, criteria: dict[str, Any], now: datetime
) -> StoredSegment:
    """A new segment with its version 1."""
    await _insert_segment(connection, app_id, segment_id, member_version=0, now=now)
    segment = StoredSegment(app_id, segment_id, 1, 1, name, criteria, None, None, now, now)
    await _insert_version(connection, segment)
    return segment


async def create_imported(
    connection: Connection,
    app_id: str,
    segment_id: str,
    *,
    name: str,
    definition: dict[str, Any],
    now: datetime,
) -> StoredSegment:
    """A new imported segment with its version 1, visible when the transaction commits (use `db.settings_change()`).

    `definition` is the model's SegmentImportResource: ChannelCounts, ExternalId, Format, RoleArn, S3Url, Size. Its
    members are the rows of segment_member (folded endpoint ids) and segment_user (user ids) with this app, this
    segment and version 1; they may be written before, in as many transactions as it takes.
    """
    await _insert_segment(connection, app_id, segment_id, member_version=1, now=now)
    segment = StoredSegment(app_id, segment_id, 1, 1, name, {}, definition, 1, now, now)
    await _insert_version(connection, segment)
    return segment


async def reserve_members(connection: Connection, app_id: str, segment_id: str) -> int:
    """The `version` under which a new set of members for an existing segment is to be written; no one else gets it.

    Raises:
        NotFoundException: when there is no such segment.
        BadRequestException: for a segment that was not imported.
    """
    await _lock_imported(connection, app_id, segment_id)
    cursor = await connection.execute(
        """UPDATE segment SET member_version = member_version + 1 WHERE app_id = %s AND segment_id = %s
           RETURNING member_version""",
        [app_id, segment_id],
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def add_version(
    connection: Connection,
    app_id: str,
    segment_id: str,
    *,
    definition: dict[str, Any],
    member_version: int,
    now: datetime,
) -> StoredSegment:
    """Make a set of members, numbered by `reserve_members`, an imported segment's next version; it keeps its name.

    Visible when the transaction commits (use `db.settings_change()`).

    Raises:
        NotFoundException: when the segment has been deleted meanwhile.
        BadRequestException: for a segment that was not imported.
    """
    latest = await _lock_imported(connection, app_id, segment_id)
    segment = dataclasses.replace(
        next_version(latest, now), import_definition=definition, member_version=member_version
    )
    await insert_version(connection, segment)
    return segment


def next_version(latest: StoredSegment, now: datetime) -> StoredSegment:
    """The version after a segment's latest, so far without a difference."""
    number = latest.version + 1
    return dataclasses.replace(latest, version=number, latest_version=number, modified_at=now)


async def insert_version(connection: Connection, segment: StoredSegment) -> None:
    """One more version of a segment whose latest, the one before, the caller holds locked."""
    await connection.execute(
        "UPDATE segment SET latest_version = %s WHERE app_id = %s AND segment_id = %s",
        [segment.version, segment.app_id, segment.segment_id],
    )
    await _insert_version(connection, segment)


async def lock_segment(connection: Connection, app_id: str, segment_id: str) -> StoredSegment:
    """A segment about to be changed, in its latest version.

    Raises:
        NotFoundException: when there is none.
    """
    await lock_segments(connection, app_id)
    found = await load_references(connection, app_id, [(segment_id, None)])
    if not found:
        raise NotFoundException("Resource not found")
    return found[0]


async def delete_segment(connection: Connection, app_id: str, segment_id: str) -> None:
    """Forget a segment and all its versions; members, which may be millions, are removed behind the reply."""
    await connection.execute("DELETE FROM segment WHERE app_id = %s AND segment_id = %s", [app_id, segment_id])
    await connection.execute(
        "INSERT INTO segment_purge (app_id, segment_id) VALUES (%s, %s) ON CONFLICT DO NOTHING", [app_id, segment_id]
    )


async def _lock_imported(connection: Connection, app_id: str, segment_id: str) -> StoredSegment:
    latest = await lock_segment(connection, app_id, segment_id)
    if not latest.is_imported:
        raise BadRequestException(f"SegmentId: {segment_id} was not imported, so nothing can be imported into it")
    return latest


async def _insert_segment(
    connection: Connection, app_id: str, segment_id: str, *, member_version: int, now: datetime
) -> None:
    await lock_segments(connection, app_id)
    await connection.execute(
        """INSERT INTO segment (app_id, segment_id, latest_version, member_version, created_at)
           VALUES (%s, %s, 1, %s, %s)""",
        [app_id, segment_id, member_version, now],
    )


async def _insert_version(connection: Connection, segment: StoredSegment) -> None:
    definition = None if segment.import_definition is None else Jsonb(segment.import_definition)
    await connection.execute(
        """INSERT INTO segment_version (app_id, segment_id, version, name, criteria, import_definition, member_version,
                                        modified_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
        [
            segment.app_id,
            segment.segment_id,
            segment.version,
            segment.name,
            Jsonb(segment.criteria),
            definition,
            segment.member_version,
            segment.modified_at,
        ],
    )
