"""Source text to a tree. The grammar is Handlebars': mustaches, blocks, paths, literals, sub-expressions, hashes."""

import re
from bisect import bisect_left
from dataclasses import dataclass

from repoint.handlebars.errors import TemplateError
from repoint.handlebars.expression import Expression
from repoint.handlebars.limits import Limits
from repoint.handlebars.nodes import Block, Inline, Literal, Node, Output, Partial, Path, Text

NEWLINE = re.compile(r"\n")
ELSE = re.compile(r"\s*(?:else\b|\^\s*\Z)")
STANDALONE_AFTER = re.compile(r"[ \t]*(?:\r?\n|\Z)")
QUOTED = re.compile(r"""\A\s*(?:"([^"]+)"|'([^']+)'|([^\s"'=()]+))""")
STRING = re.compile(r""""(?:\\"|[^"])*"|'(?:\\'|[^'])*'""")


@dataclass(frozen=True, slots=True)
class Tag:
    """A mustache as it stands in the source: its text from its mark on, and what that means for what surrounds it."""

    text: str
    mark: str
    start: int
    end: int
    trims_after: bool
    is_standalone: bool


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
        self.newlines = [match.start() for match in NEWLINE.finditer(source)]

    def fail(self, message: str, at: int | None = None) -> TemplateError:
        """An error at a place in the source."""
        at = self.at if at is None else at
        line = bisect_left(self.newlines, at)
        begin = self.newlines[line - 1] + 1 if line else 0
        return TemplateError(message, line + 1, at - begin + 1)

    def parse(self) -> list[Node]:
        """The whole template.

        Raises:
            TemplateError: with line and column.
        """
        if len(self.source) > self.limits.source_characters_max:
            raise self.fail(f"the template is longer than {self.limits.source_characters_max} characters", 0)
        nodes, end = self.sequence()
        if end is not None:
            raise self.fail(f"{{{{{end.text.strip()}}}}} closes or continues nothing", end.start)
        return nodes

    def sequence(self) -> tuple[list[Node], Tag | None]:
        """Nodes up to the tag that ends them: `/name`, `else`, `else …`, or the end of the source (None)."""
        nodes: list[Node] = []
        self.depth += 1
        if self.depth > self.limits.depth_max:
            raise self.fail(f"blocks are nested deeper than {self.limits.depth_max}")
        while True:
            start = self.source.find("{{", self.at)
            if start < 0:
                self.add_text(nodes, self.source[self.at :])
                self.at = len(self.source)
                self.depth -= 1
                return nodes, None
            text = self.source[self.at : start]
            if text.endswith("\\"):
                self.escaped(nodes, text[:-1], start)
                continue
            self.at = start
            ended = self.tag(nodes, text)
            if ended is not None:
                self.depth -= 1
                return nodes, ended

    def escaped(self, nodes: list[Node], before: str, start: int) -> None:
        r"""`\{{x}}` is text."""
        end = self.source.find("}}", start)
        if end < 0:
            raise self.fail("a {{ is not closed", start - 1)
        end += 2 + (self.source.startswith("{{{", start) and self.source.startswith("}", end + 2))
        self.add_text(nodes, before + self.source[start:end])
        self.at = end

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

    def tag(self, nodes: list[Node], before: str) -> Tag | None:
        """One mustache; returned when it ends the sequence."""
        start = self.at
        if self.source.startswith("{{{{", start):
            self.add_before(nodes, before, trims=False, is_standalone=False)
            nodes.append(self.raw_block(start))
            return None
        trims_before = self.source.startswith("{{~", start)
        inner = start + 2 + trims_before
        mark = self.source[inner : inner + 1]
        if mark == "!":
            self.comment(nodes, before, inner, trims_before=trims_before)
            return None
        if mark == "=":
            raise self.fail("the delimiters cannot be changed", start)
        tag = self.closed(start, inner, mark)
        self.add_before(nodes, before, trims=trims_before, is_standalone=tag.is_standalone)
        self.count()
        return self.dispatch(nodes, tag)

    def closed(self, start: int, inner: int, mark: str) -> Tag:
        """The mustache that begins here, to its end; strings in it are skipped."""
        closer = "}}}" if mark == "{" else "}}"
        at = inner
        while True:
            if at >= len(self.source):
                raise self.fail("a {{ is not closed", start)
            if self.source[at] in "\"'":
                string = STRING.match(self.source, at)
                at = string.end() if string else at + 1
            elif self.source.startswith(closer, at) or (mark == "{" and self.source.startswith("}~}}", at)):
                break
            else:
                at += 1
        trims_after = self.source[at - 1] == "~" or self.source.startswith("}~}}", at)
        end = at + len(closer) + self.source.startswith("}~}}", at)
        text = self.source[inner : at - (self.source[at - 1] == "~")]
        is_alone = (mark in "#^/>" or ELSE.match(text) is not None) and self.stands_alone(start, end)
        return Tag(text, mark, start, end, trims_after, is_alone)

    def comment(self, nodes: list[Node], before: str, inner: int, *, trims_before: bool) -> None:
        """`{{! … }}` and `{{!-- … --}}`: nothing."""
        is_long = self.source.startswith("!--", inner)
        close = re.compile(r"--~?\}\}" if is_long else r"~?\}\}").search(self.source, inner + (3 if is_long else 1))
        if close is None:
            raise self.fail("a comment is not closed")
        is_standalone = self.stands_alone(self.at, close.end())
        self.add_before(nodes, before, trims=trims_before, is_standalone=is_standalone)
        self.trims_next = "~" in close[0]
        self.closes_previous = is_standalone
        self.at = close.end()

    def stands_alone(self, start: int, end: int) -> bool:
        """Whether a tag has its line to itself: then the line disappears (the mustache spec's standalone tags)."""
        begin = start
        while begin and self.source[begin - 1] in " \t":
            begin -= 1
        is_first = begin == 0 or self.source[begin - 1] == "\n"
        return is_first and STANDALONE_AFTER.match(self.source, end) is not None

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

    def dispatch(self, nodes: list[Node], tag: Tag) -> Tag | None:
        """What kind of tag it is, and what follows from it."""
        self.at = tag.end
        self.trims_next, self.closes_previous = tag.trims_after, tag.is_standalone
        if tag.mark == "/" or ELSE.match(tag.text):
            return tag
        if tag.mark == "#" and tag.text[1:].lstrip().startswith("*"):
            nodes.append(self.inline(tag))
        elif tag.mark == "#" and tag.text.startswith("#>"):
            raise self.fail("a partial has no block: only inline partials exist", tag.start)
        elif tag.mark in ("#", "^"):
            nodes.append(self.block(tag))
        elif tag.mark == ">":
            nodes.append(self.partial(tag))
        else:
            skipped = tag.mark in ("{", "&")
            call, _ = Expression(self, tag.text[skipped:], tag.start + 2 + skipped).mustache()
            nodes.append(Output(call, is_raw=skipped))
        return None

    def inline(self, tag: Tag) -> Inline:
        """A partial defined in the template itself."""
        word, _, rest = tag.text[1:].lstrip()[1:].lstrip().partition("inline")
        name = QUOTED.match(rest)
        if word or name is None or name[3]:
            raise self.fail('only {{#*inline "name"}} is a decorator', tag.start)
        body, end = self.sequence()
        if end is None or "".join(end.text.split()) != "/inline":
            raise self.fail("{{#*inline}} is not closed", tag.start)
        return Inline(name[1] or name[2], body)

    def partial(self, tag: Tag) -> Partial:
        """The use of an inline partial: its name, the value it is about, its parameters."""
        name = QUOTED.match(tag.text[1:])
        if name is None:
            raise self.fail("a partial's name is expected: it cannot be calculated", tag.start)
        rest = tag.text[1 + name.end() :]
        call, _ = Expression(self, f"p {rest}", tag.start + tag.text.index(name[0]) + len(name[0])).mustache()
        if len(call.arguments) > 1:
            raise self.fail("a partial takes one value", tag.start)
        context = call.arguments[0] if call.arguments else None
        where = self.fail("", tag.start)
        return Partial(name[1] or name[2] or name[3], context, call.named, where.line, where.column)

    def raw_block(self, start: int) -> Block:
        """`{{{{name}}}}…{{{{/name}}}}`: what is inside is text."""
        end = self.source.find("}}}}", start)
        if end < 0:
            raise self.fail("a {{{{ is not closed", start)
        self.count()
        call, names = Expression(self, self.source[start + 4 : end], start + 4).mustache()
        closer = f"{{{{{{{{/{call.path.name}}}}}}}}}"
        close = self.source.find(closer, end)
        if close < 0:
            raise self.fail(f"{{{{{{{{{call.path.name}}}}}}}}} is not closed", start)
        self.at = close + len(closer)
        return Block(call, [Text(self.source[end + 4 : close])], names=names)

    def block(self, tag: Tag) -> Block:
        """A section with its branches, to its closing tag."""
        call, names = Expression(self, tag.text[1:], tag.start + 3).mustache()
        block = last = Block(call, names=names)
        last.body, end = self.sequence()
        while end is not None and end.mark != "/":
            words = end.text.strip().removeprefix("else").removeprefix("^").strip()
            if not words:
                last.otherwise, end = self.sequence()
                break
            self.count()
            begin = end.start + 2 + end.text.index(words, 1)
            chained_call, chained_names = Expression(self, words, begin).mustache()
            chained = Block(chained_call, names=chained_names, is_chained=True)
            last.otherwise = [chained]
            last = chained
            last.body, end = self.sequence()
        self.check_closed(call.path, tag, end)
        if tag.mark == "^":
            block.body, block.otherwise, block.is_inverted = block.otherwise, block.body, True
        return block

    def check_closed(self, path: Path, tag: Tag, end: Tag | None) -> None:
        """A block must end by a tag of its own name."""
        if end is None:
            raise self.fail(f"{{{{#{path.name}}}}} is not closed", tag.start)
        if end.mark == "/":
            closing = Expression(self, end.text[1:], end.start + 3).argument()
            if closing == path or (closing == Literal(None) and path.name == "null"):
                return
        raise self.fail(f"{{{{{end.text.strip()}}}}} closes {{{{#{path.name}}}}}", end.start)
