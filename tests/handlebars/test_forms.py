"""Forms: a template's fixed texts and its values are, together, what the template renders."""

from datetime import UTC, datetime
from itertools import chain, zip_longest

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from repoint import handlebars
from tests.handlebars.strategies import CONTEXTS, TEMPLATES

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def answer(function):
    """What a function returns, or that it refuses."""
    try:
        return function()
    except handlebars.RenderError as error:
        return type(error), error.message


@settings(max_examples=500, deadline=None)
@given(TEMPLATES, CONTEXTS, st.booleans())
def test_a_form_says_what_its_template_renders(source, context, escape):
    try:
        template = handlebars.compile(source, escape=escape)
    except handlebars.TemplateError:
        return
    form = handlebars.compile_form(source, escape=escape)
    event("a form" if form else "no form")
    if form is None or "uuid" in source:
        return
    named = {name: value for name, value in context.items() if name in form.names}
    values = answer(lambda: form.values(named, lambda: NOW))
    rendered = answer(lambda: template.render(context, now=lambda: NOW))

    assert rendered == (
        "".join(chain(*zip_longest(form.texts, values, fillvalue=""))) if isinstance(values, list) else values
    )


@pytest.mark.parametrize("source", ["{{#if a}}x{{/if}}", "{{this}}", "{{@root}}", "{{../a}}", "{{upper this}}"])
def test_what_depends_on_more_than_names_is_no_form(source):
    assert handlebars.compile_form(source) is None


def test_a_form_has_the_names_it_reads():
    form = handlebars.compile_form("a {{b.c}} {{upper [d e] }} {{{join f ', '}}}", escape=True)

    assert form.texts == ("a ", " ", " ", "")
    assert {"b", "d e", "f"} <= form.names
    assert form.values({"b": {"c": "<"}, "d e": "x", "f": ["<", "y"]}, None) == ["&lt;", "X", "<, y"]
