"""Rows of the log that stand for many events: read back as they were, in SQL and by readers, whole rows at a time."""

import asyncio
import json
from datetime import UTC, datetime

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoint.resources.events.reader import EVENT_ID_MAX, Position, each_event, read
from repoint.resources.events.store import Event, append_lines, copy_alike, copy_line, fill_line

NOW = datetime(2041, 7, 8, 9, 10, 11, 123456, UTC)
HOSTILE = [
    "",
    "a\tb\nc\r\n",
    '"quoted" \\back\\n',
    "%s %1$s %% 100%",
    "Zoë 🎉",
    "'; --",
    "\x01\x1f\x7f",
    "{{x}}",
    "\\",
    "\\t",
]


def alike(app_id, names):
    """A row of which each event says its name twice, beside a percent sign of all."""
    document = {"attributes": {"name": "NAME", "again": "is NAME!", "rate": "50% %1$s"}}
    fills = [fill_line((f"e{number}", name)) for number, name in enumerate(names)]
    return copy_alike(Event(app_id, "", "_test", NOW, NOW, document), ("ID-PLACE", "NAME"), fills)


async def write(dsn, lines):
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        here = (await (await connection.execute("SELECT pg_current_snapshot()::text")).fetchone())[0]
        await append_lines(connection, lines)
    return Position(here)


async def read_all(dsn, app_id, position, limit):
    rounds = []
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        while True:
            events, position = await read(connection, position, limit, app_id=app_id)
            if not events:
                return rounds
            rounds.append(events)


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_readers_get_whole_rows_in_order(dsn, app_id, limit):
    one = copy_line(Event(app_id, "e", "_one", NOW, NOW, {}))
    position = asyncio.run(write(dsn, one + alike(app_id, HOSTILE) + alike(app_id, "xyz") + one))

    rounds = asyncio.run(read_all(dsn, app_id, position, limit))

    events = [event for some in rounds for event in some]
    assert [event.event_type for event in events] == ["_one", *["_test"] * (len(HOSTILE) + 3), "_one"]
    assert [event.document["attributes"]["name"] for event in events[1:-1]] == [*HOSTILE, *"xyz"]
    assert len({(event.xid, event.event_id, event.place) for event in events}) == len(events)
    assert [len(some) for some in rounds] == {1: [1, 10, 3, 1], 3: [11, 3, 1], 1000: [15]}[limit]


def test_sql_sees_the_events_that_readers_see(dsn, app_id):
    position = asyncio.run(write(dsn, alike(app_id, HOSTILE)))
    (events,) = asyncio.run(read_all(dsn, app_id, position, 1000))

    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT endpoint_id, place, event_at, document FROM logged_event WHERE app_id = %s ORDER BY place", [app_id]
        ).fetchall()
    assert [(name, number - 1, at, document) for name, number, at, document in rows] == [
        (event.endpoint_id, event.place, event.event_at, event.document) for event in events
    ]
    assert [event.endpoint_id for event in events] == [f"e{number}" for number in range(len(HOSTILE))]
    assert events[0].document["attributes"] == {"name": "", "again": "is !", "rate": "50% %1$s"}


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), min_size=1, max_size=5))
def test_any_text_comes_back(names):
    head, *_, document, _, fills = alike("a", names).decode().removesuffix("\n").split("\t")
    stored = [text.replace("\\t", "\t").replace("\\n", "\n") for text in fills.split("\\\\")]
    row = ("1", EVENT_ID_MAX, NOW, "a", "", "_test", NOW, decoded(document), "\\".join(stored))

    assert head == NOW.isoformat()
    assert [event.document["attributes"]["name"] for event in each_event([row])] == names


def decoded(document):
    """What PostgreSQL's COPY makes of a JSON column."""
    return json.loads(document.replace("\\\\", "\\"))
