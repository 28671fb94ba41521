"""Migrations: from nothing, from the one before, by two at once, and not backwards."""

import asyncio
import uuid

import psycopg
import pytest

from repoint.db.embedded import dsn_of
from repoint.db.migrate import Migration, MigrationError, load_migrations, migrate

SCHEMA = """SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
            WHERE table_schema = 'public' AND table_name !~ '^event_[0-9]' ORDER BY 1, 2"""


@pytest.fixture
def database(server):
    """An empty database beside the server's own; its DSN."""
    name = f"migrations_{uuid.uuid4().hex}"
    base = dsn_of(server.data_dir).removesuffix(" dbname=postgres")
    with psycopg.connect(f"{base} dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{base} dbname={name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def columns(dsn):
    with psycopg.connect(dsn) as connection:
        return connection.execute(SCHEMA).fetchall()


def test_a_database_that_cannot_hold_all_text_is_refused_before_anything_is_made(server):
    name = f"migrations_{uuid.uuid4().hex}"
    base = dsn_of(server.data_dir).removesuffix(" dbname=postgres")
    with psycopg.connect(f"{base} dbname=postgres", autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        with pytest.raises(MigrationError, match="encoding is SQL_ASCII; it has to be UTF8"):
            asyncio.run(migrate(f"{base} dbname={name}", load_migrations()))

        assert columns(f"{base} dbname={name}") == []
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_an_empty_database_gets_them_all_once(database):
    names = [migration.name for migration in load_migrations()]

    assert asyncio.run(migrate(database, load_migrations())) == names
    assert asyncio.run(migrate(database, load_migrations())) == []


def test_one_release_after_the_other_ends_where_all_at_once_does(database, server):
    *before, last = load_migrations()
    asyncio.run(migrate(database, before))
    asyncio.run(migrate(database, [*before, last]))

    assert columns(database) == columns(dsn_of(server.data_dir))


def test_two_at_once_do_not_get_in_each_others_way(database):
    async def both():
        return await asyncio.gather(*(migrate(database, load_migrations()) for _ in range(4)))

    ran = [names for names in asyncio.run(both()) if names]

    assert ran == [[migration.name for migration in load_migrations()]]


def test_a_migration_that_fails_leaves_nothing_behind(database):
    broken = Migration(9999, "9999_broken", b"CREATE TABLE half_done (x int); SELECT 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        asyncio.run(migrate(database, [*load_migrations(), broken]))

    assert "half_done" not in {row[0] for row in columns(database)}


def test_a_newer_database_is_refused(database):
    newer = Migration(9999, "9999_newer", b"SELECT 1")
    asyncio.run(migrate(database, [*load_migrations(), newer]))

    with pytest.raises(MigrationError, match="start a newer program"):
        asyncio.run(migrate(database, load_migrations()))
