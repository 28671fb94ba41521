"""What links and bounce addresses carry, signed so that only we can have made it (HMAC-SHA256, RFC 2104).

A message has one signature, taken apart: some of its bytes sign the tracking token, others the bounce address, the last
ones the address that unsubscribes by mail; none of these can be found from another. Links that can change something
(unsubscribe, preferences) are signed on their own. So who has seen a pixel's address can open no other door. A link's
target is signed for its application, once for all messages that have it.

Nothing here expires: a link in an old mail has to work for as long as the installation has its key; what goes by the
message alone (bounces, unsubscribing by mail) for as long as the ledger has the message.
"""

import base64
import binascii
import functools
import hashlib
import hmac
import re
from typing import NamedTuple

from repoint.sealing import Seal

BLOCK_BYTES = 64  # SHA-256's
APPS_MAX = 256
MAC_BYTES = 12  # 96 bits, 16 characters
# 80 bits each, 16 characters of base 32: the local part of an address is at most 64 octets.
BOUNCE_MAC, STOP_MAC = slice(12, 22), slice(22, 32)
APP_CHARACTERS = 22
MAC_CHARACTERS = 16
HEAD_CHARACTERS = APP_CHARACTERS + MAC_CHARACTERS
TOKEN_CHARACTERS_MAX = 4096
LINK_CHARACTERS_MAX = 8192
BOUNCE_PREFIX, STOP_PREFIX = "bounce+", "stop+"
APP_ID = re.compile(r"[0-9a-f]{32}\Z")
ENDPOINT_ID_CHARACTERS_MAX = 300  # of a longer one the ledger is asked, to keep header lines short


class Recipient(NamedTuple):
    """Whom a tracking token names. Only message_id is proven; app_id says where the link's target was signed for."""

    app_id: str
    message_id: str


class Subscriber(NamedTuple):
    """Whom an unsubscribe or preferences token names; an empty endpoint_id is looked up by the message's."""

    app_id: str
    endpoint_id: str
    message_id: str


def encode(data: bytes) -> str:
    """Base 64 for URLs, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes | None:
    """What `encode` has encoded; None for anything else."""
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if encode(data) == text else None  # one spelling for one token


@functools.lru_cache(APPS_MAX)
def _encoded_app(app_id: str) -> str:
    return encode(bytes.fromhex(app_id))


class Mac:
    """HMAC-SHA256 under one key, whose two blocks are hashed once."""

    def __init__(self, key: bytes) -> None:
        block = (hashlib.sha256(key).digest() if len(key) > BLOCK_BYTES else key).ljust(BLOCK_BYTES, b"\x00")
        self._inner = hashlib.sha256(bytes(octet ^ 0x36 for octet in block))
        self._outer = hashlib.sha256(bytes(octet ^ 0x5C for octet in block))

    def __call__(self, message: bytes) -> bytes:
        """The 32 bytes of the message's code."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


class Tokens:
    """Makes and reads the tokens of one installation."""

    def __init__(self, seal: Seal) -> None:
        self._of_message = Mac(seal.derive("message tokens"))
        self._of_target = Mac(seal.derive("link targets"))
        self._of_subscriber = Mac(seal.derive("subscriber tokens"))
        self.mark = f"repoint{seal.derive('tracking mark').hex()[:24]}"

    def message_mac(self, message_id: str) -> bytes:
        """The message's signature: `tracking_token` and `bounce_address` each take their part."""
        return self._of_message(message_id.encode())

    def tracking_token(self, app_id: str, message_id: str, mac: bytes) -> str:
        """A message's token for its pixel and links."""
        return f"{_encoded_app(app_id)}{base64.urlsafe_b64encode(mac[:MAC_BYTES]).decode()}{message_id}"

    def read_tracking_token(self, token: str) -> Recipient | None:
        """Whose token it is, or None if we have not made it."""
        if not HEAD_CHARACTERS < len(token) <= TOKEN_CHARACTERS_MAX:
            return None
        app, given = decode(token[:APP_CHARACTERS]), decode(token[APP_CHARACTERS:HEAD_CHARACTERS])
        message_id = token[HEAD_CHARACTERS:]
        if app is None or given is None or not message_id.isascii():
            return None
        if not hmac.compare_digest(given, self.message_mac(message_id)[:MAC_BYTES]):
            return None
        return Recipient(app.hex(), message_id)

    def link(self, app_id: str, target: str) -> str:
        """A target for a link's path: its signature and itself."""
        return base64.urlsafe_b64encode(self._target_mac(app_id, target)).decode() + encode(target.encode())

    def read_link(self, app_id: str, link: str) -> str | None:
        """The target, or None if we have not signed it for this application."""
        if len(link) > LINK_CHARACTERS_MAX:
            return None
        given, data = decode(link[:MAC_CHARACTERS]), decode(link[MAC_CHARACTERS:])
        if given is None or not data:
            return None
        target = data.decode(errors="replace")
        return target if hmac.compare_digest(given, self._target_mac(app_id, target)) else None

    def _target_mac(self, app_id: str, target: str) -> bytes:
        return self._of_target(f"{app_id} {target}".encode())[:MAC_BYTES]

    def subscriber_token(self, app_id: str, endpoint_id: str, message_id: str) -> str:
        """A token that lets its holder see and change what an endpoint subscribes to."""
        named = endpoint_id if len(endpoint_id) <= ENDPOINT_ID_CHARACTERS_MAX else ""
        data = f"{message_id}\n{named}".encode()
        mac = base64.urlsafe_b64encode(self._subscriber_mac(app_id, data)).decode()
        return f"{_encoded_app(app_id)}{mac}{encode(data)}"

    def read_subscriber_token(self, token: str) -> Subscriber | None:
        """Whose token it is, or None if we have not made it."""
        if not HEAD_CHARACTERS < len(token) <= TOKEN_CHARACTERS_MAX:
            return None
        app, given = decode(token[:APP_CHARACTERS]), decode(token[APP_CHARACTERS:HEAD_CHARACTERS])
        data = decode(token[HEAD_CHARACTERS:])
        if app is None or given is None or data is None:
            return None
        if not hmac.compare_digest(given, self._subscriber_mac(app.hex(), data)):
            return None
        message_id, _, endpoint_id = data.decode().partition("\n")
        return Subscriber(app.hex(), endpoint_id, message_id)

    def _subscriber_mac(self, app_id: str, data: bytes) -> bytes:
        return self._of_subscriber(app_id.encode() + data)[:MAC_BYTES]

    def bounce_address(self, message_id: str, mac: bytes, domain: str) -> str:
        """The envelope sender that tells a message by the address its bounces come to (VERP)."""
        return f"{BOUNCE_PREFIX}{_base32(mac[BOUNCE_MAC])}{message_id}@{domain}"

    def read_bounce_address(self, address: str) -> str | None:
        """The message an address was made for, or None if we have not made it; relays may change its case."""
        return self._read_address(address, BOUNCE_PREFIX, BOUNCE_MAC)

    def stop_address(self, message_id: str, mac: bytes, domain: str) -> str:
        """Where a mail to it says that the message's endpoint is to get nothing more."""
        return f"{STOP_PREFIX}{_base32(mac[STOP_MAC])}{message_id}@{domain}"

    def read_stop_address(self, address: str) -> str | None:
        """The message an address was made for, or None if we have not made it."""
        return self._read_address(address, STOP_PREFIX, STOP_MAC)

    def _read_address(self, address: str, prefix: str, part: slice) -> str | None:
        local = address.rpartition("@")[0].lower()
        if not local.startswith(prefix):
            return None
        rest = local[len(prefix) :]
        given, message_id = rest[:MAC_CHARACTERS], rest[MAC_CHARACTERS:]
        if not rest.isascii() or not message_id:
            return None
        return message_id if hmac.compare_digest(given, _base32(self.message_mac(message_id)[part])) else None


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().lower()
