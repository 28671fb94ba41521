"""What of an EmailMessage reaches the reader, and in which form."""

import email.policy
import re
import uuid
from email import message_from_bytes
from email.message import EmailMessage

import pytest
from aiosmtpd.controller import Controller

from tests.conftest import eventually, free_port, start_server
from tests.messages.sending import arrived, mailbox, put, send

FROM = {"FromAddress": "Shop <shop@example.com>"}


def mail(server, client, app_id, message, address=None, given=None, **request):
    """Send one email, and parse what arrives."""
    address = address or mailbox()
    recipient = {address: {"ChannelType": "EMAIL", **(given or {})}}
    send(client, app_id, Addresses=recipient, MessageConfiguration=message, **request)
    return opened(server, address)


@pytest.fixture
def mailed(server, pinpoint, app_id):
    """Sends one, and parses what arrives."""
    return lambda message, **given: mail(server, pinpoint, app_id, message, **given)


def opened(server, address):
    (message,) = arrived(server, address)
    source = server.get(f"/inbox/api/messages/{message['id']}/source")
    return message_from_bytes(source.encode(), policy=email.policy.default)


PIXEL = re.compile(r'<img src="[^"]*/t/o/[^"]*"[^>]*>')


def part(message, subtype):
    return PIXEL.sub("", message.get_body((subtype,)).get_content().strip())


def template(client, **content):
    name = f"t-{uuid.uuid4().hex}"
    client.create_email_template(TemplateName=name, EmailTemplateRequest=content)
    return {"EmailTemplate": {"Name": name}}


def test_a_simple_email_arrives_with_its_parts_and_headers(server, pinpoint, app_id):
    simple = {
        "Subject": {"Data": "Grüße an {{name}}", "Charset": "ISO-8859-1"},
        "HtmlPart": {"Data": "<p>Hallo {{name}}</p>", "Charset": "UTF-8"},
        "TextPart": {"Data": "Hallo {{name}}", "Charset": "utf8"},
        "Headers": [{"Name": "X-Campaign", "Value": "spring"}],
    }
    got = mail(
        server,
        pinpoint,
        app_id,
        {"EmailMessage": {**FROM, "SimpleEmail": simple, "ReplyToAddresses": ["a@example.com", "B <b@example.com>"]}},
        given={"Substitutions": {"name": ["<Ann>"]}},
    )

    assert got["Subject"] == "Grüße an <Ann>"
    assert (part(got, "html"), part(got, "plain")) == ("<p>Hallo &lt;Ann&gt;</p>", "Hallo <Ann>")
    assert got["X-Campaign"] == "spring"
    assert [one.addr_spec for one in got["Reply-To"].addresses] == ["a@example.com", "b@example.com"]
    assert got["From"] == "Shop <shop@example.com>"


GERMAN, RUSSIAN, JAPANESE = "Grüße an {{name}}", "Привет, {{name}}", "{{name}}様、お元気ですか"


@pytest.mark.parametrize(
    ("text", "name", "charsets"),
    [
        (GERMAN, "Zoë", ("ISO-8859-1", "iso-8859-1")),
        (GERMAN, "Zoë", ("latin1", "iso-8859-1")),
        (GERMAN, "Zoë €", ("Windows-1252", "windows-1252")),
        (GERMAN, "花子", ("ISO-8859-1", "utf-8")),
        (RUSSIAN, "Зоя", ("KOI8-R", "koi8-r")),
        (JAPANESE, "花子", ("Shift_JIS", "shift_jis")),
        (JAPANESE, "花子", ("ISO-2022-JP", "iso-2022-jp")),
        (JAPANESE, "¥\\", ("Shift_JIS", "utf-8")),
        (JAPANESE, "🎉", ("EUC-JP", "utf-8")),
        (JAPANESE, "花子", ("UTF-16", "utf-8")),
        ("Hello {{name}}", "Ann", ("US-ASCII", "us-ascii")),
        ("Hello {{name}}", "Zoë", ("US-ASCII", "utf-8")),
    ],
)
def test_a_part_has_the_charset_it_asks_for_if_its_text_fits(mailed, text, name, charsets):
    asked, used = charsets
    parts = {member: {"Data": text, "Charset": asked} for member in ("Subject", "TextPart")}
    simple = parts | {"HtmlPart": {"Data": f"<p>{text}</p>"}}
    message = {"EmailMessage": {**FROM, "SimpleEmail": simple}}
    got = mailed(message, given={"Substitutions": {"name": [name]}})
    said = text.replace("{{name}}", name)

    assert got["Subject"] == said
    assert (part(got, "plain"), part(got, "html")) == (said, f"<p>{said}</p>")
    assert [one.get_content_charset() for one in got.iter_parts()] == [used, "utf-8"]


def test_a_subject_is_written_in_the_charset_it_asks_for(server, pinpoint, app_id):
    simple = {"Subject": {"Data": "Grüße " * 30, "Charset": "ISO-8859-1"}, "TextPart": {"Data": "x"}}
    address = mailbox()
    message = {"EmailMessage": {**FROM, "SimpleEmail": simple}}
    got = mail(server, pinpoint, app_id, message, address)
    (arrived_mail,) = arrived(server, address)
    source = server.get(f"/inbox/api/messages/{arrived_mail['id']}/source")

    assert got["Subject"] == "Grüße " * 30
    assert set(re.findall(r"=\?([a-z0-9-]+)\?b\?", source)) == {"iso-8859-1"}


def test_a_raw_email_keeps_its_headers_and_attachments_but_not_its_bcc(server, pinpoint, app_id):
    whole = EmailMessage()
    whole["From"], whole["Subject"], whole["Bcc"] = "Raw <raw@example.com>", "Whole", "hidden@example.com"
    whole["X-Mine"] = "kept {{name}}"
    whole.set_content("Body {{name}}")
    whole.add_attachment(b"\x00\x01\xff", maintype="application", subtype="octet-stream", filename="a.bin")
    got = mail(server, pinpoint, app_id, {"EmailMessage": {"RawEmail": {"Data": whole.as_bytes()}}})
    (attachment,) = got.iter_attachments()

    assert (got["From"], got["Subject"], got["X-Mine"]) == ("Raw <raw@example.com>", "Whole", "kept {{name}}")
    assert got["Bcc"] is None
    assert part(got, "plain") == "Body {{name}}"
    assert (attachment.get_filename(), attachment.get_content()) == ("a.bin", b"\x00\x01\xff")


@pytest.mark.parametrize("name", ["Bcc", "BCC ", "bcc\t", "Resent-Bcc"])
def test_nobody_learns_of_a_blind_copy(server, pinpoint, app_id, name):
    data = f"From: raw@example.com\n{name}: hidden@example.com,\n other@example.com\nSubject: x\n\nx".encode()
    address = mailbox()
    send(
        pinpoint,
        app_id,
        Addresses={address: {"ChannelType": "EMAIL"}},
        MessageConfiguration={"EmailMessage": {"RawEmail": {"Data": data}}},
    )
    (message,) = arrived(server, address)

    assert "hidden" not in str(message["headers"])
    assert "other" not in str(message["headers"])
    assert message["subject"] == "x"


def test_a_raw_email_wins_over_everything_else(server, pinpoint, app_id):
    raw = {"Data": b"From: raw@example.com\r\nSubject: Raw\r\n\r\nraw"}
    simple = {"Subject": {"Data": "Simple"}, "TextPart": {"Data": "simple"}}
    got = mail(server, pinpoint, app_id, {"EmailMessage": {**FROM, "RawEmail": raw, "SimpleEmail": simple}})

    assert (got["Subject"], part(got, "plain")) == ("Raw", "raw")


def test_the_channel_is_the_sender_of_last_resort(server, pinpoint, app_id):
    channel = {"FromAddress": "channel@example.com", "Identity": "arn:aws:ses:x"}
    pinpoint.update_email_channel(ApplicationId=app_id, EmailChannelRequest=channel)
    message = {"EmailMessage": {"SimpleEmail": {"TextPart": {"Data": "x"}}}}

    assert mail(server, pinpoint, app_id, message)["From"] == "channel@example.com"
    assert (
        mail(server, pinpoint, app_id, {"EmailMessage": {**message["EmailMessage"], **FROM}})["From"]
        == FROM["FromAddress"]
    )


@pytest.mark.parametrize(
    ("body", "subtype"), [("Plain {{x}}", "plain"), ("<p>Rich {{x}}</p>", "html"), ("1 < 2 {{x}}", "plain")]
)
def test_a_body_without_a_type_is_html_if_it_looks_like_it(server, pinpoint, app_id, body, subtype):
    given = {"BodyOverride": body, "TitleOverride": "Over {{x}}", "Substitutions": {"x": ["y"]}}
    simple = {"Subject": {"Data": "under"}, "TextPart": {"Data": "under"}, "HtmlPart": {"Data": "<b>under</b>"}}
    got = mail(server, pinpoint, app_id, {"EmailMessage": {**FROM, "SimpleEmail": simple}}, given=given)

    assert got["Subject"] == "Over y"
    assert [kind for kind in ("plain", "html") if got.get_body((kind,))] == [subtype]
    assert part(got, subtype) == body.replace("{{x}}", "y")


def test_a_template_fills_what_the_message_leaves_out(server, pinpoint, app_id):
    headers = [{"Name": "X-T", "Value": "t"}]
    wanted = template(pinpoint, Subject="T", HtmlPart="<i>T</i>", TextPart="T", Headers=headers)
    simple = {"EmailMessage": {**FROM, "SimpleEmail": {"TextPart": {"Data": "mine"}}}}
    alone = mail(server, pinpoint, app_id, {"EmailMessage": FROM}, TemplateConfiguration=wanted)
    mixed = mail(server, pinpoint, app_id, simple, TemplateConfiguration=wanted)

    assert (part(alone, "html"), part(alone, "plain"), alone["X-T"]) == ("<i>T</i>", "T", "t")
    assert (mixed["Subject"], part(mixed, "plain")) == ("T", "mine")
    assert mixed.get_body(("html",)) is None


def test_an_endpoint_lends_its_data(server, pinpoint, app_id):
    address = mailbox()
    user = {"UserId": "u", "UserAttributes": {"First Name": ["Ann"]}}
    put(pinpoint, app_id, "e", "EMAIL", address, User=user, Attributes={"tags": ["a", "b"]}, Metrics={"n": 2.5})
    body = "{{User.UserAttributes.[First Name].[0]}} {{Attributes.tags.[1]}} {{Metrics.n}} {{User.UserId}} {{OptOut}}"
    simple = {"TextPart": {"Data": body}}
    send(pinpoint, app_id, Endpoints={"e": {}}, MessageConfiguration={"EmailMessage": {**FROM, "SimpleEmail": simple}})

    assert part(opened(server, address), "plain") == "Ann b 2.5 u NONE"


def test_a_header_may_have_variables(server, pinpoint, app_id):
    headers = [{"Name": "X-Order", "Value": "{{order}}"}, {"Name": "X-Fixed", "Value": "f"}]
    wanted = template(pinpoint, Subject="T", TextPart="T", Headers=headers)
    got = mail(
        server,
        pinpoint,
        app_id,
        {"EmailMessage": FROM},
        given={"Substitutions": {"order": ["7\r\nBcc: all@example.com"]}},
        TemplateConfiguration=wanted,
    )

    assert (got["X-Order"].split(), got["X-Fixed"]) == (["7", "Bcc:", "all@example.com"], "f")
    assert got["Bcc"] is None


def test_headers_that_are_the_messages_own_cannot_be_replaced(server, pinpoint, app_id):
    headers = [
        {"Name": name, "Value": "x@example.com {{x}}"}
        for name in ("From", "to", "SUBJECT", "Bcc", "Message-ID", "Content-Type", "content-transfer-encoding")
    ]
    simple = {"Subject": {"Data": "Mine"}, "TextPart": {"Data": "x"}, "Headers": headers}
    got = mail(server, pinpoint, app_id, {"EmailMessage": {**FROM, "SimpleEmail": simple}})

    names = ("From", "To", "Subject", "Message-ID", "Content-Type", "Content-Transfer-Encoding")
    assert [len(got.get_all(name)) for name in names] == [1] * len(names)
    assert (got["From"], got["Subject"], got["Bcc"]) == (FROM["FromAddress"], "Mine", None)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("=?UTF-8?B?w5xiZXI=?= <a@example.com>", "Über"),
        ("=?utf-8?Q?Caf=C3=A9_Shop?= =?iso-8859-1?q?_Gr=FC=DFe?= <a@example.com>", "Café Shop Grüße"),
        ('"=?UTF-8?Q?Anna=2C_B=C3=A4r?=" <a@example.com>', "Anna, Bär"),
        ("=?UTF-8?Q?Ann=0D=0ABcc:_b@example.com?= <a@example.com>", "Ann  Bcc: b@example.com"),
        ("=?unicode_escape?Q?=5Cud800?= <a@example.com>", "=?unicode_escape?Q?=5Cud800?="),
        ("=?none?Q?x?= <a@example.com>", "=?none?Q?x?="),
    ],
)
def test_a_name_in_encoded_words_is_read_as_it_was_meant(server, pinpoint, app_id, given, read):
    got = mail(
        server,
        pinpoint,
        app_id,
        {
            "EmailMessage": {
                "FromAddress": given,
                "ReplyToAddresses": [given],
                "SimpleEmail": {"TextPart": {"Data": "x"}},
            }
        },
    )

    for header in ("From", "Reply-To"):
        (one,) = got[header].addresses
        assert (one.display_name, one.addr_spec) == (read, "a@example.com")
    assert got["Bcc"] is None


@pytest.mark.parametrize(
    "sender",
    [
        "A very long name\r\n <a@example.com>",
        "a@example.com (Ann)",
        '"Ann <no@example.com>" <a@example.com>',
        "Ann <a@example.com>, Ben <b@example.com>",
        "=?utf-8?q?A?=\r\n =?utf-8?q?nn?= <a@example.com>",
    ],
)
def test_a_raw_email_is_from_whom_it_says_however_that_is_written(mailed, sender):
    data = f"From: {sender}\r\nSubject: Hello\r\n".encode()
    got = mailed({"EmailMessage": {"RawEmail": {"Data": data}}})

    assert got["From"].addresses[0].addr_spec == "a@example.com"
    assert got["Message-ID"].endswith("@example.com>")
    assert (got["Subject"], got.get_payload()) == ("Hello", "")


class Envelopes:
    """An SMTP handler that keeps who mail is from and for."""

    def __init__(self):
        self.seen = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.seen.append((envelope.mail_from, envelope.rcpt_tos))
        return "250 ok"


def test_bounces_go_to_the_feedback_address(tmp_path):
    envelopes = Envelopes()
    relay = Controller(envelopes, hostname="127.0.0.1", port=free_port())
    relay.start()
    running = start_server(tmp_path / "data", "--smtp-url", f"smtp://127.0.0.1:{relay.port}", "--log-level", "error")
    client = running.client()
    app = client.create_app(CreateApplicationRequest={"Name": "Feedback"})["ApplicationResponse"]["Id"]
    simple = {"TextPart": {"Data": "x"}}
    for more in ({}, {"FeedbackForwardingAddress": "Bounces <bounces@example.com>"}):
        recipient = {mailbox(): {"ChannelType": "EMAIL"}}
        send(
            client,
            app,
            Addresses=recipient,
            MessageConfiguration={"EmailMessage": {**FROM, "SimpleEmail": simple, **more}},
        )
    eventually(lambda: len(envelopes.seen) == 2)
    relay.stop()
    running.stop()

    assert sorted(sender for sender, _ in envelopes.seen) == ["bounces@example.com", "shop@example.com"]
