"""DKIM: signatures that an independent verifier accepts, by keys made on the command line."""

import json
import subprocess
from datetime import UTC, datetime
from email import message_from_bytes

import dkim as verifier
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repoint.delivery.dkim import sign
from repoint.resources.dkim import SigningKey, generate
from tests.conftest import REPOINT, eventually

KEYS = {algorithm: generate(algorithm) for algorithm in ("rsa", "ed25519")}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
HEAD = b"From: a@example.com\r\nTo: b@example.com\r\nSubject:  spaced \t out\r\n folded"


def verifies(content, records, index=0):
    """Whether dkimpy accepts the signature, with these records for a DNS."""
    try:
        message = verifier.DKIM(content, minkey=1024)
        return message.verify(idx=index, dnsfunc=lambda name, **_: records.get(name.decode().rstrip(".")))
    except verifier.DKIMException:
        return False


def signed(content, *algorithms):
    keys = [SigningKey("example.com", algorithm, KEYS[algorithm][0]) for algorithm in algorithms]
    return sign(content, keys, NOW), {f"{name}._domainkey.example.com": KEYS[name][1].encode() for name in algorithms}


@pytest.mark.parametrize("algorithm", ["rsa", "ed25519"])
@pytest.mark.parametrize(
    "body",
    [b"", b"\r\n", b"\r\n\r\n", b"x", b"x\r\n\r\n\r\n", b" \r\n\t\r\n", b"a  b\tc \r\n d\r\n", b"no end ", b" ", b"\t"],
)
def test_signatures_verify_whatever_the_body(algorithm, body):
    content, records = signed(HEAD + b"\r\n\r\n" + body, algorithm)

    assert verifies(content, records)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=" \t\r\nab.é", max_size=60), st.text(alphabet=" \tab:;é", max_size=60))
def test_signatures_verify_whatever_the_text(text, subject):
    body = "\r\n".join(text.splitlines()).encode()
    head = b"From: a@example.com\r\nSubject: " + subject.encode()
    content, records = signed(head + b"\r\n\r\n" + body, "ed25519")

    assert verifies(content, records)


def test_both_algorithms_sign():
    content, records = signed(HEAD + b"\r\n\r\nhello\r\n", "rsa", "ed25519")

    assert verifies(content, records, 0)
    assert verifies(content, records, 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"hello", b"hallo"), (b"\r\nTo: b@", b"\r\nTo: c@"), (b"\r\nTo:", b"\r\nFrom: evil@example.com\r\nTo:")],
)
def test_what_is_changed_afterwards_is_found_out(old, new):
    content, records = signed(b"From: a@example.com\r\nTo: b@example.com\r\n\r\nhello\r\n", "ed25519")

    assert verifies(content, records)
    assert not verifies(content.replace(old, new), records)


def repoint(server, *arguments, status=0):
    done = subprocess.run(
        [REPOINT, "dkim", *arguments, "--data-dir", server.data_dir], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def source(server, recipient):
    """The email as it arrived in the inbox."""
    found = eventually(lambda: server.get(f"/inbox/api/messages?recipient={recipient}")["messages"])
    return server.get(f"/inbox/api/messages/{found[0]['id']}/source").encode()


def send(pinpoint, app_id, sender, recipient):
    email = {"Subject": {"Data": "Grüße"}, "TextPart": {"Data": "a  b\n"}, "HtmlPart": {"Data": "<p>ä</p>"}}
    pinpoint.send_messages(
        ApplicationId=app_id,
        MessageRequest={
            "Addresses": {recipient: {"ChannelType": "EMAIL"}},
            "MessageConfiguration": {"EmailMessage": {"FromAddress": sender, "SimpleEmail": email}},
        },
    )


def test_email_is_signed_while_its_domain_has_keys(server, pinpoint, app_id):
    (made,) = json.loads(repoint(server, "create", "news.example.org", "--algorithm", "ed25519", "--json"))
    records = {made["dns_name"]: made["dns_record"].encode()}
    send(pinpoint, app_id, "Shop <shop@mail.news.example.org>", "signed@example.com")
    content = source(server, "signed@example.com")
    repoint(server, "delete", "news.example.org")
    send(pinpoint, app_id, "Shop <shop@mail.news.example.org>", "unsigned@example.com")

    assert verifies(content, records)
    assert "DKIM-Signature" not in message_from_bytes(source(server, "unsigned@example.com"))


def test_keys_are_listed_with_their_records(server):
    repoint(server, "create", "Shop.example.net")
    repoint(server, "create", "shop.example.net", status=1)
    repoint(server, "create", "not a domain", status=1)

    assert 'repoint._domainkey.shop.example.net. TXT ( "v=DKIM1; k=rsa; p=' in repoint(
        server, "show", "shop.example.net"
    )
    assert "shop.example.net" in repoint(server, "list")
    assert repoint(server, "delete", "shop.example.net") == "1 deleted\n"
    repoint(server, "show", "shop.example.net", status=1)
