"""A campaign through a hostile relay, its worker killed again and again: nobody is missed, and repeats are bounded."""

import collections
import contextlib
import random
import signal
import time

import psutil

from tests.conftest import eventually
from tests.delivery.hostile_smtp import DROP, HostileRelay, in_thread
from tests.delivery.selecting import email_content, is_done, put_endpoints, query, select, serving, states

RECIPIENTS = 2_500
SLICE_MESSAGES_MAX = 1_000
KILLS = 3
BOUNCING = 50


class Mischief:
    """What the relay does now and then, but for good only to those it does not know."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.replies = 0

    def at(self, chance, *answers):
        return lambda _: self.random.choice(answers) if self.random.random() < chance else None

    def to_recipient(self, session):
        self.replies += 1
        if int(session.recipient[1:].partition("@")[0]) % BOUNCING == 0:
            return "550 5.1.1 nobody"
        return "451 4.7.1 later" if self.random.random() < 0.02 else None

    def answers(self):
        return {
            "CONNECT": self.at(0.1, DROP, "421 busy"),
            "MAIL": self.at(0.002, DROP, "421 closing", "garbage"),
            "RCPT": self.to_recipient,
            "END": self.at(0.002, DROP, "451 4.3.0 disk full"),
        }


def kill_the_worker(server):
    """SIGKILL to the process that delivers: the child that has connections, and listens on no port."""
    victims = []
    for child in psutil.Process(server.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            connections = child.net_connections("tcp4")
            if connections and all(one.status != psutil.CONN_LISTEN for one in connections):
                victims.append(child)
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    return len(victims)


def test_a_killed_worker_misses_nobody_and_repeats_at_most_a_slice(tmp_path):
    kills = 0
    with in_thread(HostileRelay(Mischief(7).answers())) as relay:
        url = relay.url("starttls=never&connections_max=4&timeout_seconds=2")
        with serving(tmp_path / "data", "--smtp-url", url, "--lease-seconds", "2") as (server, client, app_id):
            put_endpoints(client, app_id, RECIPIENTS)
            activity_id, targeted = select(server, app_id, email_content())
            for round_ in range(1, KILLS + 1):
                eventually(lambda round_=round_: len(relay.messages) > round_ * 300)
                time.sleep(random.uniform(0, 0.1))  # the moment is chance; nothing is waited for
                kills += eventually(lambda: kill_the_worker(server))
            eventually(lambda: is_done(server), seconds=90)
            ended = states(server, activity_id)
            retried = query(server, "SELECT address FROM message WHERE attempts > 1 AND activity_id = %s", activity_id)

    arrivals = collections.Counter(relay.recipients)
    wanted = {f"p{number}@example.com" for number in range(RECIPIENTS) if number % BOUNCING}
    repeated = [address for address, count in arrivals.items() if count > 1]

    assert (targeted, kills) == (RECIPIENTS, KILLS)
    assert ended == {"SENT": len(wanted), "FAILED": RECIPIENTS - len(wanted)}
    assert set(arrivals) == wanted
    assert sum(arrivals.values()) - len(arrivals) <= KILLS * SLICE_MESSAGES_MAX
    assert set(repeated) <= {address for (address,) in retried}
