"""DKIM signatures (RFC 6376; Ed25519: RFC 8463), relaxed/relaxed, on finished messages."""

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from repoint.resources.dkim import SigningKey

# What a receiver shows or acts on (RFC 6376 section 5.4.1, RFC 8058 section 4). From is named once more than it stands
# there, so that nobody can add another.
SIGNED = (
    b"from", b"reply-to", b"subject", b"date", b"to", b"cc", b"message-id", b"mime-version", b"content-type",
    b"content-transfer-encoding", b"list-unsubscribe", b"list-unsubscribe-post", b"list-id",
)  # fmt: skip
HEADER_START = re.compile(rb"\r\n(?![ \t])")
FOLD = re.compile(rb"\r\n(?=[ \t])")
SPACES = re.compile(rb"[ \t]+")
SPACES_BEFORE_END = re.compile(rb"[ \t]+(?=\r\n)")
SIGNATURE_CHARACTERS = 72


def sign(content: bytes, keys: Sequence[SigningKey], now: datetime) -> bytes:
    """The message with a signature by each key before it; `content` has CRLF line ends, and is made to end with one."""
    if not content.endswith(b"\r\n"):  # as it will when it arrives (RFC 5321 section 4.1.1.4)
        content += b"\r\n"
    head, _, body = content.partition(b"\r\n\r\n")
    names, canonical = _signed_headers(head)
    digest = base64.b64encode(hashlib.sha256(relaxed_body(body)).digest()).decode()
    signatures = [_signature(key, names, canonical, digest, int(now.timestamp())) for key in keys]
    return b"".join((*signatures, content))


def _signed_headers(head: bytes) -> tuple[str, bytes]:
    """The names for h=, and the headers in that order, canonical: of several of a name, the last comes first."""
    found: dict[bytes, list[bytes]] = {}
    for line in HEADER_START.split(head):
        name, _, value = line.partition(b":")
        found.setdefault(name.strip().lower(), []).append(value)
    names, lines = [], []
    for name in SIGNED:
        for value in reversed(found.get(name, ())):
            names.append(name)
            lines.append(relaxed_header(name, value))
    names.append(b"from")
    return b":".join(names).decode(), b"".join(lines)


def relaxed_header(name: bytes, value: bytes) -> bytes:
    """Section 3.4.2: unfolded, runs of white space made one space, none at the ends."""
    return name + b":" + SPACES.sub(b" ", FOLD.sub(b"", value)).strip(b" \t\r\n") + b"\r\n"


def relaxed_body(body: bytes) -> bytes:
    """Section 3.4.4: no white space at ends of lines, runs of it made one space, no empty lines at the end."""
    if b"\t" in body or b"  " in body or b" \r\n" in body:
        body = SPACES.sub(b" ", SPACES_BEFORE_END.sub(b"", body))
    while body.endswith(b"\r\n"):
        body = body[:-2]
    return body + b"\r\n" if body else b""


def _signature(key: SigningKey, names: str, canonical: bytes, body_digest: str, seconds: int) -> bytes:
    is_rsa = isinstance(key.private_key, rsa.RSAPrivateKey)
    algorithm = "rsa-sha256" if is_rsa else "ed25519-sha256"
    shown = "\r\n ".join(_wrapped(names))
    value = (
        f" v=1; a={algorithm}; c=relaxed/relaxed; d={key.domain};\r\n s={key.selector}; t={seconds};"
        f"\r\n h={shown};\r\n bh={body_digest};\r\n b="
    ).encode()
    signed = canonical + relaxed_header(b"dkim-signature", value).removesuffix(b"\r\n")
    digest = hashlib.sha256(signed).digest()
    if isinstance(key.private_key, rsa.RSAPrivateKey):
        raw = key.private_key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
    else:
        raw = key.private_key.sign(digest)
    text = base64.b64encode(raw)
    pieces = [text[start : start + SIGNATURE_CHARACTERS] for start in range(0, len(text), SIGNATURE_CHARACTERS)]
    return b"DKIM-Signature:" + value + b"\r\n ".join(pieces) + b"\r\n"


def _wrapped(names: str) -> list[str]:
    """The list of names, broken after colons."""
    lines, line = [], ""
    for name in names.split(":"):
        if len(line) + len(name) > SIGNATURE_CHARACTERS:
            lines.append(line)
            line = ""
        line += f"{name}:"
    return [*lines, line.removesuffix(":")]
