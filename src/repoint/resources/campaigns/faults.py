"""What makes a campaign impossible: found when it is written, or when a run begins and its status has to tell."""

from datetime import datetime

from repoint.db import Connection
from repoint.wire.exceptions import BadRequestException


class RunError(Exception):
    """A run that cannot be. `status` is the campaign's from now on: DELETED (its segment is gone) or INVALID."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def invalid(error: BadRequestException) -> RunError:
    """A run whose parts no longer fit."""
    return RunError("INVALID", error.message)


def refuse(member: str, rule: str) -> BadRequestException:
    """The error for a member that breaks a rule."""
    return BadRequestException(f"{member}: {rule}")


async def stop_campaign(connection: Connection, app_id: str, campaign_id: str, error: RunError, now: datetime) -> None:
    """No further runs; those that have not begun to select their audience have failed, windows close."""
    await connection.execute(
        "UPDATE campaign SET fault = %s, fault_reason = %s WHERE app_id = %s AND campaign_id = %s",
        [error.status, error.reason, app_id, campaign_id],
    )
    await connection.execute(
        """UPDATE campaign_treatment SET next_at = NULL, next_slot = NULL WHERE app_id = %s AND campaign_id = %s""",
        [app_id, campaign_id],
    )
    await connection.execute(
        """UPDATE campaign_activity SET state = 'COMPLETED', result = 'FAIL', reason = %s, ended_at = %s,
               counts = '{}'
           WHERE app_id = %s AND campaign_id = %s AND ended_at IS NULL AND state = 'PENDING'""",
        [error.reason, now, app_id, campaign_id],
    )
    await connection.execute(
        """UPDATE campaign_activity SET expires_at = %s, reason = %s
           WHERE app_id = %s AND campaign_id = %s AND ended_at IS NULL AND frequency IN ('EVENT', 'IN_APP_EVENT')""",
        [now, error.reason, app_id, campaign_id],
    )
    await connection.execute(
        "DELETE FROM campaign_wave WHERE app_id = %s AND campaign_id = %s AND done_at IS NULL", [app_id, campaign_id]
    )


async def stop_without_segments(connection: Connection, now: datetime) -> None:
    """Campaigns that wait for events and whose segment is gone wait no longer."""
    cursor = await connection.execute(
        """SELECT DISTINCT c.app_id, c.campaign_id, v.document ->> 'SegmentId'
           FROM campaign_activity a JOIN campaign c USING (app_id, campaign_id)
           JOIN campaign_version v
             ON v.app_id = c.app_id AND v.campaign_id = c.campaign_id AND v.version = c.latest_version
           WHERE a.ended_at IS NULL AND a.frequency IN ('EVENT', 'IN_APP_EVENT') AND c.fault IS NULL
             AND NOT EXISTS (SELECT 1 FROM segment s
                             WHERE s.app_id = c.app_id AND s.segment_id = v.document ->> 'SegmentId')"""
    )
    for app_id, campaign_id, segment_id in await cursor.fetchall():
        gone = RunError("DELETED", f"The segment {segment_id} was deleted")
        await stop_campaign(connection, app_id, campaign_id, gone, now)
