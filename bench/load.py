"""A load generator: requests signed beforehand, written over kept connections by a process of its own."""

import asyncio
import hashlib
import hmac
import json
import multiprocessing
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import uvloop

REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Key:
    access_key_id: str
    secret: str

    def signing_key(self, date: str) -> bytes:
        key = f"AWS4{self.secret}".encode()
        for part in (date, REGION, "mobiletargeting", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return key


def signed(key: Key, host: str, requests: list[tuple[str, str, Any]]) -> list[bytes]:
    """Each (method, path, document) as the bytes of a signed HTTP request, with the headers botocore sends."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    date = stamp[:8]
    signing_key = key.signing_key(date)
    scope = f"{date}/{REGION}/mobiletargeting/aws4_request"
    made = []
    for method, path, document in requests:
        body = b"" if document is None else json.dumps(document).encode()
        headers = f"host:{host}\nx-amz-date:{stamp}\n"
        canonical = "\n".join(
            (method, quote(path, safe="/~"), "", headers, "host;x-amz-date", hashlib.sha256(body).hexdigest())
        )
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.new(signing_key, text.encode(), "sha256").hexdigest()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\n"
            f"Content-Type: application/json\r\n"
            f"User-Agent: Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux lang/python cfg/retry-mode#legacy\r\n"
            f"X-Amz-Date: {stamp}\r\nAuthorization: AWS4-HMAC-SHA256 Credential={key.access_key_id}/{scope}, "
            f"SignedHeaders=host;x-amz-date, Signature={signature}\r\n"
            f"amz-sdk-invocation-id: 6f5f4c1e-0000-4000-8000-000000000000\r\namz-sdk-request: attempt=1\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


class Client(asyncio.Protocol):
    """One caller: the next request when the last has been answered."""

    def __init__(self, work: "list[bytes]", times: list[float], statuses: dict[int, int]) -> None:
        self.work, self.times, self.statuses = work, times, statuses
        self.buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.next()

    def next(self) -> None:
        if not self.work:
            self.done.set_result(None)
            self.transport.close()
            return
        self.started = time.perf_counter()
        self.transport.write(self.work.pop())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.find(b"content-length:")
        size = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self.buffer) < end + 4 + size:
            return
        self.times.append(time.perf_counter() - self.started)
        status = int(self.buffer[9:12])
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.buffer = self.buffer[end + 4 + size :]
        self.next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed"))


async def blast(host: str, port: int, requests: list[bytes], clients: int) -> dict[str, Any]:
    times: list[float] = []
    statuses: dict[int, int] = {}
    loop = asyncio.get_running_loop()
    work = list(reversed(requests))
    started = time.perf_counter()
    made = [await loop.create_connection(lambda: Client(work, times, statuses), host, port) for _ in range(clients)]
    await asyncio.gather(*(client.done for _, client in made))
    seconds = time.perf_counter() - started
    times.sort()
    return {
        "rate": len(requests) / seconds,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[int(len(times) * 0.99)] * 1000,
        "statuses": statuses,
        "load_seconds": time.process_time(),
    }


def _child(pipe: Any, host: str, port: int, requests: list[bytes], clients: int) -> None:
    pipe.send(uvloop.run(blast(host, port, requests, clients)))


def measure(host: str, port: int, requests: list[bytes], *, clients: int = 32) -> dict[str, Any]:
    """Send all requests from another process; the rate, the latencies, the statuses."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_child, args=(theirs, host, port, requests, clients))
    process.start()
    result: dict[str, Any] = ours.recv()
    process.join()
    return result
