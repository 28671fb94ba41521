"""A PostgreSQL of one's own: several servers on one database are one installation."""

import uuid

import psycopg
import pytest

from repoint.db.embedded import dsn_of
from tests.conftest import eventually, start_server
from tests.messages.sending import text_somebody

SECRET = "5e" * 32


@pytest.fixture
def two_servers(server, tmp_path):
    """Two servers that share a database and a secret key, and nothing else; only the second delivers."""
    name = f"shared_{uuid.uuid4().hex}"
    base = dsn_of(server.data_dir).removesuffix(" dbname=postgres")
    with psycopg.connect(f"{base} dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        flags = ["--database-url", f"{base} dbname={name}", "--secret-key", SECRET, "--log-level", "error"]
        first = start_server(tmp_path / "one", *flags, "--workers", "0", key_flags=flags)
        key = (first.access_key_id, first.secret_access_key)
        second = start_server(tmp_path / "two", *flags, keys=key)
        yield first, second
        assert (first.stop(), second.stop()) == (0, 0)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


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
