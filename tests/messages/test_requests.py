"""What SendMessages refuses as a whole: nobody has been sent anything then."""

import json

import pytest

from tests.messages.sending import mailbox, phone, send, text
from tests.signed import send_raw

SMS = {"SMSMessage": {"Body": "Hello"}}
FROM = {"FromAddress": "shop@example.com"}


def raw_send(server, app_id, **request):
    """A request botocore would not let out."""
    return send_raw(server, "POST", f"/v1/apps/{app_id}/messages", json.dumps(request).encode())


def sms_template(client, body="Hello {{name}}"):
    name = f"t-{phone()[1:]}"
    client.create_sms_template(TemplateName=name, SMSTemplateRequest={"Body": body})
    return name


@pytest.mark.parametrize("recipients", [{}, {"Addresses": {}}, {"Addresses": {}, "Endpoints": {}}])
def test_a_message_for_nobody_is_refused(pinpoint, app_id, recipients):
    with pytest.raises(pinpoint.exceptions.BadRequestException, match="1 to 100 Addresses and Endpoints"):
        send(pinpoint, app_id, MessageConfiguration=SMS, **recipients)


def test_100_recipients_are_taken_and_101_are_not(pinpoint, app_id):
    addresses = {f"+1425555{n:04}": {"ChannelType": "SMS"} for n in range(60)}
    endpoints = {f"none-{n}": {} for n in range(41)}
    with pytest.raises(pinpoint.exceptions.BadRequestException, match="1 to 100 Addresses and Endpoints"):
        send(pinpoint, app_id, Addresses=addresses, Endpoints=endpoints, MessageConfiguration=SMS)
    endpoints.popitem()
    answer = send(pinpoint, app_id, Addresses=addresses, Endpoints=endpoints, MessageConfiguration=SMS)

    assert (len(answer["Result"]), len(answer["EndpointResult"])) == (60, 40)


def test_an_unknown_application_is_not_found(pinpoint):
    with pytest.raises(pinpoint.exceptions.NotFoundException, match="Application not found"):
        send(pinpoint, "none", Addresses={phone(): {"ChannelType": "SMS"}}, MessageConfiguration=SMS)


def test_a_template_is_enough(server, pinpoint, app_id):
    number, name = phone(), sms_template(pinpoint)
    given = {"ChannelType": "SMS", "Substitutions": {"name": ["Ann"]}}
    status, _, answer = raw_send(
        server, app_id, Addresses={number: given}, TemplateConfiguration={"SMSTemplate": {"Name": name}}
    )

    assert (status, answer["Result"][number]["DeliveryStatus"]) == (200, "SUCCESSFUL")
    assert text(server, number)["body"] == "Hello Ann"


def test_neither_message_nor_template_is_refused(server, app_id):
    status, code, answer = raw_send(server, app_id, Addresses={phone(): {"ChannelType": "SMS"}})

    assert (status, code) == (400, "BadRequestException")
    assert answer["Message"] == "MessageConfiguration: is required when there is no TemplateConfiguration"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"SMSTemplate": {}}, "TemplateConfiguration.SMSTemplate.Name: is required"),
        ({"SMSTemplate": {"Version": "1"}}, "TemplateConfiguration.SMSTemplate.Name: is required"),
        ({"SMSTemplate": {"Name": "none"}}, "there is no SMS template none"),
        ({"EmailTemplate": {"Name": "none", "Version": "2"}}, "there is no EMAIL template none, version 2"),
        ({"PushTemplate": {"Name": "none"}}, "there is no PUSH template none"),
        ({"VoiceTemplate": {"Name": "none"}}, "there is no VOICE template none"),
        ({"SMSTemplate": {"Name": "none", "Version": "x"}}, "SMSTemplate.Version: must be a number or latest"),
        ({"InAppTemplate": {"Name": "x"}}, "TemplateConfiguration.InAppTemplate: in-app messages cannot be sent"),
    ],
)
def test_a_template_that_cannot_be_used_is_named(pinpoint, app_id, template, message):
    with pytest.raises(pinpoint.exceptions.BadRequestException, match=message):
        send(pinpoint, app_id, Addresses={phone(): {"ChannelType": "SMS"}}, TemplateConfiguration=template)


@pytest.mark.parametrize(("version", "body"), [(None, "one"), ("1", "one"), ("2", "two"), ("latest", "three")])
def test_a_template_is_sent_in_the_version_that_is_named(server, pinpoint, app_id, version, body):
    number, name = phone(), sms_template(pinpoint, "one")
    for later in ("two", "three"):
        pinpoint.update_sms_template(TemplateName=name, SMSTemplateRequest={"Body": later}, CreateNewVersion=True)
    wanted = {"Name": name} | ({"Version": version} if version else {})
    send(pinpoint, app_id, Addresses={number: {"ChannelType": "SMS"}}, TemplateConfiguration={"SMSTemplate": wanted})

    assert text(server, number)["body"] == body


def test_the_version_is_the_one_that_was_active_when_the_message_was_accepted(server, pinpoint, app_id):
    number, name = phone(), sms_template(pinpoint, "one")
    wanted = {"SMSTemplate": {"Name": name}}
    send(pinpoint, app_id, Addresses={number: {"ChannelType": "SMS"}}, TemplateConfiguration=wanted)
    pinpoint.update_sms_template(TemplateName=name, SMSTemplateRequest={"Body": "two"}, CreateNewVersion=True)
    pinpoint.update_template_active_version(
        TemplateName=name, TemplateType="SMS", TemplateActiveVersionRequest={"Version": "2"}
    )

    assert text(server, number)["body"] == "one"


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"SMSMessage": {"Body": "Hi {{name"}}, "SMSMessage.Body"),
        ({"DefaultMessage": {"Body": "{{#if x}}"}}, "DefaultMessage.Body"),
        ({"DefaultPushNotificationMessage": {"Title": "{{/if}}"}}, "DefaultPushNotificationMessage.Title"),
        ({"GCMMessage": {"RawContent": '{"a": "{{b"}'}}, "GCMMessage.RawContent"),
        ({"EmailMessage": {"SimpleEmail": {"HtmlPart": {"Data": "<p>{{"}}}}, "EmailMessage.SimpleEmail.HtmlPart.Data"),
        ({"EmailMessage": {"SimpleEmail": {"Headers": [{"Name": "X", "Value": "{{"}]}}}, "SimpleEmail.Headers"),
    ],
)
def test_a_text_that_is_not_handlebars_is_refused_with_its_place(pinpoint, app_id, message, path):
    with pytest.raises(pinpoint.exceptions.BadRequestException) as caught:
        send(pinpoint, app_id, Addresses={phone(): {"ChannelType": "SMS"}}, MessageConfiguration=message)

    assert path in caught.value.response["Error"]["Message"]
    assert "line 1, column" in caught.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("email", "path"),
    [
        ({"FromAddress": "nobody"}, "FromAddress"),
        ({"FromAddress": "a@example.com\r\nBcc: b@example.com"}, "FromAddress"),
        ({"FeedbackForwardingAddress": "x"}, "FeedbackForwardingAddress"),
        ({"ReplyToAddresses": ["a@example.com", "x"]}, r"ReplyToAddresses\[1\]"),
        ({"ReplyToAddresses": ["a@example.com"] * 51}, "ReplyToAddresses"),
        ({"SimpleEmail": {"Headers": [{"Name": "X Y", "Value": "z"}]}}, r"SimpleEmail.Headers\[0\].Name"),
        ({"SimpleEmail": {"Headers": [{"Name": "X", "Value": "z"}] * 16}}, "SimpleEmail.Headers"),
        ({"SimpleEmail": {"Headers": [{"Name": "X", "Value": "z" * 871}]}}, r"Headers\[0\].Value"),
        ({"SimpleEmail": {"Headers": [{"Name": "X" * 127, "Value": "z"}]}}, r"Headers\[0\].Name"),
        ({"SimpleEmail": {"Subject": {"Data": "x", "Charset": "no-such"}}}, "SimpleEmail.Subject.Charset"),
        ({"SimpleEmail": {"HtmlPart": {"Data": "x", "Charset": "rot13"}}}, "SimpleEmail.HtmlPart.Charset"),
        ({"SimpleEmail": {"TextPart": {"Data": "x", "Charset": "utf-8\r\nX: y"}}}, "SimpleEmail.TextPart.Charset"),
        ({"RawEmail": {"Data": b"no header at all"}}, "RawEmail.Data"),
        ({"RawEmail": {"Data": b""}}, "RawEmail.Data"),
        ({"RawEmail": {"Data": b"\r\nSubject: too late\r\n\r\nx"}}, "RawEmail.Data"),
    ],
)
def test_an_email_nobody_could_be_sent_is_refused(pinpoint, app_id, email, path):
    with pytest.raises(pinpoint.exceptions.BadRequestException, match=path):
        send(
            pinpoint,
            app_id,
            Addresses={mailbox(): {"ChannelType": "EMAIL"}},
            MessageConfiguration={"EmailMessage": {**FROM, **email}},
        )


@pytest.mark.parametrize(
    ("push", "rule"),
    [
        ({"APNSMessage": {"Priority": "11"}}, "Priority: must be one of"),
        ({"APNSMessage": {"APNSPushType": "loud"}}, "APNSPushType: must be one of"),
        ({"APNSMessage": {"CollapseId": "x" * 65}}, "CollapseId: must be at most 64 characters"),
        ({"APNSMessage": {"TimeToLive": -1}}, "TimeToLive: must be at least 0"),
        ({"GCMMessage": {"TimeToLive": 2_419_201}}, "TimeToLive: must be at most 2419200"),
        ({"GCMMessage": {"Priority": "low"}}, "Priority: must be one of"),
        ({"BaiduMessage": {"TimeToLive": 604_801}}, "TimeToLive: must be at most 604800"),
    ],
)
def test_a_notification_outside_its_documented_limits_is_refused(pinpoint, app_id, push, rule):
    with pytest.raises(pinpoint.exceptions.BadRequestException, match=rule):
        send(pinpoint, app_id, Addresses={phone(): {"ChannelType": "SMS"}}, MessageConfiguration=push)


def test_a_context_too_large_to_repeat_in_events_is_refused(pinpoint, app_id):
    given = {"ChannelType": "SMS", "Context": {"k": "v" * 10_000}}
    with pytest.raises(pinpoint.exceptions.BadRequestException, match="Context: must be at most 10000 characters"):
        send(pinpoint, app_id, Addresses={"+14255550100": given}, MessageConfiguration=SMS)


def test_raw_email_must_be_base64(server, app_id):
    message = {"EmailMessage": {**FROM, "RawEmail": {"Data": "%%%"}}}
    status, code, answer = raw_send(
        server, app_id, Addresses={mailbox(): {"ChannelType": "EMAIL"}}, MessageConfiguration=message
    )

    assert (status, code) == (400, "BadRequestException")
    assert "RawEmail.Data: must be base64" in answer["Message"]
