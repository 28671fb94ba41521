"""One chunk of a file: its rows, its members of a segment and the piece's progress, in one transaction."""

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import psycopg
from msgspec import structs

from repoint.db import Connection
from repoint.db.bulk import BulkDatabase
from repoint.resources.call import Call
from repoint.resources.endpoints.meanwhile import exclude_writers
from repoint.resources.endpoints.merge import merge_unlocked
from repoint.resources.endpoints.names import add_names, load_names
from repoint.resources.endpoints.order import EndpointUpdate
from repoint.resources.endpoints.store import fold
from repoint.resources.jobs import members, store
from repoint.resources.jobs.csv_rows import CsvTable, Name, needs_no_escapes
from repoint.resources.jobs.files import Chunk
from repoint.resources.jobs.json_rows import sort_out
from repoint.resources.jobs.rows import (
    NOT_NAMED,
    Given,
    RowError,
    Validate,
    is_whole,
    read_csv_row,
    read_json_row,
    split_csv_row,
    update_of,
    user_alone,
)
from repoint.resources.jobs.upsert import Upsert, create_items, upsert
from repoint.wire.exceptions import BadRequestException, WireError

SLOW_ROWS_MAX = 200
COPY_JSON = "COPY import_stage FROM STDIN (FORMAT csv, DELIMITER E'\\x02', QUOTE E'\\x01')"
NOT_THERE = "no endpoint of this application has this Id, or this ChannelType and Address; RegisterEndpoints is false"
NOT_WHOLE = "a new endpoint needs ChannelType and Address"
USER_ALONE = "a User.UserId alone names a user for a segment, and DefineSegment is false"


class MovedOnError(Exception):
    """The piece is not where this chunk begins: another worker went on with it, or its application is gone."""


@dataclass(frozen=True, slots=True)
class Import:
    """What all chunks of an import share; `segment` is the segment and the version its members are written under."""

    call: Call
    bulk: BulkDatabase
    validate: Validate
    app_id: str
    registers: bool
    segment: members.MemberSet | None
    table: CsvTable | None


@dataclass(slots=True)
class Rows:
    """A chunk's rows as (line of the piece, bytes); everything else refers to them by their position, from 1."""

    rows: list[tuple[int, bytes]]
    lines: int
    count: int
    failures: list[store.Failure] = field(default_factory=list)
    slow: set[int] = field(default_factory=set)
    users: list[str] = field(default_factory=list)

    def fail(self, position: int, reason: str) -> None:
        """A row is not imported."""
        self.failures.append((self.rows[position - 1][0], reason))


def split(chunk: Chunk, lines_before: int, *, has_header: bool) -> Rows:
    """A chunk's lines, without a header, a byte order mark, and blank ones."""
    content = chunk.content
    if chunk.begins_at == 0:
        content = content.removeprefix(b"\xef\xbb\xbf")
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    total = len(lines)
    first = 1 if has_header and chunk.begins_at == 0 else 0
    rows = [
        (lines_before + number, line) for number, line in enumerate(lines[first:], 1 + first) if line and line.strip()
    ]
    return Rows(rows, total, len(rows))


async def load(one: Import, piece: store.Piece, chunk: Chunk, *, is_alone: bool = False) -> int:
    """Do one chunk; returns how many lines it has. With `is_alone`, requests that write endpoints wait meanwhile.

    Raises:
        MovedOnError: when this chunk is not this piece's next.
        DatabaseUnavailableError: nothing of it has been done.
    """
    lines_before = piece.lines if chunk.lines_before is None else chunk.lines_before
    rows = await asyncio.to_thread(split, chunk, lines_before, has_header=one.table is not None)
    async with one.bulk.connection() as connection, connection.transaction():
        if is_alone:
            await exclude_writers(connection, app_id=one.app_id)
        if one.table is not None and one.table.is_users:
            _name_users(rows)
        else:
            await create_items(connection, one.app_id)
            await (_stage_json(connection, one, rows) if one.table is None else _stage_csv(connection, one, rows))
            await (_register(connection, one, rows) if one.registers else _recognise(connection, one, rows))
        if one.segment is not None:
            await members.add_users(connection, one.segment, rows.users)
        rows.failures.sort()
        if not await store.advance(
            connection,
            piece,
            read_to=chunk.ends_at,
            lines=rows.lines,
            processed=rows.count,
            failures=rows.failures,
        ):
            raise MovedOnError
    return rows.lines


def _name_users(rows: Rows) -> None:
    """A file of user ids, one or (AWS's user guide shows both) several, separated by spaces, a line."""
    for position, (_, line) in enumerate(rows.rows, 1):
        try:
            cells = split_csv_row(line.rstrip(b"\r"))
            if len(cells) != 1:
                raise RowError(f"{len(cells)} values under 1 column")
            for user_id in cells[0].split():
                user_alone({"User": {"UserId": user_id}})
                rows.users.append(user_id)
        except RowError as error:
            rows.fail(position, str(error))


async def _stage_csv(connection: Connection, one: Import, rows: Rows) -> None:
    """Cells into import_stage, and what is certainly fine from there into import_item."""
    table = one.table
    assert table is not None
    await connection.execute(table.stage())
    content = b"\n".join(line for _, line in rows.rows) + b"\n"
    is_copied = await _copy_as_it_is(connection, table, rows, content)
    if not is_copied:
        await _copy_cells(connection, table, rows)
    blocked: Sequence[Name] = ()
    known = await _known_names(one)
    unknown = [name for name in table.all_names() if name not in known]
    if unknown and rows.rows:
        row = await (await connection.execute(table.used(unknown))).fetchone()
        assert row is not None
        blocked = await _add_names(one, [name for name, is_used in zip(unknown, row, strict=True) if is_used])
    items = table.items(blocked, is_plain=is_copied and needs_no_escapes(content))
    cursor = await connection.execute(items, [one.call.now()])
    if cursor.rowcount < len(rows.rows):
        found = await (await connection.execute("SELECT line FROM import_item")).fetchall()
        rows.slow.update(set(range(1, len(rows.rows) + 1)) - {line for (line,) in found})


async def _copy_as_it_is(connection: Connection, table: CsvTable, rows: Rows, content: bytes) -> bool:
    """Let PostgreSQL parse the file; False when it refuses, or sees other rows than there are lines."""
    if any(line.startswith(b"\\.") for _, line in rows.rows):  # before version 18, the end of the data
        return False
    await connection.execute("SAVEPOINT staged")
    try:
        async with connection.cursor() as cursor:
            async with cursor.copy(table.copy()) as copy:
                await copy.write(content)
            if cursor.rowcount == len(rows.rows):
                return True
    except psycopg.DataError:
        pass
    await connection.execute("ROLLBACK TO SAVEPOINT staged")
    return False


async def _copy_cells(connection: Connection, table: CsvTable, rows: Rows) -> None:
    """Parse each line by itself, so that a bad one spares its neighbours."""
    good: list[tuple[int, bytes]] = []
    async with connection.cursor() as cursor, cursor.copy("COPY import_stage FROM STDIN") as copy:
        for number, line in rows.rows:
            try:
                cells = split_csv_row(line.rstrip(b"\r"))
                if len(cells) != len(table.header):
                    raise RowError(f"{len(cells)} values under {len(table.header)} columns")
                if any("\x00" in text for text in cells):
                    raise RowError("must not contain the NUL character")
            except RowError as error:
                rows.failures.append((number, str(error)))
                continue
            good.append((number, line))
            await copy.write_row([text or None for text in cells])
    rows.rows = good


async def _stage_json(connection: Connection, one: Import, rows: Rows) -> None:
    """Lines that are certainly fine into import_item."""
    lines = [line.rstrip(b"\r") for _, line in rows.rows]
    found = await asyncio.to_thread(sort_out, lines)
    known = await _known_names(one)
    blocked = await _add_names(one, [name for name in found.names if name not in known])
    if blocked:
        found = await asyncio.to_thread(sort_out, lines, blocked=frozenset(blocked))
    for position, user_id in found.users:
        _name_user(one, rows, position, user_id)
    rows.slow.update(found.slow)
    await connection.execute(
        "CREATE TEMP TABLE import_stage (line int, endpoint_id text, removes boolean, doc jsonb) ON COMMIT DROP"
    )
    await connection.execute("SAVEPOINT staged")
    try:
        async with connection.cursor() as cursor, cursor.copy(COPY_JSON) as copy:
            await copy.write(b"".join(found.copied))
    except psycopg.DataError:  # msgspec and PostgreSQL disagree about a line: all of them the slow way
        await connection.execute("ROLLBACK TO SAVEPOINT staged")
        rows.slow.update(set(range(1, len(rows.rows) + 1)) - {position for position, _ in found.users})
    await connection.execute(
        """INSERT INTO import_item (line, endpoint_id, given_id, has_id, removes, channel_type, address, is_opted_out,
               effective_at, user_id, attributes, metrics, demographic, location, user_attributes)
           SELECT line, coalesce(endpoint_id, made_id), coalesce(doc->>'Id', made_id), endpoint_id IS NOT NULL,
               removes, doc->>'ChannelType', doc->>'Address', doc->>'OptOut' = 'ALL',
               coalesce((doc->>'EffectiveDate')::timestamptz, %s), doc->'User'->>'UserId',
               nullif(doc->'Attributes', 'null'), nullif(doc->'Metrics', 'null'),
               nullif(doc->'Demographic', 'null'), nullif(doc->'Location', 'null'),
               nullif(doc->'User'->'UserAttributes', 'null')
           FROM (SELECT *, gen_random_uuid()::text AS made_id FROM import_stage OFFSET 0) AS row""",
        [one.call.now()],
    )


def _name_user(one: Import, rows: Rows, position: int, user_id: str) -> None:
    if one.segment is None:
        rows.fail(position, USER_ALONE)
    else:
        rows.users.append(user_id)


async def _known_names(one: Import) -> frozenset[Name]:
    await one.call.db.settle()
    return await one.call.db.cached(load_names, one.app_id)


async def _add_names(one: Import, names: Sequence[Name]) -> Sequence[Name]:
    """Register new attribute names; returns those there is no room for."""
    if not names or not one.registers:
        return ()
    try:
        await add_names(one.call, one.app_id, sorted(names))
    except WireError:
        return names
    return ()


@dataclass(frozen=True, slots=True)
class SlowRow:
    """A row to be merged by itself; `is_whole` when it has what a new endpoint needs."""

    position: int
    update: EndpointUpdate
    is_whole: bool


async def _register(connection: Connection, one: Import, rows: Rows) -> None:
    """The rows become endpoints: most as sets, the rest one by one."""
    wanted = Upsert(one.app_id, str(uuid.uuid4()), one.call.now())
    slow = await _read_slowly(one, rows, sorted(rows.slow))
    for row in slow:
        wanted.slow.add(row.update.endpoint_id, row.update.address, row.update.user_id)
    await upsert(connection, wanted)
    if one.segment is not None:
        await members.add_items(connection, one.segment)
    slow = sorted(slow + await _read_slowly(one, rows, sorted(wanted.left)), key=lambda row: row.position)
    for begin in range(0, len(slow), SLOW_ROWS_MAX):
        await _merge_slowly(connection, one, rows, slow[begin : begin + SLOW_ROWS_MAX])


async def _read_slowly(one: Import, rows: Rows, positions: Sequence[int]) -> list[SlowRow]:
    found = []
    for position, given in _read(one, rows, positions):
        try:
            found.append(SlowRow(position, await update_of(one.call, one.app_id, given), is_whole(given)))
        except RowError as error:
            rows.fail(position, str(error))
    return found


async def _merge_slowly(connection: Connection, one: Import, rows: Rows, slow: Sequence[SlowRow]) -> None:
    known = await _known(connection, one.app_id, [row.update.endpoint_id for row in slow])
    batches: list[list[SlowRow]] = [[]]
    for row in slow:
        address, user_id = known.get(row.update.endpoint_id, (None, None))
        # Whose endpoint it is and where, said aloud: merge keeps rows in order by what they say.
        update = structs.replace(
            row.update, address=row.update.address or address, user_id=row.update.user_id or user_id
        )
        if not row.is_whole and update.endpoint_id not in known:
            rows.fail(row.position, NOT_WHOLE)
            continue
        known[update.endpoint_id] = (update.address, update.user_id)
        if user_id not in (None, update.user_id):  # it leaves one user for another: neither's rows may overtake it
            batches += [[replace(row, update=update)], []]
        else:
            batches[-1].append(replace(row, update=update))
    for batch in batches:
        await _merge_batch(connection, one, rows, batch)


async def _merge_batch(connection: Connection, one: Import, rows: Rows, batch: Sequence[SlowRow]) -> None:
    results = await merge_unlocked(connection, [row.update for row in batch]) if batch else []
    done = []
    for row, result in zip(batch, results, strict=True):
        if isinstance(result, BadRequestException):
            rows.fail(row.position, result.message)
        elif result is not None:
            raise result
        else:
            done.append(row.update.endpoint_id)
    if one.segment is not None:
        await members.add_endpoints(connection, one.segment, done)


def _read(one: Import, rows: Rows, positions: Iterable[int]) -> Iterable[tuple[int, Given]]:
    """Rows read the exact way; users named alone, and what cannot be read, are seen to here."""
    for position in positions:
        line = rows.rows[position - 1][1].rstrip(b"\r")
        try:
            if one.table is None:
                given = read_json_row(line, one.validate)
            else:
                given = read_csv_row(split_csv_row(line), one.table.header, one.validate)
            user_id = user_alone(given)
        except RowError as error:
            rows.fail(position, str(error))
            continue
        if user_id is None:
            yield position, given
        else:
            _name_user(one, rows, position, user_id)


async def _known(connection: Connection, app_id: str, ids: Sequence[str]) -> dict[str, tuple[str | None, str | None]]:
    """Addresses and users of those of these endpoints that are there."""
    cursor = await connection.execute(
        "SELECT endpoint_id, address, user_id FROM endpoint WHERE app_id = (SELECT %s::text) AND endpoint_id = ANY(%s)",
        [app_id, list(ids)],
    )
    return {endpoint_id: (address, user_id) for endpoint_id, address, user_id in await cursor.fetchall()}


async def _recognise(connection: Connection, one: Import, rows: Rows) -> None:
    """The rows name endpoints that are there; none is written."""
    assert one.segment is not None
    more = []
    for position, given in _read(one, rows, sorted(rows.slow)):
        if not given.get("Id") and not is_whole(given):
            rows.fail(position, NOT_NAMED)
            continue
        endpoint_id = fold(given["Id"]) if given.get("Id") else None
        more.append((position, endpoint_id, endpoint_id is not None, given.get("ChannelType"), given.get("Address")))
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO import_item (line, endpoint_id, has_id, channel_type, address) VALUES (%s, %s, %s, %s, %s)",
            more,
        )
    for position in await members.recognise(connection, one.segment):
        rows.fail(position, NOT_THERE)
