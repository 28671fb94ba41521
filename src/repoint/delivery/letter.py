"""A letter: an email whose bytes are the same for all recipients of an activity but for some values, made once.

It is for templates without blocks. What is left to do for a recipient is to fill values in, and to encode the lines
they stand in where these need it. Everything else is made from its parts, and a letter says the same as these would: it
is put together as they are, and taken apart at marks which stand for the values.

How parts are encoded depends on the values. A letter has a shape for each choice that has come up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

from repoint import handlebars
from repoint.delivery.marked import MarkedPart, Marks, Run, filled, marked_part, with_places
from repoint.delivery.mime import MEMBERS, CompiledEmail, HeaderError, Heading, address_header, header_line
from repoint.delivery.parts import PLAIN, unix
from repoint.delivery.render import VARIABLES, RenderingError, with_overrides
from repoint.delivery.returns import Returns, names_urls
from repoint.resources.endpoints.store import Endpoint
from repoint.resources.messages.content import Content
from repoint.work.outbox import Leased

# What each message has, besides its values.
OWN = ("To", "Subject", "Date", "Message-ID", "subscriber", "stop address", "token")
TOKEN = OWN.index("token")
CHARACTERS_MAX = 1_000_000


class Filled(NamedTuple):
    """A finished email, and what is to be known of it afterwards."""

    content: bytes
    subject: str
    envelope_from: str
    may_have_dots: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """A letter with its parts in certain encodings: texts and places by turns, and what belongs into these.

    `order` picks it from what a message is given (OWN and its values) and its runs. A `boundary` is named if its values
    might make another one. For `may_have_dots` see `Email`.
    """

    whole: list[str]
    order: "itemgetter[Any]"
    runs: Sequence[Run]
    boundary: str
    boundaries: int
    may_have_dots: bool

    def fill(self, given: list[str]) -> bytes | None:
        """One message; None when it has to be made from its parts."""
        if self.runs:
            encoded = [text for run in self.runs if (text := run.encoded(given)) is not None]
            if len(encoded) != len(self.runs):
                return None
            given = given + encoded
        content = filled(self.whole, self.order(given))
        is_whole = not self.boundary or content.count(self.boundary) == self.boundaries
        return content.encode() if is_whole else None


@dataclass(frozen=True, slots=True)
class Letter:
    """What makes the shapes, and what makes the values that are filled into them.

    `links` are the tracked links that are one value of the last part each: its place, and its mark up to there. `fixed`
    is the subject's line, if it is the same for all.
    """

    email: CompiledEmail
    marks: Marks
    parts: Sequence[MarkedPart]
    shapes: dict[tuple[str, ...], Shape]
    links: Sequence[tuple[int, str]]
    heading: handlebars.Form
    subject: list[str]
    fixed: str
    body: Sequence[handlebars.Form]
    names: frozenset[str]
    has_urls: bool
    content: Content
    returns: Returns

    def fill(self, row: Leased, endpoint: Endpoint, date_line: bytes, now: datetime) -> Filled | None:
        """The email of one recipient; None when it has to be made from its parts."""
        returns = self.returns
        variables = {name: VARIABLES[name](endpoint) for name in self.names}
        subscriber = returns.subscriber_token(row) if self.has_urls or returns.has_list_unsubscribe else ""
        if self.has_urls:
            variables["Pinpoint"] = {**variables["Pinpoint"], **returns.pages(subscriber)}
        token, envelope_from, stop = returns.stamp(row)
        try:
            variables = with_overrides(self.content, variables)
            subject = filled(self.subject, self.heading.values(variables, lambda: now))
            values = [form.values(variables, lambda: now) for form in self.body]
            address = address_header(row.address)
        except (RenderingError, handlebars.RenderError, HeaderError):
            return None
        for at, mark in self.links:
            values[-1][at] = returns.link(mark + values[-1][at], token)
        encodings = self._encodings(values, token)
        if encodings is None:
            return None
        shape = self.shapes.get(encodings)
        if shape is None:
            shape = self.shapes[encodings] = self._shaped(encodings)
        heading = self.fixed or self.email.subject(subject).decode()
        given = [address.decode(), heading, date_line.decode(), row.message_id, subscriber, stop, token]
        for own in values:
            given += own
        content = shape.fill(given)
        return Filled(content, subject, envelope_from, shape.may_have_dots) if content is not None else None

    def _encodings(self, values: Sequence[Sequence[str]], token: str) -> tuple[str, ...] | None:
        """How these values want the parts encoded; None when it takes the whole of one to tell."""
        found = []
        for part, own in zip(self.parts, values, strict=True):
            encoding = part.encoding("".join(own), token)
            if encoding is None:
                return None
            found.append(encoding)
        return tuple(found)

    def _shaped(self, encodings: Sequence[str]) -> Shape:
        """The letter with its parts in these encodings."""
        to, subject, date, message_id, subscriber, stop = map(self.marks.mark, range(TOKEN))
        returns = self.returns
        pairs = (
            returns.unsubscribe_lines(subscriber, stop if returns.takes_mail else "")
            if returns.has_list_unsubscribe
            else ()
        )
        lines = b"".join([header_line(*pair) for pair in pairs])
        heading = Heading(to.encode(), subject.encode(), message_id, date.encode(), lines)
        runs: list[Run] = []
        first = len(OWN) + sum(len(form.texts) - 1 for form in self.body)
        made = [part.body(encoding, runs, first) for part, encoding in zip(self.parts, encodings, strict=True)]
        whole = self.email.assemble(heading, made).decode()
        pieces, order = self.marks.split(whole)
        plain = [part for part, encoding in zip(self.parts, encodings, strict=True) if encoding == PLAIN]
        boundary = self.email.boundary.decode()
        return Shape(
            whole=pieces,
            order=itemgetter(*order),
            runs=runs,
            boundary=boundary if any(part.may_forge for part in plain) else "",
            boundaries=whole.count(boundary),
            may_have_dots=bool(runs) or "\n." in whole or any(text.endswith("\n") for text in pieces[:-1:2]),
        )


def compile_letter(content: Content, email: CompiledEmail, returns: Returns) -> Letter | None:
    """The letter of a content; None when each of its messages has to be made from its parts."""
    forms = _forms_of(content, email)
    if forms is None:
        return None
    heading, *body = forms
    marks, count, values = Marks(), len(OWN), []
    for form in body:
        values.append([marks.mark(count + number) for number in range(len(form.texts) - 1)])
        count += len(values[-1])
    texts = [filled(with_places(form.texts), own) for form, own in zip(body, values, strict=True)]
    links = [link.partition("|") for link in returns.tracker.marked_links(texts[-1])]
    if any(value not in values[-1] for _, _, value in links):
        return None
    texts = [returns.tracker.unmarked(text).replace(returns.tracker.mark, marks.mark(TOKEN)) for text in texts]
    marked = [
        marked_part(subtype, unix(text), email.charset(subtype), marks, TOKEN)
        for subtype, text in zip(email.subtypes, texts, strict=True)
    ]
    parts = [part for part in marked if part is not None]
    if len(parts) != len(marked):
        return None
    names = heading.names.union(*(form.names for form in body)) & VARIABLES.keys()
    return Letter(
        email=email,
        marks=marks,
        parts=parts,
        shapes={},
        links=[(values[-1].index(value), f"{tags}|") for tags, _, value in links],
        heading=heading,
        subject=with_places(heading.texts),
        fixed=email.subject(heading.texts[0]).decode() if len(heading.texts) == 1 else "",
        body=body,
        names=names,
        has_urls="Pinpoint" in names and bool(returns.base_url) and names_urls(content),
        content=content,
        returns=returns,
    )


def _forms_of(content: Content, email: CompiledEmail) -> list[handlebars.Form] | None:
    """The forms of the subject and the body's parts; None when there is something that is none."""
    if content.raw is not None or sum(map(len, content.parts.values())) > CHARACTERS_MAX:
        return None
    try:
        found = [
            handlebars.compile_form(content.parts.get(name, ""), escape=name == "HtmlPart")
            for name in ("Subject", *(MEMBERS[subtype] for subtype in email.subtypes))
        ]
    except handlebars.TemplateError:
        return None
    forms = [form for form in found if form is not None]
    # A carriage return before a value may be half of a line's end, when the value is empty.
    is_plain_between = not any(text.endswith("\r") for form in forms for text in form.texts)
    return forms if len(forms) == len(found) and is_plain_between else None
