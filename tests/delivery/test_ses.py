"""Email through Amazon SES: moto's server stands in for it, and a small one for its bad days."""

import asyncio
import contextlib
import http.server
import json
import threading

import boto3
import pytest
from moto.server import ThreadedMotoServer
from moto.ses.models import ses_backends

from repoint.delivery.provider import DeliveryStatus, Email
from repoint.delivery.providers.ses import SesProvider
from repoint.delivery.routing import EmailRouter
from tests.conftest import eventually
from tests.delivery.selecting import query, serving

IDENTITY = "arn:aws:ses:eu-west-1:123456789012:identity/shop.example"
MIME = b"From: Shop <news@shop.example>\r\nTo: a@example.com\r\nSubject: x\r\n\r\nhello\r\n"


def email(**members):
    given = {"recipient": "a@example.com", "content": MIME, "sender": "news@shop.example", **members}
    return Email("m1", "news@shop.example", **given)


@pytest.fixture
def aws(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return monkeypatch


@pytest.fixture
def ses(aws):
    """SES with one verified domain in each of two regions."""
    moto = ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    aws.setenv("AWS_ENDPOINT_URL_SESV2", f"http://{host}:{port}")
    for region in ("us-east-1", "eu-west-1"):
        boto3.client("sesv2", region_name=region).create_email_identity(EmailIdentity="shop.example")
        ses_backends["123456789012"][region].sent_messages.clear()
    yield lambda region: ses_backends["123456789012"][region].sent_messages
    moto.stop()


@contextlib.contextmanager
def answering(aws, status, code):
    """An SES that says the same to everything, and what it has been asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            body = json.dumps({"MessageId": "id-1"} if status == 200 else {"message": "no"}).encode()
            self.send_response(status)
            self.send_header("x-amzn-errortype", code)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        aws.setenv("AWS_ENDPOINT_URL_SESV2", f"http://127.0.0.1:{server.server_port}")
        yield asked
        server.shutdown()


def send(*emails):
    async def run():
        provider = SesProvider(is_reporting=False)
        outcomes = await provider.send(emails)
        await provider.close()
        return outcomes

    return asyncio.run(run())


def test_the_message_arrives_as_it_was_made(ses):
    (outcome,) = send(email())

    assert outcome.status is DeliveryStatus.SUCCESSFUL
    assert outcome.provider_message_id == ses("us-east-1")[0].id
    assert ses("us-east-1")[0].raw_data.encode() == MIME


def test_an_identity_s_arn_names_the_region(ses):
    send(email(identity=IDENTITY))

    assert [len(ses(region)) for region in ("us-east-1", "eu-west-1")] == [0, 1]


def test_what_is_rejected_is_final(ses):
    (outcome,) = send(email(content=MIME.replace(b"shop.example", b"other.example")))

    assert outcome.status is DeliveryStatus.PERMANENT_FAILURE
    assert "MessageRejected" in outcome.status_message


def test_channel_settings_are_passed_on(aws):
    with answering(aws, 200, "") as asked:
        send(email(identity=IDENTITY, configuration_set="news"))

    assert asked[0]["ConfigurationSetName"] == "news"
    assert asked[0]["FromEmailAddressIdentityArn"] == IDENTITY
    assert asked[0]["Destination"] == {"ToAddresses": ["a@example.com"]}


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (429, "TooManyRequestsException", DeliveryStatus.THROTTLED),
        (400, "LimitExceededException", DeliveryStatus.THROTTLED),
        (400, "SendingPausedException", DeliveryStatus.TEMPORARY_FAILURE),
        (503, "Anything", DeliveryStatus.TEMPORARY_FAILURE),
        (400, "MailFromDomainNotVerifiedException", DeliveryStatus.PERMANENT_FAILURE),
        (404, "NotFoundException", DeliveryStatus.PERMANENT_FAILURE),
    ],
)
def test_ses_s_errors_are_told_apart(aws, status, code, expected):
    with answering(aws, status, code) as asked:
        (outcome,) = send(email())

    assert outcome.status is expected
    assert len(asked) == 1


def test_an_ses_that_is_away_is_tried_again(aws):
    aws.setenv("AWS_ENDPOINT_URL_SESV2", "http://127.0.0.1:9")

    assert send(email())[0].status is DeliveryStatus.TEMPORARY_FAILURE


@pytest.mark.parametrize(
    ("identities", "members", "expected"),
    [
        (["*"], {}, True),
        (["shop.example"], {}, True),
        (["shop.example"], {"sender": "a@news.SHOP.example"}, True),
        (["shop.example"], {"sender": "a@myshop.example"}, False),
        (["news@shop.example"], {}, True),
        (["other@shop.example"], {}, False),
        ([IDENTITY], {"identity": IDENTITY, "sender": "x@elsewhere.example"}, True),
    ],
)
def test_an_identity_chooses_the_provider(identities, members, expected):
    theirs, others = SesProvider(is_reporting=False), SesProvider(is_reporting=False)
    assert EmailRouter(identities, theirs, others).is_theirs(email(**members)) is expected


def test_a_server_sends_its_domains_by_ses_and_the_rest_by_relay(ses, tmp_path):
    with serving(tmp_path / "data", "--ses-identity", "shop.example") as (server, client, app_id):
        for sender, recipient in (("news@shop.example", "a@example.com"), ("x@own.example", "b@example.com")):
            content = {"Subject": {"Data": "Hi"}, "TextPart": {"Data": "there"}}
            client.send_messages(
                ApplicationId=app_id,
                MessageRequest={
                    "Addresses": {recipient: {"ChannelType": "EMAIL"}},
                    "MessageConfiguration": {"EmailMessage": {"FromAddress": sender, "SimpleEmail": content}},
                },
            )
        eventually(lambda: query(server, "SELECT count(*) FROM message WHERE state = 'SENT'") == [(2,)])
        kept = server.get("/inbox/api/messages")["messages"]

    assert [message.source for message in ses("us-east-1")] == ["news@shop.example"]
    assert [one["recipient"] for one in kept] == ["b@example.com"]


@pytest.mark.parametrize(
    ("reports", "told"),
    [((), {"_email.send", "_email.delivered"}), (("--ses-topic-arn", "arn:aws:sns:us-east-1:1:ses"), {"_email.send"})],
)
def test_a_delivery_that_ses_will_report_is_not_told_before(ses, tmp_path, reports, told):
    with serving(tmp_path / "data", "--ses-identity", "*", *reports) as (server, client, app_id):
        content = {"Subject": {"Data": "Hi"}, "TextPart": {"Data": "there"}}
        client.send_messages(
            ApplicationId=app_id,
            MessageRequest={
                "Addresses": {"a@example.com": {"ChannelType": "EMAIL"}},
                "MessageConfiguration": {"EmailMessage": {"FromAddress": "x@shop.example", "SimpleEmail": content}},
            },
        )
        eventually(lambda: query(server, "SELECT state FROM message") == [("SENT",)])
        assert {one for (one,) in query(server, "SELECT event_type FROM logged_event")} == told
