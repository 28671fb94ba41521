"""Email as bytes: what all messages of one sender share is compiled once, the rest filled in for each recipient.

RFC 5322 (format), 2045-2047 (MIME), 6532 (UTF-8 in headers is avoided: encoded words say the same to everyone).
"""

import base64
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.utils import format_datetime, getaddresses
from typing import NamedTuple

from repoint.delivery.parts import LINE_OCTETS_MAX, part
from repoint.resources.domains import ascii_domain
from repoint.resources.messages.charsets import UTF_8, in_charset

HEADER_CHARACTERS = 76
ENCODED_WORD_OCTETS_MIN = 12  # less room than for this on a line, and the words begin on the next
HEADER_NAME = re.compile(r"[!-9;-~]+\Z")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\r\n]")
MEMBERS = {"plain": "TextPart", "html": "HtmlPart"}
BARE_NEWLINE = re.compile(rb"\r\n|\r|\n")
ATEXT_WORDS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
BAD_MAILBOX = re.compile(r"[\s<>(),;:\\\"\[\]\x00-\x1f\x7f]")
PLAIN_MAILBOX = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+\Z")  # stands in a header as it is
ENCODED_WORD = re.compile(r"=\?[!->@-~]+\?[BbQq]\?[!->@-~]*\?=")
DOMAIN = re.compile(r"[A-Za-z0-9._-]+\Z")
NAME_CHARACTERS_MAX = 60  # a longer one is encoded, which can be folded anywhere


class HeaderError(Exception):
    """A header that cannot be sent as it is: its name is not one, or its value would start another."""


@dataclass(frozen=True, slots=True)
class EmailParts:
    """What all messages of one compilation share."""

    from_address: str
    reply_to: Sequence[str] = ()
    has_text: bool = True
    has_html: bool = True
    headers: Sequence[tuple[str, str]] = ()
    charsets: Mapping[str, str] = field(default_factory=dict)


class Heading(NamedTuple):
    """What the headers of a message have of its own; `headers` are finished lines."""

    to: bytes
    subject: bytes
    message_id: str
    date_line: bytes
    headers: bytes = b""


@dataclass(frozen=True, slots=True)
class CompiledEmail:
    """The shared bytes, with places for what each recipient has of their own.

    `subtypes` are its parts, in their order. `charsets` are what these, and the subject, are written in, where that is
    not UTF-8: by the members' names.
    """

    head: bytes
    domain: str
    subtypes: Sequence[str]
    charsets: Mapping[str, str]
    boundary: bytes

    def build(  # noqa: PLR0913 - a message has that many parts of its own
        self,
        *,
        to: str,
        subject: str,
        message_id: str,
        date_line: bytes,
        text: str = "",
        html: str = "",
        headers: bytes = b"",
    ) -> bytes:
        """One recipient's message, with CRLF line ends; `headers` are finished lines of their own.

        Raises:
            HeaderError: when the recipient's address is not one.
        """
        heading = Heading(address_header(to), self.subject(subject), message_id, date_line, headers)
        texts = {"plain": text, "html": html}
        return self.assemble(
            heading, [part(subtype, texts[subtype], self.charset(subtype)) for subtype in self.subtypes]
        )

    def subject(self, value: str) -> bytes:
        """A subject as its header has it."""
        return encode_value(value, len("Subject: "), self.charsets.get("Subject", UTF_8))

    def charset(self, subtype: str) -> str:
        """What a part is to be written in."""
        return self.charsets.get(MEMBERS[subtype], UTF_8)

    def assemble(self, heading: Heading, parts: Sequence[bytes]) -> bytes:
        """A message of finished parts, one for each subtype."""
        return b"".join(
            (
                self.head,
                heading.to,
                b"\r\nSubject: ",
                heading.subject,
                heading.date_line,
                f"Message-ID: <{heading.message_id}@{self.domain}>\r\n".encode(),
                heading.headers,
                *self._body(parts),
            )
        )

    def _body(self, parts: Sequence[bytes]) -> Sequence[bytes]:
        if len(parts) == 1:
            return parts
        plain, rich = parts
        boundary = self.boundary
        while boundary in plain or boundary in rich:  # somebody has read it in an email, and means to forge a part
            boundary = new_boundary()
        return (
            b'Content-Type: multipart/alternative; boundary="', boundary, b'"\r\n\r\n--', boundary, b"\r\n",
            plain, b"\r\n--", boundary, b"\r\n", rich, b"\r\n--", boundary, b"--\r\n",
        )  # fmt: skip


class DateLine:
    """The Date header, made once a second."""

    def __init__(self) -> None:
        self._moment = datetime.min.replace(tzinfo=UTC)
        self._line = b""

    def line(self, now: datetime) -> bytes:
        """The end of the line before, and this one."""
        if now != self._moment:
            self._moment = now
            self._line = f"\r\nDate: {format_datetime(now.astimezone(UTC))}\r\n".encode()
        return self._line


def new_boundary() -> bytes:
    """A boundary nobody can guess. '=_' cannot stand in quoted-printable, nor in base64 (RFC 2045 section 6.7)."""
    return f"=_{secrets.token_hex(16)}".encode()


def compile_email(parts: EmailParts) -> CompiledEmail:
    """Compile what the messages share.

    Raises:
        HeaderError: when the sender or a header cannot be sent.
    """
    lines = [b"MIME-Version: 1.0\r\nFrom: " + address_header(parts.from_address) + b"\r\n"]
    if parts.reply_to:
        lines.append(b"Reply-To: " + b",\r\n ".join(address_header(one) for one in parts.reply_to) + b"\r\n")
    lines.extend(header_line(name, value) for name, value in parts.headers)
    lines.append(b"To: ")
    domain = domain_of(parts.from_address) or "localhost"
    wanted = {"plain": parts.has_text or not parts.has_html, "html": parts.has_html}
    subtypes = [subtype for subtype, is_wanted in wanted.items() if is_wanted]
    return CompiledEmail(b"".join(lines), domain, subtypes, parts.charsets, new_boundary())


def domain_of(address: str) -> str:
    """The domain, in ASCII, of `Name <local@domain>`; empty when there is none."""
    try:
        return ascii_domain(mailbox_of(address).rpartition("@")[2])
    except UnicodeError:
        return ""


def header_line(name: str, value: str) -> bytes:
    """`Name: value`, encoded and folded.

    Raises:
        HeaderError: for a name that is not one.
    """
    if not HEADER_NAME.match(name):
        raise HeaderError(f"not a header name: {name[:40]!r}")
    return f"{name}: ".encode() + encode_value(value, len(name) + 2) + b"\r\n"


def encode_value(value: str, used: int, charset: str = UTF_8) -> bytes:
    """An unstructured header value: as it is where that is safe, else in encoded words (RFC 2047), folded.

    Line breaks become spaces: nothing given as a value can begin another header.
    """
    value = " ".join(CONTROL.sub(" ", value).split(" ")) if CONTROL.search(value) else value
    if value.isascii() and "=?" not in value:
        if len(value) + used <= HEADER_CHARACTERS:
            return value.encode()
        if "  " not in value and "\t" not in value:  # some readers make one space of those around a fold
            return _folded(value, used)
    return _encoded_words(value, used, charset)


def _folded(value: str, used: int) -> bytes:
    """ASCII, broken at spaces where a line would be longer than it should; words are never broken."""
    lines, line, room = [], "", HEADER_CHARACTERS - used
    for word in re.split(r"(?<=\S)(?= )", value):
        if line.strip() and len(line) + len(word) > room and word.strip():
            lines.append(line)
            line, room = word, HEADER_CHARACTERS
        else:
            line += word
    lines.append(line)
    if any(len(one) > LINE_OCTETS_MAX - HEADER_CHARACTERS for one in lines) or used > HEADER_CHARACTERS:
        return _encoded_words(value, used)
    return "\r\n".join(lines).encode()


def _encoded_words(value: str, used: int, charset: str = UTF_8) -> bytes:
    """The value in words of whole characters, each on a line of its own that is no longer than 76 (RFC 2047)."""
    charset, _ = in_charset(value, charset)
    wrapping = len(f"=?{charset}?b??=")
    lines, room = [], _octets_within(HEADER_CHARACTERS - used - wrapping)
    if room < ENCODED_WORD_OCTETS_MIN:
        lines.append(b"")
        room = _octets_within(HEADER_CHARACTERS - 1 - wrapping)
    while value:
        data, count = _fitting(value, room, charset)
        lines.append(f"=?{charset}?b?{base64.b64encode(data).decode()}?=".encode())
        value, room = value[count:], _octets_within(HEADER_CHARACTERS - 1 - wrapping)
    return b"\r\n ".join(lines)


def _octets_within(characters: int) -> int:
    """How many octets fit into so many characters of base64."""
    return characters // 4 * 3


def _fitting(value: str, room: int, charset: str) -> tuple[bytes, int]:
    """The first characters of a value, as octets that fit, and how many they are; one at least."""
    count = min(len(value), room)
    while True:
        data = value[:count].encode(charset)
        if len(data) <= room or count == 1:
            return data, count
        count = max(1, count * room // len(data))


def split_address(address: str) -> tuple[str, str]:
    """The name, unquoted, and the mailbox of `Name <mailbox>`; people write names with commas and without quotes."""
    name, opened, rest = address.rpartition("<")
    if not opened:
        return "", address.strip()
    name = name.strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return name, rest.strip().removesuffix(">").strip()


def mailbox_of(sender: str) -> str:
    """The bare address of `Name <address>`."""
    return split_address(sender)[1]


def address_header(address: str, used: int = len("Reply-To: ")) -> bytes:
    """`Name <a@b>` or `a@b` for a header; the name is quoted or encoded as it needs, and folded.

    Raises:
        HeaderError: when the address itself could be taken for something else.
    """
    if PLAIN_MAILBOX.match(address):
        return address.encode()
    name, mailbox = split_address(address)
    if not mailbox or BAD_MAILBOX.search(mailbox):
        raise HeaderError(f"not an email address: {address[:80]!r}")
    local, at, domain = mailbox.rpartition("@")
    if not domain.isascii():
        try:
            mailbox = f"{local}{at}{ascii_domain(domain)}"
        except UnicodeError:
            raise HeaderError(f"not a domain: {domain[:80]!r}") from None
    name = CONTROL.sub(" ", _as_read(name)).strip(" \t")
    if not name:
        return mailbox.encode()
    shown = _phrase(name, used)
    last = len(shown) - shown.rfind(b"\r\n") if b"\r\n" in shown else len(shown) + used
    fold = b"\r\n <" if last + len(mailbox) + len(" <>,") > HEADER_CHARACTERS else b" <"
    return shown + fold + mailbox.encode() + b">"


def _as_read(name: str) -> str:
    """A display name without its encoded words (RFC 2047), in which Amazon SES has callers write what is not ASCII."""
    if not ENCODED_WORD.search(name):
        return name
    try:
        read = str(make_header(decode_header(name)))
        read.encode()
    except (HeaderParseError, LookupError, ValueError):
        return name
    return read


def _phrase(name: str, used: int) -> bytes:
    """A display name: as it is, in quotes, or encoded."""
    if not name.isascii() or "=?" in name or len(name) > NAME_CHARACTERS_MAX:
        return _encoded_words(name, used)
    if ATEXT_WORDS.match(name):
        return name.encode()
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.encode()


def _raw_domain(sender: bytes) -> str:
    """The domain of the first address of a From line, which may be folded and have comments."""
    value = " ".join(sender.decode("utf-8", "replace").partition(":")[2].split())
    domain = next((domain_of(mailbox) for _, mailbox in getaddresses([value])), "")
    return domain if DOMAIN.match(domain) else "localhost"


def prepare_raw(data: bytes, *, to: str, message_id: str, date: datetime) -> bytes:
    """A caller's own MIME message: line ends made CRLF, Bcc taken out, Date, Message-ID and To added if missing."""
    data = BARE_NEWLINE.sub(b"\r\n", data)
    head, blank, body = data.partition(b"\r\n\r\n")
    head = head.removesuffix(b"\r\n")  # headers alone need no blank line after them
    lines = re.split(rb"\r\n(?![ \t])", head)
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in (b"bcc", b"resent-bcc")]
    names = {line.partition(b":")[0].strip().lower() for line in kept}
    if b"date" not in names:
        kept.append(f"Date: {format_datetime(date.astimezone(UTC))}".encode())
    if b"message-id" not in names:
        sender = next((line for line in kept if line.lower().startswith(b"from:")), b"")
        kept.append(f"Message-ID: <{message_id}@{_raw_domain(sender)}>".encode())
    if b"to" not in names:
        kept.append(b"To: " + address_header(to))
    return b"\r\n".join(kept) + (blank or b"\r\n\r\n") + body
