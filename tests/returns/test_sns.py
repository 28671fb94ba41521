"""Amazon SES's notifications over SNS: believed when signed, of a topic of ours, and counted once."""

import json

import pytest

from tests.returns.mails import fetch, mail_for
from tests.returns.test_bounces import detail, suppressed


def tell(post, message):
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return fetch(f"{post.server.url}/t/sns", body, {"Content-Type": "text/plain"})[0]


def about(mail, kind, member, content, **more):
    """A notification of a mail, whose own Message-ID SES shows among the headers."""
    headers = [{"name": "Message-ID", "value": mail.message["Message-ID"]}]
    return {"notificationType": kind, member: content, "mail": {"messageId": "0102-ses", "headers": headers}} | more


def bounce(mail, bounce_type="Permanent", feedback_id="f-1"):
    recipient = {"emailAddress": "x@y", "action": "failed", "status": "5.1.1", "diagnosticCode": "smtp; 550"}
    content = {
        "bounceType": bounce_type,
        "bounceSubType": "General",
        "bouncedRecipients": [recipient],
        "feedbackId": feedback_id,
        "reportingMTA": "dns; a.example",
    }
    return about(mail, "Bounce", "bounce", content)


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_bounce_is_believed_when_it_is_signed(post, pinpoint, app_id, version):
    mail = mail_for(post, pinpoint, app_id)
    message = post.sns.message(bounce(mail), version=version, Subject="Amazon SES")
    answers = [tell(post, message), tell(post, message), tell(post, post.sns.message(bounce(mail)))]
    [event] = post.events(app_id, "_email.hardbounce")

    assert answers == [200, 200, 200]
    assert detail(event, "bounce")["bounced_recipients"] == [
        {"email_address": mail.recipient, "action": "failed", "status": "5.1.1", "diagnostic_code": "smtp; 550"}
    ]
    assert detail(event, "bounce")["reporting_mta"] == "dns; a.example"
    assert suppressed(post, mail.recipient)[0] == "BOUNCE"


def test_complaints_deliveries_rejects_and_delays_have_their_events(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)
    complaint = {"feedbackId": "c-1", "userAgent": "FBL", "complaintFeedbackType": "abuse"}
    tagged = {"mail": {"tags": {"repoint-message-id": [mail.message_id]}}}
    for content in (
        about(mail, "Complaint", "complaint", complaint),
        about(mail, "", "reject", {"reason": "Bad content"}, eventType="Reject"),
        about(mail, "", "deliveryDelay", {"delayType": "MailboxFull", "timestamp": "t"}, eventType="DeliveryDelay"),
        bounce(mail, "Transient") | tagged,
        bounce(mail, "Undetermined", "f-2"),
        about(mail, "", "open", {}, eventType="Open"),
    ):
        assert tell(post, post.sns.message(content)) == 200

    [complained] = post.events(app_id, "_email.complaint")
    [rejected] = post.events(app_id, "_email.rejected")
    soft = [detail(one, "bounce")["bounce_sub_type"] for one in post.events(app_id, "_email.softbounce")]
    assert detail(complained, "complaint")["complaint_feedback_type"] == "abuse"
    assert (detail(rejected, "reject"), rejected[2]["attributes"]["feedback"]) == (
        {"reason": "Bad content"},
        "rejected",
    )
    assert soft == ["MailboxFull", "General", "General"]
    assert suppressed(post, mail.recipient)[0] == "COMPLAINT"


def test_what_is_not_to_be_believed_is_refused(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)
    good = post.sns.message(bounce(mail))
    other_topic = "arn:aws:sns:us-east-1:666666666666:ses"
    bad = [
        good | {"Message": json.dumps(bounce(mail, feedback_id="f-9"))},
        good | {"Signature": "AAAA"},
        good | {"Signature": "no base 64"},
        good | {"SignatureVersion": "3"},
        good | {"SigningCertURL": "https://sns.us-east-1.amazonaws.com.evil.example/cert.pem"},
        good | {"SigningCertURL": "https://evil.example/sns.us-east-1.amazonaws.com/cert.pem"},
        good | {"SigningCertURL": "http://sns.us-east-1.amazonaws.com/cert.pem"},
        good | {"SigningCertURL": "https://sns.us-east-1.amazonaws.com@evil.example/cert.pem"},
        good | {"SigningCertURL": f"{post.sns.url}.evil.example/cert.pem"},
        good | {"SigningCertURL": "https://["},
        post.sns.message(bounce(mail), TopicArn=other_topic),
        post.sns.message(bounce(mail), SigningCertURL=f"{post.sns.url}/expired.pem"),
        post.sns.message(bounce(mail), SigningCertURL=f"{post.sns.url}/no-certificate"),
        {"Type": "Notification"},
        {},
        {"Type": ["Notification"]},
    ]

    assert [tell(post, message) for message in bad] == [403] * len(bad)
    assert [tell(post, body) for body in (b"", b"[]", b"\xff", b"[" * 100_000, b'"x"')] == [400] * 5
    assert tell(post, b" " * 600_000) == 413
    assert post.events(app_id, "_email.hardbounce") == []


def test_a_signed_message_may_say_anything(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)
    headers = [{"name": "Message-ID", "value": mail.message["Message-ID"]}]
    odd = [
        {},
        {"notificationType": "Bounce"},
        {"notificationType": "Bounce", "mail": {"headers": headers}, "bounce": "no"},
        {"notificationType": "Bounce", "mail": {"headers": ["x", None]}, "bounce": {}},
        {"notificationType": "Bounce", "mail": {"tags": {"repoint-message-id": "x"}}},
        {"notificationType": "Bounce", "mail": {"tags": {"repoint-message-id": ["\x00"]}}},
        {"notificationType": ["Bounce"], "mail": {"headers": headers}},
        {
            "notificationType": "Bounce",
            "mail": {"headers": headers},
            "bounce": {"feedbackId": "\x00", "bouncedRecipients": {}},
        },
        {"notificationType": "Complaint", "mail": {"headers": headers}, "complaint": []},
    ]

    assert {tell(post, post.sns.message(content)) for content in odd} == {200}
    assert tell(post, post.sns.message("", Message="Successfully validated SNS topic")) in (200, 400)
    assert post.events(app_id, "_email.hardbounce") == []


def test_a_subscription_is_confirmed_at_amazons_address_only(post):
    confirm = {"Type": "SubscriptionConfirmation", "Token": "t"}
    good = post.sns.message("", **confirm, SubscribeURL=f"{post.sns.url}/?Action=ConfirmSubscription&Token=t")
    evil = post.sns.message("", **confirm, SubscribeURL=f"{post.server.url}/healthz")

    assert (tell(post, good), tell(post, evil)) == (200, 403)
    assert "/?Action=ConfirmSubscription&Token=t" in post.sns.fetched
