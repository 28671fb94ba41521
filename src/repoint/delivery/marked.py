"""Parts of an email with marks in them, where recipients differ, encoded around these.

An encoding is applied to what is the same for all once: the whole part where it stays as it is (7bit), its lines
without marks in quoted-printable. What is left is a run: text that is encoded when its values are in it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from secrets import token_hex

from repoint.delivery.parts import LINE_OCTETS_MAX, PLAIN, QUOTED, encoded, encoding_of, part_head
from repoint.resources.messages.charsets import STATEFUL, in_charset

LINE = re.compile(r"[^\n]*\n|[^\n]+")
BOUNDARY_BEGINS = "=_"


def filled(pieces: list[str], values: Sequence[str]) -> str:
    """Texts and places by turns, with values in the places."""
    pieces = pieces.copy()
    pieces[1::2] = values
    return "".join(pieces)


def with_places(texts: Sequence[str]) -> list[str]:
    """Texts with an empty place between each and the next."""
    pieces = [""] * (2 * len(texts) - 1)
    pieces[::2] = texts
    return pieces


class Marks:
    """Marks that stand in a text for what has a number."""

    def __init__(self) -> None:
        self._name = f"mark{token_hex(12)}n"
        self._pattern = re.compile(f"{self._name}([0-9]+)x")

    def mark(self, number: int) -> str:
        """The mark for a number."""
        return f"{self._name}{number}x"

    def are_in(self, text: str) -> bool:
        """Whether there are any."""
        return self._name in text

    def split(self, text: str) -> tuple[list[str], list[int]]:
        """The text as texts and places by turns, and the numbers of what belongs into these."""
        pieces = self._pattern.split(text)
        return pieces, [int(number) for number in pieces[1::2]]


@dataclass(frozen=True, slots=True)
class Run:
    """Whole lines, or a whole part, to be encoded when they are filled."""

    pieces: list[str]
    order: Sequence[int]
    charset: str
    encoding: str

    def encoded(self, given: Sequence[str]) -> str | None:
        """With what it is given in its places; None when that does not fit into the character set."""
        charset, data = in_charset(filled(self.pieces, [given[number] for number in self.order]), self.charset)
        return encoded(data, self.encoding).decode() if charset == self.charset else None


@dataclass(frozen=True, slots=True)
class MarkedPart:
    """A part, and what decides how it is encoded: its fixed text (clean: ASCII without NUL), the room in its lines.

    `tokens` is how often the message's token stands in it. `may_forge`: a boundary could be put together from its text
    and values that have no whole beginning of one.
    """

    subtype: str
    text: str
    marks: Marks
    charset: str
    characters: int
    octets: int
    is_clean: bool
    room: int
    tokens: int
    may_forge: bool

    def encoding(self, values: str, token: str) -> str | None:
        """How the part is encoded with these values, joined; None when it takes the whole part to tell."""
        added = len(values) + self.tokens * len(token)
        if self.is_clean and values.isascii() and self.room >= 0:
            is_plain = added <= self.room and values.isprintable() and BOUNDARY_BEGINS not in values
            return PLAIN if is_plain else None
        if "\r" in values or (self.is_clean and "\n" in values):  # half of a line's end, or the end of a long line
            return None
        if values.isascii():
            return encoding_of(self.characters + added, self.octets + added)
        try:
            octets = added - len(values) + len(values.encode(self.charset))
        except UnicodeError:
            return None
        return encoding_of(self.characters + added, self.octets + octets)

    def body(self, encoding: str, runs: list[Run], number: int) -> bytes:
        """The part in an encoding; the runs in it join those there are, the first of which has the number."""
        head = part_head(self.subtype, self.charset, encoding)
        if encoding == PLAIN:
            return head + encoded(self.text.encode(), PLAIN)
        body, lines = [], LINE.findall(self.text) if encoding == QUOTED else [self.text]
        for is_marked, group in groupby(lines, self.marks.are_in):
            text = "".join(group)
            if is_marked:
                body.append(self.marks.mark(number + len(runs)).encode())
                runs.append(Run(*self.marks.split(text), self.charset, encoding))
            else:
                body.append(encoded(text.encode(self.charset), encoding))
        return head + b"".join(body)


def marked_part(subtype: str, text: str, charset: str, marks: Marks, token: int) -> MarkedPart | None:
    """A text with marks as a part, `token` is the number of the message's; None when it cannot be encoded around these.

    Its line ends are of one character.
    """
    pieces, order = marks.split(text)
    fixed = "".join(pieces[::2])
    used, data = in_charset(fixed, charset)
    if used in STATEFUL:
        return None
    before, after = pieces[:-1:2], pieces[2::2]
    return MarkedPart(
        subtype=subtype,
        text=text,
        marks=marks,
        charset=used,
        characters=len(fixed),
        octets=len(data),
        is_clean=data.isascii() and b"\x00" not in data,
        room=LINE_OCTETS_MAX - max(map(len, data.split(b"\n"))),
        tokens=order.count(token),
        may_forge=BOUNDARY_BEGINS in fixed
        or any(piece.endswith("=") for piece in before)
        or any(piece.startswith("_") for piece in after),
    )
