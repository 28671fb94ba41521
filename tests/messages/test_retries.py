"""AWS's SDKs repeat a call they have had no answer to: with the same invocation id, and it is sent once."""

import contextlib
import json
import socket
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psycopg
from botocore.config import Config

from repoint.db.embedded import dsn_of
from tests.conftest import eventually
from tests.messages.sending import phone, put, text

SMS = {"SMSMessage": {"Body": "Hello"}}


def client_with(server, invocation_id):
    """A client all of whose calls bear the same invocation id, as the attempts of one call do."""
    client = server.client()

    def replace(request, **_):
        request.headers["amz-sdk-invocation-id"] = invocation_id

    client.meta.events.register("before-send.pinpoint.*", replace)
    return client


class LosesFirstAnswer:
    """A TCP proxy that hands the first request on, waits for its answer, and hangs up instead of passing it back."""

    def __init__(self, url):
        self.target = ("127.0.0.1", urlsplit(url).port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with near, socket.create_connection(self.target) as far:
                near.settimeout(0.3)
                with contextlib.suppress(TimeoutError):
                    while data := near.recv(65536):
                        far.sendall(data)
                answer = far.recv(65536)
                if self.connections > 1:
                    near.sendall(answer)


def send(client, app_id, number, body="Hello"):
    answer = client.send_messages(
        ApplicationId=app_id,
        MessageRequest={
            "Addresses": {number: {"ChannelType": "SMS"}},
            "MessageConfiguration": {"SMSMessage": {"Body": body}},
        },
    )
    return answer["MessageResponse"]


def ledger(server, app_id):
    with psycopg.connect(dsn_of(server.data_dir)) as connection:
        return connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE state = 'SENT') FROM message WHERE app_id = %s", [app_id]
        ).fetchone()


def test_a_client_that_lost_the_answer_and_tried_again_has_sent_once(server, app_id):
    proxy, number = LosesFirstAnswer(server.url), phone()
    config = Config(retries={"total_max_attempts": 3, "mode": "standard"})
    answer = send(server.client(endpoint_url=proxy.url, config=config), app_id, number)
    proxy.listener.close()

    assert proxy.connections == 2
    assert answer["Result"][number]["DeliveryStatus"] == "SUCCESSFUL"
    assert text(server, number)["message_id"] == answer["Result"][number]["MessageId"]
    assert eventually(lambda: ledger(server, app_id) == (1, 1))


def test_a_repeated_request_is_answered_alike_and_sent_once(server, app_id):
    client, number = client_with(server, str(uuid.uuid4())), phone()
    first = send(client, app_id, number)
    text(server, number)
    second = send(client, app_id, number)

    assert second["Result"] == first["Result"]
    assert second["RequestId"] != first["RequestId"]
    assert eventually(lambda: ledger(server, app_id) == (1, 1))


def test_attempts_at_the_same_moment_are_sent_once(server, app_id):
    invocation_id, number = str(uuid.uuid4()), phone()
    with ThreadPoolExecutor(8) as pool:
        clients = [client_with(server, invocation_id) for _ in range(8)]
        answers = list(pool.map(lambda client: send(client, app_id, number), clients))

    assert len({json.dumps(answer["Result"]) for answer in answers}) == 1
    assert eventually(lambda: ledger(server, app_id) == (1, 1))


def test_another_body_under_the_same_id_is_another_request(server, app_id):
    client, number = client_with(server, str(uuid.uuid4())), phone()
    ids = {send(client, app_id, number, body)["Result"][number]["MessageId"] for body in ("one", "two")}

    assert len(ids) == 2
    assert eventually(lambda: ledger(server, app_id) == (2, 2))


def test_the_same_call_made_twice_is_sent_twice(server, pinpoint, app_id):
    number = phone()
    ids = {send(pinpoint, app_id, number)["Result"][number]["MessageId"] for _ in range(2)}

    assert len(ids) == 2
    assert eventually(lambda: ledger(server, app_id) == (2, 2))


def test_users_messages_are_sent_once_too(server, app_id):
    client, number = client_with(server, str(uuid.uuid4())), phone()
    put(client, app_id, "e", "SMS", number, User={"UserId": "u"})
    request = {"Users": {"u": {}}, "MessageConfiguration": SMS}
    answers = [
        client.send_users_messages(ApplicationId=app_id, SendUsersMessageRequest=request)["SendUsersMessageResponse"]
        for _ in range(2)
    ]

    assert answers[0]["Result"] == answers[1]["Result"]
    assert eventually(lambda: ledger(server, app_id) == (1, 1))
