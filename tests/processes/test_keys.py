"""`repoint keys`, with the server running and not."""

import json
import os
import subprocess

import psycopg
import pytest
from botocore.exceptions import ClientError

from repoint.db.embedded import dsn_of
from tests.conftest import REPOINT, create_key, start_server


def keys(data_dir, *arguments):
    command = [REPOINT, "keys", *arguments[:1], "--data-dir", data_dir, *arguments[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def listed(data_dir):
    return {key["access_key_id"]: key for key in json.loads(keys(data_dir, "list", "--json").stdout)}


def works(server, key):
    client = server.client(aws_access_key_id=key[0], aws_secret_access_key=key[1])
    try:
        client.get_apps()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "works"


def test_a_revoked_key_is_refused_by_the_next_request(server):
    key = create_key(server.data_dir, "short-lived")
    before = works(server, key)
    revoked = keys(server.data_dir, "revoke", key[0])

    assert (before, works(server, key)) == ("works", "UnrecognizedClientException")
    assert revoked.stdout == f"{key[0]} is revoked\n"
    assert keys(server.data_dir, "revoke", key[0]).returncode == 1


def test_a_rotated_key_has_a_successor_and_an_end(server):
    key = create_key(server.data_dir, "rotated")
    made = json.loads(keys(server.data_dir, "rotate", key[0], "--old-works-hours", "0", "--json").stdout)
    new = (made["AccessKeyId"], made["SecretAccessKey"])

    assert works(server, new) == "works"
    assert works(server, key) == "ExpiredTokenException"
    assert listed(server.data_dir)[new[0]]["name"] == "rotated"


def test_secrets_are_sealed_at_rest(server):
    key_id, secret = create_key(server.data_dir, "sealed")
    with psycopg.connect(dsn_of(server.data_dir)) as connection:
        row = connection.execute("SELECT secret FROM access_key WHERE access_key_id = %s", [key_id]).fetchone()

    assert secret.encode() not in row[0]
    assert len(row[0]) > len(secret)


def test_keys_are_made_while_the_server_is_down_and_last_use_is_kept(tmp_path):
    data_dir = tmp_path / "data"
    key = create_key(data_dir, "early")
    server = start_server(data_dir, keys=key)
    answer = works(server, key)
    server.stop()

    assert answer == "works"
    assert listed(data_dir)[key[0]]["last_used_at"] not in (None, "None")


def test_the_administrators_key_is_shown_once_and_works(tmp_path):
    server = start_server(tmp_path / "data", keys=("", ""))
    shown = dict(
        line.strip().removeprefix("export ").split("=", 1)
        for line in (tmp_path / "data.log").read_text().splitlines()
        if line.strip().startswith("export AWS_")
    )
    first = works(server, (shown["AWS_ACCESS_KEY_ID"], shown["AWS_SECRET_ACCESS_KEY"]))
    server.stop()
    start_server(tmp_path / "data", keys=("", "")).stop()

    assert first == "works"
    assert (tmp_path / "data.log").read_text().count("export AWS_ACCESS_KEY_ID") == 1


@pytest.mark.parametrize("policy", ["{", "[]", '{"Statement": [{"Effect": "Allow", "Action": "*"}]}'])
def test_a_policy_that_cannot_be_read_is_refused(server, tmp_path, policy):
    (tmp_path / "policy.json").write_text(policy)
    done = keys(server.data_dir, "create", "--name", "x", "--policy", str(tmp_path / "policy.json"))

    assert done.returncode == 1
    assert "policy:" in done.stderr


@pytest.mark.parametrize("command", ["serve", "work"])
def test_nobody_serves_or_works_with_a_key_that_opens_nothing(tmp_path, command):
    another = {"REPOINT_SECRET_KEY": "0" * 64, "REPOINT_PORT": "0"}
    create_key(tmp_path / "data")
    arguments = [REPOINT, command, "--data-dir", tmp_path / "data"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, env=os.environ | another)

    assert done.returncode == 1
    assert "was sealed with another key" in done.stderr.splitlines()[-1]


def test_with_a_lost_key_a_new_access_key_is_a_beginning(tmp_path, monkeypatch):
    create_key(tmp_path / "data")
    monkeypatch.setenv("REPOINT_SECRET_KEY", "0" * 64)
    server = start_server(tmp_path / "data", "--workers", "0", keys=create_key(tmp_path / "data", "new"))

    assert server.client().get_apps()["ApplicationsResponse"]["Item"] == []
    assert server.stop() == 0
