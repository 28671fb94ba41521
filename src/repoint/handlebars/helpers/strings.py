"""String helpers. A falsy subject gives the empty string."""

import re
from collections.abc import Callable
from typing import Any

from repoint.handlebars.errors import RenderError
from repoint.handlebars.helpers.options import Options, bounded, subject, text_at
from repoint.handlebars.values import first_of, is_truthy, number_of, text_of

ELLIPSIS = "..."
ABBREVIATION_MIN = 4
WORD = re.compile(r"\S+")
TAGS = re.compile(r"<[^>]*>")


def _on_text(function: Callable[[str, list[Any], Options], str]) -> Callable[[list[Any], Options], Any]:
    def helper(arguments: list[Any], options: Options) -> Any:
        if not arguments or not is_truthy(first_of(arguments[0])):
            return ""
        return function(subject(arguments), arguments, options)

    return helper


def _whole(arguments: list[Any], index: int, options: Options, name: str) -> int:
    """A size: positional, as Pinpoint's guide writes it, or `size=`, as the Java library does."""
    if name in options.named:
        return int(number_of(options.named[name]))
    if index < len(arguments):
        return int(number_of(arguments[index]))
    raise RenderError(f"{name} is missing")


def _abbreviate(text: str, arguments: list[Any], options: Options) -> str:
    width = _whole(arguments, 1, options, "size")
    if width < ABBREVIATION_MIN:
        raise RenderError(f"the width must be at least {ABBREVIATION_MIN}")
    return text if len(text) <= width else text[: width - len(ELLIPSIS)] + ELLIPSIS


def _title(text: str) -> str:
    """The first character as a title has it; one that would become two stays, as in Java."""
    first = text[:1].title()
    return (first if len(first) == 1 else text[:1]) + text[1:]


def _capitalize(text: str, _: list[Any], options: Options) -> str:
    text = text.lower() if options.flag("fully", default=False) else text
    return WORD.sub(lambda word: _title(word[0]), text)


def _padding(text: str, arguments: list[Any], options: Options) -> tuple[int, str]:
    width = bounded(_whole(arguments, 1, options, "size"))
    pad = options.text("pad", text_at(arguments, 2, " ")) or " "
    return max(0, width - len(text)), pad


def _fill(pad: str, size: int) -> str:
    return (pad * (size // len(pad) + 1))[:size]


def _center(text: str, arguments: list[Any], options: Options) -> str:
    size, pad = _padding(text, arguments, options)
    return _fill(pad, size // 2) + text + _fill(pad, size - size // 2)


def _ljust(text: str, arguments: list[Any], options: Options) -> str:
    size, pad = _padding(text, arguments, options)
    return text + _fill(pad, size)


def _rjust(text: str, arguments: list[Any], options: Options) -> str:
    size, pad = _padding(text, arguments, options)
    return _fill(pad, size) + text


def _replace(text: str, arguments: list[Any], _: Options) -> str:
    target, replacement = text_at(arguments, 1), text_at(arguments, 2)
    bounded(len(text) + text.count(target) * len(replacement))
    return text.replace(target, replacement)


def _slugify(text: str, _: list[Any], __: Options) -> str:
    """As Pinpoint's guide says: letters, digits and _ stay, white space becomes a dash."""
    slug = ["-" if character.isspace() else character.lower()[0] for character in text.strip() if _is_kept(character)]
    return "".join(slug)


def _is_kept(character: str) -> bool:
    return character.isalnum() or character == "_" or character.isspace()


def _substring(text: str, arguments: list[Any], _: Options) -> str:
    start = int(number_of(arguments[1]))
    end = int(number_of(arguments[2])) if len(arguments) > 2 else len(text)  # noqa: PLR2004 - subject, start, end
    if not 0 <= start <= end <= len(text):
        raise RenderError(f"{start} to {end} is not within a text of {len(text)} characters")
    return text[start:end]


def _join(arguments: list[Any], options: Options) -> Any:
    """A list, or several values, with the last argument between them."""
    if not arguments or not is_truthy(arguments[0]):
        return ""
    *values, separator = arguments
    separator = first_of(separator)
    if not values or not isinstance(separator, str):
        raise RenderError("the separator is missing, or is no text")
    listed = values[0] if isinstance(values[0], list | tuple) else values
    bounded(len(separator) * len(listed))
    return options.text("prefix", "") + separator.join(map(text_of, listed)) + options.text("suffix", "")


def _default_if_empty(arguments: list[Any], _: Options) -> Any:
    if arguments and is_truthy(first_of(arguments[0])):
        return text_of(arguments[0])
    return text_at(arguments, 1, "")


def _yesno(arguments: list[Any], options: Options) -> Any:
    value = first_of(arguments[0]) if arguments else None
    if value is None:
        return options.text("maybe", "maybe")
    if value is True or value == "true":
        return options.text("yes", "yes")
    if value is False or value == "false":
        return options.text("no", "no")
    raise RenderError(f"not true or false: {text_of(value)[:40]!r}")


STRINGS = {
    "abbreviate": _on_text(_abbreviate),
    "capitalize": _on_text(_capitalize),
    "capitalizeFirst": _on_text(lambda text, _, __: _title(text)),
    "center": _on_text(_center),
    "cut": _on_text(lambda text, arguments, _: text.replace(text_at(arguments, 1, " ") or "\x00", "")),
    "defaultIfEmpty": _default_if_empty,
    "join": _join,
    "ljust": _on_text(_ljust),
    "lower": _on_text(lambda text, _, __: text.lower()),
    "replace": _on_text(_replace),
    "rjust": _on_text(_rjust),
    "slugify": _on_text(_slugify),
    "stripTags": _on_text(lambda text, _, __: TAGS.sub("", text)),
    "substring": _on_text(_substring),
    "upper": _on_text(lambda text, _, __: text.upper()),
    "yesno": _yesno,
}
