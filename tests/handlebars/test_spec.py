"""The public specifications of Mustache and Handlebars (spec/README.md says whose they are).

                                  pass   do not apply
    mustache comments               12              0
    mustache delimiters              0             14
    mustache interpolation          37              5
    mustache inverted               22              0
    mustache partials                7              5
    mustache sections               33              1
    handlebars basic                48             20
    handlebars blocks               24              1
    handlebars builtins             12              0
    handlebars data                  1              1
    handlebars helpers               2              0
    handlebars partials             25             23
    handlebars regressions          16              9
    handlebars whitespace-control   34              2

Why some do not apply stands in not_applicable.json. Left out altogether are Mustache's optional modules (lambdas,
inheritance, dynamic names) and what tests handlebars.js by JavaScript of its own.
"""

import json
from pathlib import Path

import pytest

from repoint import handlebars

SPEC = Path(__file__).parent / "spec"
CASES = {
    f"{kind} {case['from']}: {case['name']}": case
    for kind in ("mustache", "handlebars")
    for case in json.loads((SPEC / f"{kind}.json").read_text())
}
REASONS = {
    name: group["reason"] for group in json.loads((SPEC / "not_applicable.json").read_text()) for name in group["cases"]
}


def render(case):
    partials = case.get("partials", {}).items()
    inline = "".join(f'{{{{#*inline "{name}"}}}}{text}{{{{/inline}}}}' for name, text in partials)
    context = case["data"] if isinstance(case["data"], dict) else {}
    try:
        return handlebars.compile(case["template"] + inline, escape=True).render(context)
    except (handlebars.TemplateError, handlebars.RenderError):
        return None


@pytest.mark.parametrize("name", sorted(CASES.keys() - REASONS.keys()))
def test_specification(name):
    assert render(CASES[name]) == CASES[name].get("expected")


def test_what_does_not_apply_is_known():
    assert CASES.keys() >= REASONS.keys()
    assert [name for name in REASONS if render(CASES[name]) == CASES[name].get("expected")] == []
