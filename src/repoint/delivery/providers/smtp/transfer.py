"""Messages through an open connection: one round trip each, as RFC 2920 allows.

DATA must end a pipelined group, because the relay's 354 decides what comes next; but the end of one message may travel
with the next one's MAIL, RCPT and DATA. So each write after the first is: content, the dot, the next envelope.
"""

import asyncio
import re
from collections.abc import Sequence

from repoint.delivery.provider import DeliveryStatus, Email, Outcome
from repoint.delivery.providers.smtp.connection import Reply, SmtpConnection, SmtpError

START_INPUT = 354
ENVELOPE_REPLIES = 3
BAD_ADDRESS = re.compile(r"[\s<>\x00-\x1f\x7f]")
SERVICE_CLOSING = 421


def outcome_of(reply: Reply) -> Outcome:
    """The relay's verdict in Pinpoint's words."""
    if reply.is_ok:
        status = DeliveryStatus.SUCCESSFUL
    elif reply.code >= 500:  # noqa: PLR2004 - RFC 5321's permanent class
        status = DeliveryStatus.PERMANENT_FAILURE
    else:
        status = DeliveryStatus.TEMPORARY_FAILURE
    return Outcome(status, 200 if reply.is_ok else reply.code, f"{reply.code} {reply.text}"[:500])


def refuse_address(email: Email, extensions: dict[str, str]) -> Outcome | None:
    """An address that must not, or cannot, be put on the wire."""
    for address in (email.envelope_from, email.recipient):
        if BAD_ADDRESS.search(address):
            return Outcome(DeliveryStatus.PERMANENT_FAILURE, 553, "553 not an email address")
        if not address.isascii() and "SMTPUTF8" not in extensions:
            return Outcome(DeliveryStatus.PERMANENT_FAILURE, 553, "553 the relay does not take SMTPUTF8 addresses")
    return None


def ascii_address(address: str) -> str:
    """The address with its domain in ASCII, if that is all it needs (RFC 5891)."""
    local, at, domain = address.rpartition("@")
    try:
        return f"{local}{at}{domain.encode('idna').decode()}" if not domain.isascii() else address
    except UnicodeError:
        return address


def envelope(email: Email, extensions: dict[str, str]) -> bytes:
    """MAIL, RCPT and DATA as one group."""
    sender, recipient = ascii_address(email.envelope_from), ascii_address(email.recipient)
    parameters = ""
    if "8BITMIME" in extensions and not email.content.isascii():
        parameters += " BODY=8BITMIME"
    if not (sender.isascii() and recipient.isascii()):
        parameters += " SMTPUTF8"
    return f"MAIL FROM:<{sender}>{parameters}\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode()


def dotted(content: bytes) -> bytes:
    """The content with its dots doubled, and the line that ends it (RFC 5321 section 4.5.2)."""
    if content.startswith(b"."):
        content = b"." + content
    content = content.replace(b"\r\n.", b"\r\n..")
    return content + (b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n")


async def transfer(connection: SmtpConnection, emails: Sequence[Email]) -> list[Outcome | None]:
    """Send messages one after the other; None for those that were not begun when the connection failed."""
    outcomes: list[Outcome | None] = [refuse_address(email, connection.extensions) for email in emails]
    going = [index for index, outcome in enumerate(outcomes) if outcome is None]
    sending = Transfer(connection, emails, outcomes)
    try:
        await sending.run(going)
    except (SmtpError, TimeoutError) as error:
        sending.fail(str(error) or "timed out")
        connection.abort()
    return outcomes


class Transfer:
    """The state of one run: which message is on the wire, and how far it has come."""

    def __init__(self, connection: SmtpConnection, emails: Sequence[Email], outcomes: list[Outcome | None]) -> None:
        self._connection = connection
        self._reader = connection.reader
        self._emails = emails
        self._outcomes = outcomes
        self._current: int | None = None
        self._is_content_sent = False

    async def run(self, going: Sequence[int]) -> None:
        """All messages, in order."""
        is_begun = False  # this message's envelope travelled with the content of the one before
        for position, index in enumerate(going):
            self._current = index
            self._is_content_sent = False
            mail, rcpt, data = await self._envelope(index, is_begun=is_begun)
            if data.code != START_INPUT or not (mail.is_ok and rcpt.is_ok):
                is_begun = False
                await self._refused(index, mail, rcpt, data)
                await self._reset()
                continue
            following = going[position + 1] if position + 1 < len(going) else None
            is_begun = following is not None and "PIPELINING" in self._connection.extensions
            content = dotted(self._emails[index].content)
            self._is_content_sent = True
            if is_begun and following is not None:
                content += envelope(self._emails[following], self._connection.extensions)
            await self._reader.write(content)
            (final,) = await self._replies(1)
            self._settle(index, final)

    async def _envelope(self, index: int, *, is_begun: bool) -> list[Reply]:
        """The replies to MAIL, RCPT and DATA; one at a time for a relay that does not pipeline."""
        if is_begun:
            return await self._replies(ENVELOPE_REPLIES)
        group = envelope(self._emails[index], self._connection.extensions)
        if "PIPELINING" in self._connection.extensions:
            await self._reader.write(group)
            return await self._replies(ENVELOPE_REPLIES)
        replies = []
        for line in group.splitlines(keepends=True):
            await self._reader.write(line)
            replies += await self._replies(1)
            if not replies[-1].is_ok and replies[-1].code != START_INPUT:
                break
        return replies + [replies[-1]] * (ENVELOPE_REPLIES - len(replies))

    def _settle(self, index: int, reply: Reply) -> None:
        self._outcomes[index] = outcome_of(reply)
        self._current = None
        self._connection.messages_sent += 1
        if reply.code == SERVICE_CLOSING:
            raise SmtpError(f"421 {reply.text}", SERVICE_CLOSING)

    async def _refused(self, index: int, mail: Reply, rcpt: Reply, data: Reply) -> None:
        """The envelope was not taken. A relay that says 354 all the same is owed a dot (RFC 2920 section 3.1)."""
        if data.code == START_INPUT:
            await self._reader.write(b".\r\n")
            await self._replies(1)
        culprit = next(reply for reply in (mail, rcpt, data) if not reply.is_ok)
        self._settle(index, culprit)

    async def _reset(self) -> None:
        await self._reader.write(b"RSET\r\n")
        (reply,) = await self._replies(1)
        if not reply.is_ok:
            raise SmtpError(f"RSET: {reply.code} {reply.text}", reply.code)

    async def _replies(self, count: int) -> list[Reply]:
        async with asyncio.timeout(self._connection.settings.timeout_seconds):
            return await self._reader.replies(count)

    def fail(self, reason: str) -> None:
        """The message on the wire may have arrived, if its content had been sent; nothing else has been begun."""
        if self._current is None or not self._is_content_sent:
            return
        name = self._connection.settings.name
        text = f"451 {name}: {reason} before the relay said whether it took the message: it may arrive twice"
        self._outcomes[self._current] = Outcome(DeliveryStatus.TEMPORARY_FAILURE, 451, text)
