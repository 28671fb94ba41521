"""Conditions: as a block with {{else}}, or inline with yes= and no=."""

from collections.abc import Callable
from typing import Any

from repoint.handlebars.errors import RenderError
from repoint.handlebars.helpers.options import Options
from repoint.handlebars.values import first_of, is_truthy, text_of

Test = Callable[[list[Any]], bool]


def _answer(test: Test) -> Callable[[list[Any], Options], Any]:
    def helper(arguments: list[Any], options: Options) -> Any:
        if not arguments:
            raise RenderError("takes at least one argument")
        holds = test([first_of(argument) for argument in arguments])
        name = "yes" if holds else "no"
        return options.named.get(name, holds)

    return helper


def _second(arguments: list[Any]) -> Any:
    """What is compared with; handlebars.java takes null for what is not there."""
    return arguments[1] if len(arguments) > 1 else None


def _equal(arguments: list[Any]) -> bool:
    left, right = arguments[0], _second(arguments)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _order(arguments: list[Any]) -> int:
    """Texts by their characters, numbers by size, false before true; nothing else has an order."""
    left, right = arguments[0], _second(arguments)
    kinds = {_kind(left), _kind(right)}
    if len(kinds) > 1 or None in kinds:
        raise RenderError(f"cannot compare {text_of(left)[:40]!r} and {text_of(right)[:40]!r}")
    return int(left > right) - int(left < right)


def _kind(value: Any) -> type | None:
    for kind in (bool, str):
        if isinstance(value, kind):
            return kind
    return float if isinstance(value, int | float) else None


CONDITIONS = {
    "and": _answer(lambda values: all(is_truthy(value) for value in values)),
    "or": _answer(lambda values: any(is_truthy(value) for value in values)),
    "not": _answer(lambda values: not is_truthy(values[0])),
    "eq": _answer(_equal),
    "neq": _answer(lambda values: not _equal(values)),
    "gt": _answer(lambda values: _order(values) > 0),
    "gte": _answer(lambda values: _order(values) >= 0),
    "lt": _answer(lambda values: _order(values) < 0),
    "lte": _answer(lambda values: _order(values) <= 0),
}
