"""Source text to a tree. The grammar is Handlebars': mustaches, blocks, paths, literals, sub-expressions, hashes."""

import re
from dataclasses import dataclass

from repoint.handlebars.errors import TemplateError
from repoint.handlebars.expression import Expression
from repoint.handlebars.limits import Limits
from repoint.handlebars.nodes import Block, Inline, Node, Output, Partial, Path, Text

OPEN = re.compile(r"(\\*)(\{\{\{\{|\{\{~?(?:!--|[{#^/!&>]|else\b)?~?)")
IDENTIFIER = re.compile(r"[^\s!\"#%&'()*+,./;<=>@\[\\\]^`{|}~]+")
STANDALONE_BEFORE = re.compile(r"(?:^|\n)[ \t]*\Z")
STANDALONE_AFTER = re.compile(r"[ \t]*(?:\r?\n|\Z)")


class Parser:
    """One pass over the source."""

    def __init__(self, source: str, limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self.at = 0
        self.depth = 0
        self.nodes = 0
        self.trims_next = False
        self.closes_previous = False

    def fail(self, message: str, at: int | None = None) -> TemplateError:
        """An error at a place in the source."""
        at = self.at if at is None else at
        line = self.source.count("\n", 0, at) + 1
        return TemplateError(message, line, at - (self.source.rfind("\n", 0, at) + 1) + 1)

    def parse(self) -> list[Node]:
        """The whole template."""
        if len(self.source) > self.limits.source_characters_max:
            raise self.fail(f"the template is longer than {self.limits.source_characters_max} characters", 0)
        nodes, end = self.sequence()
        if end is not None:
            raise self.fail(f"{{{{{end}}}}} closes or continues nothing")
        return nodes

    def sequence(self) -> tuple[list[Node], str | None]:
        """Nodes up to the tag that ends them: `/name`, `else`, `else …`, or the end of the source (None)."""
        nodes: list[Node] = []
        self.depth += 1
        if self.depth > self.limits.depth_max:
            raise self.fail(f"blocks are nested deeper than {self.limits.depth_max}")
        while True:
            match = OPEN.search(self.source, self.at)
            if match is None:
                self.add_text(nodes, self.source[self.at :])
                self.at = len(self.source)
                self.depth -= 1
                return nodes, None
            text = self.source[self.at : match.start()]
            if len(match[1]) % 2 == 1:  # \{{ is text
                end = self.source.find("}}", match.end())
                end = len(self.source) if end < 0 else end + 2
                self.add_text(nodes, text + match[1][:-1] + self.source[match.start(2) : end])
                self.at = end
                continue
            self.at = match.start(2)
            ended = self.tag(nodes, text + match[1])
            if ended is not None:
                self.depth -= 1
                return nodes, ended

    def add_text(self, nodes: list[Node], text: str) -> None:
        """Text, less what the tag before it eats."""
        if self.trims_next:
            text = text.lstrip()
        elif self.closes_previous:
            match = STANDALONE_AFTER.match(text)
            text = text[match.end() :] if match else text
        self.trims_next = self.closes_previous = False
        if text:
            self.count()
            nodes.append(Text(text))

    def count(self) -> None:
        """Another node."""
        self.nodes += 1
        if self.nodes > self.limits.nodes_max:
            raise self.fail(f"the template has more than {self.limits.nodes_max} parts")

    def tag(self, nodes: list[Node], before: str) -> str | None:
        """One mustache; returns what ends the sequence, if this does."""
        start = self.at
        if self.source.startswith("{{{{", start):
            raise self.fail("raw blocks are not supported")
        trims_before = self.source.startswith("{{~", start)
        inner = start + 2 + trims_before
        mark = self.source[inner : inner + 1]
        if mark == "!":
            self.comment(nodes, before, start, inner, trims_before=trims_before)
            return None
        closer = "}}}" if mark == "{" else "}}"
        is_block = mark in "#^/>" and mark != ""
        word = IDENTIFIER.match(self.source, inner)
        is_else = word is not None and word[0] == "else"
        end = self.find_end(inner, closer)
        trims_after = self.source[end - 1] == "~"
        is_standalone = (is_block or is_else) and self.stands_alone(start, end + len(closer))
        self.add_before(nodes, before, trims=trims_before, is_standalone=is_standalone)
        self.count()
        return self.dispatch(
            nodes,
            Tag(self.source[inner : end - trims_after], mark, inner, end + len(closer), trims_after, is_standalone),
        )

    def comment(self, nodes: list[Node], before: str, start: int, inner: int, *, trims_before: bool) -> None:
        """`{{! … }}` and `{{!-- … --}}`: nothing."""
        is_long = self.source.startswith("!--", inner)
        end = self.source.find("--" if is_long else "}}", inner + 3 if is_long else inner)
        while is_long and end >= 0 and self.source[end + 2 :].lstrip("~")[:2] != "}}":
            end = self.source.find("--", end + 1)
        if end < 0:
            raise self.fail("a comment is not closed", start)
        close = self.source.index("}}", end) + 2
        is_standalone = self.stands_alone(start, close)
        self.add_before(nodes, before, trims=trims_before, is_standalone=is_standalone)
        self.trims_next = self.source[close - 3] == "~"
        self.closes_previous = is_standalone
        self.at = close

    def find_end(self, at: int, closer: str) -> int:
        """Where a mustache ends, strings in it skipped."""
        quote = ""
        while at < len(self.source):
            character = self.source[at]
            if quote:
                quote = "" if character == quote else quote
            elif character in "\"'":
                quote = character
            elif self.source.startswith(closer, at):
                return at
            at += 1
        raise self.fail("a {{ is not closed")

    def stands_alone(self, start: int, end: int) -> bool:
        """Whether a tag has its line to itself: then the line disappears (the mustache spec's standalone tags)."""
        line_start = self.source.rfind("\n", 0, start) + 1
        return self.source[line_start:start].strip(" \t") == "" and STANDALONE_AFTER.match(self.source, end) is not None

    def add_before(self, nodes: list[Node], before: str, *, trims: bool, is_standalone: bool) -> None:
        """The text before a tag, less what the tag eats of it."""
        if self.trims_next:
            before = before.lstrip()
        elif self.closes_previous:
            match = STANDALONE_AFTER.match(before)
            before = before[match.end() :] if match else before
        self.trims_next = self.closes_previous = False
        if trims:
            before = before.rstrip()
        elif is_standalone:
            before = before.rstrip(" \t")
        self.add_text(nodes, before)

    def dispatch(self, nodes: list[Node], tag: "Tag") -> str | None:
        """What kind of tag it is, and what follows from it."""
        self.at = tag.end
        self.trims_next, self.closes_previous = tag.trims_after, tag.is_standalone
        words = tag.text.strip()
        if tag.mark == "/" or words == "else" or words.startswith("else ") or words == "^":
            return words
        if tag.mark == "#" and words[1:].lstrip().startswith("*"):
            nodes.append(self.inline(tag))
        elif tag.mark in ("#", "^"):
            nodes.append(self.block(tag.text[1:], tag, is_inverted=tag.mark == "^"))
        elif tag.mark == ">":
            nodes.append(Partial(words[1:].strip().strip("\"'")))
        else:
            skipped = tag.mark in ("{", "&")
            call, _ = Expression(self, tag.text[skipped:], tag.start + skipped).mustache()
            nodes.append(Output(call, is_raw=skipped))
        return None

    def inline(self, tag: "Tag") -> Inline:
        """A partial defined in the template itself."""
        words = tag.text.strip()[1:].lstrip()[1:].split(None, 1)
        if len(words) != 2 or words[0] != "inline":  # noqa: PLR2004 - the word and the name
            raise self.fail("only inline partials can be decorators", tag.start)
        body, end = self.sequence()
        if end is None or end.replace(" ", "") != "/inline":
            raise self.fail("{{#*inline}} is not closed", tag.start)
        return Inline(words[1].strip().strip("\"'"), body)

    def block(self, text: str, tag: "Tag", *, is_inverted: bool) -> Block:
        """A section with its branches, to its closing tag."""
        call, names = Expression(self, text, tag.start + 1).mustache()
        block = Block(call, names=names)
        block.body, end = self.sequence()
        closed = end
        if end is not None and not end.startswith("/"):
            chained = end[4:].strip() if end.startswith("else") else ""
            if chained:
                inner = Tag(f"#{chained}", "#", tag.start, self.at, self.trims_next, self.closes_previous)
                nested = self.chained(chained, inner)
                block.otherwise.append(nested[0])
                closed = nested[1]
            else:
                block.otherwise, closed = self.sequence()
        wanted = call.path.name if isinstance(call.path, Path) else ""
        if closed is None:
            raise self.fail(f"{{{{#{wanted}}}}} is not closed", tag.start)
        if not closed.startswith("/") or closed[1:].strip() != written(text):
            raise self.fail(f"{{{{{closed}}}}} closes {{{{#{wanted}}}}}")
        if is_inverted:
            block.body, block.otherwise = block.otherwise, block.body
        return block

    def chained(self, text: str, tag: "Tag") -> tuple[Block, str | None]:
        """`{{else if …}}`: a block of its own that the outer one's closing tag closes too."""
        self.depth += 1
        if self.depth > self.limits.depth_max:
            raise self.fail(f"blocks are nested deeper than {self.limits.depth_max}")
        call, names = Expression(self, text, tag.start).mustache()
        block = Block(call, names=names)
        block.body, end = self.sequence()
        if end is not None and not end.startswith("/"):
            following = end[4:].strip() if end.startswith("else") else ""
            if following:
                inner, end = self.chained(following, tag)
                block.otherwise.append(inner)
            else:
                block.otherwise, end = self.sequence()
        self.depth -= 1
        return block, end


@dataclass(frozen=True, slots=True)
class Tag:
    """A mustache as it stands in the source."""

    text: str
    mark: str
    start: int
    end: int
    trims_after: bool
    is_standalone: bool


def written(text: str) -> str:
    """The name of a block as its closing tag repeats it."""
    words = text.split()
    return words[0] if words else ""
