"""What a compiled template calls while it runs."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from repoint.handlebars.errors import RenderError
from repoint.handlebars.escape import escape, escape_all
from repoint.handlebars.helpers import HELPERS, Options
from repoint.handlebars.limits import Limits
from repoint.handlebars.values import first_of, is_truthy, member, number_of, text_of, walk

NAME = re.compile(r"\[[^\[\]]+\]|[^./]+")
CHUNK = 256  # so many pieces are joined before their length is looked at
CHARGED_CHARACTERS = 256
NOTHING: dict[str, Any] = {}


class Run:
    """What one rendering's helpers have used up, and what they may use."""

    __slots__ = ("limits", "now", "operations")

    def __init__(self, now: Callable[[], datetime], limits: Limits) -> None:
        self.now = now
        self.limits = limits
        self.operations = 0

    def call(self, name: str, values: list[Any], named: dict[str, Any]) -> Any:
        """A helper's answer.

        Raises:
            RenderError: it refuses its arguments, or the template asks for too much.
        """
        self.operations += 1 + sum([weight(value) for value in values])
        if self.operations > self.limits.operations_max:
            stop(self.limits.operations_max)
        try:
            answer = HELPERS[name](values, Options(named, self.now))
        except RenderError as error:
            raise RenderError(f"{name}: {error.message}") from None
        except (IndexError, TypeError, ValueError, OverflowError, ArithmeticError) as error:
            raise RenderError(f"{name}: {error}") from None
        self.operations += weight(answer)
        return answer


def weight(value: Any) -> int:
    """How many operations it costs that a helper is given a value, or gives it."""
    if isinstance(value, str):
        return len(value) // CHARGED_CHARACTERS
    if isinstance(value, list | tuple):
        return len(value) + sum([weight(item) for item in value])
    if isinstance(value, Mapping):
        return len(value) + sum([weight(item) for item in value.values()])
    return 0


def stop(most: int) -> NoReturn:
    """Go no further.

    Raises:
        RenderError: always.
    """
    raise RenderError(f"the template does more than {most} operations")


def html(pieces: list[str], most: int) -> str:
    """Join pieces, literal texts and values by turns; the values are escaped.

    Raises:
        RenderError: the text has more than `most` characters.
    """
    if len(pieces) > CHUNK:
        return _long(html, pieces, most)
    pieces[1::2] = escape_all(pieces[1::2])
    text = "".join(pieces)
    return text if len(text) <= most else too_long(most)


def plain(pieces: list[str], most: int) -> str:
    """Join pieces as they are.

    Raises:
        RenderError: the text has more than `most` characters.
    """
    if len(pieces) > CHUNK:
        return _long(plain, pieces, most)
    text = "".join(pieces)
    return text if len(text) <= most else too_long(most)


def too_long(most: int) -> NoReturn:
    """Give no text at all.

    Raises:
        RenderError: always.
    """
    raise RenderError(f"the text is longer than {most} characters")


def _long(join: Callable[[list[str], int], str], pieces: list[str], most: int) -> str:
    texts: list[str] = []
    left = most
    for at in range(0, len(pieces), CHUNK):
        text = join(pieces[at : at + CHUNK], most)
        left -= len(text)
        if left < 0:
            too_long(most)
        texts.append(text)
    return "".join(texts)


def dict_of(value: Any) -> dict[str, Any]:
    """A value's members; one that is no object has none."""
    return dict(value) if isinstance(value, Mapping) else NOTHING


def first(value: Any) -> Any:
    """`x.[0]`."""
    return member(value, "0")


def find(scopes: Sequence[Any], names: tuple[str, ...]) -> Any:
    """A path's value in the innermost scope that has its beginning."""
    for scope in scopes:
        value = None if isinstance(scope, str | int | float) else member(scope, names[0])
        if value is not None:
            return walk(value, names[1:])
    return None


def lookup(holder: Any, key: Any, scopes: Sequence[Any], is_shaded: bool = False) -> Any:  # noqa: FBT001, FBT002
    """`{{lookup holder key}}`: the key may be a path, and is looked for further out where the holder has none."""
    if holder is None or key is None:
        return None
    path = text_of(key)
    if path in ("this", "."):
        return holder
    names = tuple([name.strip("[]") for name in NAME.findall(path)])
    if not names:
        return None
    found = find(scopes, names) if is_shaded else None
    if found is None:
        found = member(holder, names[0])
        return find(scopes, names) if found is None else walk(found, names[1:])
    return found


def datum(value: Any, name: str) -> Any:
    """`@name`, as a member of a value."""
    if not isinstance(value, Mapping):
        return None
    found = value.get(f"@{name}")
    return value.get(name) if found is None else found


def nearest(values: Sequence[Any], name: str) -> Any:
    """`@name`, of the first value that has it."""
    return next((found for value in values if (found := datum(value, name)) is not None), None)


def around(value: Any, parent: Any) -> Any:
    """`..`: an object that surrounds a value; where there is something else, the value."""
    return parent if value is not None and isinstance(parent, Mapping) else value


def truth(value: Any) -> bool:
    """A condition on an attribute is about its value, when it has one."""
    return is_truthy(first_of(value))


def truth_or_zero(value: Any, counts_zero: Any) -> bool:
    """The same with `includeZero=true`: a number is true."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (is_number and counts_zero is True) or truth(value)


def items(value: Any) -> Sequence[Any]:
    """What `each` goes over."""
    if isinstance(value, list | tuple):
        return value
    return list(value.values()) if isinstance(value, Mapping) else ()


def keys(value: Any, base: int) -> Sequence[Any]:
    """`@key` for each of the items."""
    if isinstance(value, Mapping):
        return list(value)
    return range(base, base + len(value)) if isinstance(value, list | tuple) else ()


def base_of(value: Any, given: Any) -> int:
    """Where `@index` begins: at `base=`, for lists."""
    return 0 if isinstance(value, Mapping) else int(number_of(given))


def section(value: Any, here: Any) -> Sequence[Any]:
    """What `{{#x}}` goes over: a list's items, a value itself, for true what surrounds it."""
    if isinstance(value, list | tuple):
        return value
    if not is_truthy(value):
        return ()
    return (here,) if value is True else (value,)


NAMES: dict[str, Any] = {
    function.__name__: function
    for function in (
        *(around, base_of, datum, dict_of, escape, escape_all, find, first, html, items, keys, lookup, nearest, plain),
        *(section, stop, text_of, truth, truth_or_zero, walk),
        *(bool, dict, enumerate, len, list, str, type),
    )
} | {"NOTHING": NOTHING, "Run": Run}


def made(source: str) -> Any:
    """The function that `generate` has written."""
    names = {"__builtins__": {}, **NAMES}
    exec(compile(source, "<template>", "exec"), names)  # noqa: S102 - its source is all ours: see generate.py
    return names["write"]
