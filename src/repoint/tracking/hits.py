"""Opens and clicks: answered when they are in the log, and answered all the same when they cannot be."""

import asyncio
import base64
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import falcon
import falcon.asgi

from repoint.db import Connection, DatabaseUnavailableError
from repoint.delivery.receipts import Receipts, SentMail
from repoint.delivery.subscribers import UNSUBSCRIBE_TAG
from repoint.delivery.tokens import Recipient, Tokens
from repoint.delivery.tracking import read_tags
from repoint.gateway.proxies import Proxies
from repoint.resources.events import store as events
from repoint.resources.events.store import Event

logger = logging.getLogger(__name__)

PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
NOT_STORED = [
    ("cache-control", "no-store, no-cache, must-revalidate, private, max-age=0"),
    ("pragma", "no-cache"),
    ("expires", "0"),
    ("referrer-policy", "no-referrer"),
    ("x-robots-tag", "noindex, nofollow"),
    ("x-content-type-options", "nosniff"),
]
RECORD_SECONDS_MAX = 2.0  # a reader waits for the page behind the link, not for our database
AGENT_CHARACTERS_MAX = 1000


class Visitor(NamedTuple):
    """Who sent a request: what the event will say of them."""

    ip_address: str
    user_agent: str


class Hit(NamedTuple):
    """One open (no link) or click."""

    message_id: str
    visitor: Visitor
    arrived_at: datetime
    link: str = ""
    tags: str = ""


@dataclass(frozen=True, slots=True)
class Door:
    """What every address behind the prefix needs."""

    receipts: Receipts
    proxies: Proxies

    @property
    def tokens(self) -> Tokens:
        """What has signed the addresses."""
        return self.receipts.tokens

    def visitor(self, request: falcon.asgi.Request) -> Visitor:
        """The address the outermost trusted proxy saw, and what the program calls itself."""
        agent = (request.user_agent or "")[:AGENT_CHARACTERS_MAX].replace("\x00", "")
        return Visitor(self.proxies.address(request), agent)

    def recipient(self, token: str) -> Recipient:
        """Whose token it is.

        Raises:
            HTTPNotFound: when we have not made it.
        """
        found = self.tokens.read_tracking_token(token)
        if found is None:
            raise falcon.HTTPNotFound
        return found

    async def record(self, hit: Hit) -> None:
        """Put a hit into the log; what cannot be recorded in time goes on behind the answer, or is logged as lost."""
        recording = asyncio.ensure_future(self.receipts.db.gather(self.record_hits, hit))
        recording.add_done_callback(_report_loss)
        await asyncio.wait({recording}, timeout=RECORD_SECONDS_MAX)

    async def record_hits(self, connection: Connection, hits: Sequence[Hit]) -> list[None]:
        """Hits of many visitors, in one commit; for `Database.gather`. Mails no longer in the ledger leave no event."""
        mails = await self.receipts.find([hit.message_id for hit in hits])
        found = [(mails[hit.message_id], hit) for hit in hits if hit.message_id in mails]
        await events.append(connection, [event for mail, hit in found for event in events_of(mail, hit)])
        return [None] * len(hits)


def _report_loss(recording: "asyncio.Future[Any]") -> None:
    error = None if recording.cancelled() else recording.exception()
    if isinstance(error, DatabaseUnavailableError):
        logger.warning("a hit was not recorded: %s", error)
    elif error is not None:
        logger.error("a hit was not recorded", exc_info=error)


def events_of(mail: SentMail, hit: Hit) -> list[Event]:
    """An open; or a click, which is also an unsubscribe when the link's tag says so (it alters no endpoint)."""
    who = hit.visitor._asdict()
    if not hit.link:
        return [mail.event("_email.open", {"open": who}, "opened", hit.arrived_at)]
    tags = read_tags(hit.tags)
    detail = {"click": {**who, "link": hit.link, "link_tags": tags}}
    kinds = ["_email.click", "_email.unsubscribe"] if UNSUBSCRIBE_TAG in tags else ["_email.click"]
    return [mail.event(kind, detail, hit.link, hit.arrived_at) for kind in kinds]


class Pixel:
    """`GET /t/o/TOKEN.gif`: somebody's mail program has fetched the picture."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response, token: str) -> None:
        """The picture, once the open is in the log."""
        recipient = self._door.recipient(token.removesuffix(".gif"))
        await self._door.record(Hit(recipient.message_id, self._door.visitor(request), self._door.receipts.clock()))
        response.content_type = "image/gif"
        response.set_headers(NOT_STORED)
        response.data = PIXEL


class Link:
    """`GET /t/c/TOKEN/LINK`: somebody has followed a link, or a scanner has looked behind it."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response, token: str, link: str) -> None:
        """On to where the link leads, once the click is in the log."""
        recipient, target, tags = self._read(token, link)
        visitor = self._door.visitor(request)
        await self._door.record(Hit(recipient.message_id, visitor, self._door.receipts.clock(), target, tags))
        self._redirect(response, target)

    async def on_head(self, _: falcon.asgi.Request, response: falcon.asgi.Response, token: str, link: str) -> None:
        """On to where the link leads; nobody has read anything, so nothing is recorded."""
        self._redirect(response, self._read(token, link)[1])

    def _read(self, token: str, link: str) -> tuple[Recipient, str, str]:
        recipient = self._door.recipient(token)
        text = self._door.tokens.read_link(recipient.app_id, link)
        if text is None:
            raise falcon.HTTPNotFound
        target, _, tags = text.partition("\n")
        return recipient, target, tags

    def _redirect(self, response: falcon.asgi.Response, target: str) -> None:
        response.status = falcon.HTTP_302
        response.set_headers(NOT_STORED)
        response.set_header("location", target)
