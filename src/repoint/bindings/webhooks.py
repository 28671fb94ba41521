"""Webhooks: a JSON document by POST to a URL, and what it answers."""

import asyncio
import hashlib
import hmac
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec

from repoint.bindings.local import PAYLOAD_BYTES_MAX
from repoint.clock import Clock

HANDSHAKE_SECONDS: Final = 5.0
ACCOUNT_HEADER: Final = "x-amz-pinpoint-accountid"
# The last two: a name that is none; a port that is none, as the library tells it.
UNREACHABLE: Final = (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ExceptionGroup)


class WebhookError(Exception):
    """A URL could not be reached, took too long, or did not answer as it must; the text says which."""


class Webhooks:
    """Posts documents. However many URLs hang, the others are not held up: connections are not rationed."""

    def __init__(self, clock: Clock, *, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        self._http = httpx.AsyncClient(timeout=None, limits=limits)  # noqa: S113 - every use is under a timeout of ours

    async def post(self, url: str, payload: Any, *, secret: str = "") -> bytes:
        """What a URL answers to a document.

        With a secret the request is signed: `X-Repoint-Signature` is `sha256=` and the hex HMAC-SHA256 of the value of
        `X-Repoint-Timestamp` (seconds since 1970), a full stop and the body.

        Raises:
            WebhookError: when there is no answer within the time limit, or it is not 2xx, or larger than 6 MB.
        """
        body = msgspec.json.encode(payload)
        headers = {"content-type": "application/json"}
        if secret:
            stamp = str(int(self._clock().timestamp()))
            signature = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
            headers |= {"x-repoint-timestamp": stamp, "x-repoint-signature": f"sha256={signature}"}
        try:
            async with asyncio.timeout(self._seconds):
                return await self._post(url, body, headers)
        except TimeoutError:
            raise WebhookError(f"{shown(url)}: no answer within {self._seconds:g} seconds") from None
        except UNREACHABLE as error:
            raise WebhookError(f"{shown(url)}: {str(error) or type(error).__name__}") from error

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> bytes:
        content = bytearray()
        async with self._http.stream("POST", url, content=body, headers=headers) as answer:
            if not answer.is_success:
                raise WebhookError(f"{shown(url)}: HTTP {answer.status_code}")
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > PAYLOAD_BYTES_MAX:
                    raise WebhookError(f"{shown(url)}: answered more than {PAYLOAD_BYTES_MAX} bytes")
        return bytes(content)

    async def head(self, url: str) -> httpx.Headers:
        """What a URL answers to HEAD, whatever its status.

        Raises:
            WebhookError: when nobody answers within 5 seconds.
        """
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                return (await self._http.head(url)).headers
        except TimeoutError:
            raise WebhookError(f"{shown(url)}: no answer within {HANDSHAKE_SECONDS:g} seconds") from None
        except UNREACHABLE as error:
            raise WebhookError(f"{shown(url)}: {str(error) or type(error).__name__}") from error

    async def shake_hands(self, url: str, account_id: str) -> None:
        """Have a URL confirm that it expects this account's messages, as Pinpoint does before it uses one.

        Raises:
            WebhookError: when it does not (Pinpoint's developer guide, "Configuring webhooks").
        """
        given = (await self.head(url)).get(ACCOUNT_HEADER)
        if given is None:
            raise WebhookError(f"{shown(url)}: its answer to HEAD has no header X-Amz-Pinpoint-AccountId")
        if given.strip() != account_id:
            raise WebhookError(f"{shown(url)}: X-Amz-Pinpoint-AccountId is {given[:100]!r}, not {account_id}")

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()


def shown(url: str) -> str:
    """A URL without its password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}"))
