"""Migrations: numbered `.sql` files, each run once, in order, in one transaction, under a lock.

Whoever starts first migrates; whoever starts meanwhile waits for the lock and finds nothing left to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

FOLDER = Path(__file__).parent.parent / "migrations"
LOCK = 0x7265706F696E74
POSTGRES_MIN = 16


class MigrationError(Exception):
    """The database's history and this program's migrations do not fit each other."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    sql: bytes


def load_migrations(folder: Path = FOLDER) -> list[Migration]:
    """All migrations, in the order they are run."""
    files = sorted(folder.glob("[0-9]*.sql"))
    return [Migration(int(file.name[:4]), file.stem, file.read_bytes()) for file in files]


async def migrate(dsn: str, migrations: Sequence[Migration]) -> list[str]:
    """Bring the database up to date; returns the names of what was run.

    Raises:
        MigrationError: when the database was migrated by a newer program, or is too old, or cannot hold all text.
    """
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        version = connection.info.server_version // 10_000
        if version < POSTGRES_MIN:
            raise MigrationError(f"the database is of PostgreSQL {version}; it has to be {POSTGRES_MIN} or newer")
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            remedy = "CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'"
            raise MigrationError(f"the database's encoding is {encoding}; it has to be UTF8: {remedy}")
        await connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        await connection.execute(
            """CREATE TABLE IF NOT EXISTS schema_migration (
                 number int PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"""
        )
        rows = await (await connection.execute("SELECT number FROM schema_migration")).fetchall()
        applied = {row[0] for row in rows}
        newest = max((migration.number for migration in migrations), default=0)
        if applied and max(applied) > newest:
            raise MigrationError(
                f"the database is at migration {max(applied)}, this program knows {newest}: start a newer program"
            )
        done = []
        for migration in migrations:
            if migration.number not in applied:
                await _apply(connection, migration)
                done.append(migration.name)
        return done


async def _apply(connection: psycopg.AsyncConnection[tuple[object, ...]], migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO schema_migration (number, name) VALUES (%s, %s)", [migration.number, migration.name]
        )
