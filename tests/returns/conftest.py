"""A server whose mail goes to a real SMTP server, with everything that lets things come back."""

from dataclasses import dataclass, field

import psycopg
import pytest
from aiosmtpd.controller import Controller

from repoint.db.embedded import dsn_of
from tests.conftest import eventually, free_port, start_server
from tests.returns.mails import ReceivedMail
from tests.returns.stand_in import SnsStandIn

BOUNCE_DOMAIN = "bounces.example.com"
TOPIC = "arn:aws:sns:us-east-1:123456789012:ses"


class Sink:
    """Takes every mail, but for recipients it has been told to refuse."""

    def __init__(self):
        self.mails = []
        self.refused = {}
        self.port = free_port()
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self.controller.start()

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd's
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's
        self.mails.append(ReceivedMail(envelope.mail_from, envelope.rcpt_tos[0], envelope.content))
        return "250 2.0.0 taken"

    def mail_to(self, recipient):
        return eventually(lambda: next((mail for mail in self.mails if mail.recipient == recipient), None))


@dataclass
class Post:
    """The server, the sink it sends to, and the ways back."""

    server: object
    sink: Sink
    bounce_port: int
    sns: SnsStandIn
    numbers: iter = field(default_factory=lambda: iter(range(1, 100_000)))

    def address(self):
        return f"person{next(self.numbers)}@example.net"

    def connection(self):
        return psycopg.connect(dsn_of(self.server.data_dir), autocommit=True)

    def events(self, app_id, event_type):
        with self.connection() as connection:
            rows = connection.execute(
                """SELECT endpoint_id, event_at, document FROM logged_event
                   WHERE app_id = %s AND event_type = %s ORDER BY event_id""",
                [app_id, event_type],
            )
            return rows.fetchall()


@pytest.fixture(scope="session")
def post(tmp_path_factory):
    """One for all tests of what comes back."""
    sink, sns, port, bounce_port = Sink(), SnsStandIn(TOPIC), free_port(), free_port()
    folder = tmp_path_factory.mktemp("post") / "data"
    server = start_server(
        folder,
        *("--smtp-url", f"smtp://127.0.0.1:{sink.port}?starttls=never"),
        *("--public-url", f"http://127.0.0.1:{port}"),
        *("--bounce-domain", BOUNCE_DOMAIN, "--bounce-smtp-port", str(bounce_port)),
        *("--bounce-smtp-host", "127.0.0.1", "--trusted-proxies", "1"),
        *("--ses-topic-arn", TOPIC, "--sns-trusted-url", sns.url, "--log-level", "warning"),
        port=port,
    )
    yield Post(server, sink, bounce_port, sns)
    server.stop()
    sink.controller.stop()
    sns.stop()


@pytest.fixture
def pinpoint(post):
    return post.server.client()


@pytest.fixture
def app_id(pinpoint):
    return pinpoint.create_app(CreateApplicationRequest={"Name": "Returns"})["ApplicationResponse"]["Id"]
