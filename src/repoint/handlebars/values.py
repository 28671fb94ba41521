"""How values behave in templates: what is true, what they look like, how they compare (jknack/handlebars.java)."""

from collections.abc import Mapping
from typing import Any

from repoint.handlebars.errors import RenderError

ESCAPES = str.maketrans(
    {"<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", "`": "&#x60;", "&": "&amp;", "=": "&#x3D;"}
)


def is_truthy(value: object) -> bool:
    """Null, "", an empty list, false and 0 are false; the string "false" is true."""
    return bool(value) if not isinstance(value, Mapping) else True


def text_of(value: object) -> str:
    """A value as it is printed: a list's items by commas, so that a list of one prints its item."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, list | tuple):
        return ",".join(text_of(item) for item in value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}={text_of(item)}" for name, item in value.items()) + "}"
    return str(value) if isinstance(value, int) else ""


def number_text(value: float) -> str:
    """A number without binary noise; whole ones without a fraction."""
    if value == int(value) if abs(value) < 1e15 else False:  # noqa: PLR2004 - exact in a double
        return str(int(value))
    return repr(value)


def first_of(value: Any) -> Any:
    """A helper's subject: attributes are lists, and a list of one stands for its item."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def number_of(value: Any) -> float | int:
    """A number, or the number a string spells.

    Raises:
        RenderError: when it is neither.
    """
    value = first_of(value)
    if isinstance(value, bool) or value is None:
        raise RenderError(f"not a number: {text_of(value)!r}")
    if isinstance(value, int | float):
        return value
    try:
        return int(value) if str(value).strip().lstrip("-").isdigit() else float(value)
    except (TypeError, ValueError, OverflowError):
        raise RenderError(f"not a number: {text_of(value)[:40]!r}") from None


def member(value: Any, part: str) -> Any:
    """One step of a path: a mapping's key, or a list's index. Nothing else has members."""
    name = part[1:-1] if part.startswith("[") else part
    if isinstance(value, Mapping):
        return value.get(name)
    if isinstance(value, list | tuple):
        if name.isdigit() and len(name) < 10:  # noqa: PLR2004 - no list is longer
            return value[int(name)] if int(name) < len(value) else None
        return len(value) if name in ("length", "size") else None
    return None
