"""kill -9 at any moment: what was accepted is delivered, and what may come twice is bounded and shown."""

import random
import threading
import time

import psycopg
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from repoint.db.embedded import dsn_of
from tests.conftest import eventually, start_server
from tests.killing import kill_all

SENDERS = 6
IN_FLIGHT_MESSAGES_MAX = 500
KILLS = 3
FLAGS = ["--log-level", "error", "--lease-seconds", "3"]


def message_for(number):
    return {
        "Addresses": {f"+1425555{number:06}": {"ChannelType": "SMS"}},
        "MessageConfiguration": {"SMSMessage": {"Body": f"message {number}"}},
    }


class Senders:
    """Threads that send numbered messages until told to stop, and remember what was accepted."""

    def __init__(self, server, app_id, first):
        self.accepted, self.stopping, self.numbers = set(), threading.Event(), iter(range(first, first + 100_000))
        self.lock = threading.Lock()
        self.threads = [
            threading.Thread(target=self.send, args=(server.client(), app_id), daemon=True) for _ in range(SENDERS)
        ]
        for thread in self.threads:
            thread.start()

    def send(self, client, app_id):
        while not self.stopping.is_set():
            with self.lock:
                number = next(self.numbers)
            try:
                answer = client.send_messages(ApplicationId=app_id, MessageRequest=message_for(number))
            except (BotoCoreError, ClientError):
                continue
            address, result = next(iter(answer["MessageResponse"]["Result"].items()))
            assert result["DeliveryStatus"] == "SUCCESSFUL"
            self.accepted.add(address)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def waiting(server):
    """How many messages are not settled yet."""
    with psycopg.connect(dsn_of(server.data_dir)) as connection:
        return connection.execute("SELECT count(*) FROM outbox").fetchone()[0]


def received(server):
    """Every recipient in the inbox, as often as it has been sent to."""
    found, token = [], ""
    while token is not None:
        page = server.get(f"/inbox/api/messages?limit=200&after={token}")
        found += [message["recipient"] for message in page["messages"]]
        token = page["next"]
    return found


@pytest.mark.parametrize("with_database", [False, True], ids=["server", "server and database"])
def test_accepted_messages_survive_kills_under_load(tmp_path, with_database):
    server = start_server(tmp_path / "data", *FLAGS)
    keys = (server.access_key_id, server.secret_access_key)
    app_id = server.client().create_app(CreateApplicationRequest={"Name": "Kill"})["ApplicationResponse"]["Id"]
    accepted = set()
    for round_ in range(KILLS):
        senders = Senders(server, app_id, round_ * 100_000)
        eventually(lambda senders=senders: len(senders.accepted) > 200)
        time.sleep(random.uniform(0, 0.5))  # the moment is chance; nothing is waited for
        kill_all(server, with_database=with_database)
        senders.stop()
        accepted |= senders.accepted
        server = start_server(tmp_path / "data", *FLAGS, keys=keys)

    eventually(lambda: server.get("/inbox/api/messages?limit=1") and not waiting(server), seconds=60)
    arrivals = received(server)

    assert accepted - set(arrivals) == set()
    assert len(accepted) > 200 * KILLS
    assert len(arrivals) - len(set(arrivals)) <= KILLS * IN_FLIGHT_MESSAGES_MAX
    assert server.stop() == 0
