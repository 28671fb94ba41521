"""The inbox's SMTP server: takes every email and keeps it. It has no way to send."""

import asyncio
import re
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, Envelope, Session

from repoint.clock import Clock
from repoint.db import Database, DatabaseUnavailableError
from repoint.inbox.store import PREVIEW_CHARACTERS, NewMessage, append

SIZE_MAX = 40 * 1024 * 1024
PREVIEW_OCTETS = 64 * 1024
TAGS = re.compile(r"<(style|script|head)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)


class Handler:
    """What aiosmtpd calls."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's own name and arguments
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        """Say that commands may be sent ahead of replies: aiosmtpd reads them from its buffer in order."""
        del server, envelope
        session.host_name = hostname
        return [responses[0], "250-PIPELINING", *responses[1:]]

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - the same
        """Keep an email, once for each of its recipients; accepted only when it is kept."""
        del server, session
        content = envelope.original_content or b""
        email = read_email(content)
        try:
            await asyncio.gather(
                *(
                    self._db.gather(append, self._message(email, content, envelope, recipient))
                    for recipient in envelope.rcpt_tos
                )
            )
        except DatabaseUnavailableError:
            return "451 the inbox cannot keep it now"
        return "250 kept in the inbox"

    def _message(self, email: EmailMessage, content: bytes, envelope: Envelope, recipient: str) -> NewMessage:
        message_id = header(email, "Message-ID").strip("<>").partition("@")[0]
        return NewMessage(
            received_at=self._clock(),
            channel_type="EMAIL",
            message_id=message_id,
            sender=header(email, "From") or envelope.mail_from or "",
            recipient=recipient,
            subject=header(email, "Subject"),
            preview=preview_of(email),
            content=content,
        )


class InboxSmtp:
    """The server, on our own event loop."""

    def __init__(self, db: Database, clock: Clock, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._handler = Handler(db, clock)
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(
                self._handler, data_size_limit=SIZE_MAX, enable_SMTPUTF8=True, ident="Repoint inbox", loop=loop
            ),
            self._host,
            self._port,
            reuse_port=self._port != 0,  # each worker has one, and any may take what comes to a port that is given
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()


def read_email(content: bytes) -> EmailMessage:
    """The email, however broken."""
    return message_from_bytes(content, policy=policy.default)


def header(email: EmailMessage, name: str) -> str:
    """A header's text; the parser stumbles over some that spammers write."""
    try:
        return str(email.get(name, ""))
    except (ValueError, IndexError, TypeError, AttributeError, LookupError):
        return ""


def text_of_part(email: EmailMessage, kind: str) -> str:
    """The text of the plain or HTML part, if there is one that can be read."""
    try:
        part = email.get_body((kind,))
        return str(part.get_content()) if part is not None else ""
    except (KeyError, LookupError, ValueError, TypeError, AttributeError):
        return ""


def preview_of(email: EmailMessage) -> str:
    """The first words a reader would see."""
    text = text_of_part(email, "plain") or TAGS.sub(" ", text_of_part(email, "html")[:PREVIEW_OCTETS])
    return " ".join(text[: PREVIEW_CHARACTERS * 8].split())[:PREVIEW_CHARACTERS]
