"""One campaign with messages for every channel: each endpoint gets its own channel's, by whatever carries it."""

import json

import pytest

from tests.campaigns.conftest import iso
from tests.campaigns.far_end import sends, through
from tests.messages.sending import CHANNELS, enable, phone, text, token

pytestmark = pytest.mark.usefixtures("calling")

PUSH = ("GCM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "ADM", "BAIDU")


def put_everybody(app):
    """An endpoint of each channel type, by its type; each has a name of its own."""
    addresses = {one: token() for one in (*PUSH, "CUSTOM", "IN_APP")} | {"SMS": phone(), "VOICE": phone()}
    addresses["EMAIL"] = app.address("email")
    for channel_type, address in addresses.items():
        user = {"UserId": channel_type, "UserAttributes": {"Name": [f"Ann {channel_type}"]}}
        app.put(channel_type.lower(), ChannelType=channel_type, Address=address, User=user)
    enable(app.client, app.id, *(one for one in CHANNELS if one != "VOICE"))
    return addresses


def test_each_endpoint_gets_its_channels_message(app, far_end):
    addresses = put_everybody(app)
    name = "{{User.UserAttributes.Name}}"
    messages = {
        "DefaultMessage": {"Body": f"default for {name}"},
        "EmailMessage": {"FromAddress": "shop@example.com", "Title": f"Hi {name}", "Body": f"email for {name}"},
        "SMSMessage": {"Body": f"SMS for {name}", "MessageType": "PROMOTIONAL", "SenderId": "Shop"},
        "GCMMessage": {"Title": f"GCM {name}", "Body": f"GCM for {name}", "ImageSmallIconUrl": "https://e.com/i.png"},
        "ADMMessage": {"RawContent": json.dumps({"data": {"for": name}})},
        "BaiduMessage": {"Body": f"Baidu for {name}"},
    }
    [activity] = app.finished(app.campaign(**through(far_end.serve("/every"), data="d", **messages)))
    bodies = {one: text(app.server, addresses[one])["body"] for one in PUSH if one != "ADM"}
    [mail] = app.sink.to(addresses["EMAIL"])

    assert activity["ExecutionMetrics"] == {"ENDPOINT_CHANNEL_MISMATCH": "2", "ENDPOINT_PRODUCED": "12"}
    assert (activity["TotalEndpointCount"], activity["SuccessfulEndpointCount"]) == (10, 10)
    assert (mail["subject"], mail.get_content().strip()) == ("Hi Ann EMAIL", "email for Ann EMAIL")
    assert bodies.pop("GCM") == "GCM for Ann GCM"
    assert bodies.pop("BAIDU") == "Baidu for Ann BAIDU"
    assert bodies == {one: f"default for Ann {one}" for one in PUSH if one.startswith("APNS")}
    sms = text(app.server, addresses["SMS"])
    assert (sms["body"], sms["message_type"], sms["sender_id"]) == ("SMS for Ann SMS", "PROMOTIONAL", "Shop")
    gcm = text(app.server, addresses["GCM"])
    assert (gcm["title"], gcm["details"]["SmallImageIconUrl"]) == ("GCM Ann GCM", "https://e.com/i.png")
    adm = text(app.server, addresses["ADM"])
    assert json.loads(adm["details"]["RawContent"]) == {"data": {"for": "Ann ADM"}}
    assert [list(call["Endpoints"]) for call in far_end.called("/every")] == [["custom"]]
    statuses = {one["delivery_type"]: one["campaign_send_status"] for one in sends(app).values()}
    assert statuses == dict.fromkeys((*PUSH, "CUSTOM", "EMAIL", "SMS"), "SUCCESS")


def test_templates_of_several_channels_go_together(app):
    addresses = put_everybody(app)
    own, name = f"t{app.id}", "{{User.UserAttributes.Name}}"
    app.client.create_email_template(
        TemplateName=own, EmailTemplateRequest={"Subject": name, "TextPart": f"mail {name}"}
    )
    app.client.create_sms_template(TemplateName=own, SMSTemplateRequest={"Body": f"text {name}"})
    push = {"Default": {"Body": f"push {name}", "Action": "OPEN_APP"}, "APNS": {"Body": f"apple {name}"}}
    app.client.create_push_template(TemplateName=own, PushNotificationTemplateRequest=push)
    templates = {f"{kind}Template": {"Name": own} for kind in ("Email", "SMS", "Push")}
    sender = {"EmailMessage": {"FromAddress": "shop@example.com"}}
    [activity] = app.finished(app.campaign(MessageConfiguration=sender, TemplateConfiguration=templates))
    bodies = {one: text(app.server, addresses[one])["body"] for one in (*PUSH, "SMS")}

    assert activity["SuccessfulEndpointCount"] == 9
    assert app.sink.to(addresses["EMAIL"])[0]["subject"] == "Ann EMAIL"
    assert bodies == {"SMS": "text Ann SMS"} | {
        one: f"{'apple' if one.startswith('APNS') else 'push'} Ann {one}" for one in PUSH
    }


def test_a_campaign_outlives_its_template(app):
    app.put("mail")
    own = f"t{app.id}"
    app.client.create_email_template(TemplateName=own, EmailTemplateRequest={"Subject": "One", "TextPart": "x"})
    app.client.update_email_template(
        TemplateName=own, EmailTemplateRequest={"Subject": "Two", "TextPart": "x"}, CreateNewVersion=True
    )
    message = {"EmailMessage": {"FromAddress": "shop@example.com"}}
    named = [{"Name": own}, {"Name": own, "Version": "2"}, {"Name": own, "Version": "latest"}]
    campaigns = [
        app.campaign(start=iso(seconds=3), MessageConfiguration=message, TemplateConfiguration={"EmailTemplate": one})
        for one in named
    ]
    app.client.delete_email_template(TemplateName=own)
    for campaign in campaigns:
        app.finished(campaign)

    assert sorted(mail["subject"] for mail in app.sink.to(app.address("mail"))) == ["One", "Two", "Two"]


def test_a_channel_that_is_not_set_up_is_said_to_be_unsupported(app):
    app.put("mail")
    app.put("device", ChannelType="GCM", Address=token())
    app.put("text", ChannelType="SMS", Address=phone())
    app.client.update_sms_channel(ApplicationId=app.id, SMSChannelRequest={"Enabled": False})
    message = {"EmailMessage": {"FromAddress": "shop@example.com", "Body": "b"}, "DefaultMessage": {"Body": "b"}}
    [activity] = app.finished(app.campaign(MessageConfiguration=message))

    assert (activity["TotalEndpointCount"], activity["SuccessfulEndpointCount"]) == (3, 1)
    assert {name: one["campaign_send_status"] for name, one in sends(app).items()} == {
        "mail": "SUCCESS",
        "device": "UNSUPPORTED_CHANNEL",
        "text": "UNSUPPORTED_CHANNEL",
    }
