"""A compiled template."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from repoint.handlebars.errors import RenderError, TemplateError
from repoint.handlebars.generate import Generator
from repoint.handlebars.limits import DEFAULT_LIMITS, Limits
from repoint.handlebars.parse import Parser
from repoint.handlebars.runtime import made
from repoint.handlebars.values import overridden

Render = Callable[[dict[str, Any], Callable[[], datetime], Limits], str]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Template:
    """A template that has been compiled to a Python function.

    `variables` are the names it reads from the root, outside blocks. The function itself is made when it is first
    needed: most templates that are compiled are only checked.
    """

    __slots__ = ("_limits", "_render", "source", "variables")

    def __init__(self, source: str, variables: frozenset[str], limits: Limits) -> None:
        self.source = source
        self.variables = variables
        self._limits = limits
        self._render: Render | None = None

    def render(
        self,
        context: Mapping[str, Any],
        overrides: Mapping[str, Any] | None = None,
        *,
        now: Callable[[], datetime] = _utc_now,
    ) -> str:
        """The text for one context; `overrides` are dotted names whose values take the place of the context's.

        Raises:
            RenderError: a helper refused its arguments, or a limit was passed.
        """
        if overrides:
            context = overridden(context, overrides)
        elif type(context) is not dict:
            context = dict(context)
        try:
            return (self._render or self._made())(context, now, self._limits)
        except RecursionError:
            raise RenderError("the values are nested too deeply") from None

    def _made(self) -> Render:
        render: Render = made(self.source)
        self._render = render
        return render


def compile_template(source: str, *, escape: bool = False, limits: Limits = DEFAULT_LIMITS) -> Template:
    """Compile a template; with `escape`, `{{x}}` escapes what HTML would take for markup.

    Raises:
        TemplateError: with line and column.
    """
    try:
        nodes = Parser(source, limits).parse()
        generator = Generator(escape=escape, limits=limits)
        written = generator.source(nodes)
    except RecursionError:
        raise TemplateError("the template is nested too deeply", 1, 1) from None
    return Template(written, frozenset(generator.variables), limits)
