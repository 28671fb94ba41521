"""An SMTP relay that misbehaves to order, and a certificate authority for it.

`answers` maps a step to what happens there: a reply, DROP, SILENCE, None for what a good relay says, or a function of
the session that returns one of these. The steps are CONNECT, the command verbs, LOGIN (a line of AUTH LOGIN),
CONTENT (while content arrives), END (its final reply) and TLS (right after the handshake's go-ahead).
"""

import asyncio
import contextlib
import ipaddress
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DROP = object()
SILENCE = object()
EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8")
GOOD = {
    "CONNECT": "220 relay ESMTP",
    "HELO": "250 hello",
    "MAIL": "250 sender ok",
    "RCPT": "250 recipient ok",
    "DATA": "354 go ahead",
    "END": "250 taken",
    "RSET": "250 reset",
    "QUIT": "221 bye",
    "STARTTLS": "220 go ahead",
    "AUTH": "235 welcome",
    "LOGIN": "235 welcome",
}


@dataclass
class Session:
    """One connection's state."""

    relay: "HostileRelay"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sender: str = ""
    recipient: str = ""
    is_recipient_ok: bool = False
    line: str = ""
    login_lines: int = 0
    messages: int = 0

    async def serve(self) -> None:
        """The dialogue, until either side has had enough."""
        await self.answer("CONNECT")
        while line := await self.reader.readline():
            self.line = line.decode().rstrip("\r\n")
            self.relay.lines.append(self.line)
            if self.reader._buffer:
                self.relay.has_been_pipelined = True
            verb = self.line.partition(" ")[0].upper()
            await getattr(self, f"_{verb.lower()}", self._other)(verb)

    async def answer(self, step: str, good: str | None = None) -> str:
        """Say what the script says here."""
        scripted = self.relay.answers.get(step)
        if callable(scripted):
            scripted = scripted(self)
        if scripted is DROP:
            self.writer.transport.abort()
            raise ConnectionAbortedError
        if scripted is SILENCE:
            await asyncio.Event().wait()
        reply = scripted or good or GOOD.get(step, "500 what?")
        self.writer.write(reply.encode("latin-1") + b"\r\n")
        await self.writer.drain()
        return reply

    async def _other(self, verb: str) -> None:
        await self.answer(verb)

    async def _ehlo(self, verb: str) -> None:
        lines = ["relay", *self.relay.extensions]
        marked = [f"250{' ' if line is lines[-1] else '-'}{line}" for line in lines]
        await self.answer(verb, "\r\n".join(marked))

    async def _mail(self, verb: str) -> None:
        self.sender, self.is_recipient_ok = self.line, False
        await self.answer(verb)

    async def _rcpt(self, verb: str) -> None:
        self.recipient = self.line.partition("<")[2].partition(">")[0]
        self.is_recipient_ok = (await self.answer(verb)).startswith("2")

    async def _data(self, verb: str) -> None:
        reply = await self.answer(verb, None if self.is_recipient_ok else "554 no valid recipients")
        if not reply.startswith("354"):
            return
        content = b""
        while (line := await self.reader.readline()) != b".\r\n":
            if not line:
                raise ConnectionAbortedError
            content += line.removeprefix(b".")
            if "CONTENT" in self.relay.answers:
                await self.answer("CONTENT")
        self.messages += 1
        reply = await self.answer("END")
        if self.is_recipient_ok and reply.startswith("2"):
            self.relay.messages.append((self.recipient, content))

    async def _quit(self, verb: str) -> None:
        await self.answer(verb)
        self.writer.close()
        raise ConnectionAbortedError

    async def _starttls(self, verb: str) -> None:
        if not (await self.answer(verb)).startswith("220"):
            return
        await self.writer.start_tls(self.relay.certificate)
        self.relay.is_tls_used = True

    async def _auth(self, verb: str) -> None:
        if self.line.upper() != "AUTH LOGIN":
            await self.answer(verb)
            return
        reply = await self.answer(verb, "334 VXNlcm5hbWU6")
        for good in ("334 UGFzc3dvcmQ6", GOOD["LOGIN"]):
            if not reply.startswith("334"):
                return
            self.relay.logins.append((await self.reader.readline()).decode().strip())
            self.login_lines += 1
            reply = await self.answer("LOGIN", good)


Answer = str | object | None | Callable[[Session], object]


@dataclass
class HostileRelay:
    """The listening side, and what it has seen."""

    answers: Mapping[str, Answer] = field(default_factory=dict)
    extensions: tuple[str, ...] = EXTENSIONS
    certificate: ssl.SSLContext | None = None
    is_tls: bool = False
    port: int = 0
    accepts: int = 0
    lines: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    has_been_pipelined: bool = False
    is_tls_used: bool = False

    async def __aenter__(self) -> Self:
        self.sessions: set[asyncio.Task[None]] = set()
        context = self.certificate if self.is_tls else None
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=context, limit=2**24)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for session in self.sessions:
            session.cancel()
        await asyncio.gather(*self.sessions, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepts += 1
        task = asyncio.current_task()
        self.sessions.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await Session(self, reader, writer).serve()
        finally:
            self.sessions.discard(task)
            writer.close()

    @property
    def recipients(self) -> list[str]:
        """Who has got something, in order."""
        return [recipient for recipient, _ in self.messages]

    def url(self, options: str = "", credentials: str = "") -> str:
        """The relay's URL; patience is short unless the options say otherwise."""
        scheme = "smtps" if self.is_tls else "smtp"
        host = f"{credentials}@127.0.0.1" if credentials else "127.0.0.1"
        short = "" if "timeout_seconds" in options else "timeout_seconds=5&"
        return f"{scheme}://{host}:{self.port}?{short}{options}".rstrip("?&")


def in_turn(*answers: object) -> Callable[[Session], object]:
    """Each answer once; then what a good relay says."""
    left = list(answers)
    return lambda _: left.pop(0) if left else None


@contextlib.contextmanager
def in_thread(relay: HostileRelay):
    """The relay on a loop of its own, for a server in another process."""
    started, stopping = threading.Event(), []

    async def run() -> None:
        stop = asyncio.Event()
        stopping.append((asyncio.get_running_loop(), stop))
        async with relay:
            started.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=[run()], daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield relay
    finally:
        loop, stop = stopping[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


class Authority:
    """A certificate authority, its certificate in a file."""

    def __init__(self, folder) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)  # noqa: FBT003
        own = self._builder(self._name, self._key.public_key(), days=30).add_extension(usage, critical=True)
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self._certificate = own.sign(self._key, hashes.SHA256())
        self.file = folder / "authority.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int):
        end = datetime.now(UTC) + timedelta(days=days)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - timedelta(days=60))
            .not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def context(self, host: str = "127.0.0.1", *, days: int = 30) -> ssl.SSLContext:
        """A server's side of TLS, with a certificate for `host` that ends in `days`."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        is_number = host.replace(".", "").isdigit()
        known_as = x509.IPAddress(ipaddress.ip_address(host)) if is_number else x509.DNSName(host)
        builder = self._builder(name, key.public_key(), days=days)
        builder = builder.add_extension(x509.SubjectAlternativeName([known_as]), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        file = self._folder / f"{host}{days}.pem"
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        file.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context
