"""Number helpers; attributes are strings, so strings that spell numbers count as numbers."""

import math
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

from repoint.handlebars.errors import RenderError
from repoint.handlebars.helpers.options import Options, text_at
from repoint.handlebars.values import first_of, number_of, text_of

DIVISION_PLACES = Decimal("0.00000001")
TEENS = range(11, 14)
ENDINGS = {1: "st", 2: "nd", 3: "rd"}
EXACT = Context(prec=50)


def _decimal(value: Any) -> Decimal:
    number = number_of(value)
    if isinstance(number, float) and not math.isfinite(number):
        raise RenderError("not a finite number")
    return Decimal(str(number))


def _plain(value: Decimal) -> str:
    """Without an exponent, or zeros behind the point."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _calculate(function: Callable[[Decimal, Decimal], Decimal]) -> Callable[[list[Any], Options], Any]:
    def helper(arguments: list[Any], _: Options) -> Any:
        if len(arguments) < 2:  # noqa: PLR2004 - the two operands
            raise RenderError("takes two numbers")
        try:
            return _plain(function(_decimal(arguments[0]), _decimal(arguments[1])))
        except InvalidOperation:
            raise RenderError("cannot be calculated") from None

    return helper


def _divide(left: Decimal, right: Decimal) -> Decimal:
    if right == 0:
        raise RenderError("division by zero")
    return EXACT.divide(left, right).quantize(DIVISION_PLACES, rounding=ROUND_HALF_EVEN, context=EXACT)


def _modulo(left: Decimal, right: Decimal) -> Decimal:
    if right == 0:
        raise RenderError("division by zero")
    return EXACT.remainder(left, right)


def _round(value: Decimal) -> Decimal:
    return value.quantize(Decimal(1), rounding=ROUND_HALF_UP, context=EXACT)


def _one(function: Callable[[Decimal], Decimal | int]) -> Callable[[list[Any], Options], Any]:
    def helper(arguments: list[Any], _: Options) -> Any:
        if not arguments:
            raise RenderError("takes a number")
        return _plain(Decimal(function(_decimal(arguments[0]))))

    return helper


def _ordinalize(arguments: list[Any], _: Options) -> Any:
    number = int(number_of(arguments[0] if arguments else None))
    ending = "th" if abs(number) % 100 in TEENS else ENDINGS.get(abs(number) % 10, "th")
    return f"{number}{ending}"


def _inflect(arguments: list[Any], options: Options) -> Any:
    number = number_of(arguments[0] if arguments else None)
    word = text_at(arguments, 1) if abs(number) == 1 else text_at(arguments, 2)
    return f"{text_of(first_of(arguments[0]))} {word}" if options.flag("includeCount", default=False) else word


NUMBERS = {
    "add": _calculate(EXACT.add),
    "ceiling": _one(math.ceil),
    "divide": _calculate(_divide),
    "floor": _one(math.floor),
    "inflect": _inflect,
    "modulo": _calculate(_modulo),
    "multiply": _calculate(EXACT.multiply),
    "ordinalize": _ordinalize,
    "round": _one(_round),
    "subtract": _calculate(EXACT.subtract),
}
