"""Questions to the log that read much of it: they need other plans than looking up a few rows by key does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import sql
from psycopg.rows import TupleRow

from repoint.db import Database, allow_scans

MEMORY = "64MB"


@dataclass(frozen=True, slots=True)
class Range:
    """One application's events that arrived from `start` on and before `end`."""

    app_id: str
    start: datetime
    end: datetime


async def scan(
    db: Database, query: LiteralString | sql.Composed, parameters: Mapping[str, Any] | Sequence[Any]
) -> list[TupleRow]:
    """A query's rows, planned for its values, with tables read as they lie."""
    async with db.transaction() as connection:
        await allow_scans(connection, work_mem=MEMORY)
        # What is in documents and arrays has no statistics: rows are taken for few, joined one by one, and sorted.
        await connection.execute("SET LOCAL enable_nestloop = off")
        await connection.execute("SET LOCAL enable_sort = off")
        return await (await connection.execute(query, parameters, prepare=False)).fetchall()
