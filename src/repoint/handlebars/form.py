"""A template without blocks, as a form: texts that are always the same, and the values between them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from repoint.handlebars.errors import RenderError, TemplateError
from repoint.handlebars.generate import Generator
from repoint.handlebars.limits import DEFAULT_LIMITS, Limits
from repoint.handlebars.nodes import Argument, Call, Node, Output, Path, Text
from repoint.handlebars.parse import Parser
from repoint.handlebars.runtime import made

Values = Callable[[dict[str, Any], Callable[[], datetime], Limits], list[str]]


@dataclass(frozen=True, slots=True)
class Form:
    """One more text than there are values; `names` are the context's members that the values are made of."""

    texts: tuple[str, ...]
    names: frozenset[str]
    write: Values
    limits: Limits

    def values(self, context: dict[str, Any], now: Callable[[], datetime]) -> list[str]:
        """The values of one context, each as `Template.render` prints it.

        Raises:
            RenderError: a helper refused its arguments, or a limit was passed.
        """
        try:
            return self.write(context, now, self.limits)
        except RecursionError:
            raise RenderError("the values are nested too deeply") from None


def compile_form(source: str, *, escape: bool = False, limits: Limits = DEFAULT_LIMITS) -> Form | None:
    """A template as a form; None when its texts depend on its values, or a value on all there is, as `{{this}}` does.

    Raises:
        TemplateError: with line and column.
    """
    try:
        nodes = Parser(source, limits).parse()
        named = [path for node in nodes if isinstance(node, Output) for path in paths_of(node.call)]
        is_plain = all(isinstance(node, Text | Output) for node in nodes)
        if not is_plain or any(path.is_data or path.is_scoped for path in named):
            return None
        texts, written = _written(nodes, escape=escape, limits=limits)
    except RecursionError:
        raise TemplateError("the template is nested too deeply", 1, 1) from None
    return Form(texts, frozenset(path.parts[0].strip("[]") for path in named), made(written), limits)


def paths_of(argument: Argument) -> Iterator[Path]:
    """Every path that an expression names; a helper's name is one too."""
    match argument:
        case Path():
            yield argument
        case Call():
            yield argument.path
            for one in (*argument.arguments, *argument.named.values()):
                yield from paths_of(one)


def _written(nodes: list[Node], *, escape: bool, limits: Limits) -> tuple[tuple[str, ...], str]:
    """The texts, and the source of the function that makes the values."""
    generator = Generator(escape=escape, limits=limits)
    texts, values = [""], []
    for node in nodes:
        if isinstance(node, Text):
            texts[-1] += node.text
        elif isinstance(node, Output):
            values.append((generator.printed(generator.call(node.call)), node.is_raw))
            texts.append("")
    generator.line(f"return {_listed(values, escape=escape)}")
    return tuple(texts), generator.function()


def _listed(values: list[tuple[str, bool]], *, escape: bool) -> str:
    """The list of values, each an expression and whether it is printed raw; escaped all at once, if they all are."""
    if not escape or all(is_raw for _, is_raw in values):
        return f"[{', '.join(value for value, _ in values)}]"
    if not any(is_raw for _, is_raw in values):
        return f"escape_all([{', '.join(value for value, _ in values)}])"
    return f"[{', '.join(value if is_raw else f'escape({value})' for value, is_raw in values)}]"
