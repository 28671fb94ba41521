"""What a helper is given besides its arguments."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from repoint.handlebars.errors import RenderError
from repoint.handlebars.values import first_of, text_of

TEXT_CHARACTERS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Options:
    """The named arguments, and the clock."""

    named: Mapping[str, Any]
    now: Callable[[], datetime]

    def text(self, name: str, default: str) -> str:
        """A named argument as text."""
        return text_of(first_of(self.named[name])) if name in self.named else default

    def flag(self, name: str, *, default: bool) -> bool:
        """A named argument as true or false."""
        value = first_of(self.named.get(name, default))
        return value is True or value == "true"


def subject(arguments: list[Any]) -> str:
    """A string helper's first argument, as text; missing is empty."""
    return text_of(first_of(arguments[0])) if arguments else ""


def text_at(arguments: list[Any], index: int, default: str | None = None) -> str:
    """A positional argument as text.

    Raises:
        RenderError: when it is not there and there is no default.
    """
    if index < len(arguments):
        return text_of(first_of(arguments[index]))
    if default is None:
        raise RenderError(f"argument {index + 1} is missing")
    return default


def bounded(size: int) -> int:
    """A length a template may ask for.

    Raises:
        RenderError: when it is too long.
    """
    if size > TEXT_CHARACTERS_MAX:
        raise RenderError(f"a text must be at most {TEXT_CHARACTERS_MAX} characters")
    return size
