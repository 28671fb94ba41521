"""Settings: flags, environment and file mean the same, and `repoint config` says which won."""

import json
import os
import subprocess
from pathlib import Path

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
