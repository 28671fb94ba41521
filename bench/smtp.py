"""Pipelined email to smtp-sink, against smtp-source to the same sink (both of Postfix, where they are installed)."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import uvloop

from repoint.delivery.provider import DeliveryStatus, Email
from repoint.delivery.providers.smtp import SmtpProvider

MESSAGES = 60_000
CONTENT = b"From: shop@example.com\r\nSubject: Hello\r\n\r\n" + (b"y" * 70 + b"\r\n") * 28


class Sink(asyncio.Protocol):
    """Stands in for smtp-sink: takes everything, keeps nothing."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.buffer, self.in_data = b"", False
        self.transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        replies = []
        while True:
            mark = b"\r\n.\r\n" if self.in_data else b"\r\n"
            end = self.buffer.find(mark)
            if end < 0:
                break
            line, self.buffer = self.buffer[:end], self.buffer[end + len(mark) :]
            self.note(line)
            if self.in_data:
                self.in_data = False
                replies.append(b"250 ok\r\n")
            elif line.startswith(b"DATA"):
                self.in_data = True
                replies.append(b"354 go\r\n")
            else:
                replies.append(b"250-sink\r\n250 PIPELINING\r\n" if line.startswith(b"EHLO") else b"250 ok\r\n")
        if replies:
            self.transport.write(b"".join(replies))

    def note(self, line: bytes) -> None:
        """A command, or a whole message after DATA."""


def find(name: str) -> str | None:
    folders = (os.environ.get("SMTP_SINK_DIR", ""), "/usr/sbin", "/usr/bin", os.environ.get("PATH", ""))
    return shutil.which(name, path=os.pathsep.join(folders))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def sink() -> Iterator[int]:
    port, program = free_port(), find("smtp-sink")
    if program is None:
        pid = os.fork()
        if pid == 0:
            uvloop.run(serve(port))
            os._exit(0)
    else:
        pid = subprocess.Popen([program, "-u", "nobody", f"127.0.0.1:{port}", "1000"]).pid
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.02)
    try:
        yield port
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    await server.serve_forever()


async def ours(port: int) -> float:
    provider = SmtpProvider.from_urls(
        [f"smtp://127.0.0.1:{port}?starttls=never&messages_per_connection_max=1000000&connections_max=8"]
    )
    emails = [Email("m", "shop@example.com", f"p{n}@example.com", CONTENT) for n in range(MESSAGES)]
    await provider.send(emails[:500])
    started = time.perf_counter()
    outcomes = await provider.send(emails)
    seconds = time.perf_counter() - started
    assert all(outcome.status is DeliveryStatus.SUCCESSFUL for outcome in outcomes)
    await provider.close()
    return MESSAGES / seconds


def reference(port: int, size: int, messages: int) -> float | None:
    """smtp-source with so many messages of so many bytes, in messages a second; None where Postfix is not installed."""
    program = find("smtp-source")
    if program is None or find("smtp-sink") is None:
        return None
    command = [program, "-d", "-s", "10", "-l", str(size), "-m", str(messages), f"127.0.0.1:{port}"]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return messages / (time.perf_counter() - started)


def better(before: float | None, after: float | None) -> float | None:
    """Of two runs of the reference the one that makes us look worse: a bad moment of its is no merit of ours."""
    return before if before is None or after is None else max(before, after)


def run() -> list[dict[str, Any]]:
    with sink() as port:
        value = uvloop.run(ours(port))
        theirs = reference(port, len(CONTENT), MESSAGES)
    return [
        {
            "name": "SMTP client, 2 KB messages",
            "value": value,
            "unit": "messages/s",
            "reference": "smtp-source -d -s 10" if theirs else "smtp-source (not installed)",
            "reference_value": theirs,
            "ratio": value / theirs if theirs else None,
            "goal": 1.0,
        }
    ]
