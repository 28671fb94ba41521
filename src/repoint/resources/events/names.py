"""The names an application's events have taken, within Pinpoint's quotas: custom types, attributes, metrics."""

from collections.abc import Sequence
from typing import Final

from repoint.db import Database
from repoint.resources.call import Call
from repoint.wire.exceptions import BadRequestException, NotFoundException

Name = tuple[str, str]
NAMES_MAX: Final = {"type": 1_500, "attribute": 500, "metric": 500}


async def load_names(db: Database, app_id: str) -> frozenset[Name]:
    """The (kind, name) pairs an application's events have used; for `Database.cached`."""
    rows = await db.fetch_all("SELECT kind, name FROM event_name WHERE app_id = %s", [app_id])
    return frozenset((kind, name) for kind, name in rows)


async def register_names(call: Call, app_id: str, names: Sequence[Name]) -> None:
    """Remember names seen for the first time.

    Raises:
        BadRequestException: when there would be more of a kind than its quota.
    """
    known = await call.db.cached(load_names, app_id)
    new = [name for name in names if name not in known]
    if not new:
        return
    for kind in {kind for kind, _ in new}:
        _check_quota(kind, sum(one == kind for one, _ in known) + sum(one == kind for one, _ in new))
    async with call.db.settings_change() as connection:
        found = await connection.execute("SELECT 1 FROM app WHERE app_id = %s FOR UPDATE", [app_id])
        if await found.fetchone() is None:
            raise NotFoundException("Application not found")
        await connection.execute(
            """INSERT INTO event_name (app_id, kind, name)
               SELECT %s, kind, name FROM unnest(%s::text[], %s::text[]) AS new (kind, name)
               ON CONFLICT DO NOTHING""",
            [app_id, [kind for kind, _ in new], [name for _, name in new]],
        )
        counted = await connection.execute(
            "SELECT kind, count(*) FROM event_name WHERE app_id = %s GROUP BY kind", [app_id]
        )
        for kind, count in await counted.fetchall():
            _check_quota(kind, count)


def _check_quota(kind: str, count: int) -> None:
    if count > NAMES_MAX[kind]:
        noun = "custom event type" if kind == "type" else f"event {kind} name"
        raise BadRequestException(f"Exceeded the maximum of {NAMES_MAX[kind]} {noun}s of an application")
