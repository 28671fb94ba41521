"""The names an application's attributes, metrics and user attributes have taken: at most 250 together."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from repoint.db import Connection, Database
from repoint.resources.call import Call
from repoint.resources.endpoints.meanwhile import wait_for_writers
from repoint.resources.endpoints.order import EndpointUpdate
from repoint.wire.exceptions import BadRequestException, NotFoundException

NAMES_MAX = 250
Name = tuple[str, str]


async def load_names(db: Database, app_id: str) -> frozenset[Name]:
    """The (kind, name) pairs an application knows; for `Database.cached`."""
    rows = await db.fetch_all("SELECT kind, name FROM attribute_name WHERE app_id = %s", [app_id])
    return frozenset((kind, name) for kind, name in rows)


def _kept(kind: str, given: Mapping[str, Any] | None) -> list[Name]:
    return [(kind, name) for name, value in (given or {}).items() if value is not None]


async def register_names(call: Call, update: EndpointUpdate) -> None:
    """Remember names seen for the first time.

    Raises:
        BadRequestException: when there would be more than 250.
    """
    names = (
        _kept("attributes", update.attributes)
        + _kept("metrics", update.metrics)
        + _kept("user_attributes", update.user_attributes)
    )
    if not names:
        return
    known = await call.db.cached(load_names, update.app_id)
    new = [name for name in names if name not in known]
    if new:
        await add_names(call, update.app_id, new)


async def add_names(call: Call, app_id: str, new: list[Name]) -> None:
    """Add names to an application's.

    Raises:
        BadRequestException: when there would be more than 250; then none is added.
        NotFoundException: when the application is gone.
    """
    async with call.db.settings_change() as connection:
        found = await connection.execute("SELECT 1 FROM app WHERE app_id = %s FOR UPDATE", [app_id])
        if await found.fetchone() is None:
            raise NotFoundException("Application not found")
        await connection.execute(
            """INSERT INTO attribute_name (app_id, kind, name)
               SELECT %s, kind, name FROM unnest(%s::text[], %s::text[]) AS new (kind, name)
               ON CONFLICT DO NOTHING""",
            [app_id, [kind for kind, _ in new], [name for _, name in new]],
        )
        counted = await connection.execute("SELECT count(*) FROM attribute_name WHERE app_id = %s", [app_id])
        row = await counted.fetchone()
        assert row is not None
        if row[0] > NAMES_MAX:
            raise BadRequestException(
                f"Exceeded the maximum of {NAMES_MAX} attribute names (Attributes, Metrics and UserAttributes "
                "together) of an application"
            )


async def remove_names(call: Call, app_id: str, kind: str, patterns: list[str]) -> list[str]:
    """Take names off the application and off all its endpoints; returns the names that were there.

    AWS's pages disagree on whether existing values stay; here they go, as the shapes' own description says.
    """
    known = await load_names(call.db, app_id)
    matches = [_glob(pattern) for pattern in patterns]
    names = sorted(name for kind_, name in known if kind_ == kind and any(match.fullmatch(name) for match in matches))
    async with call.db.settings_change() as connection:
        await connection.execute(
            "DELETE FROM attribute_name WHERE app_id = %s AND kind = %s AND name = ANY(%s)",
            [app_id, kind, names],
        )
        if kind == "attributes":
            await connection.execute(
                """UPDATE endpoint SET attributes = attributes - %s::text[], revision = revision + 1
                   WHERE app_id = %s AND attributes ?| %s::text[]""",
                [names, app_id, names],
            )
        elif kind == "metrics":
            await connection.execute(
                """UPDATE endpoint SET metrics = metrics - %s::text[], revision = revision + 1
                   WHERE app_id = %s AND metrics ?| %s::text[]""",
                [names, app_id, names],
            )
        else:
            await _take_from_users(connection, app_id=app_id, names=names)
    if kind == "user_attributes":  # who was joining a user may have copied them from an endpoint that had them then
        await wait_for_writers(call.db, app_id)
        await call.db.atomically(partial(_take_from_users, app_id=app_id, names=names))
    return names


async def _take_from_users(connection: Connection, *, app_id: str, names: list[str]) -> None:
    await connection.execute(
        """UPDATE endpoint SET user_attributes = user_attributes - %s::text[], revision = revision + 1
           WHERE app_id = %s AND user_attributes ?| %s::text[]""",
        [names, app_id, names],
    )


def _glob(pattern: str) -> re.Pattern[str]:
    """Only `*` is special; runs of it count as one, so that no pattern is slow."""
    return re.compile(".*".join(re.escape(part) for part in re.sub(r"\*+", "*", pattern).split("*")), re.DOTALL)
