"""Whatever comes: reports, tokens and templates that somebody made to hurt."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repoint.bounces.parse import read_report
from repoint.delivery.tokens import Tokens
from repoint.delivery.tracking import Tracker, TrackingPlace
from repoint.sealing import Seal
from tests.returns.reports import arf, dsn

TOKENS = Tokens(Seal(bytes(32)))
APP = "0f" * 16
PLACE = TrackingPlace(APP, "https://click.example.com")
PIECES = st.sampled_from(
    ['<a href="', "<a ", "'", '"', ">", "{{x}}", "{{", "}}", "https://x.example/", "ses:tags=", "</body>", "é"]
)


@given(st.binary(max_size=2000), st.sampled_from([dsn(), arf("bounce+x@y.example")]), st.integers(0, 900))
@settings(max_examples=200, deadline=None)
def test_no_report_breaks_the_parser(noise, report, at):
    content = report.encode()

    read_report(content[:at] + noise + content[at:])
    assert read_report(noise + b"\r\n" * 2 + noise) is None or b"5." in noise or b"4." in noise


@pytest.mark.parametrize(
    "content",
    [
        *(
            "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(depth))
            for depth in (90, 3000)
        ),
        "Content-Type: message/rfc822\n\n" * 8000,
        "Content-Type: multipart/digest; boundary=b\n\n" + "--b\n\n\n" * 40_000,
        "Content-Type: message/delivery-status\n\n" + "\n" * 250_000,
        "Content-Type: multipart/mixed; " + ';"' * 120_000 + "\n\n",
        "Content-Transfer-Encoding: x-uuencode\n\nbegin 666 a\n" + "\xff" * 1000,
        "Content-Type: text/plain; charset*=idna'x'%ff\n\nnothing",
        "\n" + "5." * 128_000,
    ],
    ids=range(9),
)
def test_no_mail_is_too_deep_or_too_odd_to_be_read(content):
    assert read_report(content.encode("latin-1")) is None


@given(st.text(max_size=300))
def test_no_text_is_a_token(text):
    assert TOKENS.read_tracking_token(text) is None
    assert TOKENS.read_subscriber_token(text) is None
    assert TOKENS.read_link(APP, text) is None
    assert TOKENS.read_bounce_address(text) is None
    assert TOKENS.read_stop_address(text) is None


@given(
    st.text(alphabet="0123456789abcdefghijklmnopqrstuv", min_size=40, max_size=40), st.text(min_size=1, max_size=300)
)
def test_every_token_is_read_as_it_was_made(message_id, endpoint_id):
    mac = TOKENS.message_mac(message_id)
    bounce = TOKENS.bounce_address(message_id, mac, "b.example")

    assert TOKENS.read_tracking_token(TOKENS.tracking_token(APP, message_id, mac)) == (APP, message_id)
    assert TOKENS.read_bounce_address(bounce.upper()) == message_id
    assert len(bounce.partition("@")[0]) <= 64
    stop = TOKENS.stop_address(message_id, mac, "b.example")
    assert (TOKENS.read_stop_address(stop.upper()), TOKENS.read_stop_address(bounce)) == (message_id, None)
    assert TOKENS.read_bounce_address(stop.replace("stop+", "bounce+")) is None
    if endpoint_id.isprintable():
        read = TOKENS.read_subscriber_token(TOKENS.subscriber_token(APP, endpoint_id, message_id))
        assert read == (APP, endpoint_id, message_id)


@given(st.lists(PIECES, max_size=60).map("".join))
def test_only_signed_links_lead_over_us(source):
    tracker = Tracker(TOKENS)
    filled = tracker.fill(tracker.compile(source, PLACE), PLACE, "TOKEN")
    links = [piece.partition('"')[0] for piece in filled.split("https://click.example.com/t/c/TOKEN/")[1:]]

    assert TOKENS.mark not in filled
    assert all((TOKENS.read_link(APP, link) or "").startswith("https://x.example/") for link in links)


def test_no_source_takes_long():
    started = time.perf_counter()
    for piece in ("<a ", '<a href="', "<a {{x", "<a '\"", "<a href={{", '<a href="{{x}}', "<a\t", "</body"):
        Tracker(TOKENS).compile(piece * 20_000, PLACE)

    assert time.perf_counter() - started < 10
