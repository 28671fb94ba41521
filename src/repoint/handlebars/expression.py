"""What is between a mustache's braces: paths, literals, sub-expressions, arguments."""

import re
from dataclasses import replace
from typing import Protocol

from repoint.handlebars.errors import TemplateError
from repoint.handlebars.limits import Limits
from repoint.handlebars.nodes import Argument, Call, Literal, Path

SPACE = re.compile(r"\s*")
IDENTIFIER = re.compile(r"[^\s!\"#%&'()*+,./;<=>@\[\\\]^`{|}~]+")
NUMBER = re.compile(r"-?(?:\d+(?:\.\d+)?|\.\d+)(?=[\s)}~]|\Z)")
PARAMETERS = re.compile(r"as\s*\|([^|]*)\|\s*\Z")
NAMED = re.compile(r"([^\s=()|\"'{}]+)\s*=\s*")
STRING = {quote: re.compile(rf"{quote}((?:\\{quote}|[^{quote}])*){quote}") for quote in "\"'"}
HERE = re.compile(r"\.(?=[\s)]|\Z)")
PARENT = re.compile(r"\.\.(?=[/\s)]|\Z)")
NUMBER_CHARACTERS_MAX = 30
PATH_NAMES_MAX = 100
WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "undefined": None}


class Owner(Protocol):
    """Who is parsing: knows the limits, and what line a place is on."""

    limits: Limits

    def fail(self, message: str, at: int | None = None) -> TemplateError:
        """An error at a place in the source."""
        ...

    def count(self) -> None:
        """Another part of the template, of which there may be so many."""
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
            if not names:
                raise self.fail("a name is expected between the bars")
        elif self.at < len(self.text):
            raise self.fail(f"unexpected {self.text[self.at : self.at + 12]!r}")
        return call, names

    def call(self, *, closer: str) -> Call:
        """A path with arguments, then named ones."""
        self.space()
        where = self.parser.fail("", self.start + self.at)
        head = self.argument()
        if head == Literal(None):
            head = Path(("null",))
        if not isinstance(head, Path):
            raise TemplateError("a name is expected", where.line, where.column)
        call = Call(head, [], {}, where.line, where.column)
        self.arguments(call, closer)
        return call

    def arguments(self, call: Call, closer: str) -> None:
        """All arguments up to the closer, or the end."""
        while True:
            before = self.at
            self.space()
            if self.at >= len(self.text) or self.text[self.at] == closer or self.starts_parameters():
                return
            if self.at == before:
                raise self.fail(f"unexpected {self.text[self.at : self.at + 12]!r}")
            self.parser.count()
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
            return self.number(number[0])
        return self.path()

    def number(self, text: str) -> Literal:
        """A whole number or a fraction."""
        if len(text) > NUMBER_CHARACTERS_MAX:
            raise self.fail(f"a number has more than {NUMBER_CHARACTERS_MAX} characters")
        self.at += len(text)
        return Literal(float(text) if "." in text else int(text))

    def subexpression(self) -> Call:
        """`(helper …)`."""
        self.depth += 1
        if self.depth > self.parser.limits.expression_depth_max:
            raise self.fail(f"sub-expressions are nested deeper than {self.parser.limits.expression_depth_max}")
        self.at += 1
        call = self.call(closer=")")
        if self.text[self.at : self.at + 1] != ")":
            raise self.fail("a ( is not closed")
        self.at += 1
        self.depth -= 1
        return call

    def string(self, quote: str) -> Literal:
        """A quoted string; a backslash escapes its own quote, and nothing else."""
        match = STRING[quote].match(self.text, self.at)
        if match is None:
            raise self.fail("a string is not closed")
        self.at = match.end()
        return Literal(match[1].replace("\\" + quote, quote))

    def path(self) -> Path | Literal:
        """Names joined by dots or slashes."""
        is_data = self.text[self.at : self.at + 1] == "@"
        self.at += is_data
        up, start = 0, ""
        while PARENT.match(self.text, self.at):
            up += 1
            self.at += 3 if self.text[self.at + 2 : self.at + 3] == "/" else 2
        if self.text.startswith("./", self.at):
            self.at += 2
            start = "."
        if self.text[self.at : self.at + 1] == "@" and (up or start):  # ../@index is @../index
            self.at += 1
            is_data = True
        parts: list[str] = []
        while (part := self.part()) is not None:
            parts.append(part)
            if len(parts) > PATH_NAMES_MAX:
                raise self.fail(f"a path has more than {PATH_NAMES_MAX} names")
            if self.text[self.at : self.at + 1] not in ("-", ".", "/"):
                break
            while self.text[self.at : self.at + 1] in (".", "/"):
                self.at += 1
        return self.finish_path(Path(tuple(parts), up, is_data, start))

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

    def finish_path(self, path: Path) -> Path | Literal:
        """Words that mean something of their own, or the path."""
        parts = path.parts
        if not parts:
            if HERE.match(self.text, self.at) and not path.is_data:
                self.at += 1
                return replace(path, start=".")
            if path.up:
                return replace(path, up=path.up - 1, start="..")
            raise self.fail("a name is expected")
        if not (path.is_data or path.is_scoped):
            if len(parts) == 1 and parts[0] in WORDS:
                return Literal(WORDS[parts[0]])
            if parts == ("as",):
                raise self.fail("the names after `as` stand between bars")
            if parts[0][0] in "-0123456789":
                raise self.fail(f"{parts[0]!r} is neither a name nor a number")
        start = "this" if parts[0] == "this" and not path.is_data else path.start
        return replace(path, parts=tuple(part for part in parts if part != "this"), start=start)
