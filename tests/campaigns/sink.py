"""An SMTP server that takes everything, and remembers who got what."""

import asyncio
import socket
import threading
from email import message_from_bytes, policy

from aiosmtpd.controller import Controller


class Sink:
    """Listens on a free port of 127.0.0.1 in a thread of its own; `pause_seconds` is how long it takes for a mail.

    Recipients in `put_off` are asked to come again, once.
    """

    def __init__(self, pause_seconds=0.0):
        self.mails, self.lock, self.pause_seconds = [], threading.Lock(), pause_seconds
        self.put_off = set()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port)

    def __enter__(self):
        self.controller.start()
        return self

    def __exit__(self, *_):
        self.controller.stop()

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        if self.pause_seconds:
            await asyncio.sleep(self.pause_seconds)
        with self.lock:
            if envelope.rcpt_tos[0] in self.put_off:
                self.put_off.discard(envelope.rcpt_tos[0])
                return "451 4.7.1 Come again"
            self.mails.append((envelope.rcpt_tos[0], envelope.content))
        return "250 OK"

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.port}?starttls=never"

    def recipients(self):
        with self.lock:
            return [recipient for recipient, _ in self.mails]

    def to(self, recipient):
        """The mails to one address, parsed."""
        with self.lock:
            return [message_from_bytes(text, policy=policy.default) for one, text in self.mails if one == recipient]
