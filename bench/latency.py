"""From an event to the message it triggers: a campaign that answers events, a hundred of them a second.

Once without a hook, and once with one that takes its time; the events of the moment share its calls.
"""

import asyncio
import json
import os
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bench import smtp
from bench.api import REPOINT, server
from bench.events import newest_database
from bench.load import Key, signed

EVENTS = int(os.environ.get("BENCH_EVENTS", "2000"))
EVENTS_PER_SECOND = 100
CONNECTIONS = 8
BATCH = 100
WARM_UP = 100
LIMIT_MS = 250.0
HOOK_SECONDS = 0.05
HOOK = "arn:aws:lambda:us-east-1:123456789012:function:hook"


class Sink(smtp.Sink):
    """Notes when the message for each recipient has come."""

    arrived: dict[str, float] = {}  # noqa: RUF012 - one for all connections

    def note(self, line: bytes) -> None:
        if not self.in_data and line.startswith(b"RCPT TO:<"):
            self.recipient = line[9:-1].decode()
        elif self.in_data:
            self.arrived[self.recipient] = time.perf_counter()


class Hook(BaseHTTPRequestHandler):
    """An HTTP endpoint that leaves everybody in, after a while; counts its calls."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65_536  # an answer in one piece: its parts would wait for the acknowledgement of one another
    calls = 0

    def do_HEAD(self) -> None:
        self.reply(b"")

    def do_POST(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["content-length"])))
        Hook.calls += 1
        time.sleep(HOOK_SECONDS)
        self.reply(json.dumps(payload["Endpoints"]).encode())

    def reply(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def address(number: int) -> str:
    return f"person{number}@example.com"


def prepare(client: Any, hook: dict[str, Any]) -> str:
    """Endpoints, and a campaign that waits for their events."""
    app: str = client.create_app(CreateApplicationRequest={"Name": "Bench"})["ApplicationResponse"]["Id"]
    for start in range(0, EVENTS + WARM_UP, BATCH):
        items = [
            {"Id": f"e{number}", "ChannelType": "EMAIL", "Address": address(number), "OptOut": "NONE"}
            for number in range(start, start + BATCH)
        ]
        client.update_endpoints_batch(ApplicationId=app, EndpointBatchRequest={"Item": items})
    segment = client.create_segment(ApplicationId=app, WriteSegmentRequest={"Name": "All"})["SegmentResponse"]["Id"]
    dimensions = {"EventType": {"DimensionType": "INCLUSIVE", "Values": ["cart.left"]}}
    message = {"FromAddress": "shop@example.com", "Title": "Your cart", "Body": "Hello {{Id}}, it is still here."}
    client.create_campaign(
        ApplicationId=app,
        WriteCampaignRequest={
            **hook,
            "Name": "Cart",
            "SegmentId": segment,
            "MessageConfiguration": {"EmailMessage": message},
            "Schedule": {
                "StartTime": "IMMEDIATE",
                "Frequency": "EVENT",
                "EndTime": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
                "EventFilter": {"FilterType": "ENDPOINT", "Dimensions": dimensions},
            },
        },
    )
    return app


def event(app: str, number: int) -> tuple[str, str, Any]:
    one = {"EventType": "cart.left", "Timestamp": datetime.now(UTC).isoformat()}
    return "POST", f"/v1/apps/{app}/events", {"BatchItem": {f"e{number}": {"Endpoint": {}, "Events": {"1": one}}}}


async def report(host: str, port: int, requests: list[bytes]) -> list[float]:
    """Send the requests, so many a second, and return when each was sent."""
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection(host, port))
    sent = [0.0] * len(requests)

    async def send(number: int) -> None:
        reader, writer = await idle.get()
        sent[number] = time.perf_counter()
        writer.write(requests[number])
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert b" 202 " in head.split(b"\r\n", 1)[0], head
        await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
        idle.put_nowait((reader, writer))

    started = time.perf_counter()
    tasks = []
    for number in range(len(requests)):
        await asyncio.sleep(max(0.0, started + number / EVENTS_PER_SECOND - time.perf_counter()))
        tasks.append(asyncio.create_task(send(number)))
    await asyncio.gather(*tasks)
    return sent


async def delays(host: str, port: int, key: Key, app: str, sink_port: int) -> list[float]:
    """For each event after the warm-up, the seconds until its message was on the wire."""
    listener = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", sink_port)
    numbers = range(EVENTS + WARM_UP)
    while address(0) not in Sink.arrived:  # until the campaign is open, nobody answers
        await report(host, port, signed(key, f"{host}:{port}", [event(app, 0)]))
        await asyncio.sleep(0.5)
    sent = await report(host, port, signed(key, f"{host}:{port}", [event(app, number) for number in numbers]))
    async with asyncio.timeout(60):
        while len(Sink.arrived) < len(numbers):  # noqa: ASYNC110 - another process does the work
            await asyncio.sleep(0.05)
    listener.close()
    return sorted(Sink.arrived[address(number)] - sent[number] for number in numbers[WARM_UP:])


def through(hook: dict[str, Any]) -> list[float]:
    """The delays of a campaign with these members, on a fresh server."""
    Sink.arrived.clear()
    sink_port = smtp.free_port()
    with server("--smtp-url", f"smtp://127.0.0.1:{sink_port}?starttls=never") as (host, port, key, client):
        for name, target in hook.items():
            data = newest_database().parent
            subprocess.run(
                [REPOINT, "bindings", "set", "--data-dir", data, name, target], check=True, capture_output=True
            )
        members = {"Hook": {"LambdaFunctionName": HOOK}} if hook else {}
        return asyncio.run(delays(host, port, key, prepare(client, members), sink_port))


def run() -> list[dict[str, Any]]:
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    found = [
        figure("event to wire", through({})),
        figure("event through a hook to wire", through({HOOK: f"http://127.0.0.1:{listener.server_port}/"})),
    ]
    listener.shutdown()
    found[-1]["reference"] += f"; {EVENTS / Hook.calls:.1f} events a call of {HOOK_SECONDS * 1000:.0f} ms"
    return found


def figure(name: str, took: list[float]) -> dict[str, Any]:
    p50, p90, p99 = (took[int(len(took) * part)] * 1000 for part in (0.5, 0.9, 0.99))
    return {
        "name": f"{name}, p99",
        "value": p99,
        "unit": "ms",
        "reference": f"the limit ({EVENTS_PER_SECOND} events/s; p50 {p50:.0f} ms, p90 {p90:.0f} ms)",
        "reference_value": LIMIT_MS,
        "ratio": LIMIT_MS / p99,
        "goal": 1.0,
    }
