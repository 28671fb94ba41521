"""The tutorials are followed to the letter: their blocks are run in order, and what they print is what is there.

A block's language says what it is: `sh` and `python` are run, the latter all in one interpreter, `python NAME` is kept
as a file, `text` is what the block before it prints; anything else is for the reader's eyes.
"""

import contextlib
import io
import os
import re
import subprocess
from pathlib import Path

import boto3
import pytest

from tests.conftest import REPOINT, free_port, start_server

FOLDER = Path(__file__).parent.parent.parent / "docs" / "tutorial"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STATED = "127.0.0.1:8000"


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Somebody with a server of their own, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    server = start_server(tmp_path / "data", "--log-level", "warning", port=free_port())
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    boto3.setup_default_session()  # as in an interpreter just started: nothing is remembered
    monkeypatch.setenv("PATH", f"{REPOINT.parent}:{os.environ['PATH']}")
    yield server
    server.stop()


@pytest.mark.parametrize("page", ["first-messages.md", "partner-guide.md"])
def test_a_tutorial_does_what_it_says(reader, page):
    text = (FOLDER / page).read_text().replace(STATED, reader.url.removeprefix("http://"))
    names, printed = {}, None
    for language, name, block in BLOCK.findall(text):
        if language == "text":
            assert printed == block
        elif name:
            Path(name).write_text(block)
        elif language == "python":
            printed = run_python(block, names)
        elif language == "sh":
            printed = subprocess.run(
                ["bash", "-ec", block], stdout=subprocess.PIPE, text=True, check=True, timeout=60
            ).stdout

    assert printed is not None


def run_python(block, names):
    """What a block prints, run where those before it have left off."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(block, "tutorial", "exec"), names)
    return printed.getvalue()
