"""The SMTP server that bounces come back to, and those write to who want nothing more.

It knows the addresses we have signed, and keeps only what is reported.
"""

import asyncio
import logging
from datetime import datetime
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from repoint.bounces.parse import AbuseReport, BounceReport, read_report
from repoint.config import Settings
from repoint.db import DatabaseUnavailableError
from repoint.delivery.bounces import classify
from repoint.delivery.receipts import Report
from repoint.delivery.subscribers import Subscribers
from repoint.processes import Life

logger = logging.getLogger(__name__)

CONTENT_BYTES_MAX = 10 * 1024 * 1024
LINE_OCTETS_MAX = 256 * 1024  # the mail that comes back with a report need not be ours to blame
CONNECTIONS_MAX = 200
IDLE_SECONDS = 60.0
FEEDBACK_MAILBOXES = frozenset({"abuse", "fbl", "postmaster"})
NOT_SPAM = "not-spam"


class Handler:
    """What aiosmtpd calls; the names and arguments are its own."""

    def __init__(self, subscribers: Subscribers, domain: str) -> None:
        self._subscribers = subscribers
        self._receipts = subscribers.receipts
        self._tokens = subscribers.receipts.tokens
        self.domain = domain.lower()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take an address we have signed, and those that feedback loops write to."""
        del server, session, options
        local, _, domain = address.rpartition("@")
        is_ours = domain.lower() == self.domain and (
            local.lower() in FEEDBACK_MAILBOXES
            or self._tokens.read_bounce_address(address) is not None
            or self._tokens.read_stop_address(address) is not None
        )
        if not is_ours:
            return "550 5.1.1 no such address here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Count the report; accepted only when it is in the log. What says nothing is taken, and forgotten."""
        del server, session
        stopped = {address: self._tokens.read_stop_address(address) for address in envelope.rcpt_tos}
        reported = [address for address, message_id in stopped.items() if message_id is None]
        report = read_report(envelope.original_content or b"") if reported else None
        try:
            for address in reported:
                await self._count(address, report)
            for message_id in stopped.values():
                if message_id is not None:
                    await self._stop(message_id)
        except DatabaseUnavailableError:
            return "451 4.3.0 cannot be kept now"
        return "250 2.0.0 thank you"

    async def handle_exception(self, error: Exception) -> str:
        """Say nothing of what went wrong, and let it come again."""
        logger.error("mail could not be taken", exc_info=error)
        return "451 4.3.0 cannot be taken now"

    async def _stop(self, message_id: str) -> None:
        """Opt the endpoint out that a mail was for, whatever is written; who sent the relay here is not known."""
        subscriber = await self._subscribers.by_mail(message_id)
        if subscriber is None:
            logger.info("somebody unsubscribes by message %s, which is no longer in the ledger", message_id)
            return
        await self._subscribers.opt_out(subscriber, {"ip_address": "", "user_agent": ""}, "mailto")

    async def _count(self, address: str, report: BounceReport | AbuseReport | None) -> None:
        message_id = self._tokens.read_bounce_address(address)
        if message_id is None and isinstance(report, AbuseReport):
            read = (self._tokens.read_bounce_address(sender) for sender in report.senders)
            message_id = next((one for one in read if one is not None), None)
        if report is None or message_id is None:
            logger.info("mail to %s reports nothing that can be counted", address[:100])
            return
        mail = await self._receipts.find_one(message_id)
        if mail is None:
            logger.info("a report of message %s, which is no longer in the ledger", message_id)
            return
        counted = self._report(message_id, mail.row.address, report)
        if counted is not None:
            await self._receipts.count(counted)

    def _report(self, message_id: str, address: str, report: BounceReport | AbuseReport) -> Report | None:
        if isinstance(report, BounceReport):
            return bounced(message_id, address, report, self._receipts.clock())
        if report.feedback_type == NOT_SPAM:
            return None
        complaint = {
            "complained_recipients": [{"email_address": address}],
            "feedback_id": report.feedback_id,
            "user_agent": report.user_agent,
            "complaint_feedback_type": report.feedback_type,
        }
        return Report(
            message_id,
            "_email.complaint",
            "complaint",
            {"complaint": complaint},
            self._receipts.clock(),
            suppresses="COMPLAINT",
        )


def bounced(message_id: str, address: str, report: BounceReport, arrived_at: datetime) -> Report:
    """A delivery status notification as an event: a hard bounce counts once, a delay as often as it is reported."""
    kind = classify(report.status, report.diagnostic)
    bounce = {
        "bounce_type": kind.bounce_type,
        "bounce_sub_type": kind.bounce_sub_type,
        "bounced_recipients": [
            {
                "email_address": address,
                "action": report.action,
                "status": report.status,
                "diagnostic_code": report.diagnostic,
            }
        ],
        "feedback_id": report.feedback_id,
        "reporting_mta": report.reporting_mta,
    }
    return Report(
        message_id=message_id,
        event_type=kind.event_type,
        feedback=kind.feedback,
        detail={"bounce": bounce},
        arrived_at=arrived_at,
        report_id="" if kind.is_hard else report.feedback_id,
        suppresses="BOUNCE" if kind.is_hard else "",
    )


class LimitedSmtp(SMTP):
    """Turns connections away when there are too many; takes lines that should have been shorter."""

    line_length_limit = LINE_OCTETS_MAX

    def __init__(self, listener: "BounceSmtp", handler: Handler, **options: Any) -> None:
        super().__init__(handler, **options)
        self._listener = listener

    def connection_made(self, transport: Any) -> None:
        """One more, or one too many."""
        self._listener.connections += 1
        if self._listener.connections > CONNECTIONS_MAX:
            transport.write(b"421 4.3.2 too many connections\r\n")
            transport.close()
            return
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """One less."""
        self._listener.connections -= 1
        if self.transport is not None:
            super().connection_lost(error)


class BounceSmtp:
    """The server, on our own event loop."""

    def __init__(self, handler: Handler, *, host: str, port: int) -> None:
        self._handler = handler
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self.connections = 0

    async def start(self) -> int:
        """Listen; returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: LimitedSmtp(
                self,
                self._handler,
                data_size_limit=CONTENT_BYTES_MAX,
                enable_SMTPUTF8=True,
                hostname=self._handler.domain,
                ident="Repoint bounces",
                timeout=IDLE_SECONDS,
                loop=loop,
            ),
            self._host,
            self._port,
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()


async def take_bounces(subscribers: Subscribers, settings: Settings, life: Life) -> None:
    """Serve for the life of a process."""
    handler = Handler(subscribers, settings.bounce_domain)
    listener = BounceSmtp(handler, host=settings.bounce_smtp_host, port=settings.bounce_smtp_port)
    await listener.start()
    life.ready()
    await life.stopping.wait()
    await listener.stop()
