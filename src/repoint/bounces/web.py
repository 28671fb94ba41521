"""`POST /t/sns`: where Amazon SNS delivers what Amazon SES reports."""

import logging
from collections.abc import Mapping
from typing import Any

import falcon
import falcon.asgi
import httpx
import msgspec

from repoint.bounces.ses import message_id_of, read_notification
from repoint.bounces.sns import FetchError, NotBelievedError, SnsVerifier
from repoint.db import DatabaseUnavailableError
from repoint.delivery.receipts import Receipts
from repoint.web import App, read_body

logger = logging.getLogger(__name__)

BODY_BYTES_MAX = 512 * 1024  # SNS's own limit is 256 KiB, before it is quoted
FETCHED_BYTES_MAX = 64 * 1024
FETCH_SECONDS = 10.0


async def fetch(url: str) -> bytes:
    """A small document from Amazon.

    Raises:
        FetchError: when it cannot be had, whole, with status 200, from that very address.
    """
    try:
        async with httpx.AsyncClient(timeout=FETCH_SECONDS) as client, client.stream("GET", url) as response:
            content = b""
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > FETCHED_BYTES_MAX:
                    raise FetchError(f"{url}: too large")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchError(f"{url}: {error}") from None
    if response.status_code != httpx.codes.OK:
        raise FetchError(f"{url}: status {response.status_code}")
    return content


class SnsInlet:
    """The address itself. 2xx only when what was sent is in the log: SNS sends again what is not."""

    def __init__(self, receipts: Receipts, verifier: SnsVerifier) -> None:
        self._receipts = receipts
        self._verifier = verifier

    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """A notification, or the question whether we want any."""
        message = decoded(await read_body(request, BODY_BYTES_MAX))
        try:
            await self._verifier.verify(message)
            if message["Type"] == "SubscriptionConfirmation":
                await self._verifier.confirm(message)
                logger.info("subscribed to %s", message["TopicArn"])
            elif message["Type"] == "Notification":
                await self._count(decoded(message["Message"].encode()))
        except NotBelievedError as error:
            logger.warning("a message to /t/sns is not believed: %s", error)
            raise falcon.HTTPForbidden(description=str(error)) from None
        except (FetchError, DatabaseUnavailableError) as error:
            logger.warning("a message to /t/sns is put off: %s", error)
            raise falcon.HTTPServiceUnavailable(retry_after=30) from None
        response.media = {}

    async def _count(self, notification: Mapping[str, Any]) -> None:
        """What is not about a mail of ours is taken and forgotten: others may send through the same account."""
        message_id = message_id_of(notification)
        if message_id is None or "\x00" in message_id:
            return
        mail = await self._receipts.find_one(message_id)
        if mail is None:
            return
        report = read_notification(notification, message_id, mail.row.address, self._receipts.clock())
        if report is not None:
            await self._receipts.count(report)


def decoded(body: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        HTTPBadRequest: for anything else.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        document = None
    if not isinstance(document, dict):
        raise falcon.HTTPBadRequest(description="Not a JSON object")
    return document


def add_routes(app: App, receipts: Receipts, topics: frozenset[str], trusted_url: str) -> None:
    """Put the inlet into an application; without topics it believes nobody."""
    app.add_route("/t/sns", SnsInlet(receipts, SnsVerifier(fetch, receipts.clock, topics, trusted_url)))
