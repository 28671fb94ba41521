"""Settings: flags, environment and file mean the same, and `repoint config` says which won."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOINT


def repoint(*arguments, **environment):
    command = [REPOINT, *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=120)


def config(*arguments, **environment):
    return json.loads(repoint("config", "--json", *arguments, **environment).stdout)


def test_a_flag_beats_the_environment_and_that_the_file(tmp_path):
    file = tmp_path / "repoint.toml"
    file.write_text('port = 1\nhost = "file"\naccount_id = "111111111111"\nsmtp_url = ["smtp://a"]\n')
    shown = config("--config", str(file), "--port", "3", REPOINT_PORT="2", REPOINT_HOST="environment")

    assert shown["port"] == {"value": 3, "source": "flag"}
    assert shown["host"] == {"value": "environment", "source": "environment"}
    assert shown["account_id"] == {"value": "111111111111", "source": "file"}
    assert shown["workers"] == {"value": 1, "source": "default"}


def test_secrets_are_not_shown():
    printed = repoint("config", REPOINT_SMTP_URL="smtp://me:hunter2@relay", REPOINT_DATABASE_URL="host=x password=y")

    assert printed.returncode == 0
    assert "hunter2" not in printed.stdout
    assert "password" not in printed.stdout


def test_an_unknown_setting_in_the_file_is_refused(tmp_path):
    (tmp_path / "repoint.toml").write_text("prot = 1\n")
    done = repoint("config", "--config", str(tmp_path / "repoint.toml"))

    assert done.returncode == 2
    assert "no such setting: prot" in done.stderr


def test_the_example_file_names_every_setting(tmp_path):
    text = (Path(__file__).parents[2] / "deploy" / "repoint.toml").read_text()
    uncommented = "\n".join(line.removeprefix("# ") for line in text.splitlines() if " = " in line)
    (tmp_path / "repoint.toml").write_text(uncommented)
    shown = config("--config", str(tmp_path / "repoint.toml"))

    assert {entry["source"] for entry in shown.values()} == {"file"}


def test_doctor_finds_a_fresh_installation_fine(tmp_path):
    data_dir = str(tmp_path / "data")
    repoint("keys", "create", "--name", "x", "--data-dir", data_dir)
    done = repoint("doctor", "--data-dir", data_dir, "--port", "0")

    assert done.returncode == 0, done.stdout
    assert "PostgreSQL 18" in done.stdout


def test_doctor_says_when_the_secret_key_is_another(tmp_path):
    data_dir = str(tmp_path / "data")
    repoint("keys", "create", "--name", "x", "--data-dir", data_dir)
    done = repoint("doctor", "--data-dir", data_dir, "--port", "0", REPOINT_SECRET_KEY="0" * 64)

    assert done.returncode == 1
    assert "sealed with another key" in done.stdout


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("serve", "--workers", "-1"), "--workers"),
        (("serve", "--event-retention-days", "0"), "--event-retention-days"),
        (("serve", "--event-retention-days", "1000000"), "--event-retention-days"),
        (("serve", "--port", "65536"), "--port"),
        (("serve", "--database-connections", "2"), "--database-connections"),
        (("serve", "--public-url", "mail.example.com"), "public-url"),
        (("serve", "--public-url", "https://mail.example.com/'"), "public-url"),
        (("serve", "--public-url", "https://"), "public-url"),
        (("serve", "--public-url", "https://mail.example.com/?from=mail"), "public-url"),
        (("serve", "--public-url", "https://mail.example.com:https"), "public-url"),
        (("serve", "--public-url", "https://mail example.com"), "public-url"),
        (("serve", "--account-id", "12"), "account-id"),
        (("serve", "--smtp-url", "relay:25"), "smtp-url"),
        (("serve", "--smtp-url", "smtp://relay?weight=0"), "smtp-url"),
        (("serve", "--smtp-url", "smtp://user:se/cret@relay"), "smtp-url"),
        (("work", "--bucket", "shop"), "bucket"),
        (("serve", "--rate-limit", "SendMesages=5"), "rate-limit"),
        (("serve", "--rate-limit", "SendMessages=0"), "rate-limit"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_before_anything_is_made(tmp_path, command, name):
    done = repoint(*command, "--data-dir", str(tmp_path / "data"))

    assert done.returncode == 2
    assert name in done.stderr.splitlines()[-1]
    assert "cret" not in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("line", ['smtp_url = "smtp://relay"', "bucket = [1]", "port = [1]", "[port]\nnumber = 1"])
def test_a_setting_of_another_type_in_the_file_is_refused(tmp_path, line):
    (tmp_path / "repoint.toml").write_text(line)
    done = repoint("config", "--config", str(tmp_path / "repoint.toml"))

    assert done.returncode == 2
    assert f"repoint.toml: {line.strip('[').split(' ')[0].split(']')[0]} must be" in done.stderr


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (("--database-url", "junk"), "junk"),
        (("--database-url", "postgresql://127.0.0.1:1/x"), "refused"),
        (("--secret-key", "junk"), "64 hex digits"),
        (("--data-dir", "/proc/nowhere"), "/proc/nowhere"),
    ],
)
@pytest.mark.parametrize("command", [("keys", "create", "--name", "x"), ("work",)])
def test_an_installation_that_cannot_be_opened_is_told_in_a_sentence(tmp_path, command, setting, said):
    done = repoint(*command, "--data-dir", str(tmp_path / "data"), *setting)

    assert done.returncode == 1
    assert done.stderr.startswith("Error: the installation cannot be opened: ")
    assert said in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("keys", "list"),
        ("bindings", "list"),
        ("suppression", "list"),
        ("dkim", "list"),
        ("metrics", "users", "--app=x"),
    ],
)
def test_who_only_looks_makes_no_installation(tmp_path, command):
    done = repoint(*command, "--data-dir", str(tmp_path / "data"))

    assert done.returncode == 1
    assert "there is no installation in" in done.stderr
    assert not (tmp_path / "data").exists()


def test_doctor_makes_no_installation_and_tells_of_settings(tmp_path):
    fresh = repoint("doctor", "--data-dir", str(tmp_path / "data"), "--port", "0")
    amiss = repoint("doctor", "--data-dir", str(tmp_path / "data"), "--smtp-url", "relay:25")

    assert (fresh.returncode, amiss.returncode) == (0, 1)
    assert "none yet" in fresh.stdout
    assert "FAIL  settings: smtp-url" in amiss.stdout
    assert not (tmp_path / "data").exists()


def test_a_misspelt_variable_is_warned_of(tmp_path):
    done = repoint("serve", "--host", "192.0.2.1", "--data-dir", str(tmp_path / "data"), REPOINT_PROT="1")

    assert "REPOINT_PROT" in done.stderr.splitlines()[0]
    assert "cannot listen" in done.stderr.splitlines()[-1]
