"""A campaign while everything it needs is killed at random: workers, the whole server, PostgreSQL, the relay.

    .venv/bin/python -m tests.simulation.chaos --recipients 200000 --seed 1     (make chaos)

prints each kill and, in the end, what became of everybody. The relay writes each message's id to a file before it
answers for it, so what it has taken is known whatever dies.
"""

import argparse
import asyncio
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
from botocore.exceptions import BotoCoreError, ClientError

from repoint.db.embedded import dsn_of
from tests.conftest import eventually, free_port, start_server
from tests.killing import postmaster
from tests.mails import EMAIL, MESSAGE_ID

VICTIMS = ("worker", "worker", "server", "database", "relay")
PAUSE_SECONDS = (1.0, 6.0)
END_SECONDS = 300
WORKERS = 2
FLAGS = ["--log-level", "error", "--lease-seconds", "2", "--workers", str(WORKERS)]


class Relay(asyncio.Protocol):
    """Just enough SMTP, pipelined; `file` gets a line for each message that is taken."""

    file = None

    def connection_made(self, transport):
        self.transport, self.buffer, self.in_data = transport, b"", False
        transport.write(b"220 relay\r\n")

    def data_received(self, data):
        self.buffer += data
        replies, taken = [], []
        while (end := self.buffer.find(mark := b"\r\n.\r\n" if self.in_data else b"\r\n")) >= 0:
            line, self.buffer = self.buffer[:end], self.buffer[end + len(mark) :]
            if self.in_data:
                taken.append(MESSAGE_ID.search(line)[1] + b"\n")
                replies.append(b"250 taken\r\n")
            elif line.startswith(b"EHLO"):
                replies.append(b"250-relay\r\n250 PIPELINING\r\n")
            else:
                replies.append(b"354 go\r\n" if line.startswith(b"DATA") else b"250 ok\r\n")
            self.in_data = not self.in_data and line.startswith(b"DATA")
        if taken:
            self.file.write(b"".join(taken))
        self.transport.write(b"".join(replies))

    @classmethod
    async def serve(cls, port, path):
        cls.file = path.open("ab", buffering=0)
        server = await asyncio.get_running_loop().create_server(cls, "127.0.0.1", port)
        print("ready", flush=True)  # noqa: T201 - whoever started it waits for this
        await server.serve_forever()


@dataclass
class Chaos:
    """One campaign, the processes it needs, and who kills them."""

    folder: Path
    recipients: int
    seed: int
    say: object = print
    kills: Counter = field(default_factory=Counter)

    def __post_init__(self):
        self.draw = random.Random(self.seed)
        self.taken = self.folder / "taken"
        self.taken.touch()
        self.relay_port = free_port()
        self.start_relay()
        self.server = start_server(self.folder / "data", *self.flags)
        self.keys = (self.server.access_key_id, self.server.secret_access_key)

    @property
    def flags(self):
        return [*FLAGS, "--smtp-url", f"smtp://127.0.0.1:{self.relay_port}?starttls=never&timeout_seconds=3"]

    def start_relay(self):
        command = [sys.executable, "-m", "tests.simulation.chaos", "--relay", str(self.relay_port), str(self.taken)]
        self.relay = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.relay.stdout.readline() == b"ready\n"

    def ask(self, query, *parameters):
        with psycopg.connect(dsn_of(self.server.data_dir), autocommit=True) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def begin(self):
        """Endpoints as the API would have stored them, and a campaign with treatments, a holdout and a daily limit."""
        client = self.server.client()
        self.app_id = client.create_app(CreateApplicationRequest={"Name": "Chaos"})["ApplicationResponse"]["Id"]
        self.ask(
            """INSERT INTO endpoint (app_id, endpoint_id, given_id, revision, channel_type, address, is_active,
                   is_opted_out, cohort_id, created_at, effective_at, request_id, attributes, metrics, demographic,
                   location, user_attributes)
               SELECT %s, 'p' || n, 'p' || n, 1, 'EMAIL', 'p' || n || '@example.com', true, false, n %% 100, now(),
                   now(), 'r', '{}', '{}', '{}', '{}', '{}' FROM generate_series(1, %s) AS n""",
            self.app_id,
            self.recipients,
        )
        segment = client.create_segment(ApplicationId=self.app_id, WriteSegmentRequest={"Name": "all"})
        wanted = {
            "Name": "chaos",
            "SegmentId": segment["SegmentResponse"]["Id"],
            "Schedule": {"StartTime": "IMMEDIATE"},
            "MessageConfiguration": EMAIL,
            "HoldoutPercent": 5,
            "AdditionalTreatments": [{"SizePercent": 30}, {"SizePercent": 30}],
            "Limits": {"Daily": 1},
        }
        made = client.create_campaign(ApplicationId=self.app_id, WriteCampaignRequest=wanted)
        self.campaign_id = made["CampaignResponse"]["Id"]

    def run(self, kills):
        """Kill so many times while it is being sent, then let it end; returns the seconds it took."""
        started = time.monotonic()
        self.begin()
        while self.kills.total() < kills and not self.is_over():
            time.sleep(self.draw.uniform(*PAUSE_SECONDS))
            self.kill(self.draw.choice(VICTIMS))
        eventually(self.is_over, seconds=END_SECONDS)
        return time.monotonic() - started

    def kill(self, what):
        self.kills[what] += 1
        self.say(f"{self.count():>8} taken, killing: {what}")
        getattr(self, f"kill_{what}")()

    def kill_worker(self):
        """SIGKILL to the children that deliver: they have connections, and listen on no port."""
        for child in psutil.Process(self.server.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if all(one.status != psutil.CONN_LISTEN for one in child.net_connections("tcp4")):
                    child.kill()

    def kill_server(self):
        """SIGKILL to the supervisor and all its children; then it is started again."""
        for victim in [*psutil.Process(self.server.process.pid).children(recursive=True), self.server.process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        self.server.process.wait()
        self.server = start_server(self.folder / "data", *self.flags, keys=self.keys)

    def kill_database(self):
        """SIGKILL to PostgreSQL's first process: the server has to start it again by itself."""
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            if first := postmaster(self.server.data_dir):
                psutil.Process(first).kill()

    def kill_relay(self):
        """SIGKILL to the relay, which is away for a moment."""
        self.relay.kill()
        self.relay.wait()
        time.sleep(self.draw.uniform(0, 0.5))
        self.start_relay()

    def count(self):
        return self.taken.read_bytes().count(b"\n")

    def is_over(self):
        try:
            answer = self.server.client().get_campaign(ApplicationId=self.app_id, CampaignId=self.campaign_id)
        except (BotoCoreError, ClientError):
            return False
        return answer["CampaignResponse"]["State"]["CampaignStatus"] == "COMPLETED"

    def check(self):
        """Nobody missed, nothing sent that is not in the ledger, all accounts the same; returns the figures."""
        client = self.server.client()
        times = Counter(self.taken.read_bytes().decode().split())
        states = dict(self.ask("SELECT message_id, state FROM message"))
        held = self.ask("SELECT count(*) FROM campaign_drop WHERE reason = 'HOLDOUT'")[0][0]
        told = self.ask(
            """SELECT document -> 'attributes' ->> 'campaign_send_status', count(*), count(DISTINCT endpoint_id)
               FROM logged_event WHERE event_type = '_campaign.send' GROUP BY 1 ORDER BY 1"""
        )
        shown = client.get_campaign_activities(ApplicationId=self.app_id, CampaignId=self.campaign_id)
        activities = shown["ActivitiesResponse"]["Item"]
        sent = len(states)

        assert set(states.values()) == {"SENT"}, Counter(states.values())
        assert times.keys() == states.keys()
        assert max(times.values()) <= 1 + self.kills.total()  # a kill repeats a message once at most
        assert sent + held == self.recipients
        assert told == [("HOLDOUT", held, held), ("SUCCESS", sent, sent)], (told, held, sent)
        assert sum(one["TotalEndpointCount"] for one in activities) == sent
        assert sum(one["SuccessfulEndpointCount"] for one in activities) == sent
        return {"messages": sent, "held out": held, "repeats": times.total() - sent, "kills": dict(self.kills)}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """The end of all that still lives."""
        self.server.stop()
        self.relay.kill()
        self.relay.wait()
        self.relay.stdout.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipients", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--relay", nargs=2, metavar=("PORT", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.relay:
        asyncio.run(Relay.serve(int(given.relay[0]), Path(given.relay[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user when we are root
        with Chaos(Path(folder), given.recipients, given.seed) as chaos:
            seconds = chaos.run(given.kills)
            chaos.say(f"seed {given.seed}: {chaos.check()} in {seconds:.0f} s")


if __name__ == "__main__":
    main()
