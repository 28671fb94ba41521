"""The text parts of an email: character set, transfer encoding, lines (RFC 2045, 2046)."""

import binascii
import functools
import struct

from repoint.resources.messages.charsets import UTF_8, in_charset

LINE_OCTETS_MAX = 998
PLAIN, QUOTED, BASE64 = "7bit", "quoted-printable", "base64"
BASE64_LINE = 76
LINES_FORMATS_MAX = 256


def part(subtype: str, content: str, charset: str = UTF_8) -> bytes:
    """A text part in the plainest encoding that carries it: 7bit, else quoted-printable, else base64."""
    text = unix(content)
    used, data = in_charset(text, charset)
    encoding = PLAIN if is_plain(data) else encoding_of(len(text), len(data))
    return part_head(subtype, used, encoding) + encoded(data, encoding)


def unix(content: str) -> str:
    """A text with lines that end in one character."""
    return content.replace("\r\n", "\n").replace("\r", "\n") if "\r" in content else content


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


def encoding_of(characters: int, octets: int) -> str:
    """How a part that is not plain is encoded: what is mostly ASCII stays readable."""
    return QUOTED if characters * 5 > octets * 4 else BASE64


@functools.lru_cache(LINES_FORMATS_MAX)
def part_head(subtype: str, charset: str, encoding: str) -> bytes:
    """The headers of a part, and the empty line after them."""
    return (
        f"Content-Type: text/{subtype}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    ).encode()


def encoded(data: bytes, encoding: str) -> bytes:
    """A part's body. Quoted-printable is the same line by line, since a line's end ends all that it counts."""
    if encoding == PLAIN:
        return data.replace(b"\n", b"\r\n")
    if encoding == QUOTED:
        return binascii.b2a_qp(data, istext=True).replace(b"\n", b"\r\n")
    text = binascii.b2a_base64(data.replace(b"\n", b"\r\n"), newline=False)
    count = len(text) // BASE64_LINE
    lines = [*_lines_of(count).unpack_from(text), text[count * BASE64_LINE :]]
    if lines[-1]:
        lines.append(b"")
    return b"\r\n".join(lines)


@functools.lru_cache(LINES_FORMATS_MAX)
def _lines_of(count: int) -> struct.Struct:
    """What cuts base64 into lines, many at once."""
    return struct.Struct(f"{BASE64_LINE}s" * count)
