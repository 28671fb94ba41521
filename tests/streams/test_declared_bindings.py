"""Bindings from a TOML file: all or nothing, again without effect, and back to a file."""

import os
import subprocess

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoint.bindings.declared import parse, write
from repoint.bindings.store import BindingError, check
from repoint.db.embedded import dsn_of
from tests.conftest import REPOINT, start_server

STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/events"
FILTER = "arn:aws:lambda:us-east-1:123456789012:function:filter"
PASSWORD = "p@ss/w:rd $1"
FILE = f"""
[[binding]]
arn = "{STREAM}"
target = "kafka://user:${{KAFKA_PASSWORD}}@kafka.example.com:9092/events"

[[binding]]
arn = "{FILTER}"
target = "https://hooks.example.com/filter"
secret = "${{HOOK_SECRET}}"
"""
ENVIRONMENT = {"KAFKA_PASSWORD": PASSWORD, "HOOK_SECRET": "s3cret"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A server of its own: `--prune` would unbind what other tests have bound."""
    server = start_server(tmp_path_factory.mktemp("bindings") / "data", "--log-level", "warning")
    yield server.data_dir
    server.stop()


def repoint(data_dir, *arguments, **environment):
    command = [REPOINT, "bindings", *arguments, "--data-dir", data_dir]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


def apply(data_dir, text, *arguments, **environment):
    file = data_dir.parent / "bindings.toml"
    file.write_text(text)
    return repoint(data_dir, "apply", file, *arguments, **environment)


def test_a_file_is_applied_once_exported_and_pruned(data_dir):
    first = apply(data_dir, FILE, **ENVIRONMENT)
    again = apply(data_dir, FILE, **ENVIRONMENT)
    exported = repoint(data_dir, "export").stdout
    pruned = apply(data_dir, FILE.replace("stream/events", "stream/others"), "--prune", **ENVIRONMENT)

    assert first.stdout.splitlines() == [f"{STREAM}  bound", f"{FILTER}  bound"]
    assert again.stdout == "nothing to change\n"
    assert parse(exported, ENVIRONMENT) == parse(FILE, ENVIRONMENT)
    assert PASSWORD not in exported
    assert pruned.stdout.splitlines() == [STREAM.replace("events", "others") + "  bound", f"{STREAM}  unbound"]


def test_secrets_are_sealed_and_a_bad_file_changes_nothing(data_dir):
    apply(data_dir, FILE, "--prune", **ENVIRONMENT)
    refused = apply(data_dir, FILE + '[[binding]]\narn = "nowhere"\ntarget = "aws"\n', **ENVIRONMENT)
    with psycopg.connect(dsn_of(data_dir)) as connection:
        rows = connection.execute("SELECT arn, sealed FROM binding ORDER BY arn").fetchall()

    assert refused.returncode == 1
    assert "binding 3: 'nowhere' is not the ARN" in refused.stderr
    assert [arn for arn, _ in rows] == [STREAM, FILTER]
    assert all(b"s3cret" not in sealed for _, sealed in rows)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[binding]", "Expected"),
        ("port = 8000", "port: the file may have"),
        ("[binding]\narn = 'a'", "double brackets"),
        ("binding = [7]", "binding 1: must be a table"),
        ("[[binding]]\ntarget = 'aws'", "binding 1: arn: is required"),
        (f"[[binding]]\narn = '{STREAM}'\ntarget = 7", "target: must be a string"),
        (f"[[binding]]\narn = '{STREAM}'\ntarget = 'aws'\nsecrets = ''", "secrets: there are arn, target and secret"),
        (f"[[binding]]\narn = '{STREAM}'\ntarget = '${{NOT_SET}}'", "the environment has no NOT_SET"),
        (f"[[binding]]\narn = '{STREAM}'\ntarget = '$HOME'", r"written \$\$"),
        (f"[[binding]]\narn = '{STREAM}'\ntarget = 'aws'\n" * 2, "binding 2: .* is bound above already"),
        (f"[[binding]]\narn = '{STREAM}'\ntarget = 'ftp://x'", "can be bound to"),
    ],
)
def test_a_file_that_cannot_be_is_refused_by_name(text, why):
    with pytest.raises(BindingError, match=why):
        parse(text, {})


@given(secret=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1))
def test_any_secret_survives_export_with_secrets(secret):
    binding = check(FILTER, "https://hooks.example.com/$a", secret)

    assert [(one.target, one.secret) for one in parse(write([binding], with_secrets=True), {})] == [
        (binding.target, secret)
    ]


@given(password=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1))
def test_any_password_fits_into_a_url(password):
    (stream, _) = parse(FILE, ENVIRONMENT | {"KAFKA_PASSWORD": password})

    assert stream.target.endswith("@kafka.example.com:9092/events")
    assert stream.shown_target == "kafka://user:***@kafka.example.com:9092/events"
