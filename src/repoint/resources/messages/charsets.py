"""The character sets that the subject and the parts of an email may ask for, by their MIME names.

Mail can only be written in those that have ASCII as it is, since a line's end is two certain octets (RFC 2046 section
4.1.1). A text that asks for another one (UTF-16), or has characters that the one it asks for has not, goes in UTF-8.
"""

import codecs
from collections.abc import Mapping
from typing import Any

UTF_8 = "utf-8"
SINGLE_OCTETS = (
    *(f"iso-8859-{number}" for number in (*range(1, 12), *range(13, 17))),
    *(f"windows-{number}" for number in range(1250, 1259)),
    *("us-ascii", "koi8-r", "koi8-u", "tis-620"),
)
MULTIPLE_OCTETS = (
    *(UTF_8, "shift_jis", "euc-jp", "iso-2022-jp"),
    *("euc-kr", "gb2312", "gbk", "gb18030", "big5"),
)
MIME_NAMES = {codecs.lookup(name).name: name for name in (*SINGLE_OCTETS, *MULTIPLE_OCTETS)}
# Names that mail has and Python has not, or the other way around.
ALIASES = {"windows-31j": "shift_jis", "x-sjis": "shift_jis", "cp932": "shift_jis", "windows-874": "tis-620"}
STATEFUL = frozenset({"iso-2022-jp"})  # what an octet means depends on those before it


def is_charset(name: str) -> bool:
    """Whether a character set has this name."""
    return bool(_codec_name(name))


def asked_charsets(simple: Mapping[str, Any]) -> dict[str, str]:
    """The MIME names of what a SimpleEmail's members ask for, where that is not UTF-8."""
    given = ((member, simple.get(member, {}).get("Charset")) for member in ("Subject", "TextPart", "HtmlPart"))
    named = {member: MIME_NAMES.get(_codec_name(name), UTF_8) for member, name in given if name}
    return {member: name for member, name in named.items() if name != UTF_8}


def in_charset(text: str, charset: str) -> tuple[str, bytes]:
    """A text in a character set, by its MIME name; in UTF-8 if it would not come back as it is."""
    if charset != UTF_8:
        try:
            data = text.encode(charset)
            if data.decode(charset) == text:  # Shift_JIS has one octet for a backslash and for the yen
                return charset, data
        except UnicodeError:
            pass
    return UTF_8, text.encode()


def _codec_name(name: str) -> str:
    """Python's name for it; empty for what is no character set, though Python may have a codec of that name."""
    try:
        name = ALIASES.get(name.lower(), name)
        "a".encode(name)
        return codecs.lookup(name).name if name.isascii() else ""
    except (LookupError, ValueError):
        return ""
