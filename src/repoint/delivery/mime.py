"""Email as bytes: what all messages of one sender share is compiled once, the rest filled in for each recipient.

RFC 5322 (format), 2045-2047 (MIME), 6532 (UTF-8 in headers is avoided: encoded words say the same to everyone).
"""

import base64
import binascii
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

LINE_OCTETS_MAX = 998
HEADER_CHARACTERS = 76
ENCODED_WORD_WRAPPING = len("=?utf-8?b??=")
ENCODED_WORD_OCTETS_MIN = 12  # less room than for this on a line, and the words begin on the next
HEADER_NAME = re.compile(r"[!-9;-~]+\Z")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\r\n]")
BARE_NEWLINE = re.compile(rb"\r\n|\r|\n")
ATEXT_WORDS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
BAD_MAILBOX = re.compile(r"[\s<>(),;:\\\"\[\]\x00-\x1f\x7f]")
PLAIN_MAILBOX = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+\Z")  # stands in a header as it is
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


@dataclass(frozen=True, slots=True)
class CompiledEmail:
    """The shared bytes, with places for what each recipient has of their own."""

    head: bytes
    domain: str
    has_text: bool
    has_html: bool
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
        return b"".join(
            (
                self.head,
                address_header(to),
                b"\r\nSubject: ",
                encode_value(subject, len("Subject: ")),
                date_line,
                f"Message-ID: <{message_id}@{self.domain}>\r\n".encode(),
                headers,
                *self._body(text, html),
            )
        )

    def _body(self, text: str, html: str) -> Sequence[bytes]:
        if not (self.has_text and self.has_html):
            return (part("html", html) if self.has_html else part("plain", text),)
        plain, rich = part("plain", text), part("html", html)
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
    return CompiledEmail(b"".join(lines), domain, parts.has_text, parts.has_html, new_boundary())


def ascii_domain(domain: str) -> str:
    """A domain in ASCII; empty when it cannot be written so."""
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return ""


def domain_of(address: str) -> str:
    """The domain, in ASCII, of `Name <local@domain>`; empty when there is none."""
    return ascii_domain(mailbox_of(address).rpartition("@")[2])


def part(subtype: str, content: str) -> bytes:
    """A text part in the plainest encoding that carries it: 7bit, else quoted-printable, else base64."""
    data = crlf(content)
    if is_plain(data):
        encoding, body = b"7bit", data
    elif len(content) * 5 > len(data) * 4:  # mostly ASCII: readable when encoded
        encoding = b"quoted-printable"
        body = BARE_NEWLINE.sub(b"\r\n", binascii.b2a_qp(data, istext=True))
    else:
        encoding, body = b"base64", base64.encodebytes(data).replace(b"\n", b"\r\n")
    return b"".join((PART_HEADS[subtype], encoding, b"\r\n\r\n", body))


def crlf(content: str) -> bytes:
    """A text with the line ends of email."""
    data = content.encode()
    return BARE_NEWLINE.sub(b"\r\n", data) if b"\r" in data else data.replace(b"\n", b"\r\n")


def is_plain(data: bytes) -> bool:
    """Whether every relay carries these lines as they are (7bit, RFC 2045 section 2.7)."""
    return data.isascii() and b"\x00" not in data and not has_long_line(data)


def has_long_line(data: bytes) -> bool:
    """Whether a line has more octets than RFC 5322 allows, looking only where one must have ended."""
    start = 0
    while len(data) - start > LINE_OCTETS_MAX:
        end = data.rfind(b"\n", start, start + LINE_OCTETS_MAX + 1)
        if end < 0:
            return True
        start = end + 1
    return False


PART_HEADS = {
    subtype: f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: ".encode()
    for subtype in ("plain", "html")
}


def header_line(name: str, value: str) -> bytes:
    """`Name: value`, encoded and folded.

    Raises:
        HeaderError: for a name that is not one.
    """
    if not HEADER_NAME.match(name):
        raise HeaderError(f"not a header name: {name[:40]!r}")
    return f"{name}: ".encode() + encode_value(value, len(name) + 2) + b"\r\n"


def encode_value(value: str, used: int) -> bytes:
    """An unstructured header value: as it is where that is safe, else in encoded words (RFC 2047), folded.

    Line breaks become spaces: nothing given as a value can begin another header.
    """
    value = " ".join(CONTROL.sub(" ", value).split(" ")) if CONTROL.search(value) else value
    if value.isascii() and "=?" not in value:
        if len(value) + used <= HEADER_CHARACTERS:
            return value.encode()
        if "  " not in value and "\t" not in value:  # some readers make one space of those around a fold
            return _folded(value, used)
    return _encoded_words(value, used)


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


def _encoded_words(value: str, used: int) -> bytes:
    """The value in words of whole characters, each on a line of its own that is no longer than 76 (RFC 2047)."""
    lines, chunk, room = [], b"", _octets_within(HEADER_CHARACTERS - used)
    if room < ENCODED_WORD_OCTETS_MIN:
        lines, room = [b""], _octets_within(HEADER_CHARACTERS - 1)
    for character in value:
        octets = character.encode()
        if len(chunk) + len(octets) > room:
            lines.append(b"=?utf-8?b?" + base64.b64encode(chunk) + b"?=")
            chunk, room = b"", _octets_within(HEADER_CHARACTERS - 1)
        chunk += octets
    lines.append(b"=?utf-8?b?" + base64.b64encode(chunk) + b"?=")
    return b"\r\n ".join(lines)


def _octets_within(characters: int) -> int:
    """How many octets an encoded word of so many characters can hold, in base64."""
    return (min(characters, HEADER_CHARACTERS - 1) - ENCODED_WORD_WRAPPING) // 4 * 3


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
        mailbox = f"{local}{at}{ascii_domain(domain)}"
    name = CONTROL.sub(" ", name).strip(" \t")
    if not name:
        return mailbox.encode()
    shown = _phrase(name, used)
    last = len(shown) - shown.rfind(b"\r\n") if b"\r\n" in shown else len(shown) + used
    fold = b"\r\n <" if last + len(mailbox) + len(" <>,") > HEADER_CHARACTERS else b" <"
    return shown + fold + mailbox.encode() + b">"


def _phrase(name: str, used: int) -> bytes:
    """A display name: as it is, in quotes, or encoded."""
    if not name.isascii() or "=?" in name or len(name) > NAME_CHARACTERS_MAX:
        return _encoded_words(name, used)
    if ATEXT_WORDS.match(name):
        return name.encode()
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.encode()


def prepare_raw(data: bytes, *, to: str, message_id: str, date: datetime) -> bytes:
    """A caller's own MIME message: line ends made CRLF, Bcc taken out, Date, Message-ID and To added if missing."""
    data = BARE_NEWLINE.sub(b"\r\n", data)
    head, blank, body = data.partition(b"\r\n\r\n")
    lines = re.split(rb"\r\n(?![ \t])", head)
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in (b"bcc", b"resent-bcc")]
    names = {line.partition(b":")[0].strip().lower() for line in kept}
    if b"date" not in names:
        kept.append(f"Date: {format_datetime(date.astimezone(UTC))}".encode())
    if b"message-id" not in names:
        sender = next((line for line in kept if line.lower().startswith(b"from:")), b"")
        domain = domain_of(sender[5:].decode("utf-8", "replace")) or "localhost"
        kept.append(f"Message-ID: <{message_id}@{domain}>".encode())
    if b"to" not in names:
        kept.append(b"To: " + address_header(to))
    return b"\r\n".join(kept) + (blank or b"\r\n\r\n") + body
