"""Unsubscribing by mail to the address in List-Unsubscribe (RFC 2369), for mail programs without the web."""

import pytest

from tests.conftest import free_port, start_server
from tests.returns.conftest import BOUNCE_DOMAIN, Sink
from tests.returns.mails import ONE_CLICK, email, fetch, mail_for, put_endpoint, send
from tests.returns.reports import arf, deliver, dsn

WISH = "From: Ann <ann@example.net>\r\nSubject: unsubscribe\r\n\r\n"


def opt_out(pinpoint, app_id, endpoint_id="ep-41"):
    found = pinpoint.get_endpoint(ApplicationId=app_id, EndpointId=endpoint_id)
    return found["EndpointResponse"]["OptOut"]


@pytest.fixture
def mail(post, pinpoint, app_id):
    """A mail that offers both ways."""
    return mail_for(post, pinpoint, app_id, email(headers=[ONE_CLICK]))


def test_a_mail_to_the_address_opts_the_endpoint_out(post, pinpoint, app_id, mail):
    assert [way.partition(":")[0] for way in mail.ways_out] == ["http", "mailto"]
    assert mail.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert len(mail.stop_address.partition("@")[0]) <= 64
    assert deliver(post, mail.stop_address, WISH) == (250, 250)
    [(client_id, _, document)] = post.events(app_id, "_email.unsubscribe")

    assert (opt_out(pinpoint, app_id), client_id) == ("ALL", "ep-41")
    tags = document["facets"]["email_channel"]["mail_event"]["click"]["link_tags"]
    assert tags == {"unsubscribeLinkTag": ["mailto"]}


@pytest.mark.parametrize("content", ["", "\r\n", dsn(), "x" * 100_000, b"Subject: \x00\xff\r\n\r\n"], ids=range(5))
def test_whatever_the_mail_says_in_any_case_and_often(post, pinpoint, app_id, mail, content):
    answers = [deliver(post, address, content) for address in (mail.stop_address.upper(), mail.stop_address)]

    assert answers == [(250, 250)] * 2
    assert opt_out(pinpoint, app_id) == "ALL"
    assert len(post.events(app_id, "_email.unsubscribe")) == 1
    assert post.events(app_id, "_email.hardbounce") == []


def test_altered_addresses_change_nothing(post, pinpoint, app_id, mail):
    put_endpoint(pinpoint, app_id, "other", post.address())
    local, _, domain = mail.stop_address.partition("@")
    signed, message_id = local.removeprefix("stop+")[:16], local[len("stop+") + 16 :]
    bounce = mail.envelope_from.partition("@")[0].removeprefix("bounce+")
    altered = [
        f"stop+{bounce}@{domain}",
        f"stop+{signed[::-1]}{message_id}@{domain}",
        f"stop+{signed}{message_id[::-1]}@{domain}",
        f"stop+{signed}{message_id}0@{domain}",
        f"stop+{signed}@{domain}",
        f"stop+@{domain}",
        f"stop@{domain}",
        f"{local}@elsewhere.example",
        f"bounce+{signed}{message_id}@{domain}",
    ]

    assert [deliver(post, address, WISH)[0] for address in altered] == [550] * len(altered)
    assert deliver(post, mail.envelope_from, WISH) == (250, 250)
    assert deliver(post, f"abuse@{BOUNCE_DOMAIN}", arf(mail.stop_address)) == (250, 250)
    assert (opt_out(pinpoint, app_id), opt_out(pinpoint, app_id, "other")) == ("NONE", "NONE")
    assert post.events(app_id, "_email.unsubscribe") + post.events(app_id, "_email.complaint") == []


def test_who_was_deleted_is_not_made_again(post, pinpoint, app_id, mail):
    pinpoint.delete_endpoint(ApplicationId=app_id, EndpointId="ep-41")

    assert deliver(post, mail.stop_address, WISH) == (250, 250)
    with pytest.raises(pinpoint.exceptions.NotFoundException):
        opt_out(pinpoint, app_id)


def test_an_application_that_was_deleted_is_left_alone(post, pinpoint, app_id, mail):
    pinpoint.delete_app(ApplicationId=app_id)

    assert deliver(post, mail.stop_address, WISH) == (250, 250)
    assert fetch(mail.one_click, b"List-Unsubscribe=One-Click")[0] == 200


@pytest.fixture
def sink():
    sink = Sink()
    yield sink
    sink.controller.stop()


@pytest.mark.parametrize(
    ("settings", "ways"),
    [
        (("--bounce-domain", BOUNCE_DOMAIN, "--public-url", "https://t.example"), ["https"]),
        (("--bounce-domain", BOUNCE_DOMAIN, "--bounce-smtp-port"), ["mailto"]),
        (
            ("--bounce-domain", BOUNCE_DOMAIN, "--public-url", "https://t.example", "--bounce-smtp-port"),
            ["https", "mailto"],
        ),
        ((), []),
    ],
)
def test_a_mail_offers_the_ways_there_are(tmp_path, sink, settings, ways):
    port = [str(free_port()), "--bounce-smtp-host", "127.0.0.1"] if "--bounce-smtp-port" in settings else []
    relay = ("--smtp-url", f"smtp://127.0.0.1:{sink.port}?starttls=never")
    server = start_server(tmp_path / "data", *relay, *settings, *port, "--log-level", "warning")
    try:
        client = server.client()
        app_id = client.create_app(CreateApplicationRequest={"Name": "Ways"})["ApplicationResponse"]["Id"]
        put_endpoint(client, app_id, "e", "ann@example.net")
        send(client, app_id, "e", email(headers=[ONE_CLICK]))
        mail = sink.mail_to("ann@example.net")
        offered = mail.ways_out if "List-Unsubscribe" in mail.message else []

        assert [way.partition(":")[0] for way in offered] == ways
        assert ("List-Unsubscribe-Post" in mail.message) == ("https" in ways)
    finally:
        server.stop()
