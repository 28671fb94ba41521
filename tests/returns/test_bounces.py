"""Bounces and complaints that come back by mail, and what they do to the next message."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import eventually
from tests.returns.conftest import BOUNCE_DOMAIN
from tests.returns.mails import mail_for, put_endpoint, repoint, send
from tests.returns.reports import arf, deliver, dsn


def detail(event, member):
    return event[2]["facets"]["email_channel"]["mail_event"][member]


def suppressed(post, address):
    with post.connection() as connection:
        return connection.execute("SELECT reason, region FROM suppression WHERE address = %s", [address]).fetchone()


def ledger(post, app_id):
    with post.connection() as connection:
        query = "SELECT state, status_message FROM message WHERE app_id = %s ORDER BY created_at DESC LIMIT 1"
        state, text = connection.execute(query, [app_id]).fetchone()
        return (state, text) if state != "ACCEPTED" else None


def test_a_dsn_is_a_hard_bounce_and_stops_the_next_mail(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)
    assert deliver(post, mail.envelope_from, dsn()) == (250, 250)
    [bounced] = post.events(app_id, "_email.hardbounce")

    assert detail(bounced, "bounce") == {
        "bounce_type": "Permanent",
        "bounce_sub_type": "General",
        "bounced_recipients": [
            {
                "email_address": mail.recipient,
                "action": "failed",
                "status": "5.1.1",
                "diagnostic_code": "550 5.1.1 User unknown",
            }
        ],
        "feedback_id": detail(bounced, "bounce")["feedback_id"],
        "reporting_mta": "dns; mx.example.net",
    }
    assert (bounced[0], bounced[2]["attributes"]["feedback"]) == ("ep-41", "hardbounce")
    assert suppressed(post, mail.recipient) == ("BOUNCE", "us-east-1")

    assert send(pinpoint, app_id, "ep-41")["DeliveryStatus"] == "SUCCESSFUL"
    stopped = eventually(lambda: post.events(app_id, "_email.hardbounce")[1:])
    assert detail(stopped[0], "bounce")["bounce_sub_type"] == "OnAccountSuppressionList"
    assert ledger(post, app_id)[0] == "STOPPED"
    assert "suppression list: BOUNCE" in ledger(post, app_id)[1]
    assert len([one for one in post.sink.mails if one.recipient == mail.recipient]) == 1


def test_the_same_bounce_counts_once_however_often_it_comes(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: deliver(post, mail.envelope_from.upper(), dsn()), range(16)))

    assert answers == [(250, 250)] * 16
    assert len(post.events(app_id, "_email.hardbounce")) == 1


def test_delays_are_soft_and_each_counts(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)
    for extra in ("", "", "X-Queue: 2\r\n"):
        deliver(post, mail.envelope_from, dsn("4.4.1", "delayed", "smtp; 451 4.4.1 no answer", extra))
    bounces = post.events(app_id, "_email.softbounce")

    assert [detail(one, "bounce")["bounce_type"] for one in bounces] == ["Transient", "Transient"]
    assert suppressed(post, mail.recipient) is None


@pytest.mark.parametrize(
    ("status", "diagnostic", "sub_type"),
    [
        ("5.2.2", "552 5.2.2 mailbox full", "MailboxFull"),
        ("5.7.1", "550 5.7.1 looks like spam", "ContentRejected"),
        ("5.3.4", "552 5.3.4 too big", "MessageTooLarge"),
        ("5.1.8", "550 5.1.8 sender domain unknown", "Undetermined"),
        ("5.0.0", "550 relay not permitted", "ContentRejected"),
    ],
)
def test_what_is_not_the_addresses_fault_suppresses_nothing(post, pinpoint, app_id, status, diagnostic, sub_type):
    mail = mail_for(post, pinpoint, app_id)
    deliver(post, mail.envelope_from, dsn(status, diagnostic=f"smtp; {diagnostic}"))
    [bounced] = post.events(app_id, "_email.softbounce")

    assert detail(bounced, "bounce")["bounce_sub_type"] == sub_type
    assert suppressed(post, mail.recipient) is None


def test_an_abuse_report_is_a_complaint(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)
    assert deliver(post, f"abuse@{BOUNCE_DOMAIN}", arf(mail.envelope_from)) == (250, 250)
    [event] = post.events(app_id, "_email.complaint")
    complaint = detail(event, "complaint")

    assert complaint.pop("feedback_id")
    assert complaint == {
        "complained_recipients": [{"email_address": mail.recipient}],
        "user_agent": "Loop/1.0",
        "complaint_feedback_type": "abuse",
    }
    assert event[2]["attributes"]["feedback"] == "complaint"
    assert suppressed(post, mail.recipient)[0] == "COMPLAINT"


def test_only_a_signed_address_is_believed(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)
    local, _, domain = mail.envelope_from.partition("@")
    strangers = [f"{local[:-1]}0@{domain}", f"{local}@elsewhere.example", f"bounce+@{domain}", f"ann@{domain}"]
    answers = [deliver(post, stranger, dsn())[0] for stranger in strangers]
    deliver(post, f"abuse@{domain}", arf(strangers[0]))
    deliver(post, f"abuse@{domain}", dsn())
    deliver(post, mail.envelope_from, arf(mail.envelope_from, "not-spam"))

    assert answers == [550] * len(strangers)
    assert post.events(app_id, "_email.hardbounce") + post.events(app_id, "_email.complaint") == []


def test_what_is_no_bounce_is_taken_and_forgotten(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)
    away = "Auto-Submitted: auto-replied\r\nSubject: Away\r\n\r\nBack in a week. Error 5.1.1 tells you nothing.\r\n"
    others = [away, "Subject: hi\r\n\r\nthank you\r\n", dsn("2.0.0", "delivered", "smtp; 250 ok"), "", dsn("", "")]

    assert [deliver(post, mail.envelope_from, one) for one in others] == [(250, 250)] * len(others)
    assert post.events(app_id, "_email.hardbounce") + post.events(app_id, "_email.softbounce") == []


def test_huge_and_deep_mails_are_not_in_the_way_of_others(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)
    deep = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n" for n in range(2000))
    long_line = dsn(extra="X-Long: " + "x" * 200_000 + "\r\n")
    huge = f"{'x' * 900}\r\n" * 12_000
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: deliver(post, mail.envelope_from, one), [deep, huge, deep]))

    assert answers == [(250, 250), (250, 552), (250, 250)]
    assert deliver(post, mail.envelope_from, long_line) == (250, 250)
    assert len(post.events(app_id, "_email.hardbounce")) == 0
    assert deliver(post, mail.envelope_from, dsn()) == (250, 250)
    assert len(post.events(app_id, "_email.hardbounce")) == 1


def test_a_bounce_in_prose_counts(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)
    prose = "Subject: failure notice\r\n\r\nHi. I wasn't able to deliver:\r\nRemote host said: 550 5.1.1 no mailbox\r\n"
    deliver(post, mail.envelope_from, prose)
    [bounced] = post.events(app_id, "_email.hardbounce")

    assert detail(bounced, "bounce")["bounced_recipients"][0]["diagnostic_code"].endswith("550 5.1.1 no mailbox")


def test_a_refusal_at_the_relay_suppresses_as_well(post, pinpoint, app_id):
    unknown, disliked = post.address(), post.address()
    post.sink.refused |= {unknown: "550 5.1.1 no such user", disliked: "550 5.7.1 we dislike you"}
    put_endpoint(pinpoint, app_id, "ep-1", unknown)
    put_endpoint(pinpoint, app_id, "ep-2", disliked)
    send(pinpoint, app_id, "ep-1")
    send(pinpoint, app_id, "ep-2")
    [hard] = eventually(lambda: post.events(app_id, "_email.hardbounce"))
    [soft] = eventually(lambda: post.events(app_id, "_email.softbounce"))

    assert (hard[0], detail(hard, "bounce")["bounce_type"], suppressed(post, unknown)[0]) == (
        "ep-1",
        "Permanent",
        "BOUNCE",
    )
    assert (soft[0], detail(soft, "bounce")["bounce_sub_type"]) == ("ep-2", "ContentRejected")
    assert suppressed(post, disliked) is None


def test_an_address_that_is_taken_off_the_list_is_sent_to_again(post, pinpoint, app_id):
    address = post.address()
    repoint(post, "suppression", "add", address.upper(), "--reason", "UNSUBSCRIBE")
    put_endpoint(pinpoint, app_id, "ep-1", address)
    send(pinpoint, app_id, "ep-1")
    assert eventually(lambda: ledger(post, app_id))[0] == "STOPPED"
    repoint(post, "suppression", "remove", address)
    send(pinpoint, app_id, "ep-1")

    assert post.sink.mail_to(address)


def test_other_regions_have_lists_of_their_own(post):
    client = post.server.client(region="eu-west-1")
    app_id = client.create_app(CreateApplicationRequest={"Name": "Elsewhere"})["ApplicationResponse"]["Id"]
    address = post.address()
    repoint(post, "suppression", "add", address, "--region", "us-east-1")
    put_endpoint(client, app_id, "ep-1", address)
    send(client, app_id, "ep-1")

    assert post.sink.mail_to(address)
