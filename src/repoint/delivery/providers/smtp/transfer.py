"""Messages through an open connection: one round trip each, as RFC 2920 allows.

DATA must end a pipelined group, because the relay's 354 decides what comes next; but the end of one message may travel
with the next one's MAIL, RCPT and DATA. So each write after the first is: content, the dot, the next envelope.
"""

import asyncio
import functools
import re
from collections import deque
from collections.abc import Callable, Sequence

from repoint.delivery.provider import DeliveryStatus, Email, Outcome
from repoint.delivery.providers.smtp.connection import Reply, SmtpConnection, SmtpError
from repoint.resources.domains import ascii_domain

START_INPUT = 354
BAD_ADDRESS = re.compile(r"[\s<>\x00-\x1f\x7f]")
SERVICE_CLOSING = 421


@functools.lru_cache(256)
def outcome_of(reply: Reply) -> Outcome:
    """The relay's verdict in Pinpoint's words."""
    if reply.is_ok:
        status = DeliveryStatus.SUCCESSFUL
    elif reply.code >= 500:  # noqa: PLR2004 - RFC 5321's permanent class
        status = DeliveryStatus.PERMANENT_FAILURE
    else:
        status = DeliveryStatus.TEMPORARY_FAILURE
    return Outcome(status, 200 if reply.is_ok else reply.code, f"{reply.code} {reply.text}"[:500])


def ascii_address(address: str) -> str:
    """The address with its domain in ASCII, if that is all it needs (RFC 5891)."""
    local, at, domain = address.rpartition("@")
    try:
        return f"{local}{at}{ascii_domain(domain)}" if not domain.isascii() else address
    except UnicodeError:
        return address


def envelope(email: Email, extensions: dict[str, str]) -> tuple[bytes, bytes] | Outcome:
    """MAIL and RCPT; or an outcome, for an address that must not, or cannot, be put on the wire."""
    sender, recipient = email.envelope_from, email.recipient
    both, parameters = sender + recipient, ""
    if "8BITMIME" in extensions and not email.content.isascii():
        parameters = " BODY=8BITMIME"
    if not (both.isascii() and both.isprintable()) or " " in both or "<" in both or ">" in both:
        if BAD_ADDRESS.search(both):
            return Outcome(DeliveryStatus.PERMANENT_FAILURE, 553, "553 not an email address")
        sender, recipient = ascii_address(sender), ascii_address(recipient)
        if not (sender.isascii() and recipient.isascii()):
            if "SMTPUTF8" not in extensions:
                return Outcome(DeliveryStatus.PERMANENT_FAILURE, 553, "553 the relay does not take SMTPUTF8 addresses")
            parameters += " SMTPUTF8"
    return f"MAIL FROM:<{sender}>{parameters}\r\n".encode(), f"RCPT TO:<{recipient}>\r\n".encode()


def dotted(email: Email) -> bytes:
    """The content with its dots doubled, and the line that ends it (RFC 5321 section 4.5.2)."""
    content = email.content
    if email.may_have_dots:
        if content.startswith(b"."):
            content = b"." + content
        content = content.replace(b"\r\n.", b"\r\n..")
    return content + (b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n")


async def transfer(
    connection: SmtpConnection,
    emails: Sequence[Email],
    outcomes: list[Outcome | None],
    work: deque[int],
    messages_max: int,
) -> SmtpError | None:
    """Send what `work` points to, one after the other, until it is empty or `messages_max` have been sent.

    Several connections may share the work. What had not been begun when a connection fails goes back to it; the error
    is returned.
    """
    if connection.reader.error is not None:
        return connection.reader.error
    sending = Transfer(connection, emails, outcomes, work, messages_max)
    connection.reader.listener = sending
    try:
        error = await sending.run()
    finally:
        connection.reader.listener = None
    if error is not None:
        connection.abort(error)
    return error


class Transfer:
    """One run: which message is on the wire, and how far it has come. Each reply decides what is written next."""

    def __init__(
        self,
        connection: SmtpConnection,
        emails: Sequence[Email],
        outcomes: list[Outcome | None],
        work: deque[int],
        messages_max: int,
    ) -> None:
        self._connection = connection
        self._reader = connection.reader
        self._emails = emails
        self._outcomes = outcomes
        self._work = work
        self._left = messages_max
        self._is_pipelined = "PIPELINING" in connection.extensions
        self._current: int | None = None
        self._following: int | None = None
        self._envelope = (b"", b"")
        self._is_content_sent = False
        self._mail = self._rcpt = Reply(0, "")
        # No bound method: it would keep all of this, emails too, for the garbage collector.
        self._expected: Callable[[Transfer, Reply], None] = Transfer._on_mail
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[SmtpError | None] = self._loop.create_future()
        self._written_at = self._loop.time()

    async def run(self) -> SmtpError | None:
        """All messages, in order."""
        self._current = self._take()
        if self._current is None:
            return None
        self._write_envelope()
        self._timer = self._loop.call_later(self._connection.settings.timeout_seconds, self._look_at_clock)
        try:
            return await self._done
        finally:
            self._timer.cancel()

    def heard(self, reply: Reply) -> None:
        """A reply is for whatever waits for one."""
        if not self._done.done():
            self._expected(self, reply)

    def lost(self, error: SmtpError) -> None:
        """The message on the wire may have arrived, if its content was sent; the others have not been begun."""
        if self._done.done():
            return
        if self._current is not None and self._is_content_sent:
            name = self._connection.settings.name
            text = f"451 {name}: {error} before the relay said whether it took the message: it may arrive twice"
            self._outcomes[self._current] = Outcome(DeliveryStatus.TEMPORARY_FAILURE, 451, text[:500], is_unknown=True)
            self._current = None
        self._work.extend(index for index in (self._current, self._following) if index is not None)
        self._done.set_result(error)

    def _look_at_clock(self) -> None:
        """The time limit of every step: one timer, set again for what was written since."""
        left = self._written_at + self._connection.settings.timeout_seconds - self._loop.time()
        if left <= 0:
            self.lost(SmtpError("timed out"))
        else:
            self._timer = self._loop.call_later(left, self._look_at_clock)

    def _take(self) -> int | None:
        """The next message that has an envelope; it is its turn when all of the one before has been written."""
        while self._work and self._left > 0:
            index = self._work.popleft()
            found = envelope(self._emails[index], self._connection.extensions)
            if not isinstance(found, Outcome):
                self._envelope = found
                self._left -= 1
                return index
            self._outcomes[index] = found
        return None

    def _write(self, data: bytes, expected: Callable[["Transfer", Reply], None]) -> None:
        self._expected = expected
        self._written_at = self._loop.time()
        self._reader.write(data)

    def _write_envelope(self) -> None:
        """The current message's MAIL, RCPT and DATA as one group; MAIL alone without pipelining."""
        mail, rcpt = self._envelope
        self._write(mail + rcpt + b"DATA\r\n" if self._is_pipelined else mail, Transfer._on_mail)

    def _on_mail(self, reply: Reply) -> None:
        self._mail = reply
        if reply.code == SERVICE_CLOSING:
            self.lost(SmtpError(f"421 {reply.text}", SERVICE_CLOSING))
        elif self._is_pipelined:
            self._expected = Transfer._on_rcpt
        elif reply.is_ok:
            self._write(self._envelope[1], Transfer._on_rcpt)
        else:
            self._refuse(reply)

    def _on_rcpt(self, reply: Reply) -> None:
        self._rcpt = reply
        if self._is_pipelined:
            self._expected = Transfer._on_data
        elif reply.is_ok:
            self._write(b"DATA\r\n", Transfer._on_data)
        else:
            self._refuse(reply)

    def _on_data(self, reply: Reply) -> None:
        is_wanted = self._mail.is_ok and self._rcpt.is_ok
        if reply.code != START_INPUT:
            self._refuse(next(one for one in (self._mail, self._rcpt, reply) if not one.is_ok or one is reply))
        elif is_wanted:
            self._write_content()
        else:  # a relay that says 354 all the same is owed a dot (RFC 2920 section 3.1)
            self._write(b".\r\n", Transfer._on_unwanted_end)

    def _on_unwanted_end(self, _: Reply) -> None:
        self._refuse(self._rcpt if self._mail.is_ok else self._mail)

    def _refuse(self, culprit: Reply) -> None:
        """The current message's envelope was not taken: its transaction is ended, and the next one begun."""
        assert self._current is not None
        if culprit.is_ok:
            self.lost(SmtpError(f"DATA: {culprit.code} {culprit.text}", culprit.code))
            return
        self._settle(self._current, culprit)
        if culprit.code != SERVICE_CLOSING:
            self._current = self._take()
            self._write(b"RSET\r\n", Transfer._on_reset)

    def _on_reset(self, reply: Reply) -> None:
        if not reply.is_ok:
            self.lost(SmtpError(f"RSET: {reply.code} {reply.text}", reply.code))
        elif self._current is None:
            self._done.set_result(None)
        else:
            self._write_envelope()

    def _write_content(self) -> None:
        """The content, its dot, and the next message's envelope."""
        assert self._current is not None
        data = dotted(self._emails[self._current])
        self._is_content_sent = True
        self._following = self._take()
        if self._following is not None and self._is_pipelined:
            data = b"".join((data, *self._envelope, b"DATA\r\n"))
        self._emails[self._current].content = b""  # its memory is the next one's, and still in the processor's cache
        self._write(data, Transfer._on_end)

    def _on_end(self, reply: Reply) -> None:
        assert self._current is not None
        self._is_content_sent = False
        self._settle(self._current, reply)
        if reply.code == SERVICE_CLOSING:
            return
        self._current, self._following = self._following, None
        if self._current is None:
            self._done.set_result(None)
        elif self._is_pipelined:
            self._expected = Transfer._on_mail
        else:
            self._write_envelope()

    def _settle(self, index: int, reply: Reply) -> None:
        self._outcomes[index] = outcome_of(reply)
        self._connection.messages_sent += 1
        self._current = None
        if reply.code == SERVICE_CLOSING:
            self.lost(SmtpError(f"421 {reply.text}", SERVICE_CLOSING))
