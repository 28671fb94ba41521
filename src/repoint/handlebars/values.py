"""How values behave in templates: what is true, what they look like, how they compare (jknack/handlebars.java)."""

import itertools
import re
from collections.abc import Mapping
from typing import Any

from repoint.handlebars.errors import RenderError

VALUE_CHARACTERS_MAX = 500_000
PART = re.compile(r"\[[^\]]*\]|[^.\[\]]+")


def is_truthy(value: object) -> bool:
    """Null, "", an empty list, false and 0 are false; the string "false" and an empty object are true."""
    return bool(value) if not isinstance(value, Mapping) else True


def text_of(value: Any) -> str:
    """A value as it is printed: a list's items by commas, so that a list of one prints its item."""
    kind = type(value)
    if kind is list and len(value) == 1:
        value = value[0]
        kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]  # its kind is str
    if kind is int:
        return f"{value}"
    return "" if value is None else _shown(value)


def _shown(value: object) -> str:
    """A value inside another, where Java shows what is null."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, list | tuple):
        return ",".join([_shown(item) for item in value])
    if isinstance(value, Mapping):
        return "{" + ", ".join([f"{name}={_shown(item)}" for name, item in value.items()]) + "}"
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


def member(value: Any, name: str) -> Any:
    """One step of a path: a mapping's key, or a list's index. Nothing else has members.

    A single value is its own first item, as a list of one stands for its item: `{{Attributes.Plan.[0]}}` is the same
    whether the value comes from an endpoint, as a list, or from a template's defaults, as a string.
    """
    if isinstance(value, Mapping):
        return value.get(name)
    if isinstance(value, list | tuple):
        if name.isdecimal() and len(name) < 10:  # noqa: PLR2004 - no list is longer
            return value[int(name)] if int(name) < len(value) else None
        return None
    return value if name == "0" and isinstance(value, str | int | float) else None


def walk(value: Any, names: tuple[str, ...]) -> Any:
    """Follow a path's names; what is missing is None."""
    for name in names:
        value = member(value, name)
        if value is None:
            return None
    return value


def overridden(context: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A context with other values at some paths, as `{"User.UserAttributes.Plan": ["gold"]}`; it stays as it is.

    Raises:
        RenderError: a value is so long that a template of many variables could exhaust the memory with it.
    """
    changed = dict(context)
    for path, value in overrides.items():
        if len(text_of(value)) > VALUE_CHARACTERS_MAX:
            raise RenderError(f"{path}: a value must be at most {VALUE_CHARACTERS_MAX} characters")
        if "." in path:
            _put(changed, path, value)
        else:
            changed[path] = value
    return changed


def _put(changed: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a path, into copies of what leads there."""
    names = [name.strip("[]") for name in PART.findall(path)] or [path]
    here = changed
    for name, following in itertools.pairwise(names):
        found = here.get(name)
        if isinstance(found, list) and following.isdecimal():  # its other items stay, under their indices
            found = {str(index): item for index, item in enumerate(found)}
        here[name] = dict(found) if isinstance(found, Mapping) else {}
        here = here[name]
    here[names[-1]] = value
