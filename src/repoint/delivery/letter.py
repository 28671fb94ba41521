"""A letter: an email whose bytes are the same for all recipients of an activity but for some values, made once.

It is for the plain case, which is common: templates without blocks, and values that are ASCII and short, so that
neither encodings nor the ends and lengths of lines depend on them. What is left to do for a recipient then is to fill
them in. Everything else is made from its parts, and a letter says the same as these would: it is one that they have
made, taken apart at marks which stand for the values.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from secrets import token_hex
from typing import Any, NamedTuple

from repoint import handlebars
from repoint.delivery.mime import (
    LINE_OCTETS_MAX,
    CompiledEmail,
    HeaderError,
    address_header,
    crlf,
    encode_value,
    header_line,
    is_plain,
)
from repoint.delivery.render import VARIABLES, RenderingError, with_overrides
from repoint.delivery.returns import Returns, names_urls
from repoint.resources.endpoints.store import Endpoint
from repoint.resources.messages.content import Content
from repoint.work.outbox import Leased

OWN = ("To", "Subject", "Date", "Message-ID", "subscriber", "token")  # what each message has, besides its values
MAYBE_BOUNDARY = "=_"
CHARACTERS_MAX = 1_000_000


class Filled(NamedTuple):
    """A finished email, and what is to be known of it afterwards."""

    content: bytes
    subject: str
    envelope_from: str


@dataclass(frozen=True, slots=True)
class Letter:
    """`whole` and `subject` are texts and places by turns; `order` picks what fills the whole from OWN and its values.

    `room` is how many characters values and tokens may have together without making a line too long; there are `tokens`
    of these. `links` are the tracked links that are one value each: its place, and its mark up to there.
    """

    whole: list[str]
    order: "itemgetter[Any]"
    subject: list[str]
    room: int
    tokens: int
    links: Sequence[tuple[int, str]]
    heading: handlebars.Form
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
        token, envelope_from = returns.stamp(row)
        try:
            variables = with_overrides(self.content, variables)
            subject = filled(self.subject, self.heading.values(variables, lambda: now))
            values = [value for form in self.body for value in form.values(variables, lambda: now)]
            address = address_header(row.address)
        except (RenderingError, handlebars.RenderError, HeaderError):
            return None
        for at, mark in self.links:
            values[at] = returns.link(mark + values[at], token)
        joined = " ".join(values)
        is_short = len(joined) + self.tokens * len(token) <= self.room
        if not (is_short and joined.isascii() and joined.isprintable()) or MAYBE_BOUNDARY in joined:
            return None
        heading = encode_value(subject, len("Subject: ")).decode()
        own = (address.decode(), heading, date_line.decode(), row.message_id, subscriber, token)
        return Filled(filled(self.whole, self.order((*own, *values))).encode(), subject, envelope_from)


def compile_letter(content: Content, email: CompiledEmail, returns: Returns) -> Letter | None:
    """The letter of a content; None when each of its messages has to be made from its parts."""
    forms = _forms_of(content)
    if forms is None:
        return None
    heading, *body = forms
    own = [f"mark{token_hex(12)}" for _ in OWN[:-1]] + [returns.tracker.mark]
    values = [[f"mark{token_hex(12)}" for _ in form.texts[1:]] for form in body]
    text, marked = (filled(_with_places(form.texts), marks) for form, marks in zip(body, values, strict=True))
    html, marks = returns.tracker.unmarked(marked), [mark for part in values for mark in part]
    links = [link.partition("|") for link in returns.tracker.marked_links(marked)]
    if not (is_plain(crlf(text)) and is_plain(crlf(html))) or any(value not in marks for _, _, value in links):
        return None
    whole = _specimen(email, returns, own, text, html)
    pieces = re.split(f"({'|'.join([*own, *marks])})", whole)
    order = [[*own, *marks].index(mark) for mark in pieces[1::2]]
    names = heading.names.union(*(form.names for form in body)) & VARIABLES.keys()
    return Letter(
        whole=pieces,
        order=itemgetter(*order),
        subject=_with_places(heading.texts),
        room=LINE_OCTETS_MAX - max(map(len, "".join(pieces[::2]).split("\r\n"))),
        tokens=order.count(OWN.index("token")),
        links=[(marks.index(value), f"{tags}|") for tags, _, value in links],
        heading=heading,
        body=body,
        names=names,
        has_urls="Pinpoint" in names and bool(returns.base_url) and names_urls(content),
        content=content,
        returns=returns,
    )


def _forms_of(content: Content) -> list[handlebars.Form] | None:
    """The forms of the subject and the body's parts; None when there is something that is none."""
    if content.raw is not None or sum(map(len, content.parts.values())) > CHARACTERS_MAX:
        return None
    try:
        found = [
            handlebars.compile_form(content.parts.get(name, ""), escape=name == "HtmlPart")
            for name in ("Subject", "TextPart", "HtmlPart")
        ]
    except handlebars.TemplateError:
        return None
    forms = [form for form in found if form is not None]
    # A carriage return before a value may be half of a line's end, when the value is empty.
    is_plain_between = not any(text.endswith("\r") for form in forms for text in form.texts)
    return forms if len(forms) == len(found) and is_plain_between else None


def filled(pieces: list[str], values: Sequence[str]) -> str:
    """Texts and places by turns, with values in the places."""
    pieces = pieces.copy()
    pieces[1::2] = values
    return "".join(pieces)


def _with_places(texts: Sequence[str]) -> list[str]:
    """Texts with an empty place between each and the next."""
    pieces = [""] * (2 * len(texts) - 1)
    pieces[::2] = texts
    return pieces


def _specimen(email: CompiledEmail, returns: Returns, own: Sequence[str], text: str, html: str) -> str:
    """A whole email with marks for all that is a recipient's own."""
    to, subject, date, message_id, subscriber, _ = own
    pairs = returns.unsubscribe_lines(subscriber) if returns.has_list_unsubscribe else ()
    whole = email.build(
        to=f"{to}@{to}",
        subject=subject,
        message_id=message_id,
        date_line=date.encode(),
        text=text,
        html=html,
        headers=b"".join([header_line(*pair) for pair in pairs]),
    )
    return whole.decode().replace(f"{to}@{to}", to)
