"""The members an import gives a segment: rows of segment_member and segment_user, under the number of their set."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from repoint.db import Connection


class MemberSet(NamedTuple):
    """Where members are written: an application's segment, and the number its version will name them by."""

    app_id: str
    segment_id: str
    version: int


async def add_items(connection: Connection, to: MemberSet) -> None:
    """The endpoints of import_item."""
    await connection.execute(
        """INSERT INTO segment_member (app_id, segment_id, version, endpoint_id)
           SELECT %s, %s, %s, endpoint_id FROM import_item ON CONFLICT DO NOTHING""",
        to,
    )


async def add_endpoints(connection: Connection, to: MemberSet, endpoint_ids: Sequence[str]) -> None:
    """These endpoints."""
    if endpoint_ids:
        await connection.execute(
            """INSERT INTO segment_member (app_id, segment_id, version, endpoint_id)
               SELECT %s, %s, %s, unnest(%s::text[]) ON CONFLICT DO NOTHING""",
            [*to, list(endpoint_ids)],
        )


async def add_users(connection: Connection, to: MemberSet, user_ids: Sequence[str]) -> None:
    """These users: whatever endpoints they have when the segment is used. How often each is named is kept.

    In the order of their ids, so that pieces of one import which name the same users wait for each other in turn.
    """
    if user_ids:
        times = sorted(Counter(user_ids).items())
        await connection.execute(
            """INSERT INTO segment_user AS u (app_id, segment_id, version, user_id, times)
               SELECT %s, %s, %s, user_id, times FROM unnest(%s::text[], %s::int[]) AS named (user_id, times)
               ON CONFLICT (app_id, segment_id, version, user_id) DO UPDATE SET times = u.times + excluded.times""",
            [*to, [user_id for user_id, _ in times], [count for _, count in times]],
        )


async def recognise(connection: Connection, to: MemberSet) -> list[int]:
    """The endpoints there are by import_item's ids, or channels and addresses; returns the lines that name none."""
    await connection.execute(
        """CREATE TEMP TABLE recognised ON COMMIT DROP AS
               SELECT i.line, e.endpoint_id FROM import_item i
               JOIN endpoint e ON e.app_id = i.app_id AND e.endpoint_id = i.endpoint_id WHERE i.has_id
               UNION ALL
               SELECT i.line, e.endpoint_id FROM import_item i
               JOIN endpoint e ON e.app_id = i.app_id AND e.address = i.address AND e.channel_type = i.channel_type
               WHERE NOT i.has_id"""
    )
    await connection.execute(
        """INSERT INTO segment_member (app_id, segment_id, version, endpoint_id)
           SELECT DISTINCT %s, %s, %s::int, endpoint_id FROM recognised ON CONFLICT DO NOTHING""",
        to,
    )
    cursor = await connection.execute(
        "SELECT line FROM import_item WHERE line NOT IN (SELECT line FROM recognised) ORDER BY line"
    )
    return [line for (line,) in await cursor.fetchall()]


async def count_channels(connection: Connection, of: MemberSet) -> dict[str, int]:
    """How many members each channel has, users' endpoints included."""
    cursor = await connection.execute(
        """SELECT channel_type, count(*) FROM (
               SELECT e.endpoint_id, e.channel_type FROM segment_member m JOIN endpoint e USING (app_id, endpoint_id)
               WHERE m.app_id = %s AND m.segment_id = %s AND m.version = %s
               UNION
               SELECT e.endpoint_id, e.channel_type FROM segment_user u JOIN endpoint e USING (app_id, user_id)
               WHERE u.app_id = %s AND u.segment_id = %s AND u.version = %s
           ) AS member
           WHERE channel_type IS NOT NULL GROUP BY channel_type""",
        [*of, *of],
    )
    rows: list[Any] = await cursor.fetchall()
    return {str(channel): int(count) for channel, count in rows}


async def forget(connection: Connection, of: MemberSet) -> None:
    """Remove a set of members that no version will name."""
    await connection.execute("DELETE FROM segment_member WHERE app_id = %s AND segment_id = %s AND version = %s", of)
    await connection.execute("DELETE FROM segment_user WHERE app_id = %s AND segment_id = %s AND version = %s", of)
