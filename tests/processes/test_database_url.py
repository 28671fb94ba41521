"""A PostgreSQL of one's own: several servers on one database are one installation."""

import asyncio
import contextlib
import subprocess
import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from repoint.db import Database, DatabaseClock
from repoint.db.embedded import dsn_of
from tests.conftest import REPOINT, eventually, start_server
from tests.messages.sending import text_somebody

SECRET = "5e" * 32


@contextlib.contextmanager
def database_of_its_own(server):
    """A new database beside a server's; yields its connection string."""
    name = f"shared_{uuid.uuid4().hex}"
    base = dsn_of(server.data_dir).removesuffix(" dbname=postgres")
    with psycopg.connect(f"{base} dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{base} dbname={name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def two_servers(server, tmp_path):
    """Two servers that share a database and a secret key, and nothing else; only the second delivers."""
    with database_of_its_own(server) as url:
        flags = ["--database-url", url, "--secret-key", SECRET, "--log-level", "error"]
        first = start_server(tmp_path / "one", *flags, "--workers", "0", key_flags=flags)
        key = (first.access_key_id, first.secret_access_key)
        second = start_server(tmp_path / "two", *flags, keys=key)
        yield first, second
        assert (first.stop(), second.stop()) == (0, 0)


def set_ahead(url, minutes):
    """Have the database say that it is so many minutes later; returns how to connect to believe it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS ahead")
        connection.execute(
            f"""CREATE OR REPLACE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql
                AS $$ SELECT pg_catalog.clock_timestamp() + interval '{minutes} minutes' $$"""
        )
    return f"{url} options='-c search_path=public,ahead,pg_catalog'"


def test_each_sees_at_once_what_the_other_has_answered(two_servers):
    writer, reader = (one.client() for one in two_servers)
    app_id = writer.create_app(CreateApplicationRequest={"Name": "Shared"})["ApplicationResponse"]["Id"]
    for number in range(20):
        writer.update_application_settings(
            ApplicationId=app_id, WriteApplicationSettingsRequest={"Limits": {"Daily": number}}
        )
        settings = reader.get_application_settings(ApplicationId=app_id)["ApplicationSettingsResource"]

        assert settings["Limits"]["Daily"] == number


def test_what_one_accepts_the_other_delivers(two_servers):
    first, second = two_servers
    text_somebody(first.client(), "from the other one")

    assert eventually(lambda: second.get("/inbox/api/messages")["messages"])[0]["preview"] == "from the other one"
    assert not (second.data_dir / "postgres").exists()


def test_servers_go_by_the_database_s_clock(server, tmp_path):
    with database_of_its_own(server) as plain:
        url = set_ahead(plain, minutes=3)  # a signature may be five minutes old
        flags = ["--database-url", url, "--secret-key", SECRET, "--log-level", "error"]
        running = start_server(tmp_path / "data", *flags, key_flags=flags)
        made = running.client().create_app(CreateApplicationRequest={"Name": "Later"})["ApplicationResponse"]
        ahead = datetime.fromisoformat(made["CreationDate"]) - datetime.now(UTC)

        assert timedelta(minutes=2) < ahead < timedelta(minutes=4)
        assert running.stop() == 0
        command = [REPOINT, "doctor", "--port", "0", "--data-dir", tmp_path / "data", *flags]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "180 s behind the database's" in told.stdout


def test_a_clock_follows_the_database_s_and_leaves_small_differences_alone(server):
    async def follow(url):
        db = Database(url)
        await db.open()
        clock, seen = DatabaseClock(db), []
        for minutes in (0, 0.01, 60, -60):
            set_ahead(plain, minutes=minutes)
            before = clock()
            await clock.measure()
            seen.append(round((clock() - before) / timedelta(minutes=1)))
        await db.close()
        return seen, clock() - datetime.now(UTC)

    with database_of_its_own(server) as plain:
        moves, off = asyncio.run(follow(set_ahead(plain, minutes=0)))

    assert moves == [0, 0, 60, -120]
    assert timedelta(minutes=-61) < off < timedelta(minutes=-59)
