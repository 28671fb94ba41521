"""An application's event stream: the three operations, and what its forwarder remembers."""

import re
from dataclasses import dataclass
from datetime import datetime

from repoint.clock import iso8601
from repoint.db import Connection, Database
from repoint.resources.apps import require_app
from repoint.resources.call import Call
from repoint.resources.events.reader import begin_here, forget
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException, NotFoundException

DESTINATION = re.compile(
    r"arn:aws[a-z-]*:(kinesis:[a-z0-9-]+:\d{12}:stream|firehose:[a-z0-9-]+:\d{12}:deliverystream)/[A-Za-z0-9_.-]{1,128}\Z",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class EventStream:
    """Where an application's events go, and how that goes."""

    app_id: str
    destination_arn: str
    role_arn: str
    modified_at: datetime
    modified_by: str
    forwarded: int = 0
    forwarded_at: datetime | None = None
    failures: int = 0
    last_error: str = ""
    set_aside: int = 0

    @property
    def reader_name(self) -> str:
        """The name its position is kept under."""
        return f"stream/{self.app_id}"


async def put_event_stream(call: Call, request: shapes.PutEventStreamRequest) -> shapes.EventStream:
    """Forward the application's events from here on; a new destination goes on where the last one stopped."""
    app = await require_app(call, request["ApplicationId"])
    given = request["WriteEventStream"]
    _check(given)
    stream = EventStream(app.app_id, given["DestinationStreamArn"], given["RoleArn"], call.now(), call.access_key_name)
    async with call.db.settings_change() as connection:
        await connection.execute(
            """INSERT INTO event_stream (app_id, destination_arn, role_arn, modified_at, modified_by)
               VALUES (%s, %s, %s, %s, %s)
               ON CONFLICT (app_id) DO UPDATE SET destination_arn = excluded.destination_arn,
                   role_arn = excluded.role_arn, modified_at = excluded.modified_at,
                   modified_by = excluded.modified_by, failures = 0, last_error = ''""",
            [stream.app_id, stream.destination_arn, stream.role_arn, stream.modified_at, stream.modified_by],
        )
        await begin_here(connection, stream.reader_name)
    return _document(stream)


def _check(given: shapes.WriteEventStream) -> None:
    if not DESTINATION.match(given["DestinationStreamArn"]):
        raise BadRequestException(
            "DestinationStreamArn: must be the ARN of a Kinesis or a Firehose stream, "
            "arn:aws:kinesis:REGION:ACCOUNT:stream/NAME or arn:aws:firehose:REGION:ACCOUNT:deliverystream/NAME"
        )
    if not given["RoleArn"].strip():
        raise BadRequestException("RoleArn: must not be blank")


async def get_event_stream(call: Call, request: shapes.GetEventStreamRequest) -> shapes.EventStream:
    """The application's event stream."""
    app = await require_app(call, request["ApplicationId"])
    return _document(await _require(call, app.app_id))


async def delete_event_stream(call: Call, request: shapes.DeleteEventStreamRequest) -> shapes.EventStream:
    """Stop forwarding; answers what there was."""
    app = await require_app(call, request["ApplicationId"])
    stream = await _require(call, app.app_id)
    async with call.db.settings_change() as connection:
        await connection.execute("DELETE FROM event_stream WHERE app_id = %s", [app.app_id])
        await forget(connection, stream.reader_name)
    return _document(stream)


async def _require(call: Call, app_id: str) -> EventStream:
    row = await call.db.fetch_one(
        """SELECT app_id, destination_arn, role_arn, modified_at, modified_by, forwarded, forwarded_at, failures,
                  last_error, set_aside FROM event_stream WHERE app_id = %s""",
        [app_id],
    )
    if row is None:
        raise NotFoundException("Resource not found")
    return EventStream(*row)


def _document(stream: EventStream) -> shapes.EventStream:
    return {
        "ApplicationId": stream.app_id,
        "DestinationStreamArn": stream.destination_arn,
        "LastModifiedDate": iso8601(stream.modified_at),
        "LastUpdatedBy": stream.modified_by,
        "RoleArn": stream.role_arn,
    }


async def load_streams(db: Database, _: None = None) -> list[EventStream]:
    """All streams; for `Database.cached`, whose counters then are those of that moment."""
    rows = await db.fetch_all(
        """SELECT app_id, destination_arn, role_arn, modified_at, modified_by, forwarded, forwarded_at, failures,
                  last_error, set_aside FROM event_stream ORDER BY app_id"""
    )
    return [EventStream(*row) for row in rows]


async def record_success(connection: Connection, app_id: str, count: int, now: datetime) -> None:
    """So many events have arrived at the far end."""
    await connection.execute(
        """UPDATE event_stream SET forwarded = forwarded + %s, forwarded_at = %s, failures = 0, last_error = ''
           WHERE app_id = %s""",
        [count, now, app_id],
    )


async def record_failure(db: Database, app_id: str, failures: int, error: str) -> None:
    """The far end refuses; its events wait."""
    await db.execute(
        "UPDATE event_stream SET failures = %s, last_error = %s WHERE app_id = %s", [failures, error[:1000], app_id]
    )


async def record_set_aside(db: Database, app_id: str) -> None:
    """One event was too large for the far end."""
    await db.execute("UPDATE event_stream SET set_aside = set_aside + 1 WHERE app_id = %s", [app_id])
