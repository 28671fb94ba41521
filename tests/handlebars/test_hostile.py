"""No template hangs, exhausts its server, or sees what is not in its context."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repoint import handlebars
from tests.handlebars.strategies import CONTEXTS, TEMPLATES

SECRET = "s3cr3t-of-the-server"
SECONDS_MAX = 30  # a machine may be busy; what hangs takes minutes
ENTITIES = str.maketrans(
    {"<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", "`": "&#x60;", "&": "&amp;", "=": "&#x3D;"}
)


class Vault(str):
    """A text with something to steal: templates see its characters, never its attributes."""

    __slots__ = ("secret",)


def vault():
    text = Vault("plain")
    text.secret = SECRET
    return text


def outcome(source, context, *, escape=True):
    """What comes of a template: its text, or None if it was refused; anything else is raised."""
    try:
        return handlebars.compile(source, escape=escape).render(context)
    except (handlebars.TemplateError, handlebars.RenderError):
        return None


@pytest.mark.parametrize(
    "path",
    [
        *(
            "v.secret",
            "v.__class__",
            "v.__dict__.secret",
            "v.[__class__]",
            "__builtins__",
            "__class__.__mro__",
            "v.format",
        ),
        *("d.keys", "d.get", "d.__class__", "l.append", "l.__class__", "this.__class__", "lookup v 'secret'", "NAMES"),
        *(
            "lookup d '__class__'",
            "c",
            "now.func_globals",
            "limits",
            "r",
            "text_of",
            "Run",
            "@root.__class__",
            "@__class__",
        ),
    ],
)
def test_no_attribute_is_reached(path):
    context = {"v": vault(), "d": {}, "l": []}

    assert outcome(f"{{{{#if {path}}}}}{{{{{path}}}}}{{{{/if}}}}", context) in ("", None)
    assert outcome(f"{{{{{{{path}}}}}}}", context) in ("", None)


@pytest.mark.parametrize(
    "text",
    [
        "{v.secret}",
        "{0.__class__}",
        "%(v)s",
        "%s",
        "f'{c}'",
        "';c;'",
        '"""',
        "\\'",
        "\\",
        "${v}",
        "\n'",
        "'\"\\\n\r\u2028\ud800",
    ],
)
def test_text_is_only_text(text):
    assert outcome(text, {"v": vault()}) == text
    assert outcome("{{eq '" + text.replace("'", "").replace("\\", "") + "' 1}}", {}) == "false"
    assert outcome(f"{{{{#if [{text}]}}}}x{{{{/if}}}}", {}) == ""


@pytest.mark.parametrize(
    ("source", "context"),
    [
        ("{{#each l}}{{#each ../l}}{{#each ../l}}x{{/each}}{{/each}}{{/each}}", {"l": [1] * 1000}),
        ("{{#each l}}" + "{{x}}" * 5000 + "{{/each}}", {"l": [1] * 10_000}),
        ("{{#each l}}{{x}}{{/each}}", {"l": [1] * 9000, "x": "y" * 100_000}),
        ("{{#each l}}{{sha512 x}}{{/each}}", {"l": [1] * 9000, "x": "y" * 100_000}),
        ("{{#each l}}{{upper (lower (upper x))}}{{/each}}", {"l": [1] * 9000, "x": "y" * 100_000}),
        (
            "{{#each l}}{{#if (eq big big2)}}{{/if}}{{/each}}",
            {"l": [1] * 9000, "big": [[1] * 99] * 99, "big2": [[1] * 99] * 99},
        ),
        ("{{#each l}}{{ljust 'x' 99999}}{{/each}}", {"l": [1] * 9000}),
        ("{{ljust 'x' 999999999}}", {}),
        ("{{replace x 'a' x}}", {"x": "a" * 100_000}),
        ("{{join l x}}", {"l": [""] * 100_000, "x": "y" * 100_000}),
        ("{{#if a}}" * 60 + "{{/if}}" * 60, {}),
        ("{{#each a}}" * 20 + "{{/each}}" * 20, {}),
        ("{{" + "upper (" * 500 + "a" + ")" * 500 + "}}", {}),
        ("{{a}}" * 30_000, {}),
        ("x" * 1_000_001, {}),
        (
            "".join(f'{{{{#*inline "p{n}"}}}}{f"{{{{> p{n + 1}}}}}" * 10}{{{{/inline}}}}' for n in range(30))
            + "{{> p0}}",
            {},
        ),
        ('{{#*inline "p"}}{{> p}}{{/inline}}{{> p}}', {}),
        ("{{multiply x x}}", {"x": "9" * 5000}),
        ("{{round x}}", {"x": "1e999999"}),
        ("{{ordinalize x}}", {"x": "1e308"}),
        ("{{dateFormat x inputFormat=p}}", {"x": "a" * 5000, "p": "y" * 5000}),
        ("\\" * 900_000, {}),
        ("{{" + "\\" * 900_000 + "}}", {}),
        ("\n" * 900_000 + "{{a}}" * 15_000, {}),
        (" " * 900_000 + "{{#if a}}{{/if}}" * 5_000, {}),
        ("{{join " + '"a" ' * 200_000 + "}}", {}),
        ("{{upper " + '"' * 900_000 + "}}", {}),
        ("{{upper " + "\\'" * 400_000 + "}}", {}),
        ("{{" + "a." * 400_000 + "}}", {}),
        ("{{!--" * 150_000, {}),
        ("{{{{a}}}}" * 50_000, {}),
        ("{{a as |" + "b " * 400_000 + "|}}", {}),
        ("{{#if a}}" + "{{else if a}}" * 9_000 + "{{/if}}", {}),
        ("{{now p}}", {"p": "y" * 100_000}),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_a_template_that_asks_for_too_much_is_refused_in_time(source, context):
    began = time.monotonic()
    text = outcome(source, context)

    assert text is None or len(text) <= 10_000_000
    assert time.monotonic() - began < SECONDS_MAX


def test_a_template_as_large_as_is_allowed_still_renders():
    chain = (
        "{{#if (eq x 0)}}0" + "".join(f"{{{{else if (eq x {n})}}}}{n}" for n in range(1, 400)) + "{{else}}none{{/if}}"
    )
    nested = "{{#if y}}" * 49 + "{{x}}" + "{{/if}}" * 49

    assert outcome(chain, {"x": 399}) == "399"
    assert outcome(nested, {"x": 1, "y": True}) == "1"
    assert outcome("{{#each l}}" * 15 + "{{this}}" + "{{/each}}" * 15, {"l": "x"}) == ""
    assert outcome("{{x}}," * 9000, {"x": "<"}) == "&lt;," * 9000


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(TEMPLATES, CONTEXTS, st.booleans())
def test_any_template_on_any_context_gives_text_or_a_clear_refusal(source, context, escape):
    text = outcome(source, {**context, "v": vault()}, escape=escape)

    assert text is None or SECRET not in text


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(st.sampled_from("{}#/^~>&!=ab .[]()|\"'@\\\n-0 1elsif"), max_size=60))
def test_any_characters_give_text_or_a_clear_refusal(source):
    text = outcome(source, {"a": "A", "b": ["B"]})

    assert text is None or isinstance(text, str)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=300))
def test_values_are_escaped_whatever_they_are(values):
    expected = "".join(text.translate(ENTITIES) + "|" for text in values)

    assert outcome("{{#each l}}{{this}}|{{/each}}", {"l": values}) == expected


def test_a_huge_value_is_refused_before_it_is_repeated():
    with pytest.raises(handlebars.RenderError, match="x: a value must be at most 500000 characters"):
        handlebars.compile("{{x}}" * 10_000).render({}, {"x": ["y" * 500_001]})
