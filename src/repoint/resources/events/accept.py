"""PutEvents' writer: endpoints merged and their events appended, for all callers of a moment together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from repoint.db import Connection
from repoint.resources.endpoints.merge import merge_with
from repoint.resources.endpoints.order import EndpointUpdate
from repoint.resources.endpoints.write import Companion
from repoint.resources.events.store import Event


@dataclass(slots=True)
class Item:
    """One endpoint of a request and its events; `problem` says why the endpoint was refused."""

    update: EndpointUpdate
    events: list[Event]
    is_settled: bool = False
    problem: Exception | None = field(default=None)


async def accept(connection: Connection, requests: Sequence[Sequence[Item]]) -> list[None]:
    """Write many requests' items; for `Database.gather`. What became of each is said in the item.

    An endpoint and its events are one commit. A batch that is repeated, because its connection broke, leaves out what
    is known to have committed.
    """
    items = [item for request in requests for item in request if not item.is_settled]

    def report(position: int, problem: Exception | None) -> None:
        items[position].is_settled, items[position].problem = True, problem

    if items:
        companion = Companion(APPEND, lambda position: items[position].events)
        await merge_with(connection, [item.update for item in items], companion, report)
    return [None] * len(requests)


# Each event says what its endpoint was at that moment.
APPEND: Final = """INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
       SELECT given.arrival_at, e.app_id, e.endpoint_id, given.event_type, given.event_at,
              given.document || jsonb_build_object('endpoint', jsonb_strip_nulls(jsonb_build_object(
                  'Id', e.given_id, 'ChannelType', e.channel_type, 'UserId', e.user_id,
                  'EndpointStatus', CASE WHEN e.is_active THEN 'ACTIVE' ELSE 'INACTIVE' END,
                  'OptOut', CASE WHEN e.is_opted_out THEN 'ALL' ELSE 'NONE' END,
                  'EffectiveDate', e.effective_at, 'RequestId', e.request_id, 'Demographic', e.demographic)))
       FROM settled e, json_to_recordset(e.companion) AS given (
           arrival_at timestamptz, event_type text, event_at timestamptz, document jsonb)
       WHERE e.is_written"""
