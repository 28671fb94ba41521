"""The template tables."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from repoint.db import Connection, Database
from repoint.wire.exceptions import BadRequestException, ConflictException

VERSIONS_MAX = 5_000
TEMPLATES_MAX = 20_000
LATEST = "latest"
DELETED_KEPT = timedelta(days=540)  # as long as anything may be scheduled (a journey)
TemplateKey = tuple[str, str, str]


class Versions(NamedTuple):
    """A template's version numbers. `highest` was once given, and is never given again; `latest` is still there."""

    active: int
    latest: int
    highest: int
    kept: int


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """One version of a template. `document` is the request it was made by, less its tags.

    `created_at` is the template's own moment, but where versions are listed: there it is the version's.
    """

    name: str
    template_type: str
    version: int
    active_version: int
    latest_version: int
    document: dict[str, Any]
    created_at: datetime
    modified_at: datetime


def version_number(version: str | None) -> int | None:
    """A version as callers name it: a number, `latest` (0), or nothing (None: the active one).

    Raises:
        BadRequestException: for anything else.
    """
    if version is None:
        return None
    if version.lower() == LATEST:
        return 0
    if not (version.isascii() and version.isdigit() and len(version) < 10 and int(version) > 0):  # noqa: PLR2004
        raise BadRequestException(f"Version: must be a number or {LATEST}")
    return int(version)


async def load_template(db: Database, key: tuple[str, str, str, str | None]) -> StoredTemplate | None:
    """A template's version by (region, type, name, version); for `Database.cached`."""
    region, template_type, name, version = key
    row = await db.fetch_one(
        """SELECT t.name, t.template_type, v.version, t.active_version, t.latest_version, v.document, t.created_at,
                  v.modified_at
           FROM template t JOIN template_version v USING (region, template_type, name)
           WHERE region = %s AND template_type = %s AND name = %s
             AND (%s::int = 0 OR v.version = coalesce(%s::int, t.active_version))
           ORDER BY v.version DESC LIMIT 1""",
        [region, template_type, name, version_number(version), version_number(version)],
    )
    return StoredTemplate(*row) if row else None


async def load_scheduled_template(db: Database, key: tuple[str, str, str, str | None]) -> StoredTemplate | None:
    """As `load_template`, for what was accepted or scheduled earlier: one that was deleted says what it said last."""
    found = await load_template(db, key)
    if found is not None:
        return found
    region, template_type, name, version = key
    number = version_number(version)
    row = await db.fetch_one(
        """SELECT name, template_type, version, version, version, document, created_at, modified_at
           FROM deleted_template
           WHERE region = %s AND template_type = %s AND name = %s
             AND (%s::int = 0 OR CASE WHEN %s::int IS NULL THEN was_active ELSE version = %s END)
           ORDER BY deleted_at DESC, version DESC LIMIT 1""",
        [region, template_type, name, number, number, number],
    )
    return StoredTemplate(*row) if row else None


async def lock_template(connection: Connection, key: TemplateKey) -> Versions | None:
    """The versions of a template about to be changed; None when there is none.

    They are counted by a second statement: it sees what whoever held the lock before has committed.
    """
    cursor = await connection.execute(
        """SELECT active_version, latest_version FROM template
           WHERE region = %s AND template_type = %s AND name = %s FOR UPDATE""",
        list(key),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    counted = await connection.execute(
        """SELECT max(version), count(*) FROM template_version
           WHERE region = %s AND template_type = %s AND name = %s""",
        list(key),
    )
    left = await counted.fetchone()
    assert left is not None
    return Versions(active=row[0], latest=left[0], highest=row[1], kept=left[1])


async def insert_template(connection: Connection, key: TemplateKey, document: dict[str, Any], now: datetime) -> None:
    """A new template with its version 1, which is active.

    Raises:
        ConflictException: when there is one of this type and name.
    """
    counted = await connection.execute("SELECT count(*) FROM template WHERE region = %s", [key[0]])
    row = await counted.fetchone()
    if row is not None and row[0] >= TEMPLATES_MAX:
        raise BadRequestException(f"There are {TEMPLATES_MAX} templates, as many as there may be")
    try:
        await connection.execute(
            """INSERT INTO template (region, template_type, name, active_version, latest_version, created_at)
               VALUES (%s, %s, %s, 1, 1, %s)""",
            [*key, now],
        )
    except UniqueViolation:
        raise ConflictException(f"A template {key[2]} of type {key[1]} exists already") from None
    await insert_version(connection, key, 1, document, now)


async def insert_version(
    connection: Connection, key: TemplateKey, version: int, document: dict[str, Any], now: datetime
) -> None:
    """One more version."""
    await connection.execute(
        """INSERT INTO template_version (region, template_type, name, version, document, created_at, modified_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s)""",
        [*key, version, Jsonb(document), now, now],
    )
    await connection.execute(
        "UPDATE template SET latest_version = %s WHERE region = %s AND template_type = %s AND name = %s",
        [version, *key],
    )


async def replace_version(
    connection: Connection, key: TemplateKey, version: int, document: dict[str, Any], now: datetime
) -> None:
    """Put new content in place of a version's; the same content again leaves it as it was, its date too."""
    await connection.execute(
        """UPDATE template_version SET document = %s, modified_at = %s
           WHERE region = %s AND template_type = %s AND name = %s AND version = %s AND document <> %s""",
        [Jsonb(document), now, *key, version, Jsonb(document)],
    )


async def activate(connection: Connection, key: TemplateKey, version: int) -> bool:
    """Make a version the active one; False when there is no such version."""
    cursor = await connection.execute(
        """UPDATE template SET active_version = %s WHERE region = %s AND template_type = %s AND name = %s
             AND EXISTS (SELECT 1 FROM template_version v WHERE v.region = template.region
                 AND v.template_type = template.template_type AND v.name = template.name AND v.version = %s)""",
        [version, *key, version],
    )
    return cursor.rowcount > 0


async def _keep_deleted(connection: Connection, key: TemplateKey, version: int | None, now: datetime) -> None:
    """Keep what one version says, or all of a template, for what is made of it still."""
    await connection.execute("DELETE FROM deleted_template WHERE deleted_at < %s", [now - DELETED_KEPT])
    await connection.execute(
        """INSERT INTO deleted_template (region, template_type, name, version, was_active, document, created_at,
               modified_at, deleted_at)
           SELECT region, template_type, name, v.version, v.version = t.active_version, v.document, v.created_at,
               v.modified_at, %s
           FROM template_version v JOIN template t USING (region, template_type, name)
           WHERE region = %s AND template_type = %s AND name = %s AND v.version = coalesce(%s, v.version)
           ON CONFLICT (region, template_type, name, version) DO UPDATE SET
               was_active = excluded.was_active, document = excluded.document, created_at = excluded.created_at,
               modified_at = excluded.modified_at, deleted_at = excluded.deleted_at""",
        [now, *key, version],
    )


async def delete_template(connection: Connection, key: TemplateKey, now: datetime) -> None:
    """Take away a template and all its versions."""
    await _keep_deleted(connection, key, None, now)
    await connection.execute("DELETE FROM template WHERE region = %s AND template_type = %s AND name = %s", list(key))


async def delete_version(connection: Connection, key: TemplateKey, version: int, now: datetime) -> bool:
    """Take away one version; False when there is none. The highest that is left takes over what it was."""
    await _keep_deleted(connection, key, version, now)
    cursor = await connection.execute(
        """DELETE FROM template_version WHERE region = %s AND template_type = %s AND name = %s AND version = %s""",
        [*key, version],
    )
    if cursor.rowcount == 0:
        return False
    highest = await connection.execute(
        "SELECT max(version) FROM template_version WHERE region = %s AND template_type = %s AND name = %s", list(key)
    )
    row = await highest.fetchone()
    if row is None or row[0] is None:
        await delete_template(connection, key, now)
        return True
    await connection.execute(
        """UPDATE template SET active_version = CASE WHEN active_version = %s THEN %s ELSE active_version END
           WHERE region = %s AND template_type = %s AND name = %s""",
        [version, row[0], *key],
    )
    return True


async def list_templates(
    db: Database, region: str, *, prefix: str, template_type: str | None, after: tuple[str, str], limit: int
) -> list[StoredTemplate]:
    """Templates by name, each with its active version, after a (name, type)."""
    rows = await db.fetch_all(
        """SELECT t.name, t.template_type, v.version, t.active_version, t.latest_version, '{}'::jsonb, t.created_at,
                  v.modified_at
           FROM template t JOIN template_version v ON v.region = t.region AND v.template_type = t.template_type
               AND v.name = t.name AND v.version = t.active_version
           WHERE t.region = %s AND starts_with(t.name, %s) AND t.template_type = coalesce(%s, t.template_type)
             AND (t.name, t.template_type) > (%s, %s)
           ORDER BY t.name, t.template_type LIMIT %s""",
        [region, prefix, template_type, *after, limit],
    )
    return [StoredTemplate(*row) for row in rows]


async def list_versions(db: Database, key: TemplateKey, *, before: int, limit: int) -> list[StoredTemplate]:
    """A template's versions below a number, newest first."""
    rows = await db.fetch_all(
        """SELECT t.name, t.template_type, v.version, t.active_version, t.latest_version, v.document, v.created_at,
                  v.modified_at
           FROM template t JOIN template_version v USING (region, template_type, name)
           WHERE region = %s AND template_type = %s AND name = %s AND v.version < %s
           ORDER BY v.version DESC LIMIT %s""",
        [*key, before, limit],
    )
    return [StoredTemplate(*row) for row in rows]


def decode_defaults(text: str) -> dict[str, str]:
    """DefaultSubstitutions: a flat object of strings, as JSON in a string.

    Raises:
        BadRequestException: when it is not.
    """
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise BadRequestException(
            "DefaultSubstitutions: must be a JSON object, in a string, of names and string values"
        ) from None
