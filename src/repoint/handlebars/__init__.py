"""Handlebars, in the dialect Pinpoint's templates are written in: jknack/handlebars.java's, with its string helpers.

    template = compile("Hello {{capitalize name}}", escape=True)
    template.render({"name": ["ann"]})

Knows nothing of Repoint. A template can only read mappings' keys and lists' items; it reaches no Python attribute.
"""

from repoint.handlebars.errors import RenderError, TemplateError
from repoint.handlebars.form import Form, compile_form
from repoint.handlebars.limits import DEFAULT_LIMITS, Limits
from repoint.handlebars.template import Template, compile_template
from repoint.handlebars.values import overridden

compile = compile_template  # noqa: A001 - handlebars.compile is what the field calls it

__all__ = [
    "DEFAULT_LIMITS",
    "Form",
    "Limits",
    "RenderError",
    "Template",
    "TemplateError",
    "compile",
    "compile_form",
    "overridden",
]
