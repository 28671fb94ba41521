"""What is between a mustache's braces: paths, literals, sub-expressions, arguments."""

import re
from typing import Protocol

from repoint.handlebars.errors import TemplateError
from repoint.handlebars.limits import Limits
from repoint.handlebars.nodes import Argument, Call, Literal, Path

SPACE = re.compile(r"\s*")
IDENTIFIER = re.compile(r"[^\s!\"#%&'()*+,./;<=>@\[\\\]^`{|}~]+")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?=[\s=)}~]|$)")
PARAMETERS = re.compile(r"as\s*\|([^|]*)\|\s*\Z")
NAMED = re.compile(r"([^\s=()|\"'{}]+)\s*=\s*")


class Owner(Protocol):
    """Who is parsing: knows the limits, and what line a place is on."""

    limits: Limits

    def fail(self, message: str, at: int | None = None) -> TemplateError:
        """An error at a place in the source."""
        ...


class Expression:
    """What is between the braces."""

    def __init__(self, parser: Owner, text: str, start: int) -> None:
        self.parser = parser
        self.text = text
        self.start = start
        self.at = 0
        self.depth = 0

    def fail(self, message: str) -> TemplateError:
        """An error at this place."""
        return self.parser.fail(message, self.start + self.at)

    def space(self) -> None:
        """Skip white space."""
        match = SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def mustache(self) -> tuple[Call, tuple[str, ...]]:
        """A call, and a block's parameters (`as |item index|`)."""
        call = self.call(closer="")
        names: tuple[str, ...] = ()
        match = PARAMETERS.match(self.text, self.at)
        if match:
            names = tuple(match[1].split())
        elif self.at < len(self.text):
            raise self.fail(f"unexpected {self.text[self.at : self.at + 12]!r}")
        return call, names

    def call(self, *, closer: str) -> Call:
        """A path with arguments, then named ones."""
        self.space()
        where = self.parser.fail("", self.start + self.at)
        head = self.argument()
        if isinstance(head, Call):
            raise self.fail("a sub-expression cannot be called")
        call = Call(head, [], {}, where.line, where.column)
        while True:
            self.space()
            if self.at >= len(self.text) or self.text[self.at] == closer or self.starts_parameters():
                return call
            named = NAMED.match(self.text, self.at)
            if named:
                self.at = named.end()
                call.named[named[1]] = self.argument()
            elif call.named:
                raise self.fail("a positional argument stands after a named one")
            else:
                call.arguments.append(self.argument())

    def starts_parameters(self) -> bool:
        """Whether `as |…|` is next."""
        return PARAMETERS.match(self.text, self.at) is not None

    def argument(self) -> Argument:
        """A literal, a path or a sub-expression."""
        self.space()
        character = self.text[self.at : self.at + 1]
        if character == "(":
            return self.subexpression()
        if character and character in "\"'":
            return self.string(character)
        number = NUMBER.match(self.text, self.at)
        if number:
            self.at = number.end()
            return Literal(float(number[0]) if "." in number[0] else int(number[0]))
        return self.path()

    def subexpression(self) -> Call:
        """`(helper …)`."""
        self.depth += 1
        if self.depth > self.parser.limits.depth_max:
            raise self.fail(f"sub-expressions are nested deeper than {self.parser.limits.depth_max}")
        self.at += 1
        call = self.call(closer=")")
        if self.text[self.at : self.at + 1] != ")":
            raise self.fail("a ( is not closed")
        self.at += 1
        self.depth -= 1
        return call

    def string(self, quote: str) -> Literal:
        """A quoted string; there are no escapes but the other quote."""
        end = self.text.find(quote, self.at + 1)
        if end < 0:
            raise self.fail("a string is not closed")
        value = self.text[self.at + 1 : end]
        self.at = end + 1
        return Literal(value)

    def path(self) -> Path | Literal:
        """Names joined by dots or slashes."""
        is_data = self.text[self.at : self.at + 1] == "@"
        self.at += is_data
        up, is_scoped = 0, False
        while self.text.startswith("../", self.at) or self.text[self.at :] == "..":
            up, is_scoped = up + 1, True
            self.at += 3
        if self.text.startswith("./", self.at):
            self.at += 2
            is_scoped = True
        parts: list[str] = []
        while True:
            part = self.part()
            if part is None:
                break
            parts.append(part)
            if self.text[self.at : self.at + 1] not in (".", "/") or self.at + 1 >= len(self.text):
                break
            self.at += 1
        return self.finish_path(parts, up, is_data=is_data, is_scoped=is_scoped)

    def part(self) -> str | None:
        """One name, or one in brackets."""
        if self.text[self.at : self.at + 1] == "[":
            end = self.text.find("]", self.at)
            if end < 0:
                raise self.fail("a [ is not closed")
            part = self.text[self.at : end + 1]
            self.at = end + 1
            return part
        match = IDENTIFIER.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match[0]

    def finish_path(self, parts: list[str], up: int, *, is_data: bool, is_scoped: bool) -> Path | Literal:
        """Words that mean something of their own, or the path."""
        if not parts:
            if self.text[self.at : self.at + 1] == "." and not is_data:
                self.at += 1
                return Path((), up, is_scoped=True)
            if up:
                return Path((), up, is_scoped=True)
            raise self.fail("a name is expected")
        words = {"true": True, "false": False, "null": None, "undefined": None}
        if len(parts) == 1 and parts[0] in words and not is_data and not up:
            return Literal(words[parts[0]])
        if parts[0] == "this" and not is_data:
            return Path(tuple(parts[1:]), up, is_scoped=True)
        return Path(tuple(parts), up, is_data, is_scoped)
