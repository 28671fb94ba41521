"""The SMTP client against relays that misbehave in every way we could think of."""

import asyncio
import base64
import gc
import time

import pytest

from repoint.delivery.provider import DeliveryStatus, Email
from repoint.delivery.providers.smtp import SmtpProvider
from repoint.delivery.providers.smtp.transfer import Transfer
from tests.delivery.hostile_smtp import DROP, SILENCE, Authority, HostileRelay, in_turn

OK, TEMPORARY, PERMANENT = (
    DeliveryStatus.SUCCESSFUL,
    DeliveryStatus.TEMPORARY_FAILURE,
    DeliveryStatus.PERMANENT_FAILURE,
)
PLAIN_LINK = "starttls=never&connections_max=1"


def emails(count, content=b"Subject: hi\r\n\r\nhello\r\n"):
    return [Email(f"m{number}", "shop@example.com", f"p{number}@example.com", content) for number in range(count)]


def deliver(batch, *relays, options=PLAIN_LINK, credentials="", urls=(), rounds=1):
    """The outcomes of a batch sent to these relays, and what each saw."""

    async def run():
        async with contextstack(relays):
            given = urls or [relay.url(options, credentials) for relay in relays]
            provider = SmtpProvider.from_urls(given)
            outcomes = []
            for _ in range(rounds):
                outcomes = await provider.send(batch)
            await provider.close()
            return outcomes

    return asyncio.run(run())


class contextstack:  # noqa: N801 - reads as what it is
    def __init__(self, relays):
        self.relays = relays

    async def __aenter__(self):
        for relay in self.relays:
            await relay.__aenter__()

    async def __aexit__(self, *arguments):
        for relay in self.relays:
            await relay.__aexit__(*arguments)


def statuses(outcomes):
    return [outcome.status for outcome in outcomes]


def refuse_odd(reply):
    """A script for RCPT that refuses every other recipient."""
    return lambda session: reply if int(session.recipient[1:].partition("@")[0]) % 2 else None


def test_a_good_relay_gets_everything_pipelined():
    relay = HostileRelay()
    outcomes = deliver(emails(25), relay)

    assert statuses(outcomes) == [OK] * 25
    assert sorted(relay.recipients) == sorted(one.recipient for one in emails(25))
    assert relay.has_been_pipelined
    assert relay.accepts == 1


def test_what_was_sent_is_let_go_at_once():
    batch = emails(25)
    gc.disable()
    try:
        deliver(batch, HostileRelay())

        assert not any(email.content for email in batch)
        assert not any(isinstance(one, Transfer) for one in gc.get_objects())  # each would hold its batch
    finally:
        gc.enable()


def test_a_relay_without_pipelining_is_waited_for():
    relay = HostileRelay(extensions=("8BITMIME",))
    outcomes = deliver(emails(5), relay)

    assert statuses(outcomes) == [OK] * 5
    assert not relay.has_been_pipelined


@pytest.mark.parametrize("extensions", [("PIPELINING",), ("SIZE 100",)], ids=["pipelined", "in turn"])
@pytest.mark.parametrize(("reply", "status"), [("550 5.1.1 who?", PERMANENT), ("451 4.7.1 later", TEMPORARY)])
def test_each_recipient_has_its_own_reply(extensions, reply, status):
    relay = HostileRelay({"RCPT": refuse_odd(reply)}, extensions=extensions)
    outcomes = deliver(emails(8), relay)

    assert statuses(outcomes) == [OK, status] * 4
    assert outcomes[1].status_message == reply
    assert relay.recipients == [f"p{number}@example.com" for number in (0, 2, 4, 6)]
    assert "RSET" in relay.lines


def test_go_ahead_without_recipients_is_answered_with_a_dot():
    relay = HostileRelay({"RCPT": refuse_odd("550 no"), "DATA": "354 whatever"})
    outcomes = deliver(emails(4), relay)

    assert statuses(outcomes) == [OK, PERMANENT] * 2
    assert relay.recipients == ["p0@example.com", "p2@example.com"]


def test_what_was_on_the_wire_when_the_connection_dropped_is_tried_later_and_the_rest_at_once():
    relay = HostileRelay({"END": in_turn(None, DROP)})
    outcomes = deliver(emails(6), relay)

    assert sorted(statuses(outcomes)) == [OK] * 5 + [TEMPORARY]
    assert "may arrive twice" in next(one.status_message for one in outcomes if one.status is TEMPORARY)
    assert relay.accepts == 2


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
def test_a_drop_at_any_step_costs_no_message(step):
    relay = HostileRelay({step: in_turn(DROP)})
    outcomes = deliver(emails(6), relay)

    assert len(relay.recipients) == len(set(relay.recipients)) == statuses(outcomes).count(OK) >= 5


def test_a_relay_that_never_hears_us_out_gets_nothing():
    relay = HostileRelay({"CONTENT": DROP})
    outcomes = deliver(emails(6), relay)

    assert statuses(outcomes) == [TEMPORARY] * 6
    assert relay.recipients == []


def test_a_relay_that_closes_for_maintenance_is_believed():
    relay = HostileRelay({"MAIL": in_turn(None, None, "421 back soon")})
    outcomes = deliver(emails(5), relay)

    assert statuses(outcomes) == [OK] * 5
    assert relay.accepts == 2


def test_421_after_content_is_the_message_s_own_answer():
    relay = HostileRelay({"END": in_turn("421 too much")})
    outcomes = deliver(emails(3), relay)

    assert sorted(statuses(outcomes)) == [OK, OK, TEMPORARY]


@pytest.mark.parametrize("garbage", ["hello", "99 short", "999 what", "\x00\x01\x02", "250"])
def test_garbage_is_no_answer(garbage):
    relay = HostileRelay({"DATA": garbage})
    outcomes = deliver(emails(2), relay)

    assert statuses(outcomes) == [TEMPORARY] * 2
    assert relay.recipients == []


def test_a_reply_without_an_end_is_cut_short():
    relay = HostileRelay({"MAIL": "250-" + "x" * 200_000})
    outcomes = deliver(emails(1), relay)

    assert statuses(outcomes) == [TEMPORARY]
    assert "no end" in outcomes[0].status_message


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "MAIL", "DATA", "END"])
def test_silence_is_not_waited_for_longer_than_the_limit(step):
    started = time.monotonic()
    outcomes = deliver(emails(2), HostileRelay({step: SILENCE}), options=f"{PLAIN_LINK}&timeout_seconds=0.2")

    assert TEMPORARY in statuses(outcomes)
    assert time.monotonic() - started < 3


def test_another_relay_takes_over():
    down, up = HostileRelay({"CONNECT": "554 no service"}), HostileRelay()
    outcomes = deliver(emails(12), down, up, options=f"{PLAIN_LINK}&weight=1")

    assert statuses(outcomes) == [OK] * 12
    assert len(up.recipients) == 12


def test_a_dead_relay_is_left_alone():
    relay = HostileRelay({"CONNECT": DROP})
    outcomes = deliver(emails(2), relay, rounds=8)

    assert statuses(outcomes) == [TEMPORARY] * 2
    assert relay.accepts == 3


def test_weights_share_the_load():
    light, heavy = HostileRelay(), HostileRelay()

    async def run():
        async with light, heavy:
            urls = [light.url(f"{PLAIN_LINK}&weight=1"), heavy.url(f"{PLAIN_LINK}&weight=9")]
            provider = SmtpProvider.from_urls(urls)
            for _ in range(200):
                await provider.send(emails(1))
            await provider.close()

    asyncio.run(run())

    assert 120 < len(heavy.recipients) < 200
    assert len(light.recipients) + len(heavy.recipients) == 200


def test_connections_stay_within_their_limits():
    relay = HostileRelay()
    deliver(emails(40), relay, options="starttls=never&connections_max=3&messages_per_connection_max=5")

    assert relay.lines.count("QUIT") == relay.accepts >= 8
    assert len(relay.recipients) == 40


def test_a_rate_is_kept():
    started = time.monotonic()
    deliver(emails(60), HostileRelay(), options="starttls=never&messages_per_second_max=50")

    assert 0.8 < time.monotonic() - started < 3


def test_dots_are_doubled_and_nothing_else_changes():
    relay = HostileRelay()
    content = b"Subject: x\r\n\r\n.one\r\n..two\r\n.\r\nend"
    deliver(emails(1, content), relay)

    assert relay.messages[0][1] == content + b"\r\n"


@pytest.mark.parametrize(
    ("recipient", "extensions", "status", "line"),
    [
        ("jörg@example.com", ("PIPELINING",), PERMANENT, None),
        ("jörg@example.com", ("PIPELINING", "SMTPUTF8"), OK, "RCPT TO:<jörg@example.com>"),
        ("a@bücher.example", ("PIPELINING",), OK, "RCPT TO:<a@xn--bcher-kva.example>"),
        ("a@b.example>\r\nRCPT TO:<evil@b.example", ("PIPELINING",), PERMANENT, None),
    ],
)
def test_addresses_beyond_ascii_need_a_relay_that_takes_them(recipient, extensions, status, line):
    relay = HostileRelay(extensions=extensions)
    outcomes = deliver([Email("m", "shop@example.com", recipient, b"\r\nhi\r\n")], relay)

    assert statuses(outcomes) == [status]
    assert line is None or line in relay.lines
    assert not any("evil" in one for one in relay.lines)


def test_certificates_are_checked(tmp_path):
    authority = Authority(tmp_path)
    good = HostileRelay(certificate=authority.context(), is_tls=True)
    wrong_host = HostileRelay(certificate=authority.context("mail.example.com"), is_tls=True)
    expired = HostileRelay(certificate=authority.context(days=-1), is_tls=True)
    trusting = f"ca_file={authority.file}"

    assert statuses(deliver(emails(1), good, options=trusting)) == [OK]
    assert statuses(deliver(emails(1), wrong_host, options=trusting)) == [TEMPORARY]
    assert statuses(deliver(emails(1), expired, options=trusting)) == [TEMPORARY]
    assert statuses(deliver(emails(1), HostileRelay(certificate=authority.context(), is_tls=True))) == [TEMPORARY]


STARTTLS = ("PIPELINING", "STARTTLS", "AUTH PLAIN LOGIN")


def test_starttls_is_used_where_offered_and_required_where_asked_for(tmp_path):
    authority = Authority(tmp_path)
    offering = HostileRelay(extensions=STARTTLS, certificate=authority.context())
    not_offering = HostileRelay()

    assert statuses(deliver(emails(1), offering, options=f"ca_file={authority.file}")) == [OK]
    assert offering.is_tls_used
    assert statuses(deliver(emails(1), not_offering, options="starttls=required")) == [TEMPORARY]


def test_words_said_before_tls_are_not_believed(tmp_path):
    relay = HostileRelay(
        {"STARTTLS": "220 go ahead\r\n250 injected"},
        extensions=STARTTLS,
        certificate=Authority(tmp_path).context(),
    )

    assert statuses(deliver(emails(1), relay, options="starttls=required")) == [TEMPORARY]


def test_plain_credentials_are_given():
    relay = HostileRelay(extensions=("AUTH PLAIN LOGIN",))
    outcomes = deliver(emails(1), relay, credentials="ann:p%40ss")

    assert statuses(outcomes) == [OK]
    assert "AUTH PLAIN " + base64.b64encode(b"\x00ann\x00p@ss").decode() in relay.lines


def test_login_credentials_are_given_where_plain_is_not_taken():
    relay = HostileRelay(extensions=("AUTH LOGIN",))
    outcomes = deliver(emails(1), relay, credentials="ann:secret")

    assert statuses(outcomes) == [OK]
    assert relay.logins == [base64.b64encode(text).decode() for text in (b"ann", b"secret")]


def test_refused_credentials_lose_nothing():
    relay = HostileRelay({"AUTH": "535 wrong"}, extensions=("AUTH PLAIN",))
    outcomes = deliver(emails(2), relay, credentials="ann:wrong")

    assert statuses(outcomes) == [TEMPORARY] * 2
    assert "535" in outcomes[0].status_message
    assert "wrong" not in outcomes[0].status_message.replace("535 wrong", "")
