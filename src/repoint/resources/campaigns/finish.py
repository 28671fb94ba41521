"""Runs under way: held to their rate, given up at their deadline, called off, brought to their end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from psycopg.types.json import Jsonb

from repoint.db import Connection
from repoint.resources.campaigns.faults import stop_without_segments
from repoint.resources.campaigns.rules import FILTERED_OUT
from repoint.work import pacing
from repoint.work.outbox import MAY_BE_SENT
from repoint.work.pacing import Range

CATCH_UP_SECONDS = 5.0
TOLD_AS_EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A run that has not ended."""

    activity_id: str
    app_id: str
    campaign_id: str
    treatment_id: str
    frequency: str
    state: str
    reason: str
    expires_at: datetime | None
    rate: int | None
    ledgers: Sequence[str]
    waits_for_waves: bool

    @property
    def is_window(self) -> bool:
        """Whether it stays open for events."""
        return self.frequency in ("EVENT", "IN_APP_EVENT")


async def look_after(connection: Connection, now: datetime) -> int:
    """All runs under way that nobody else looks after now, in the caller's transaction; returns how many go on."""
    await stop_without_segments(connection, now)
    cursor = await connection.execute(
        """SELECT a.activity_id, a.app_id, a.campaign_id, a.treatment_id, a.frequency, a.state, a.reason, a.expires_at,
                  a.rate, ARRAY(SELECT ledger_id FROM campaign_ledger l WHERE l.activity_id = a.activity_id),
                  EXISTS (SELECT 1 FROM campaign_wave w
                          WHERE w.app_id = a.app_id AND w.campaign_id = a.campaign_id AND w.slot = a.slot
                            AND a.treatment_id = ANY (w.treatment_ids) AND w.done_at IS NULL)
           FROM campaign_activity a WHERE a.ended_at IS NULL AND a.state <> 'PENDING'
           ORDER BY a.activity_id FOR UPDATE OF a SKIP LOCKED"""
    )
    going = 0
    for row in await cursor.fetchall():
        one = UnderWay(*row)
        going += not await _attend(connection, one, now)
    return going


async def _attend(connection: Connection, one: UnderWay, now: datetime) -> bool:
    """Whether the run has ended now."""
    is_expired = one.expires_at is not None and one.expires_at <= now
    if one.state == "CANCELLED":
        await _stop(connection, one, await pacing.withdraw(connection, one.ledgers, now), "CANCELLED", now)
    elif is_expired and not one.is_window:
        await _stop(connection, one, await pacing.withdraw(connection, one.ledgers, now), TOLD_AS_EXPIRED, now)
    elif one.rate is not None:
        await pacing.catch_up(connection, one.ledgers, now, late_seconds=CATCH_UP_SECONDS)
    if one.is_window and not is_expired and one.state != "CANCELLED":
        return False
    if one.waits_for_waves and one.state != "CANCELLED":
        return False
    if not await pacing.is_idle(connection, one.ledgers):
        return False
    await _end(connection, one, now)
    return True


async def _stop(connection: Connection, one: UnderWay, ranges: Sequence[Range], reason: str, now: datetime) -> None:
    """What was not sent is not sent: the ledger says why, and the log where Pinpoint's does.

    Of what a worker had begun and died with, nobody can say that.
    """
    if not ranges:
        return
    given = {
        "ranges": msgspec.json.encode(ranges).decode(),
        "reason": reason,
        "is_told": reason == TOLD_AS_EXPIRED,
        "in_doubt": f"{MAY_BE_SENT}; then: {reason}",
        "now": now,
        "app_id": one.app_id,
        "campaign_id": one.campaign_id,
        "activity_id": one.activity_id,
        "treatment_id": one.treatment_id,
    }
    await connection.execute(
        """INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
           SELECT %(now)s, %(app_id)s, endpoint_id, '_campaign.send', %(now)s, jsonb_build_object(
               'attributes', jsonb_build_object(
                   'campaign_id', %(campaign_id)s::text, 'campaign_activity_id', %(activity_id)s::text,
                   'treatment_id', %(treatment_id)s::text,
                   'campaign_send_status',
                   CASE WHEN message.attempts < range.attempts THEN 'UNKNOWN' ELSE %(reason)s::text END,
                   'delivery_type',
                   CASE WHEN facts -> 'CustomTypes' ? channel_type THEN 'CUSTOM' ELSE channel_type END))
           FROM json_to_recordset(%(ranges)s::json) AS range (
               app_id text, activity_id text, first_endpoint_id text, last_endpoint_id text, attempts int)
           JOIN message USING (app_id, activity_id)
           CROSS JOIN (SELECT facts FROM campaign_activity WHERE activity_id = %(activity_id)s) AS run
           WHERE endpoint_id BETWEEN first_endpoint_id AND last_endpoint_id AND state = 'ACCEPTED'
             AND (%(is_told)s OR message.attempts < range.attempts)""",
        given,
    )
    await connection.execute(
        """UPDATE message SET modified_at = %(now)s,
               state = CASE WHEN message.attempts < range.attempts THEN 'UNKNOWN' ELSE 'STOPPED' END,
               status_message = CASE WHEN message.attempts < range.attempts THEN %(in_doubt)s ELSE %(reason)s END
           FROM json_to_recordset(%(ranges)s::json) AS range (
               app_id text, activity_id text, first_endpoint_id text, last_endpoint_id text, attempts int)
           WHERE message.app_id = range.app_id AND message.activity_id = range.activity_id
             AND message.endpoint_id BETWEEN range.first_endpoint_id AND range.last_endpoint_id
             AND message.state = 'ACCEPTED'""",
        given,
    )


async def _end(connection: Connection, one: UnderWay, now: datetime) -> None:
    cursor = await connection.execute(
        """SELECT CASE WHEN state = 'STOPPED' AND status_message = %(filtered_out)s THEN %(filtered_out)s ELSE state END
               AS outcome, count(*)
           FROM message WHERE app_id = %(app_id)s AND activity_id = ANY (%(ledgers)s::text[]) GROUP BY outcome""",
        {"filtered_out": FILTERED_OUT, "app_id": one.app_id, "ledgers": list(one.ledgers)},
    )
    counts: dict[str, int] = dict(await cursor.fetchall())
    is_cancelled = one.state == "CANCELLED"
    await connection.execute(
        "UPDATE campaign_activity SET state = %s, result = %s, counts = %s, ended_at = %s WHERE activity_id = %s",
        [
            "CANCELLED" if is_cancelled else "COMPLETED",
            "FAIL" if is_cancelled else "SUCCESS",
            Jsonb(counts),
            now,
            one.activity_id,
        ],
    )
