"""The documentation is true: generated pages are current, links lead somewhere, commands and examples exist."""

import ast
import code
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from repoint.cli import main

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
COMMAND = re.compile(r"(?<![\w/-])repoint ((?:[a-z]+ ?)+)")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
CAMPAIGN_ROW = re.compile(r"^\| `?([A-Z_]+)\b", re.MULTILINE)
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    broken = [
        link for link in LINK.findall(page.read_text()) if "://" not in link and not (page.parent / link).exists()
    ]

    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_examples_are_python(page):
    for example in PYTHON.findall(page.read_text()):
        assert ast.parse(example).body


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_examples_can_be_pasted_at_a_prompt(page):
    """Where a statement of several lines ends with an empty one, and not before."""
    for example in PYTHON.findall(page.read_text()):
        prompt = Prompt()
        for line in [*example.split("\n"), ""]:
            assert not prompt.push(line) or line
        assert prompt.faults == []


class Prompt(code.InteractiveConsole):
    """Python's, but it runs nothing."""

    def __init__(self):
        super().__init__()
        self.faults = []

    def runcode(self, code):
        pass

    def showsyntaxerror(self, *_, **__):
        self.faults.append(self.buffer)


def test_every_reason_and_state_of_a_campaign_is_tested():
    rows = CAMPAIGN_ROW.findall((ROOT / "docs/reference/campaigns.md").read_text())
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "campaigns").glob("test_*.py"))

    assert {"HOLDOUT", "INVALID"} <= set(rows)
    assert [row for row in rows if f'"{row}"' not in tests] == []


def test_commands_that_are_named_exist():
    named = {words.split()[0] for page in PAGES for words in COMMAND.findall(page.read_text())}

    assert named & {"serve", "keys", "doctor", "config", "work"}
    assert "migrate" not in named


def test_flags_that_are_named_exist():
    lines = [line for page in PAGES for line in page.read_text().splitlines() if "repoint " in line]
    named = {flag for line in lines for flag in FLAG.findall(line)}

    assert named - flags_of(main) == set()


def flags_of(command):
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    if not isinstance(command, click.Group):
        return own
    context = click.Context(command)
    return own.union(*(flags_of(command.get_command(context, name)) for name in command.list_commands(context)))


def test_generated_pages_are_current():
    done = subprocess.run([sys.executable, "tools/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "reference pages are current\n")
