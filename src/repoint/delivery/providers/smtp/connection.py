"""One SMTP connection: a reader of replies, a session's opening, and messages pipelined through it."""

import asyncio
import base64
import contextlib
import ssl
from collections import deque
from typing import NamedTuple, Protocol, cast

from repoint.delivery.providers.smtp.relay import RelaySettings

REPLY_OCTETS_MAX = 64 * 1024
QUIT_SECONDS = 1.0
KNOWN_REPLIES_MAX = 64  # most relays say the same to every MAIL, RCPT and DATA


class SmtpError(Exception):
    """The relay cannot be used: it is away, it speaks nonsense, or it refuses us. `code` is its reply's, or 0."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Reply(NamedTuple):
    """A reply's code, and its text on one line."""

    code: int
    text: str

    @property
    def is_ok(self) -> bool:
        """2xx."""
        return 200 <= self.code < 300  # noqa: PLR2004 - RFC 5321's own classes


class Listener(Protocol):
    """Who is told of each reply at once, while it has the connection."""

    def heard(self, reply: Reply) -> None:
        """The next reply."""

    def lost(self, error: SmtpError) -> None:
        """There will be no more."""


class ReplyReader(asyncio.Protocol):
    """Bytes in, whole replies out: to a listener at once, or to whoever waits for them."""

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[bytes] = []
        self._known: dict[bytes, Reply] = {}
        self._replies: deque[Reply] = deque()
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self.listener: Listener | None = None
        self.error: SmtpError | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport, also when TLS has been put around it."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Collect lines into replies; a reply ends with the line whose code is not followed by a hyphen."""
        lines = (self._buffer + data).split(b"\n")
        self._buffer = lines.pop()
        for line in lines:
            reply = None if self._lines else self._known.get(line)
            if reply is not None:
                self._pass_on(reply)
            elif line[3:4] == b"-":
                self._lines.append(line)
            else:
                self._finish_reply(line)
        if (self._buffer or self._lines) and len(self._buffer) + sum(map(len, self._lines)) > REPLY_OCTETS_MAX:
            self._fail(SmtpError("the relay's reply has no end"))
        if self._waiter is not None and len(self._replies) >= self._wanted and not self._waiter.done():
            self._waiter.set_result(None)

    def _finish_reply(self, line: bytes) -> None:
        reply = self._parse([*self._lines, line])
        if reply is None:
            self._fail(SmtpError("the relay speaks something other than SMTP"))
            return
        if not self._lines:
            if len(self._known) >= KNOWN_REPLIES_MAX:
                self._known.clear()
            self._known[line] = reply
        self._lines = []
        self._pass_on(reply)

    def _pass_on(self, reply: Reply) -> None:
        if self.error is not None:
            return
        if self.listener is not None:
            self.listener.heard(reply)
        else:
            self._replies.append(reply)

    @staticmethod
    def _parse(lines: list[bytes]) -> Reply | None:
        code = lines[-1][:3]
        if not (code.isdigit() and len(code) == 3 and b"2" <= code[:1] <= b"5"):  # noqa: PLR2004 - RFC 5321's form
            return None
        return Reply(int(code), " ".join(line[4:].strip().decode("utf-8", "replace") for line in lines))

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits learns of it."""
        self._fail(SmtpError(f"connection lost: {exc}" if exc else "the relay closed the connection"))

    def _fail(self, error: SmtpError) -> None:
        if self.error is not None:
            return
        self.error = error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        if self.listener is not None:
            self.listener.lost(error)

    def write(self, data: bytes) -> None:
        """Send bytes. Whoever writes waits for a reply next, so no more than a message is ever on its way.

        Raises:
            SmtpError: when the connection has ended.
        """
        if self.error is not None:
            raise self.error
        assert self.transport is not None
        self.transport.write(data)

    async def replies(self, count: int) -> list[Reply]:
        """The next `count` replies.

        Raises:
            SmtpError: when the connection ends before they are all here.
        """
        if len(self._replies) < count:
            if self.error is not None:
                raise self.error
            self._wanted = count
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return [self._replies.popleft() for _ in range(count)]

    def arrived(self) -> int:
        """How many replies are here already."""
        return len(self._replies)


class SmtpConnection:
    """A session with a relay, opened and, if it has credentials, authenticated."""

    def __init__(self, settings: RelaySettings) -> None:
        self.settings = settings
        self.reader = ReplyReader()
        self.extensions: dict[str, str] = {}
        self.messages_sent = 0
        self.used_at = 0.0

    @classmethod
    async def open(cls, settings: RelaySettings) -> "SmtpConnection":
        """Connect, greet, secure, authenticate, each step within the time limit.

        Raises:
            SmtpError: naming the step that failed.
        """
        connection = cls(settings)
        try:
            await connection._open()
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _open(self) -> None:
        settings, loop = self.settings, asyncio.get_running_loop()
        context = settings.ssl_context() if settings.is_tls else None
        try:
            async with asyncio.timeout(settings.timeout_seconds):
                await loop.create_connection(lambda: self.reader, settings.host, settings.port, ssl=context)
        except (OSError, ssl.SSLError, TimeoutError) as error:
            raise SmtpError(f"connect: {str(error) or 'timed out'}") from None
        greeting = await self._reply("greeting")
        if not greeting.is_ok:
            raise SmtpError(f"greeting: {greeting.code} {greeting.text}", greeting.code)
        await self._ehlo()
        if not settings.is_tls and settings.starttls != "never":
            await self._starttls(loop)
        if settings.user:
            await self._authenticate()

    async def _reply(self, step: str) -> Reply:
        try:
            async with asyncio.timeout(self.settings.timeout_seconds):
                return (await self.reader.replies(1))[0]
        except TimeoutError:
            raise SmtpError(f"{step}: timed out") from None
        except SmtpError as error:
            raise SmtpError(f"{step}: {error}") from None

    async def command(self, line: bytes, step: str) -> Reply:
        """One command and its reply."""
        self.reader.write(line + b"\r\n")
        return await self._reply(step)

    async def _ehlo(self) -> None:
        reply = await self.command(f"EHLO {self.settings.helo}".encode(), "EHLO")
        if not reply.is_ok:
            reply = await self.command(f"HELO {self.settings.helo}".encode(), "HELO")
            if not reply.is_ok:
                raise SmtpError(f"HELO: {reply.code} {reply.text}", reply.code)
            self.extensions = {}
            return
        self.extensions = parse_extensions(reply.text)

    async def _starttls(self, loop: asyncio.AbstractEventLoop) -> None:
        if "STARTTLS" not in self.extensions:
            if self.settings.starttls == "required":
                raise SmtpError("STARTTLS: the relay does not offer it")
            return
        reply = await self.command(b"STARTTLS", "STARTTLS")
        if not reply.is_ok or self.reader.arrived():  # bytes before TLS would be taken for the relay's (CVE-2011-0411)
            raise SmtpError(f"STARTTLS: {reply.code} {reply.text}", reply.code)
        assert self.reader.transport is not None
        try:
            async with asyncio.timeout(self.settings.timeout_seconds):
                transport = await loop.start_tls(
                    self.reader.transport,
                    self.reader,
                    self.settings.ssl_context(),
                    server_hostname=self.settings.host,
                )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            raise SmtpError(f"STARTTLS: {str(error) or 'timed out'}") from None
        assert transport is not None
        self.reader.transport = transport
        await self._ehlo()

    async def _authenticate(self) -> None:
        transport = self.reader.transport
        assert transport is not None
        is_private = transport.get_extra_info("ssl_object") is not None or self.settings.is_loopback
        if not is_private:
            raise SmtpError("AUTH: not in clear over a network; use smtps:// or a relay with STARTTLS")
        user, password = self.settings.user.encode(), self.settings.password.encode()
        mechanisms = self.extensions.get("AUTH", "").upper().split()
        if "PLAIN" in mechanisms or "LOGIN" not in mechanisms:
            token = base64.b64encode(b"\x00" + user + b"\x00" + password)
            reply = await self.command(b"AUTH PLAIN " + token, "AUTH")
        else:
            await self.command(b"AUTH LOGIN", "AUTH")
            await self.command(base64.b64encode(user), "AUTH")
            reply = await self.command(base64.b64encode(password), "AUTH")
        if not reply.is_ok:
            raise SmtpError(f"AUTH: {reply.code} {reply.text}", reply.code)

    async def close(self) -> None:
        """Say goodbye, without waiting long for an answer."""
        with contextlib.suppress(SmtpError, TimeoutError):
            async with asyncio.timeout(QUIT_SECONDS):
                self.reader.write(b"QUIT\r\n")
                await self.reader.replies(1)
        self.abort()

    def abort(self, error: SmtpError | None = None) -> None:
        """Drop the connection: nobody uses it again."""
        self.reader.error = self.reader.error or error or SmtpError("dropped")
        if self.reader.transport is not None:
            self.reader.transport.abort()


def parse_extensions(text: str) -> dict[str, str]:
    """What the reply to EHLO offers. Lines were joined by spaces, so known keywords are looked for."""
    words = text.split()
    found: dict[str, str] = {}
    for index, word in enumerate(words):
        keyword, _, value = word.partition("=")
        upper = keyword.upper()
        if upper in ("PIPELINING", "8BITMIME", "SMTPUTF8", "STARTTLS", "SIZE"):
            found[upper] = ""
        elif upper == "AUTH":
            mechanisms = [value] if value else []
            for following in words[index + 1 :]:
                if following.upper() in ("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "SCRAM-SHA-256", "SCRAM-SHA-1"):
                    mechanisms.append(following)
                else:
                    break
            found["AUTH"] = " ".join([found.get("AUTH", ""), *mechanisms]).strip()
    return found
