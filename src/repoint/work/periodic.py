"""What is done from time to time: partitions made ahead and dropped behind, old rows removed, deleted apps purged.

Every worker runs it; a lock lets one at a time do so.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, LiteralString

from repoint.db import Connection, Database
from repoint.work.partitions import drop_partitions, make_partitions

logger = logging.getLogger(__name__)

LOCK = 0x706572696F64
METRICS_LOCK = 0x6D657472696373  # held by whoever counts events, or removes the names of what is counted
SLICE_ROWS_MAX = 10_000


async def keep_house(db: Database, now: datetime, *, event_days: int, message_days: int, inbox_messages: int) -> None:
    """One round of everything."""
    async with db.connection() as connection:
        row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])).fetchone()
        if row is None or not row[0]:
            return
        try:
            await make_partitions(connection, now)
            await drop_partitions(connection, now - timedelta(days=event_days))
            await _trim_ledger(connection, now - timedelta(days=message_days))
            await _trim_drops(connection, now - timedelta(days=message_days))
            await _trim_receipts(connection, now - timedelta(days=message_days))
            await _trim_metrics(connection, now - timedelta(days=event_days))
            await _trim_inbox(connection, inbox_messages)
            await _purge_apps(connection)
            await _purge_segments(connection)
        finally:
            await connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


async def _delete(connection: Connection, statement: LiteralString, values: Mapping[str, Any]) -> None:
    """Delete what may be many rows: the statement, which deletes `rows` of them, until there are no more."""
    deleted = SLICE_ROWS_MAX
    while deleted == SLICE_ROWS_MAX:
        deleted = (await connection.execute(statement, {**values, "rows": SLICE_ROWS_MAX})).rowcount


async def _trim_ledger(connection: Connection, before: datetime) -> None:
    """Settled messages, and the content of activities nothing refers to any more."""
    await _delete(
        connection,
        """DELETE FROM message WHERE (app_id, activity_id, endpoint_id) IN (
               SELECT app_id, activity_id, endpoint_id FROM message
               WHERE created_at < %(before)s AND state <> 'ACCEPTED' LIMIT %(rows)s)""",
        {"before": before},
    )
    await connection.execute(
        """DELETE FROM activity WHERE created_at < %s AND NOT EXISTS (
               SELECT 1 FROM outbox WHERE outbox.activity_id = activity.activity_id) AND NOT EXISTS (
               SELECT 1 FROM outbox_slice WHERE outbox_slice.activity_id = activity.activity_id)""",
        [before],
    )


async def _trim_drops(connection: Connection, before: datetime) -> None:
    """Whom a campaign's run left out is kept as long as whom it reached, or as long as its application."""
    await _delete(
        connection,
        """DELETE FROM campaign_drop WHERE (app_id, activity_id, endpoint_id) IN (
               SELECT d.app_id, d.activity_id, d.endpoint_id
               FROM campaign_activity a JOIN campaign_drop d USING (app_id, activity_id)
               WHERE a.ended_at < %(before)s
               UNION ALL
               SELECT d.app_id, d.activity_id, d.endpoint_id
               FROM app_purge p JOIN campaign_drop d USING (app_id)
               LIMIT %(rows)s)""",
        {"before": before},
    )


async def _trim_receipts(connection: Connection, before: datetime) -> None:
    """What was reported of messages is known as long as they are: nothing older can come again."""
    await _delete(
        connection,
        """DELETE FROM receipt WHERE (message_id, event_type, report_id) IN (
               SELECT message_id, event_type, report_id FROM receipt WHERE received_at < %(before)s LIMIT %(rows)s)""",
        {"before": before},
    )


async def _trim_inbox(connection: Connection, messages_max: int) -> None:
    """The inbox keeps its newest messages."""
    await _delete(
        connection,
        """DELETE FROM inbox_message WHERE inbox_id IN (
               SELECT inbox_id FROM inbox_message ORDER BY inbox_id DESC OFFSET %(kept)s LIMIT %(rows)s)""",
        {"kept": messages_max},
    )


async def _trim_metrics(connection: Connection, before: datetime) -> None:
    """Metrics live as long as the log they are counted from."""
    await connection.execute("DELETE FROM metric_hour WHERE hour < %s", [before])
    await connection.execute("DELETE FROM metric_once WHERE seen_at < %s", [before])
    await connection.execute("DELETE FROM metric_set WHERE hour < %s", [before])
    await connection.execute("DELETE FROM metric_active WHERE day < %s", [before.date()])
    await connection.execute("DELETE FROM metric_reported WHERE last_at < %s", [before])
    async with connection.transaction():
        await _trim_metric_names(connection, before)


async def _trim_metric_names(connection: Connection, before: datetime) -> None:
    """The numbers of endpoints and of scopes that no set has any more, in the caller's transaction.

    Nobody may be counting, who would use a number that goes: while somebody is, it is left to the next round.
    """
    row = await (await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [METRICS_LOCK])).fetchone()
    if row is None or not row[0]:
        return
    await connection.execute("DELETE FROM metric_member WHERE seen_on < %s", [before.date() - timedelta(days=31)])
    await connection.execute(
        """DELETE FROM metric_scope s
           WHERE NOT EXISTS (SELECT FROM metric_set m WHERE m.scope_id = s.scope_id)"""
    )


async def _purge_apps(connection: Connection) -> None:
    """What deleted applications have left behind, a slice at a time."""
    for (app_id,) in await (await connection.execute("SELECT app_id FROM app_purge")).fetchall():
        await _delete(
            connection,
            """DELETE FROM endpoint WHERE (app_id, endpoint_id) IN (
                   SELECT app_id, endpoint_id FROM endpoint WHERE app_id = %(app)s LIMIT %(rows)s)""",
            {"app": app_id},
        )
        await connection.execute(
            """INSERT INTO segment_purge (app_id, segment_id)
               SELECT app_id, segment_id FROM segment_member WHERE app_id = %s UNION
               SELECT app_id, segment_id FROM segment_user WHERE app_id = %s ON CONFLICT DO NOTHING""",
            [app_id, app_id],
        )
        await connection.execute("DELETE FROM user_update WHERE app_id = %s", [app_id])
        await connection.execute("DELETE FROM address_update WHERE app_id = %s", [app_id])
        await connection.execute("DELETE FROM event_reader WHERE reader_name = 'stream/' || %s", [app_id])
        await connection.execute("DELETE FROM app_purge WHERE app_id = %s", [app_id])
        logger.info("purged application %s", app_id)


async def _purge_segments(connection: Connection) -> None:
    """The members of deleted segments, a slice at a time."""
    rows = await (await connection.execute("SELECT app_id, segment_id FROM segment_purge")).fetchall()
    for app_id, segment_id in rows:
        await _delete(
            connection,
            """DELETE FROM segment_member WHERE (app_id, segment_id, version, endpoint_id) IN (
                   SELECT app_id, segment_id, version, endpoint_id FROM segment_member
                   WHERE app_id = %(app)s AND segment_id = %(segment)s LIMIT %(rows)s)""",
            {"app": app_id, "segment": segment_id},
        )
        await connection.execute("DELETE FROM segment_user WHERE app_id = %s AND segment_id = %s", [app_id, segment_id])
        await connection.execute(
            "DELETE FROM segment_purge WHERE app_id = %s AND segment_id = %s", [app_id, segment_id]
        )
