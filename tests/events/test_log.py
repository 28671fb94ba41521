"""The log's readers: each event that commits is read once, however late; and its partitions come and go."""

import asyncio
import json
import random
import subprocess
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from repoint.resources.events.reader import Position, load_position, read, save_position
from repoint.work.partitions import LOCK_MILLISECONDS, drop_partitions, make_partitions
from tests.conftest import REPOINT
from tests.events.conftest import event

NOW = datetime(2041, 5, 6, tzinfo=UTC)


async def connect(dsn):
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True)


async def insert(connection, app_id, name, moment=NOW):
    await connection.execute(
        """INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
           VALUES (%s, %s, 'e', %s, %s, '{}')""",
        [moment, app_id, name, moment],
    )


async def here(connection):
    return Position((await (await connection.execute("SELECT pg_current_snapshot()::text")).fetchone())[0])


async def interleave(dsn, app_id, chance, readers_app_id):
    """Transactions that overlap, end in any order, commit or not; and a reader that looks in between."""
    writers = [await connect(dsn) for _ in range(5)]
    reader = await connect(dsn)
    position = await here(reader)
    open_, committed, seen, number = {}, [], [], 0
    for _ in range(150):
        writer = chance.choice(writers)
        step = chance.random()
        if step < 0.4:
            if writer not in open_:
                await writer.execute("BEGIN")
            number += 1
            await insert(writer, app_id, str(number))
            open_.setdefault(writer, []).append(str(number))
        elif step < 0.65 and writer in open_:
            is_kept = chance.random() < 0.7
            await writer.execute("COMMIT" if is_kept else "ROLLBACK")
            committed += open_.pop(writer) if is_kept else (open_.pop(writer) and [])
        else:
            events, position = await read(reader, position, chance.randint(1, 4), app_id=readers_app_id)
            seen += [one.event_type for one in events if one.app_id == app_id]
    for writer, names in open_.items():
        await writer.execute("COMMIT")
        committed += names
    while True:
        events, position = await read(reader, position, 3, app_id=readers_app_id)
        seen += [one.event_type for one in events if one.app_id == app_id]
        if not events:
            break
    for connection in (*writers, reader):
        await connection.close()
    return committed, seen


@pytest.mark.parametrize("scope", ["one application's", "the whole log's"])
@pytest.mark.parametrize("seed", range(6))
def test_a_reader_sees_each_committed_event_once(dsn, app_id, seed, scope):
    wanted = app_id if scope == "one application's" else None
    committed, seen = asyncio.run(interleave(dsn, app_id, random.Random(seed), wanted))

    assert committed
    assert sorted(seen) == sorted(committed)


def test_an_open_transaction_does_not_hold_readers_back(dsn, app_id):
    async def scene():
        slow, quick, reader = [await connect(dsn) for _ in range(3)]
        position = await here(reader)
        await slow.execute("BEGIN")
        await insert(slow, app_id, "slow")
        await insert(quick, app_id, "quick")
        first, position = await read(reader, position, 10, app_id=app_id)
        await slow.execute("COMMIT")
        second, _ = await read(reader, position, 10, app_id=app_id)
        return [one.event_type for one in first], [one.event_type for one in second]

    assert asyncio.run(scene()) == (["quick"], ["slow"])


def test_a_position_that_is_rolled_back_is_where_it_was(dsn, app_id):
    async def scene():
        writer, reader = await connect(dsn), await connect(dsn)
        await save_position(reader, app_id, await here(reader))
        for number in range(5):
            await insert(writer, app_id, str(number))
        before = await load_position(reader, app_id)
        async with reader.transaction(force_rollback=True):
            events, after = await read(reader, before, 3, app_id=app_id)
            await save_position(reader, app_id, after)
        again, after = await read(reader, await load_position(reader, app_id), 3, app_id=app_id)
        await save_position(reader, app_id, after)
        rest, _ = await read(reader, await load_position(reader, app_id), 3, app_id=app_id)
        return [[one.event_type for one in some] for some in (events, again, rest)]

    assert asyncio.run(scene()) == [["0", "1", "2"], ["0", "1", "2"], ["3", "4"]]


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_transactions_are_in_the_order_of_their_numbers_not_of_their_digits(dsn, app_id, limit):
    async def scene():
        connection = await connect(dsn)
        for xid in ("8", "9", "10", "11", "99", "100"):
            await connection.execute(
                """INSERT INTO event (arrival_at, xid, app_id, endpoint_id, event_type, event_at, document)
                   VALUES (%s, %s, %s, 'e', %s, %s, '{}')""",
                [NOW, xid, app_id, xid, NOW],
            )
        found, position = [], Position("3:3:")
        while (step := await read(connection, position, limit, app_id=app_id))[0]:
            found += [one.event_type for one in step[0]]
            position = step[1]
        return found

    assert asyncio.run(scene()) == ["8", "9", "10", "11", "99", "100"]


def partitions(dsn):
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'event'::regclass"
        )
        return {name for (name,) in rows}


def test_partitions_are_made_ahead_and_dropped_behind(dsn, app_id):
    async def scene():
        connection = await connect(dsn)
        await make_partitions(connection, NOW - timedelta(days=400))
        await insert(connection, app_id, "old", NOW - timedelta(days=400))
        await insert(connection, app_id, "new")
        made = partitions(dsn)
        await drop_partitions(connection, datetime.now(UTC) - timedelta(days=90))
        kept = partitions(dsn)
        await drop_partitions(connection, NOW - timedelta(days=390))
        left, _ = await read(connection, Position("3:3:"), 10, app_id=app_id)
        await make_partitions(connection, datetime.now(UTC))
        return made, kept, [one.event_type for one in left]

    made, kept, left = asyncio.run(scene())

    assert "event_20400401" in made & kept
    assert "event_20400401" not in partitions(dsn)
    assert left == ["new"]


def test_dropping_waits_for_nobody_and_holds_nobody_up(dsn, app_id):
    async def scene():
        busy, keeper = await connect(dsn), await connect(dsn)
        await make_partitions(keeper, NOW - timedelta(days=8_000))
        await busy.execute("BEGIN")
        await busy.execute("SELECT count(*) FROM event")
        started = time.monotonic()
        await drop_partitions(keeper, NOW - timedelta(days=7_990))
        waited = time.monotonic() - started
        held = partitions(dsn)
        await busy.execute("COMMIT")
        await drop_partitions(keeper, NOW - timedelta(days=7_990))
        return waited, held

    waited, held = asyncio.run(scene())

    assert waited < LOCK_MILLISECONDS / 1000 * 4 * 5
    assert any(name.startswith("event_2019") for name in held)
    assert not any(name.startswith("event_2019") for name in partitions(dsn))


def test_the_log_is_listed_by_type_and_number(put, logged):
    put(**{f"e{n}": event("odd" if n % 2 else "even", Attributes={"n": str(n)}) for n in range(6)})

    assert [one["attributes"]["n"] for one in logged("--type", "odd")] == ["1", "3", "5"]
    assert [one["attributes"]["n"] for one in logged("--limit", "2")] == ["0", "1"]
    assert all(json.dumps(one) for one in logged())


def test_what_clients_call_things_cannot_write_on_a_terminal(put, server, app_id):
    put("e\x1b[2J", x=event("a\nb\x1b[31m", Attributes={"\x07": "\x1b"}))
    command = [REPOINT, "events", "list", "--data-dir", server.data_dir, "--app", app_id]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert len(printed.splitlines()) == 1
    assert printed.strip().isprintable()
    assert "a\\nb\\x1b[31m" in printed
