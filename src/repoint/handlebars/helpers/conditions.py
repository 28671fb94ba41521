"""Conditions: as a block with {{else}}, or inline with yes= and no=."""

from collections.abc import Callable
from typing import Any

from repoint.handlebars.errors import RenderError
from repoint.handlebars.helpers.options import Options
from repoint.handlebars.values import first_of, is_truthy, text_of

Test = Callable[[list[Any]], bool]


def _answer(test: Test, least: int) -> Callable[[list[Any], Options], Any]:
    def helper(arguments: list[Any], options: Options) -> Any:
        if len(arguments) < least:
            raise RenderError(f"takes at least {least} arguments")
        holds = test([first_of(argument) for argument in arguments])
        name = "yes" if holds else "no"
        return options.named.get(name, holds)

    return helper


def _equal(arguments: list[Any]) -> bool:
    left, right = arguments[0], arguments[1]
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _order(arguments: list[Any]) -> int:
    left, right = arguments[0], arguments[1]
    if isinstance(left, str) and isinstance(right, str):
        return (left > right) - (left < right)
    for value in (left, right):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RenderError(f"cannot compare {text_of(left)!r} and {text_of(right)!r}")
    return int(left > right) - int(left < right)


CONDITIONS = {
    "and": _answer(lambda values: all(is_truthy(value) for value in values), 2),
    "or": _answer(lambda values: any(is_truthy(value) for value in values), 2),
    "not": _answer(lambda values: not is_truthy(values[0]), 1),
    "eq": _answer(_equal, 2),
    "neq": _answer(lambda values: not _equal(values), 2),
    "gt": _answer(lambda values: _order(values) > 0, 2),
    "gte": _answer(lambda values: _order(values) >= 0, 2),
    "lt": _answer(lambda values: _order(values) < 0, 2),
    "lte": _answer(lambda values: _order(values) <= 0, 2),
}
