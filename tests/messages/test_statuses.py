"""SendMessages' answer for each recipient: Pinpoint's DeliveryStatus, StatusCode and StatusMessage."""

import pytest

from tests.messages.sending import arrived, enable, mailbox, phone, put, send, statuses, token

SMS = {"SMSMessage": {"Body": "Hello"}}
EMAIL = {"EmailMessage": {"FromAddress": "shop@example.com", "SimpleEmail": {"TextPart": {"Data": "Hello"}}}}
EVERYTHING = {"DefaultMessage": {"Body": "Hello"}, "EmailMessage": {"FromAddress": "shop@example.com"}}


def result_of(client, app_id, address, given, **request):
    return send(client, app_id, Addresses={address: given}, **request)["Result"][address]


def failure(message):
    return {"DeliveryStatus": "PERMANENT_FAILURE", "StatusCode": 400, "StatusMessage": message}


def test_what_is_accepted_has_an_id_that_the_message_arrives_with(server, pinpoint, app_id):
    address = phone()
    result = result_of(pinpoint, app_id, address, {"ChannelType": "SMS"}, MessageConfiguration=SMS)
    (message,) = arrived(server, address)

    assert set(result["MessageId"]) <= set("0123456789abcdefghijklmnopqrstuv")
    assert len(result["MessageId"]) == 40
    assert result == {
        "DeliveryStatus": "SUCCESSFUL",
        "StatusCode": 200,
        "StatusMessage": f"MessageId: {result['MessageId']}",
        "MessageId": result["MessageId"],
    }
    assert message["messageId"] == result["MessageId"]


def test_only_the_maps_that_were_given_are_answered(pinpoint, app_id):
    put(pinpoint, app_id, "e", "SMS", phone())
    to_address = send(pinpoint, app_id, Addresses={phone(): {"ChannelType": "SMS"}}, MessageConfiguration=SMS)
    to_endpoint = send(pinpoint, app_id, Endpoints={"e": {}}, Addresses={}, MessageConfiguration=SMS)

    assert to_address.keys() == {"ApplicationId", "RequestId", "Result"}
    assert to_endpoint.keys() == {"ApplicationId", "RequestId", "EndpointResult"}
    assert to_address["ApplicationId"] == app_id


def test_an_endpoint_is_answered_with_its_address(pinpoint, app_id):
    address = phone()
    put(pinpoint, app_id, "Phone", "SMS", address)
    answer = send(pinpoint, app_id, Endpoints={"PHONE": {}}, MessageConfiguration=SMS)

    assert answer["EndpointResult"]["PHONE"]["Address"] == address


def test_opt_out_and_inactivity_do_not_stop_a_direct_message(server, pinpoint, app_id):
    out, asleep = phone(), phone()
    put(pinpoint, app_id, "out", "SMS", out, OptOut="ALL")
    put(pinpoint, app_id, "asleep", "SMS", asleep, EndpointStatus="INACTIVE")
    answer = send(pinpoint, app_id, Endpoints={"out": {}, "asleep": {}}, MessageConfiguration=SMS)

    assert set(statuses(answer["EndpointResult"]).values()) == {"SUCCESSFUL"}
    assert arrived(server, out)
    assert arrived(server, asleep)


def test_an_endpoint_that_does_not_exist_fails_alone(pinpoint, app_id):
    put(pinpoint, app_id, "e", "SMS", phone())
    answer = send(pinpoint, app_id, Endpoints={"e": {}, "none": {}}, MessageConfiguration=SMS)

    assert answer["EndpointResult"]["none"] == failure("There is no endpoint with this id")
    assert answer["EndpointResult"]["e"]["DeliveryStatus"] == "SUCCESSFUL"


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [({}, "The endpoint has no ChannelType"), ({"ChannelType": "SMS"}, "The endpoint has no Address")],
)
def test_an_endpoint_with_nowhere_to_send_to_fails(pinpoint, app_id, endpoint, message):
    pinpoint.update_endpoint(ApplicationId=app_id, EndpointId="e", EndpointRequest=endpoint)
    answer = send(pinpoint, app_id, Endpoints={"e": {}}, MessageConfiguration=EVERYTHING)

    assert answer["EndpointResult"]["e"] == failure(message)


@pytest.mark.parametrize(
    ("address", "given", "message"),
    [
        ("+14255550100", {}, "ChannelType: is required for an address"),
        ("x", {"ChannelType": "CUSTOM"}, "Messages cannot be sent directly on the CUSTOM channel"),
        ("x", {"ChannelType": "PUSH"}, "Messages cannot be sent directly on the PUSH channel"),
        ("x", {"ChannelType": "IN_APP"}, "Messages cannot be sent directly on the IN_APP channel"),
        ("x", {"ChannelType": "GCM"}, "The GCM channel is not enabled for this application"),
        ("+14255550100", {"ChannelType": "VOICE"}, "The VOICE channel is not enabled for this application"),
        ("x", {"ChannelType": "SMS"}, "Invalid address: not a phone number in E.164 form"),
        ("+1425", {"ChannelType": "SMS"}, "Invalid address: not a phone number in E.164 form"),
        ("+1425555\uff10\uff11\uff100", {"ChannelType": "SMS"}, "Invalid address: not a phone number in E.164 form"),
        ("nobody", {"ChannelType": "EMAIL"}, "Invalid address: not an email address"),
        ("a@b@c", {"ChannelType": "EMAIL"}, "Invalid address: not an email address"),
        ("Ann <a@example.com>", {"ChannelType": "EMAIL"}, "Invalid address: not an email address"),
        ("a@example..com", {"ChannelType": "EMAIL"}, "Invalid address: not an email address"),
        ("a:b@example.com", {"ChannelType": "EMAIL"}, "Invalid address: not an email address"),
        ("a@[127.0.0.1]", {"ChannelType": "EMAIL"}, "Invalid address: not an email address"),
        (f"a@{'b' * 64}.example", {"ChannelType": "EMAIL"}, "Invalid address: not an email address"),
        (f"a@{'ü' * 60}.example", {"ChannelType": "EMAIL"}, "Invalid address: not an email address"),
        (f"a@{'b.' * 125}example", {"ChannelType": "EMAIL"}, "Invalid address: not an email address"),
        ("", {"ChannelType": "EMAIL"}, "Invalid address: not an email address"),
        ("", {"ChannelType": "SMS"}, "Invalid address: not a phone number in E.164 form"),
    ],
)
def test_an_address_that_cannot_be_sent_to_says_why(pinpoint, app_id, address, given, message):
    assert result_of(pinpoint, app_id, address, given, MessageConfiguration=EVERYTHING) == failure(message)


def test_a_channel_that_was_turned_off_fails_its_recipients_but_not_email(pinpoint, app_id):
    enable(pinpoint, app_id, "SMS", "GCM", Enabled=False)
    mail = {"FromAddress": "shop@example.com", "Identity": "arn:aws:ses:x", "Enabled": False}
    pinpoint.update_email_channel(ApplicationId=app_id, EmailChannelRequest=mail)
    number, device, address = phone(), token(), mailbox()
    wanted = {number: {"ChannelType": "SMS"}, device: {"ChannelType": "GCM"}, address: {"ChannelType": "EMAIL"}}
    answer = send(pinpoint, app_id, Addresses=wanted, MessageConfiguration={"DefaultMessage": {"Body": "Hello"}})

    assert answer["Result"][number] == failure("The SMS channel is not enabled for this application")
    assert answer["Result"][device] == failure("The GCM channel is not enabled for this application")
    assert answer["Result"][address]["DeliveryStatus"] == "SUCCESSFUL"


def test_a_channel_without_content_fails(pinpoint, app_id):
    result = result_of(pinpoint, app_id, mailbox(), {"ChannelType": "EMAIL"}, MessageConfiguration=SMS)

    assert result["DeliveryStatus"] == "PERMANENT_FAILURE"
    assert result["StatusMessage"].startswith("There is no content for the EMAIL channel")


def test_an_email_without_a_sender_fails(pinpoint, app_id):
    content = {"EmailMessage": {"SimpleEmail": {"TextPart": {"Data": "Hello"}}}}
    result = result_of(pinpoint, app_id, mailbox(), {"ChannelType": "EMAIL"}, MessageConfiguration=content)

    assert result == failure("No FromAddress: neither the message nor the email channel has one")


def test_of_recipients_with_one_address_the_first_that_can_be_sent_to_is(server, pinpoint, app_id):
    number, plain = phone(), phone()
    put(pinpoint, app_id, "a", "SMS", number)
    written = (f"{plain[:2]} ({plain[2:5]}) {plain[5:]}", plain, plain.removeprefix("+"))
    addresses = {address: {"ChannelType": "SMS"} for address in written}
    answer = send(pinpoint, app_id, Addresses=addresses, Endpoints={"a": {}, "A": {}}, MessageConfiguration=SMS)

    assert list(statuses(answer["Result"]).values()) == ["SUCCESSFUL", "DUPLICATE", "DUPLICATE"]
    assert statuses(answer["EndpointResult"]) == {"a": "SUCCESSFUL", "A": "DUPLICATE"}
    assert len(arrived(server, plain)) == len(arrived(server, number)) == 1


def test_an_address_and_an_endpoint_with_it_are_duplicates(pinpoint, app_id):
    address = mailbox()
    put(pinpoint, app_id, "e", "EMAIL", address)
    answer = send(
        pinpoint,
        app_id,
        Addresses={address.replace("example.com", "EXAMPLE.com"): {"ChannelType": "EMAIL"}},
        Endpoints={"e": {}},
        MessageConfiguration=EMAIL,
    )

    assert answer["EndpointResult"]["e"]["DeliveryStatus"] == "DUPLICATE"
    assert answer["EndpointResult"]["e"]["StatusMessage"] == "Another recipient of this request has the same address"


def test_one_number_on_two_channels_is_no_duplicate(pinpoint, app_id):
    enable(pinpoint, app_id, "VOICE")
    number = phone()
    put(pinpoint, app_id, "sms", "SMS", number)
    put(pinpoint, app_id, "voice", "VOICE", number)
    content = {"DefaultMessage": {"Body": "Hello"}}
    answer = send(pinpoint, app_id, Endpoints={"sms": {}, "voice": {}}, MessageConfiguration=content)

    assert statuses(answer["EndpointResult"]) == {"sms": "SUCCESSFUL", "voice": "SUCCESSFUL"}


@pytest.mark.parametrize(
    ("channel_type", "body", "is_taken"),
    [
        ("SMS", "x" * 1600, True),
        ("SMS", "x" * 1601, False),
        ("SMS", "€" * 800, True),
        ("SMS", "€" * 801, False),
        ("SMS", "ж" * 630, True),
        ("SMS", "ж" * 631, False),
        ("VOICE", "x" * 3000, True),
        ("VOICE", "x" * 3001, False),
        ("VOICE", "<b>x</b>" * 750, True),
        ("VOICE", "<b>x</b>" * 751, False),
        ("GCM", "x" * 4096, True),
        ("GCM", "é" * 2049, False),
        ("ADM", "x" * 6144, True),
        ("ADM", "x" * 6145, False),
    ],
)
def test_a_text_is_as_long_as_its_channel_allows(pinpoint, app_id, channel_type, body, is_taken):
    enable(pinpoint, app_id, "VOICE", "GCM", "ADM")
    address = token() if channel_type in ("GCM", "ADM") else phone()
    content = {"DefaultMessage": {"Body": body}}
    result = result_of(pinpoint, app_id, address, {"ChannelType": channel_type}, MessageConfiguration=content)

    assert result["DeliveryStatus"] == ("SUCCESSFUL" if is_taken else "PERMANENT_FAILURE")
    assert is_taken or "at most" in result["StatusMessage"]


def test_an_override_that_is_not_handlebars_fails_its_own_recipient(pinpoint, app_id):
    good, bad = phone(), phone()
    addresses = {good: {"ChannelType": "SMS"}, bad: {"ChannelType": "SMS", "BodyOverride": "Hi {{#if"}}
    answer = send(pinpoint, app_id, Addresses=addresses, MessageConfiguration=SMS)

    assert statuses(answer["Result"]) == {good: "SUCCESSFUL", bad: "PERMANENT_FAILURE"}
    assert answer["Result"][bad]["StatusMessage"].startswith("BodyOverride: ")
    assert "line 1, column" in answer["Result"][bad]["StatusMessage"]


@pytest.mark.parametrize("raw", ["not JSON", "[1]", '"text"', "{"])
def test_a_raw_notification_must_be_a_json_object(pinpoint, app_id, raw):
    enable(pinpoint, app_id, "GCM")
    result = result_of(pinpoint, app_id, token(), {"ChannelType": "GCM", "RawContent": raw})

    assert result == failure("RawContent: must be a JSON object")


@pytest.mark.parametrize("length", [2048, 2049, 100_000])
def test_long_tokens_are_taken_or_refused_but_never_an_error(pinpoint, app_id, length):
    enable(pinpoint, app_id, "GCM")
    device = (token() * (length // 32 + 1))[:length]
    content = {"DefaultMessage": {"Body": "Hello"}}
    result = result_of(pinpoint, app_id, device, {"ChannelType": "GCM"}, MessageConfiguration=content)

    assert result["DeliveryStatus"] == ("SUCCESSFUL" if length <= 2048 else "PERMANENT_FAILURE")
