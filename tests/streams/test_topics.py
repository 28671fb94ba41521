"""Topics: the guide's two-way SMS handler gets SNS's Records; webhooks get SNS's own JSON."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from moto.server import ThreadedMotoServer

from repoint.bindings.functions import Functions
from repoint.bindings.topics import TopicError, Topics
from repoint.clock import system_clock
from repoint.db import Database
from repoint.db.embedded import dsn_of
from repoint.sealing import Seal
from tests.streams.conftest import bind
from tests.streams.test_functions import GUIDE_TWO_WAY, SMS

ARN = "arn:aws:sns:us-east-1:123456789012:"


def publish(server, topic, message=SMS):
    """Publish as a worker would."""

    async def act():
        db, seal = (
            Database(dsn_of(server.data_dir)),
            Seal.from_settings("", server.data_dir),
        )
        await db.open()
        functions = Functions(db, seal, system_clock)
        topics = Topics(db, seal, system_clock, functions)
        try:
            return await topics.publish(ARN + topic, message)
        finally:
            await topics.close()
            await functions.close()
            await db.close()

    return asyncio.run(act())


def test_the_guides_two_way_handler_runs_unmodified(server, tmp_path):
    (tmp_path / "guide.py").write_text(GUIDE_TWO_WAY)
    bind(server, ARN + "guide", f"python:{tmp_path}/guide.py")

    assert publish(server, "guide")
    with pytest.raises(TopicError, match="KeyError: 'messageBody'"):
        publish(server, "guide", {"none": "of it"})


def test_a_webhook_gets_snss_json(server):
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((dict(self.headers), json.loads(self.rfile.read(int(self.headers["content-length"])))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    bind(server, ARN + "hook", f"http://127.0.0.1:{http.server_port}/")
    message_id = publish(server, "hook")
    http.shutdown()
    [(headers, body)] = got

    assert (body["Type"], body["MessageId"], body["TopicArn"]) == ("Notification", message_id, ARN + "hook")
    assert json.loads(body["Message"]) == SMS
    assert headers["x-amz-sns-message-type"] == "Notification"


def test_sns_itself_is_published_to(server, monkeypatch):
    moto = ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    url = "http://127.0.0.1:{1}".format(*moto.get_host_and_port())
    for name, value in {"AWS_ENDPOINT_URL_SNS": url, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(name, value)
    sns = boto3.client("sns", region_name="us-east-1")
    sns.create_topic(Name="real")
    bind(server, ARN + "real", "aws")
    bind(server, ARN + "missing", "aws")

    assert publish(server, "real")
    with pytest.raises(TopicError, match="NotFound"):
        publish(server, "missing")
    moto.stop()


def test_a_topic_without_a_binding_says_what_to_do(server):
    with pytest.raises(TopicError, match="repoint bindings set"):
        publish(server, "unbound")
