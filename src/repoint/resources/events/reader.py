"""Following the event log by position: every event that commits is read once, in order, however late it commits.

A position is a PostgreSQL snapshot. A reader is done with the events that snapshot sees; its next round is what a
newer snapshot sees besides. So an event of a transaction that was still open is neither skipped nor waited for: it is
part of the round that begins after its commit. Within a round, events go by (xid, event_id), which is the order of
arrival for whoever waits for one answer before it sends the next request.
"""

import operator
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import msgspec
from psycopg import sql
from psycopg.rows import TupleRow

from repoint.db import Connection, Database

EVENT_ID_MAX: Final = 2**63 - 1
BEGINNING: Final = "3:3:"  # the snapshot that sees nothing: 3 is the first transaction id there can be


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader has come; `xid` and `event_id` are its place within the round to `target`."""

    done: str
    target: str | None = None
    xid: str = "0"
    event_id: int = 0

    def after(self, count: int, limit: int, last: tuple[str, int] | None) -> "Position":
        """Where a reader is that took `count` of at most `limit` events of the round, `last` being the last one."""
        assert self.target is not None
        if last is None or count < limit:
            return Position(self.target)
        return replace(self, xid=last[0], event_id=last[1])


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event of the log; `place` is its own among those that one row stands for."""

    xid: str
    event_id: int
    arrival_at: datetime
    app_id: str
    endpoint_id: str
    event_type: str
    event_at: datetime
    document: dict[str, Any]
    place: int = 0


async def current_snapshot(db: Database) -> str:
    """What a round that begins now would read up to. The same text as before: nothing has committed since."""
    row = await db.fetch_one("SELECT pg_current_snapshot()::text")
    assert row is not None
    return str(row[0])


async def in_round(connection: Connection, position: Position) -> Position:
    """The position itself, or the beginning of the round that its reader begins now."""
    if position.target is not None:
        return position
    row = await (await connection.execute("SELECT pg_current_snapshot()::text")).fetchone()
    assert row is not None
    return replace(position, target=row[0])


async def read(
    connection: Connection, position: Position, limit: int, *, app_id: str | None = None
) -> tuple[list[LoggedEvent], Position]:
    """The next events, and the position after them; of one application only, or of all.

    A row of the log is taken whole, however many events it stands for: once there are `limit` of them, no other is. No
    events: the round is over, nothing is new.
    """
    position = await in_round(connection, position)
    part = span(position)
    events: list[LoggedEvent] = []
    if part.late:
        events += await _late(connection, part, limit, app_id)
    if len(events) < limit:
        events += await _newer(connection, part, limit - len(events), app_id)
    last = (events[-1].xid, events[-1].event_id) if events else None
    return events, position.after(len(events), limit, last)


@dataclass(frozen=True, slots=True)
class Span:
    """What is left of a round.

    Events of the transactions in `late` after (xid, event_id), and those after (first_xid, first_event_id) and before
    `last_xid`; of both, those that `target` sees.
    """

    late: list[str]
    xid: str
    event_id: int
    first_xid: str
    first_event_id: int
    last_xid: str
    target: str


def span(position: Position) -> Span:
    """The ranges of the index on (xid, event_id) that a position in a round has before it."""
    assert position.target is not None
    _, first, late = position.done.split(":")
    last = position.target.split(":")[1]
    is_first = int(first) > int(position.xid)
    after = (str(int(first) - 1), EVENT_ID_MAX) if is_first else (position.xid, position.event_id)
    return Span(late.split(",") if late else [], position.xid, position.event_id, *after, last, position.target)


async def _late(connection: Connection, part: Span, limit: int, app_id: str | None) -> list[LoggedEvent]:
    """Events of transactions that were open when the last round began."""
    condition = sql.SQL(
        """xid = ANY(%s::text[]::xid8[]) AND (xid, event_id) > (%s::text::xid8, %s)
           AND pg_visible_in_snapshot(xid, %s::text::pg_snapshot)"""
    )
    return await _take(connection, condition, [part.late, part.xid, part.event_id, part.target], limit, app_id)


async def _newer(connection: Connection, part: Span, limit: int, app_id: str | None) -> list[LoggedEvent]:
    """Events of transactions that began after the last round did."""
    condition = sql.SQL(
        """(xid, event_id) > (%s::text::xid8, %s) AND xid < %s::text::xid8
           AND pg_visible_in_snapshot(xid, %s::text::pg_snapshot)"""
    )
    parameters = [part.first_xid, part.first_event_id, part.last_xid, part.target]
    return await _take(connection, condition, parameters, limit, app_id)


async def _take(
    connection: Connection, condition: sql.Composable, parameters: Sequence[Any], limit: int, app_id: str | None
) -> list[LoggedEvent]:
    """The first rows that stand for `limit` events together."""
    given = list(parameters)
    if app_id is not None:
        condition += sql.SQL(" AND app_id = %s")
        given.append(app_id)
    rows = await connection.execute(
        sql.SQL(
            """SELECT next.xid::text, event_id, arrival_at, app_id, endpoint_id, event_type, event_at, document, fills
               FROM (SELECT *, sum(stands_for) OVER (ORDER BY xid, event_id) - stands_for AS before
                     FROM event WHERE {condition} ORDER BY xid, event_id LIMIT %s) AS next
               WHERE before < %s ORDER BY next.xid, event_id"""
        ).format(condition=condition),
        [*given, limit, limit],
    )
    return list(each_event(await rows.fetchall()))


def each_event(rows: Iterable[TupleRow]) -> Iterator[LoggedEvent]:
    """The events that rows of the log stand for; a row is LoggedEvent's members in order, and `fills`."""
    for *row, fills in rows:
        if fills is None:
            yield LoggedEvent(*row)
        else:
            yield from _filled(LoggedEvent(*row), fills)


PLACE = re.compile(r"%(?:%|([1-9])\$s)")


def _filled(alike: LoggedEvent, fills: str) -> Iterator[LoggedEvent]:
    """The events of a row whose document has places (migration 0018 says how)."""
    numbers = [0]

    def place_of(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0]
        numbers.append(int(found[1]) - 1)
        return "%s"

    document = PLACE.sub(place_of, msgspec.json.encode(alike.document).decode())
    pattern = f'{{"endpoint_id":"%s","document":{document}}}'
    pick = operator.itemgetter(*numbers, 0)  # two at least: a tuple in any case
    for place, line in enumerate(fills.split("\n")):
        own = msgspec.json.decode(pattern % pick(line.split("\t"))[:-1])
        yield replace(alike, endpoint_id=own["endpoint_id"], document=own["document"], place=place)


async def load_position(connection: Connection, reader_name: str) -> Position | None:
    """Where a reader stopped; None for an unknown one."""
    cursor = await connection.execute(
        "SELECT done::text, target::text, xid::text, event_id FROM event_reader WHERE reader_name = %s",
        [reader_name],
    )
    row = await cursor.fetchone()
    return Position(*row) if row else None


async def save_position(connection: Connection, reader_name: str, position: Position) -> None:
    """Remember where a reader has come to, in the transaction of what it did with the events if it can be."""
    await connection.execute(
        """INSERT INTO event_reader (reader_name, done, target, xid, event_id)
           VALUES (%s, %s::text::pg_snapshot, %s::text::pg_snapshot, %s::text::xid8, %s)
           ON CONFLICT (reader_name) DO UPDATE SET done = excluded.done, target = excluded.target,
               xid = excluded.xid, event_id = excluded.event_id""",
        [reader_name, position.done, position.target, position.xid, position.event_id],
    )


async def move_position(connection: Connection, reader_name: str, position: Position) -> bool:
    """As `save_position`, for a reader that others may have forgotten meanwhile; False then."""
    cursor = await connection.execute(
        """UPDATE event_reader SET done = %s::text::pg_snapshot, target = %s::text::pg_snapshot,
               xid = %s::text::xid8, event_id = %s WHERE reader_name = %s""",
        [position.done, position.target, position.xid, position.event_id, reader_name],
    )
    return cursor.rowcount > 0


async def begin_here(connection: Connection, reader_name: str) -> None:
    """A reader that starts with what commits after this transaction began."""
    await connection.execute(
        """INSERT INTO event_reader (reader_name, done) VALUES (%s, pg_current_snapshot())
           ON CONFLICT (reader_name) DO NOTHING""",
        [reader_name],
    )


async def forget(connection: Connection, reader_name: str) -> None:
    """A reader that is not coming back."""
    await connection.execute("DELETE FROM event_reader WHERE reader_name = %s", [reader_name])
