"""The inbox over HTTP: one page, and the JSON it reads, which tests can read as well.

There is no login: what is here was sent to nobody. A Host header that is neither an address nor one of ours is refused,
so that a web site elsewhere cannot make a browser read the inbox (DNS rebinding).
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import falcon
import falcon.asgi
import msgspec
from falcon.asgi import SSEvent

from repoint.clock import Clock, iso8601
from repoint.db import Database, listen
from repoint.inbox import store
from repoint.inbox.smtp import header, read_email, text_of_part
from repoint.inbox.store import InboxMessage
from repoint.web import App
from repoint.wire.paging import read_token, token_of

STATIC = Path(__file__).parent / "static"
FILES = {
    "/inbox": ("inbox.html", "text/html; charset=utf-8"),
    "/inbox/inbox.css": ("inbox.css", "text/css; charset=utf-8"),
    "/inbox/inbox.js": ("inbox.js", "text/javascript; charset=utf-8"),
}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
MAIL_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
LIMIT_MAX = 200
WAIT_SECONDS_MAX = 30.0
HEARTBEAT_SECONDS = 15.0
STREAMS_MAX = 100
NEWEST = 2**62
OWN_HOSTS = ("localhost",)


class Arrivals:
    """Tells whoever waits that something has arrived: one LISTENing connection a process, opened when first needed."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def wait(self, seconds: float) -> None:
        """Until something arrives, or so many seconds have passed."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait()

    async def _listen(self) -> None:
        async for _ in listen(self._db.dsn, "inbox"):
            async with self._changed:
                self._changed.notify_all()


class HostCheck:
    """Falcon middleware: only our own names may be used to reach the inbox."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = {*OWN_HOSTS, *hosts}

    async def process_request(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Refuse other names."""
        del resp
        if req.path == "/inbox" or req.path.startswith("/inbox/"):
            host = req.host.strip("[]")
            if host not in self._hosts and not is_address(host):
                raise falcon.HTTPForbidden(
                    title="The inbox does not answer to this name", description="Add it with --inbox-hosts"
                )


def is_address(host: str) -> bool:
    """Whether a host is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def add_routes(app: App, db: Database, clock: Clock, *, hosts: Sequence[str] = ()) -> None:
    """Put the inbox into an application."""
    arrivals = Arrivals(db)
    app.add_middleware(HostCheck(hosts))
    for path, (name, content_type) in FILES.items():
        app.add_route(path, StaticFile((STATIC / name).read_bytes(), content_type))
    app.add_route("/inbox/api/messages", Messages(db))
    app.add_route("/inbox/api/messages/{inbox_id:int}", Message(db))
    app.add_route("/inbox/api/messages/{inbox_id:int}/source", Source(db))
    app.add_route("/inbox/api/messages/{inbox_id:int}/html", Html(db))
    app.add_route("/inbox/api/wait", Wait(db, arrivals, clock))
    app.add_route("/inbox/api/stream", Stream(arrivals))


class StaticFile:
    """One of the page's files."""

    def __init__(self, content: bytes, content_type: str) -> None:
        self._content = content
        self._content_type = content_type

    async def on_get(self, _: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """The file, under a policy that lets nothing in from elsewhere."""
        response.content_type = self._content_type
        response.set_headers(
            [
                ("content-security-policy", PAGE_POLICY),
                ("x-content-type-options", "nosniff"),
                ("cache-control", "no-cache"),
            ]
        )
        response.data = self._content


def listed(message: InboxMessage) -> dict[str, Any]:
    """A message in a list."""
    return {
        "id": message.inbox_id,
        "receivedAt": iso8601(message.received_at),
        "channelType": message.channel_type,
        "messageId": message.message_id,
        "sender": message.sender,
        "recipient": message.recipient,
        "subject": message.subject,
        "preview": message.preview,
        "isRead": message.is_read,
        "size": message.size,
    }


def reply(response: falcon.asgi.Response, document: Any) -> None:
    """Answer JSON."""
    response.content_type = "application/json"
    response.data = msgspec.json.encode(document)


def refuse_cross_site(request: falcon.asgi.Request) -> None:
    """What deletes needs a header that a form on another site cannot send."""
    if request.get_header("x-requested-with") != "inbox":
        raise falcon.HTTPForbidden(title="Send the header X-Requested-With: inbox")


class Messages:
    """All messages."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """A page of them, newest first: ?query= &channel= &recipient= &after= &limit=."""
        limit = request.get_param_as_int("limit", min_value=1, max_value=LIMIT_MAX, default=50)
        token = request.get_param("after", default="")
        try:
            before = read_token(token, "inbox")[0] if token else NEWEST
        except ValueError as error:
            raise falcon.HTTPBadRequest(title=f"after: {error}") from None
        if not isinstance(before, int) or not 0 <= before <= NEWEST:
            raise falcon.HTTPBadRequest(title="after: was not given out by a previous page")
        found = await store.list_messages(
            self._db,
            query=request.get_param("query", default="").replace("\x00", ""),
            channel=request.get_param("channel", default="").replace("\x00", ""),
            recipient=request.get_param("recipient", default="").replace("\x00", ""),
            before=before,
            limit=limit + 1,
        )
        following = token_of([found[limit - 1].inbox_id], "inbox") if len(found) > limit else None
        reply(response, {"messages": [listed(message) for message in found[:limit]], "next": following})

    async def on_delete(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """Forget them all."""
        refuse_cross_site(request)
        reply(response, {"deleted": await store.delete_all(self._db)})


async def required(db: Database, inbox_id: int) -> tuple[InboxMessage, bytes]:
    """A message, or 404."""
    found = await store.get_message(db, min(inbox_id, NEWEST))
    if found is None:
        raise falcon.HTTPNotFound(title="There is no such message")
    return found


class Message:
    """One message."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def on_get(self, _: falcon.asgi.Request, response: falcon.asgi.Response, inbox_id: int) -> None:
        """As its receiver would see it: an email's parts, or a text message's members."""
        message, content = await required(self._db, inbox_id)
        reply(response, listed(message) | {"isRead": True} | opened(message, content))

    async def on_delete(self, request: falcon.asgi.Request, response: falcon.asgi.Response, inbox_id: int) -> None:
        """Forget it."""
        refuse_cross_site(request)
        reply(response, {"deleted": int(await store.delete_message(self._db, min(inbox_id, NEWEST)))})


def opened(message: InboxMessage, content: bytes) -> dict[str, Any]:
    """What is inside."""
    if message.channel_type != "EMAIL":
        return {"message": msgspec.json.decode(content)}
    email = read_email(content)
    html = text_of_part(email, "html")
    return {
        "headers": [[name, header_text(value)] for name, value in raw_headers(content)],
        "text": text_of_part(email, "plain"),
        "html": html,
        "to": header(email, "To"),
        "attachments": [
            {"name": str(part.get_filename() or "unnamed"), "type": part.get_content_type()}
            for part in email.walk()
            if part.get_content_disposition() == "attachment"
        ],
    }


def raw_headers(content: bytes) -> list[tuple[str, str]]:
    """The headers as they are on the wire, unfolded."""
    head = content.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
    unfolded = head.replace("\n ", " ").replace("\n\t", " ").split("\n")
    return [(name, value.strip()) for name, colon, value in (line.partition(":") for line in unfolded) if colon]


def header_text(value: str) -> str:
    """Only what JSON and people can read."""
    return value.encode("utf-8", "replace").decode()


class Source:
    """An email's bytes, or a text message's JSON."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def on_get(self, _: falcon.asgi.Request, response: falcon.asgi.Response, inbox_id: int) -> None:
        """As plain text, so that no browser takes it for a page."""
        _message, content = await required(self._db, inbox_id)
        response.content_type = "text/plain; charset=utf-8"
        response.set_headers([("x-content-type-options", "nosniff"), ("content-security-policy", "sandbox")])
        response.data = content


class Html:
    """An email's HTML, for a frame: no scripts, nothing fetched from anywhere."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def on_get(self, _: falcon.asgi.Request, response: falcon.asgi.Response, inbox_id: int) -> None:
        """The HTML part."""
        message, content = await required(self._db, inbox_id)
        html = text_of_part(read_email(content), "html") if message.channel_type == "EMAIL" else ""
        response.content_type = "text/html; charset=utf-8"
        response.set_headers(
            [
                ("content-security-policy", MAIL_POLICY),
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
            ]
        )
        response.data = html.encode("utf-8", "replace")


class Wait:
    """For tests: wait until a recipient has a message."""

    def __init__(self, db: Database, arrivals: Arrivals, clock: Clock) -> None:
        self._db = db
        self._arrivals = arrivals
        self._clock = clock

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """The newest messages for ?recipient= (or ?query=), as soon as there are ?count=, or after ?timeout=."""
        recipient = request.get_param("recipient", default="").replace("\x00", "")
        query = request.get_param("query", default="").replace("\x00", "")
        count = request.get_param_as_int("count", min_value=1, max_value=LIMIT_MAX, default=1)
        timeout = request.get_param_as_float("timeout", min_value=0, max_value=WAIT_SECONDS_MAX, default=10.0)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            found = await store.list_messages(
                self._db, query=query, channel="", recipient=recipient, before=NEWEST, limit=LIMIT_MAX
            )
            left = deadline - loop.time()
            if len(found) >= count or left <= 0:
                reply(response, {"messages": [listed(message) for message in found]})
                return
            await self._arrivals.wait(min(left, 0.5))


class Stream:
    """Live updates, as Server-Sent Events."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._open = 0

    async def on_get(self, _: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """An event whenever something has arrived."""
        if self._open >= STREAMS_MAX:
            raise falcon.HTTPServiceUnavailable(title="Too many pages are watching")
        response.sse = self._events()

    async def _events(self) -> AsyncIterator[SSEvent]:
        self._open += 1
        try:
            while True:
                yield SSEvent(event="changed", text="")
                await self._arrivals.wait(HEARTBEAT_SECONDS)
        finally:
            self._open -= 1
