"""A log that was restored by pg_dump into another cluster, whose transactions it does not know.

Positions and the log's order are made of transaction ids. Those of another cluster may be ahead of this one's: new
events would come before old ones, and readers would wait for ids that are long gone, or pass events by. So all events
get one transaction id of this cluster, in the order of their numbers, and readers are led to where they were.
"""

import logging
from collections.abc import Awaitable, Callable

from repoint.db import Connection
from repoint.resources.events.reader import EVENT_ID_MAX

logger = logging.getLogger(__name__)

LOCK = 0x726573746F7265


async def settle_restored(dsn: str, also: Callable[[Connection], Awaitable[None]]) -> bool:
    """Mend the log if it is from another cluster; `also` is done in the same transaction. Tells whether it was.

    Event streams go on with the first event that had not arrived, and may repeat some after it. All other readers go
    on from here.
    """
    async with await Connection.connect(dsn, autocommit=True) as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        if not await _is_from_elsewhere(connection):
            return False
        logger.warning("the event log was restored from another database cluster: it is renumbered now")
        await connection.execute("LOCK TABLE event, event_reader IN SHARE ROW EXCLUSIVE MODE")
        await _lead_readers(connection)
        renumbered = await connection.execute("UPDATE event SET xid = pg_current_xact_id()")
        await also(connection)
    logger.warning("the event log has been renumbered: %s rows; event streams may repeat events", renumbered.rowcount)
    return True


async def _is_from_elsewhere(connection: Connection) -> bool:
    """Whether the log or a reader knows of transactions that this cluster has not had yet."""
    cursor = await connection.execute(
        """SELECT coalesce((SELECT event.xid FROM event ORDER BY event.xid DESC LIMIT 1) >= here.xmax, false)
               OR EXISTS (SELECT 1 FROM event_reader
                          WHERE pg_snapshot_xmax(done) > here.xmax OR pg_snapshot_xmax(target) > here.xmax)
           FROM pg_snapshot_xmax(pg_current_snapshot()) AS here (xmax)"""
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def _lead_readers(connection: Connection) -> None:
    await connection.execute(
        """UPDATE event_reader r
           SET done = format('%%1$s:%%1$s:', pg_current_xact_id())::pg_snapshot, target = NULL,
               xid = pg_current_xact_id(),
               event_id = CASE WHEN r.reader_name LIKE 'stream/%%' THEN coalesce((
                   SELECT min(v.event_id) - 1 FROM event v
                   WHERE v.app_id = substr(r.reader_name, length('stream/') + 1)
                     AND NOT pg_visible_in_snapshot(v.xid, r.done)
                     AND (r.target IS NULL OR NOT pg_visible_in_snapshot(v.xid, r.target)
                          OR (v.xid, v.event_id) > (r.xid, r.event_id))), %(end)s) ELSE %(end)s END""",
        {"end": EVENT_ID_MAX},
    )
