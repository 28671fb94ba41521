"""What the log says of a message: the documents of the event stream."""

import json
import subprocess
from email.utils import parsedate_to_datetime

import pytest
from aiosmtpd.controller import Controller

from tests.conftest import REPOINT, eventually, free_port, start_server
from tests.delivery.selecting import email_content, select
from tests.messages.sending import events, mailbox, phone, put, send

FROM = "Shop <shop@example.com>"


def sent(server, client, app_id, recipient, message, count=1, **request):
    """Send to one recipient; the message's id and its events."""
    kind = "Endpoints" if "ChannelType" not in recipient[1] else "Addresses"
    answer = send(client, app_id, **{kind: dict([recipient])}, MessageConfiguration=message, **request)
    result = answer["Result" if kind == "Addresses" else "EndpointResult"][recipient[0]]
    assert result["DeliveryStatus"] == "SUCCESSFUL", result
    return result["MessageId"], eventually(lambda: events(server, result["MessageId"], count))


def email(**more):
    simple = {"Subject": {"Data": "Hi"}, "TextPart": {"Data": "Hello {{#if x}}{{substring 'abc' 9}}{{/if}}"}}
    return {"EmailMessage": {"FromAddress": FROM, "SimpleEmail": simple, **more}}


def test_an_email_that_was_taken_is_sent_and_delivered(server, pinpoint, app_id):
    address = mailbox()
    recipient = (address, {"ChannelType": "EMAIL", "Context": {"order": "7"}})
    message_id, log = sent(server, pinpoint, app_id, recipient, email(), 2, Context={"shop": "1"}, TraceId="trace")
    (first, client_id, document, sent_at), (second, other_client_id, delivered, at) = log
    mail = document["facets"]["email_channel"]["mail_event"].pop("mail")
    delivery = delivered["facets"]["email_channel"]["mail_event"]["delivery"]

    assert (first, second) == ("_email.send", "_email.delivered")
    assert client_id == other_client_id != address
    assert sent_at == at
    assert document == {
        "attributes": {"feedback": "received", "shop": "1", "order": "7", "trace_id": "trace", "treatment_id": "0"},
        "client_context": {"custom": {"legacy_identifier": app_id}},
        "facets": {"email_channel": {"mail_event": {"send": {}}}},
    }
    assert delivered["attributes"]["feedback"] == "delivered"
    assert delivery.keys() == {"smtp_response", "reporting_mta", "recipients", "processing_time_millis"}
    assert delivery["recipients"] == [address]
    assert mail["message_id"] == message_id
    assert mail["message_send_timestamp"] == int(sent_at.timestamp() * 1000)
    assert mail["destination"] == mail["common_headers"]["to"] == [address]
    assert (mail["from_address"], mail["common_headers"]["subject"]) == (FROM, "Hi")
    assert abs(parsedate_to_datetime(mail["common_headers"]["date"]) - sent_at).total_seconds() < 1
    assert {"name": "Subject", "value": "Hi"} in mail["headers"]


def test_an_email_that_does_not_render_was_not_sent(server, pinpoint, app_id):
    recipient = (mailbox(), {"ChannelType": "EMAIL", "Substitutions": {"x": ["1"]}})
    _, log = sent(server, pinpoint, app_id, recipient, email())
    ((event_type, _, document, _),) = log
    mail_event = document["facets"]["email_channel"]["mail_event"]

    assert event_type == "_email.rendering_failure"
    assert mail_event["rendering_failure"]["error_message"].startswith("TextPart: ")


def records(server, app_id, count):
    """The application's events as the stream's records."""
    command = [REPOINT, "events", "list", "--data-dir", server.data_dir, "--app", app_id, "--json"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [json.loads(line) for line in lines] if len(lines) >= count else None


def test_the_record_of_an_endpoints_email_is_the_streams(server, pinpoint, app_id):
    address = mailbox()
    put(pinpoint, app_id, "Ann/Mail-1", "EMAIL", address)
    message_id, _ = sent(server, pinpoint, app_id, ("ANN/mail-1", {}), email(), 2)
    send_record, delivered = eventually(lambda: records(server, app_id, 2))
    mail = send_record["facets"]["email_channel"]["mail_event"].pop("mail")
    moment = send_record.pop("event_timestamp")
    arrival = send_record.pop("arrival_timestamp")

    assert send_record == {
        "event_type": "_email.send",
        "event_version": "3.1",
        "application": {"app_id": app_id, "sdk": {}},
        "client": {"client_id": "Ann/Mail-1"},
        "device": {"platform": {}},
        "session": {},
        "attributes": {"feedback": "received", "treatment_id": "0"},
        "client_context": {"custom": {"legacy_identifier": app_id}},
        "awsAccountId": "123456789012",
        "facets": {"email_channel": {"mail_event": {"send": {}}}},
    }
    assert mail.keys() == {
        "message_id",
        "message_send_timestamp",
        "from_address",
        "destination",
        "headers_truncated",
        "headers",
        "common_headers",
    }
    assert mail["message_id"] == message_id
    assert moment == mail["message_send_timestamp"] == delivered["event_timestamp"] <= arrival
    assert delivered["client"] == send_record["client"]


def test_an_sms_is_one_event(server, pinpoint, app_id):
    number = phone()
    body = {"Body": "x" * 161, "MessageType": "PROMOTIONAL", "OriginationNumber": "+14255550142"}
    recipient = (number, {"ChannelType": "SMS", "Context": {"order": "7"}})
    message_id, log = sent(server, pinpoint, app_id, recipient, {"SMSMessage": body}, TraceId="trace")
    ((event_type, _, document, _),) = log
    request_id = document["attributes"].pop("sender_request_id")

    assert event_type == "_SMS.SUCCESS"
    assert len(request_id) == 36
    assert document == {
        "attributes": {
            "treatment_id": "0",
            "origination_phone_number": "+14255550142",
            "destination_phone_number": number,
            "record_status": "DELIVERED",
            "iso_country_code": "US",
            "number_of_message_parts": "2",
            "message_id": message_id,
            "message_type": "Promotional",
            "customer_context": json.dumps({"order": "7"}, separators=(",", ":")),
            "trace_id": "trace",
        },
        "metrics": {"price_in_millicents_usd": 0},
    }


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("+436605550199", "AT"),
        ("+16045550199", "CA"),
        ("+447700900123", "GB"),
        ("+77015550199", "KZ"),
        ("+79015550199", "RU"),
    ],
)
def test_an_sms_names_the_country_of_its_number(server, pinpoint, app_id, number, country):
    _, log = sent(server, pinpoint, app_id, (number, {"ChannelType": "SMS"}), {"SMSMessage": {"Body": "x"}})

    assert log[0][2]["attributes"]["iso_country_code"] == country


@pytest.mark.parametrize(
    ("body", "status"),
    [("{{#each x}}{{this}}{{/each}}", "INVALID_MESSAGE"), ("{{#if x}}{{substring 'abc' 9}}{{/if}}", "INVALID_MESSAGE")],
    ids=["too long once rendered", "cannot be rendered"],
)
def test_an_sms_that_cannot_be_sent_once_rendered_fails(server, pinpoint, app_id, body, status):
    values = {"x": ["y" * 100] * 15 + ["z" * 101]}
    recipient = (phone(), {"ChannelType": "SMS", "Substitutions": values})
    _, log = sent(server, pinpoint, app_id, recipient, {"SMSMessage": {"Body": body}})
    ((event_type, _, document, _),) = log

    assert event_type == "_SMS.FAILURE"
    assert document["attributes"]["record_status"] == status


def test_every_endpoint_of_an_audience_is_named_as_its_owner_spells_it(server, pinpoint, app_id):
    for number in range(5):
        put(pinpoint, app_id, f'Ann "{number}"\\%', "EMAIL", mailbox())
    select(server, app_id, email_content())
    log = eventually(lambda: records(server, app_id, 10))

    assert sorted({record["client"]["client_id"] for record in log}) == [f'Ann "{number}"\\%' for number in range(5)]


class Nobody:
    """An SMTP handler that knows no recipient."""

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd's
        return "550 5.1.1 nobody of this name"


def test_an_email_the_relay_refuses_is_sent_and_bounced(tmp_path):
    relay = Controller(Nobody(), hostname="127.0.0.1", port=free_port())
    relay.start()
    running = start_server(tmp_path / "data", "--smtp-url", f"smtp://127.0.0.1:{relay.port}", "--log-level", "error")
    client, address = running.client(), mailbox()
    app = client.create_app(CreateApplicationRequest={"Name": "Bounce"})["ApplicationResponse"]["Id"]
    _, log = sent(running, client, app, (address, {"ChannelType": "EMAIL"}), email(), 2)
    relay.stop()
    running.stop()
    (first, client_id, _, sent_at), (second, same_id, document, at) = log
    bounce = document["facets"]["email_channel"]["mail_event"]["bounce"]

    assert (first, second) == ("_email.send", "_email.hardbounce")
    assert (client_id, sent_at) == (same_id, at)
    assert document["attributes"]["feedback"] == "hardbounce"
    assert (bounce["bounce_type"], bounce["bounce_sub_type"]) == ("Permanent", "General")
    (recipient,) = bounce["bounced_recipients"]
    assert recipient == {
        "email_address": address,
        "action": "failed",
        "status": "5.1.1",
        "diagnostic_code": "smtp; 550 5.1.1 nobody of this name",
    }


def test_what_is_stopped_before_the_wire_is_no_bounce(server, pinpoint, app_id):
    address = mailbox()
    put(pinpoint, app_id, "gone", "EMAIL", address)
    _, messages = select(server, app_id, email_content(), between_seconds=(2, 3600))
    pinpoint.delete_endpoint(ApplicationId=app_id, EndpointId="gone")
    log = eventually(lambda: records(server, app_id, 1))

    assert messages == 1
    assert [record["event_type"] for record in log] == ["_email.rejected"]
    assert log[0]["facets"]["email_channel"]["mail_event"]["reject"] == {"reason": "The endpoint was deleted"}
