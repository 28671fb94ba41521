"""Records are what Pinpoint's event stream has, member by member."""

import json
import uuid

from tests.conftest import eventually
from tests.events.conftest import event

MILLISECONDS = 1936000002507
STAMPS = ("2031-05-08T09:46:40.000Z", "2031-05-08T09:46:42.507Z")


def test_an_applications_event_is_pinpoints_sample(put, logged):
    demographic = {
        "Locale": "de_AT",
        "Make": "Acme",
        "Model": "X1",
        "Platform": "android",
        "PlatformVersion": "17",
        "AppVersion": "3.1",
    }
    session = {"Id": "s-8", "StartTimestamp": STAMPS[0], "StopTimestamp": STAMPS[1], "Duration": 2507}
    sent = event(
        "_session.stop",
        Timestamp=STAMPS[1],
        Attributes={"sku": "A7"},
        Metrics={"qty": 2},
        Session=session,
        AppPackageName="org.example.app",
        AppTitle="Shop",
        AppVersionCode="31",
        SdkName="web",
        ClientSdkVersion="5.1",
    )
    put("Ep-41", {"ChannelType": "GCM", "Address": "tok", "OptOut": "NONE", "Demographic": demographic}, x=sent)
    [record] = logged()
    context = json.loads(record.pop("client_context")["custom"]["endpoint"])
    arrival = record.pop("arrival_timestamp")
    app_id = record["application"].pop("app_id")

    assert record == {
        "event_type": "_session.stop",
        "event_timestamp": MILLISECONDS,
        "event_version": "3.0",
        "application": {
            "package_name": "org.example.app",
            "sdk": {"name": "web", "version": "5.1"},
            "title": "Shop",
            "version_name": "3.1",
            "version_code": "31",
        },
        "client": {"client_id": "Ep-41"},
        "device": {
            "locale": {"code": "de_AT", "country": "AT", "language": "de"},
            "make": "Acme",
            "model": "X1",
            "platform": {"name": "android", "version": "17"},
        },
        "session": {"session_id": "s-8", "start_timestamp": MILLISECONDS - 2507, "stop_timestamp": MILLISECONDS},
        "attributes": {"sku": "A7"},
        "metrics": {"qty": 2.0},
        "awsAccountId": "123456789012",
    }
    assert (arrival > 1_700_000_000_000, len(app_id)) == (True, 32)
    assert {name: context[name] for name in ("ChannelType", "EndpointStatus", "OptOut", "User")} == {
        "ChannelType": "GCM",
        "EndpointStatus": "ACTIVE",
        "OptOut": "NONE",
        "User": {},
    }
    assert "Address" not in context


def test_an_event_without_details_has_empty_ones(put, logged):
    put(x={"EventType": "bare", "Timestamp": STAMPS[0]})
    [record] = logged()

    assert (record["session"], record["device"]) == ({}, {"platform": {}})
    assert (record["attributes"], record["metrics"], record["application"]["sdk"]) == ({}, {}, {})


def send(pinpoint, app_id, address, **message):
    pinpoint.send_messages(
        ApplicationId=app_id,
        MessageRequest={"Addresses": {address: {"ChannelType": "EMAIL" if "@" in address else "SMS"}}, **message},
    )


def test_an_emails_events_are_pinpoints_samples(pinpoint, app_id, logged):
    email = {"ChannelType": "EMAIL"}
    content = {"Subject": {"Data": "Hi"}, "TextPart": {"Data": "Hello"}}
    pinpoint.update_email_channel(
        ApplicationId=app_id, EmailChannelRequest={"FromAddress": "shop@example.org", "Identity": "arn:aws:ses"}
    )
    pinpoint.send_messages(
        ApplicationId=app_id,
        MessageRequest={
            "Addresses": {"a@example.net": email},
            "Context": {"order": "77"},
            "MessageConfiguration": {"EmailMessage": {"SimpleEmail": content}},
        },
    )
    record = eventually(lambda: logged("--type", "_email.delivered"))[0]
    mail = record["facets"]["email_channel"]["mail_event"]["mail"]

    assert list(record) == [
        "event_type",
        "event_timestamp",
        "arrival_timestamp",
        "event_version",
        "application",
        "client",
        "device",
        "session",
        "attributes",
        "client_context",
        "awsAccountId",
        "facets",
    ]
    assert (record["event_version"], record["device"], record["session"]) == ("3.1", {"platform": {}}, {})
    assert record["application"] == {"app_id": app_id, "sdk": {}}
    assert uuid.UUID(record["client"]["client_id"])
    assert record["client_context"] == {"custom": {"legacy_identifier": app_id}}
    assert (record["attributes"]["feedback"], record["attributes"]["order"]) == ("delivered", "77")
    assert (mail["from_address"], mail["destination"]) == ("shop@example.org", ["a@example.net"])
    assert set(record["facets"]["email_channel"]["mail_event"]["delivery"]) == {
        "smtp_response",
        "reporting_mta",
        "recipients",
        "processing_time_millis",
    }


def test_a_text_messages_event_is_pinpoints_sample(pinpoint, app_id, logged):
    send(pinpoint, app_id, "+436605550199", MessageConfiguration={"SMSMessage": {"Body": "Hello"}})
    record = eventually(lambda: logged("--type", "_SMS.SUCCESS"))[0]

    assert (record["event_version"], record["metrics"]) == ("3.1", {"price_in_millicents_usd": 0.0})
    assert all(isinstance(value, str) for value in record["attributes"].values())
    assert record["attributes"]["destination_phone_number"] == "+436605550199"
    assert record["attributes"]["record_status"] == "DELIVERED"
    assert record["attributes"]["number_of_message_parts"] == "1"
