"""Open pixels and click links: found in a template's source once, made personal by one replacement in each message.

The step works on the source, before Handlebars: an `href` that is plain text is signed there and then, and only the
recipient's token is left open. An `href` with an expression in it is marked, and signed when it has been rendered.
"""

import html
import re
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from repoint.delivery.tokens import Tokens
from repoint.resources.domains import ascii_domain

COMPILED_MAX = 2_000
TARGET_CHARACTERS_MAX = 4096
EXPRESSION = r"\{\{\{?[^{}]*+\}\}\}?"
ANCHOR = re.compile(
    rf"""<(?:a|area)(?=[\s/])(?P<attributes>(?:{EXPRESSION}|"(?:{EXPRESSION}|[^"])*+"|'(?:{EXPRESSION}|[^'])*+'|[^<>"'])*+)>""",
    re.IGNORECASE,
)
ATTRIBUTE = re.compile(
    rf"""(?P<name>[^\s"'<>/={{}}]+)(?:\s*=\s*(?:"(?P<double>(?:{EXPRESSION}|[^"])*+)"|'(?P<single>(?:{EXPRESSION}|[^'])*+)'|(?P<bare>(?:{EXPRESSION}|[^\s"'>])++)))?"""
)
BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
UNTRACKED_SCHEME = re.compile(r"\s*(?:#|(?!https?:)[a-z][a-z0-9+.-]*:)", re.IGNORECASE)
BLANKS = re.compile(r"[\x00-\x20\x7f]+")
SAFE = "!#$%&'()*+,/:;=?@[]~-._"
OWN_ATTRIBUTES = frozenset({"ses:no-track", "ses:tags", "clicktracking"})


@dataclass(frozen=True, slots=True)
class TrackingPlace:
    """Where hits go, and what is tracked: what all messages of one application share."""

    app_id: str
    base_url: str
    opens: bool = True
    clicks: bool = True


def wire_form(url: str) -> str | None:
    """A web address as a Location header carries it (ASCII), or None if it is not one of the web."""
    url = url.strip()
    try:
        parts = urlsplit(BLANKS.sub("%20", url))
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return None
    if parts.scheme.lower() not in ("http", "https") or not host or len(url) > TARGET_CHARACTERS_MAX:
        return None
    netloc = parts.netloc
    if not netloc.isascii():
        try:
            netloc = netloc.replace(host, ascii_domain(host))
        except UnicodeError:
            return None
        if not netloc.isascii():
            return None
    return quote(parts._replace(netloc=netloc).geturl(), safe=SAFE)


class Tracker:
    """Compiles sources for tracking, and fills in what is a recipient's own."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.mark = tokens.mark
        self._begin, self._end = f"{tokens.mark}-begin-", f"-{tokens.mark}-end"
        self._dynamic = re.compile(f"{self._begin}(.*?){self._end}", re.DOTALL)
        self._compiled: OrderedDict[tuple[str, TrackingPlace], str] = OrderedDict()

    def compile(self, source: str, place: TrackingPlace) -> str:
        """The HTML source with its links rewritten and its pixel in place; remembered by source and place."""
        key = (source, place)
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = self._compile(source, place)
            if len(self._compiled) > COMPILED_MAX:
                self._compiled.popitem(last=False)
        else:
            self._compiled.move_to_end(key)
        return found

    def _compile(self, source: str, place: TrackingPlace) -> str:
        source = ANCHOR.sub(lambda found: self._anchor(found, place), source)
        if not place.opens:
            return source
        pixel = f'<img src="{place.base_url}/t/o/{self.mark}.gif" width="1" height="1" alt="" style="border:0">'
        ends = list(BODY_END.finditer(source))
        at = ends[-1].start() if ends else len(source)
        return source[:at] + pixel + source[at:]

    def _anchor(self, found: re.Match[str], place: TrackingPlace) -> str:
        """One `<a …>`: its link rewritten if it is to be, and the attributes that were meant for us taken out."""
        text = found["attributes"]
        given = list(ATTRIBUTE.finditer(text))
        attributes = {one["name"].lower(): one for one in reversed(given)}  # the first of a name counts (HTML)
        href = attributes.get("href")
        edits = [(one.start(), one.end(), "") for one in given if one["name"].lower() in OWN_ATTRIBUTES]
        if href is not None and place.clicks and not _is_excluded(attributes):
            link = self._link(_value(href), _tags(attributes), place)
            if link is not None:
                edits.append((href.start(), href.end(), f'href="{link}"'))
        for start, end, new in sorted(edits, reverse=True):
            text = text[:start] + new + text[end:]
        start = found.start("attributes") - found.start()
        return f"{found[0][:start]}{text}>"

    def _link(self, href: str, tags: str, place: TrackingPlace) -> str | None:
        if UNTRACKED_SCHEME.match(href):
            return None
        if "{{" in href:
            return f"{self._begin}{tags}|{href}{self._end}"
        target = wire_form(html.unescape(href))
        return None if target is None else self._signed(target, tags, place)

    def _signed(self, target: str, tags: str, place: TrackingPlace) -> str:
        signed = self._tokens.link(place.app_id, f"{target}\n{tags}" if tags else target)
        return f"{place.base_url}/t/c/{self.mark}/{signed}"

    def fill(self, rendered: str, place: TrackingPlace, token: str) -> str:
        """A rendered part with its recipient's token; links that were rendered are signed now."""
        if self._begin in rendered:
            rendered = self._dynamic.sub(lambda found: self.rendered_link(found[1], place), rendered)
        return rendered.replace(self.mark, token)

    def marked_links(self, text: str) -> list[str]:
        """The links to be signed when they are rendered, as `rendered_link` takes them."""
        return self._dynamic.findall(text)

    def unmarked(self, text: str) -> str:
        """The text with these links as their author wrote them."""
        return self._dynamic.sub(lambda found: found[1].partition("|")[2], text)

    def rendered_link(self, marked: str, place: TrackingPlace) -> str:
        """A web address is signed; anything else, and our own links, stay as they were written."""
        tags, _, href = marked.partition("|")
        url = html.unescape(href)
        target = None if url.startswith(f"{place.base_url}/t/") else wire_form(url)
        return href.replace('"', "&quot;") if target is None else self._signed(target, tags, place)


def _value(attribute: re.Match[str]) -> str:
    return attribute["double"] or attribute["single"] or attribute["bare"] or ""


def _is_excluded(attributes: dict[str, re.Match[str]]) -> bool:
    """Links marked as Amazon SES and others have it."""
    off = attributes.get("clicktracking")
    return "ses:no-track" in attributes or (off is not None and _value(off).strip().lower() == "off")


def _tags(attributes: dict[str, re.Match[str]]) -> str:
    """The value of `ses:tags`, a list of name:value with semicolons between, if it is plain text."""
    given = attributes.get("ses:tags")
    text = html.unescape(_value(given)).strip() if given else ""
    return "" if "{{" in text or "|" in text or "\n" in text else text


def read_tags(text: str) -> dict[str, list[str]]:
    """`name:value;name:value` as events show it."""
    tags: dict[str, list[str]] = {}
    for pair in text.split(";"):
        name, colon, value = pair.partition(":")
        if colon and name.strip():
            tags.setdefault(name.strip(), []).append(value.strip())
    return tags
