"""While the database is away: links lead on, and what cannot be kept is asked for again."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from repoint.db.embedded import dsn_of
from tests.conftest import eventually, free_port, start_server
from tests.returns.conftest import BOUNCE_DOMAIN
from tests.returns.mails import ONE_CLICK, email, fetch, put_endpoint, send
from tests.returns.reports import deliver, dsn

SECRET = "5e" * 32
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Elsewhere:
    """A server on a database of its own, on the server of the others."""

    def __init__(self, folder, sink, base):
        self.name, self.bounce_port, self.base = f"away_{uuid.uuid4().hex}", free_port(), base
        self.execute("CREATE DATABASE {}")
        flags = ["--database-url", f"{base} dbname={self.name}", "--secret-key", SECRET, "--log-level", "error"]
        ways = ["--bounce-domain", BOUNCE_DOMAIN, "--bounce-smtp-host", "127.0.0.1"]
        port = free_port()
        self.server = start_server(
            folder,
            *flags,
            *ways,
            *("--bounce-smtp-port", str(self.bounce_port), "--public-url", f"http://127.0.0.1:{port}"),
            *("--smtp-url", f"smtp://127.0.0.1:{sink.port}?starttls=never"),
            port=port,
            key_flags=flags,
        )

    def execute(self, *statements):
        with psycopg.connect(f"{self.base} dbname=postgres", autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.format(self.name))

    def away(self):
        self.execute(
            "ALTER DATABASE {} ALLOW_CONNECTIONS false",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
        )

    def back(self):
        self.execute("ALTER DATABASE {} ALLOW_CONNECTIONS true")


@pytest.fixture
def elsewhere(post, tmp_path):
    base = dsn_of(post.server.data_dir).removesuffix(" dbname=postgres")
    one = Elsewhere(tmp_path / "data", post.sink, base)
    yield one
    one.back()
    one.server.stop()
    one.execute("DROP DATABASE {} WITH (FORCE)")


def test_what_cannot_be_kept_now_is_asked_for_again(post, elsewhere):
    client, address = elsewhere.server.client(), post.address()
    app_id = client.create_app(CreateApplicationRequest={"Name": "Away"})["ApplicationResponse"]["Id"]
    put_endpoint(client, app_id, "e", address)
    send(client, app_id, "e", email(headers=[ONE_CLICK], text="{{Pinpoint.PreferencesUrl}}"))
    mail = post.sink.mail_to(address)
    page = mail.text.strip()

    def wishes():
        """All at once, as each waits ten seconds for a database that is away."""
        asked = [
            lambda: fetch(mail.one_click, b"List-Unsubscribe=One-Click", FORM)[0],
            lambda: fetch(page)[0],
            lambda: fetch(page, b"opt_out=ALL&save=yes", FORM)[0],
            lambda: deliver(elsewhere, mail.stop_address, "Subject: stop\r\n\r\n")[1],
            lambda: deliver(elsewhere, mail.envelope_from, dsn())[1],
        ]
        with ThreadPoolExecutor(len(asked)) as threads:
            return list(threads.map(lambda ask: ask(), asked))

    elsewhere.away()
    assert wishes() == [503, 503, 503, 451, 451]
    assert fetch(mail.one_click, b"List-Unsubscribe=One-Click", FORM)[1]["Retry-After"] == "30"
    assert (fetch(mail.pixel)[0], fetch(mail.links[0])[0]) == (200, 302)
    elsewhere.back()
    eventually(lambda: wishes() == [200, 200, 200, 250, 250])
    found = client.get_endpoint(ApplicationId=app_id, EndpointId="e")["EndpointResponse"]
    assert found["OptOut"] == "ALL"


@pytest.mark.parametrize("gone", [{}, {"Version": "1"}], ids=["template", "version"])
def test_a_mail_that_waits_for_its_relay_outlives_its_template(post, pinpoint, app_id, gone):
    address, name = post.address(), f"t-{uuid.uuid4().hex}"
    post.sink.refused[address] = "451 4.3.2 later"
    content = {"Subject": "Reset", "TextPart": "Your code is {{code}}"}
    pinpoint.create_email_template(TemplateName=name, EmailTemplateRequest=content)
    pinpoint.update_email_template(TemplateName=name, EmailTemplateRequest={"Subject": "No"}, CreateNewVersion=True)
    recipient = {"ChannelType": "EMAIL", "Substitutions": {"code": ["42"]}}
    request = {
        "Addresses": {address: recipient},
        "MessageConfiguration": {"EmailMessage": {"FromAddress": "shop@example.com"}},
        "TemplateConfiguration": {"EmailTemplate": {"Name": name}},
    }
    answer = pinpoint.send_messages(ApplicationId=app_id, MessageRequest=request)["MessageResponse"]["Result"][address]
    pinpoint.delete_email_template(TemplateName=name, **gone)
    del post.sink.refused[address]
    mail = post.sink.mail_to(address)

    assert answer["DeliveryStatus"] == "SUCCESSFUL"
    assert (mail.message["Subject"], mail.text.strip()) == ("Reset", "Your code is 42")
