"""The house rules that a linter does not know: budgets, banned names, no imports hidden in functions."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
GENERATED = {"shapes.py", "exceptions.py"}
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
BANNED_NAMES = {"utils", "common", "misc", "core", "manager", "helper", "util"}


def each_source(*, skip_generated: bool = True) -> list[Path]:
    return [path for path in SOURCES if not (skip_generated and path.name in GENERATED)]


@pytest.mark.parametrize("path", each_source(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {node.name: node.end_lineno - node.lineno + 1 for node in functions}

    assert len(text.splitlines()) <= FILE_LINES_MAX
    assert {name: size for name, size in long.items() if size > FUNCTION_LINES_MAX} == {}


@pytest.mark.parametrize("path", each_source(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_stand_at_the_top(path):
    tree = ast.parse(path.read_text())
    hidden = [
        node.lineno
        for scope in ast.walk(tree)
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(scope)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]

    assert hidden == []


def test_names_say_what_is_inside():
    names = {part for path in SOURCES for part in path.relative_to(ROOT / "src").with_suffix("").parts}

    assert names & BANNED_NAMES == set()


def test_no_file_is_left_unfinished():
    found = [str(path) for path in SOURCES if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text())]

    assert found == []


def test_the_changelog_keeps_its_form():
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)

    assert headings
    assert all(re.fullmatch(r"Unreleased|\d+\.\d+\.\d+ - \d{4}-\d{2}-\d{2}", heading) for heading in headings)


LOCKS = ["requirements.lock", "deploy/requirements.lock"]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host(lock):
    assert re.findall(r"https?://", (ROOT / lock).read_text()) == []


def test_what_is_deployed_is_what_is_tested():
    tested, deployed = (set(re.findall(r"^\S+==\S+", (ROOT / lock).read_text(), re.MULTILINE)) for lock in LOCKS)

    assert deployed < tested
