"""Notifications and calls: all that the caller gave is carried to whoever delivers it."""

import json
import uuid

import pytest

from tests.messages.sending import enable, phone, put, send, text, token

COMMON = {
    "Action": "URL",
    "Body": "Body {{x}}",
    "Data": {"key": "value"},
    "Title": "Title {{x}}",
    "Url": "https://example.com/{{x}}",
    "Sound": "ding",
}
ANDROID = {
    "IconReference": "icon",
    "ImageIconUrl": "https://example.com/icon.png",
    "ImageUrl": "https://example.com/image.png",
    "SmallImageIconUrl": "https://example.com/small.png",
}
MESSAGES = {
    "GCM": (
        "GCMMessage",
        {
            **ANDROID,
            "CollapseKey": "k",
            "Priority": "high",
            "RestrictedPackageName": "org.example",
            "TimeToLive": 60,
            "PreferredAuthenticationMethod": "TOKEN",
        },
    ),
    "ADM": ("ADMMessage", {**ANDROID, "ConsolidationKey": "k", "ExpiresAfter": "60", "MD5": "0123"}),
    "BAIDU": ("BaiduMessage", {**ANDROID, "TimeToLive": 60}),
} | {
    channel_type: (
        "APNSMessage",
        {
            "APNSPushType": "alert",
            "Badge": 3,
            "Category": "c",
            "CollapseId": "i",
            "MediaUrl": "https://example.com/video.mp4",
            "Priority": "10",
            "ThreadId": "t",
            "TimeToLive": 60,
            "PreferredAuthenticationMethod": "CERTIFICATE",
        },
    )
    for channel_type in ("APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX")
}


def push(server, client, app_id, channel_type, message, given=None, **request):
    """Send one notification, and read what arrives."""
    enable(client, app_id, channel_type)
    device = token()
    recipient = {device: {"ChannelType": channel_type, **(given or {})}}
    send(client, app_id, Addresses=recipient, MessageConfiguration=message, **request)
    return text(server, device)


@pytest.mark.parametrize("channel_type", MESSAGES)
def test_every_member_of_a_notification_is_carried(server, pinpoint, app_id, channel_type):
    member, own = MESSAGES[channel_type]
    message = {member: {**COMMON, **own, "SilentPush": False, "Substitutions": {"x": ["1"]}}}
    got = push(server, pinpoint, app_id, channel_type, message)

    assert (got["channel_type"], got["title"], got["body"]) == (channel_type, "Title 1", "Body 1")
    assert got["details"] == {
        "Action": "URL",
        "Data": {"key": "value"},
        "Url": "https://example.com/1",
        "Sound": "ding",
        **own,
        "SilentPush": False,
    }


def test_a_default_push_message_fills_what_the_channels_leaves_out(server, pinpoint, app_id):
    default = {
        "Action": "DEEP_LINK",
        "Title": "D",
        "Body": "D",
        "Url": "app://d",
        "Data": {"d": "1"},
        "SilentPush": False,
    }
    message = {"DefaultPushNotificationMessage": default, "APNSMessage": {"Body": "Own", "Badge": 0}}
    got = push(server, pinpoint, app_id, "APNS", message)

    assert (got["title"], got["body"]) == ("D", "Own")
    assert got["details"] == {
        "Action": "DEEP_LINK",
        "Url": "app://d",
        "Data": {"d": "1"},
        "SilentPush": False,
        "Badge": 0,
    }


def test_a_silent_notification_needs_no_text(server, pinpoint, app_id):
    got = push(server, pinpoint, app_id, "GCM", {"GCMMessage": {"SilentPush": True, "Data": {"sync": "now"}}})

    assert (got["title"], got["body"]) == ("", "")
    assert got["details"] == {"SilentPush": True, "Data": {"sync": "now"}}


def test_context_and_trace_id_travel_with_a_notification(server, pinpoint, app_id):
    got = push(
        server,
        pinpoint,
        app_id,
        "GCM",
        {"DefaultMessage": {"Body": "x"}},
        given={"Context": {"b": "own"}},
        Context={"a": "all", "b": "all"},
        TraceId="trace-1",
    )

    assert got["details"]["Context"] == {"a": "all", "b": "own", "trace_id": "trace-1"}


@pytest.mark.parametrize("place", ["recipient", "channel", "template"])
def test_raw_content_is_the_whole_payload(server, pinpoint, app_id, place):
    raw = '{"notification": {"body": "raw {{x}}"}}'
    message, given, request = {"GCMMessage": {"Title": "gone", "Priority": "high"}}, {}, {}
    if place == "recipient":
        given = {"RawContent": raw, "BodyOverride": "gone"}
    elif place == "channel":
        message["GCMMessage"]["RawContent"] = raw
    else:
        name = f"t-{uuid.uuid4().hex}"
        content = {"GCM": {"RawContent": raw, "Body": "gone"}, "Default": {"Title": "gone"}}
        pinpoint.create_push_template(TemplateName=name, PushNotificationTemplateRequest=content)
        request = {"TemplateConfiguration": {"PushTemplate": {"Name": name}}}
    given["Substitutions"] = {"x": ["1"]}
    got = push(server, pinpoint, app_id, "GCM", message, given, **request)

    assert json.loads(got["details"].pop("RawContent")) == {"notification": {"body": "raw 1"}}
    assert (got["title"], got["body"], got["details"]) == ("", "", {"Priority": "high"})


@pytest.mark.parametrize(
    ("channel_type", "part"),
    [("GCM", "GCM"), ("ADM", "ADM"), ("BAIDU", "Baidu"), ("APNS", "APNS"), ("APNS_VOIP", "APNS")],
)
def test_a_push_templates_own_part_comes_before_its_default(server, pinpoint, app_id, channel_type, part):
    name = f"t-{uuid.uuid4().hex}"
    content = {
        "Default": {"Title": "default", "Body": "default", "Sound": "default", "Action": "URL", "Url": "https://d"},
        part: {"Body": "own", "Action": "DEEP_LINK", "Url": "app://own"},
    }
    pinpoint.create_push_template(TemplateName=name, PushNotificationTemplateRequest=content)
    got = push(server, pinpoint, app_id, channel_type, {}, TemplateConfiguration={"PushTemplate": {"Name": name}})

    assert (got["title"], got["body"]) == ("default", "own")
    assert got["details"] == {"Sound": "default", "Action": "DEEP_LINK", "Url": "app://own"}


def test_a_push_template_without_anything_for_a_channel_is_no_content_for_it(pinpoint, app_id):
    enable(pinpoint, app_id, "GCM")
    name, device = f"t-{uuid.uuid4().hex}", token()
    pinpoint.create_push_template(TemplateName=name, PushNotificationTemplateRequest={"ADM": {"Body": "x"}})
    answer = send(
        pinpoint,
        app_id,
        Addresses={device: {"ChannelType": "GCM"}},
        TemplateConfiguration={"PushTemplate": {"Name": name}},
    )

    assert answer["Result"][device]["DeliveryStatus"] == "PERMANENT_FAILURE"


def test_a_call_carries_its_voice_and_language(server, pinpoint, app_id):
    enable(pinpoint, app_id, "VOICE")
    number = phone()
    put(pinpoint, app_id, "e", "VOICE", number, Attributes={"code": ["123"]})
    voice = {
        "Body": "<speak>Your code is {{Attributes.code}}</speak>",
        "LanguageCode": "en-GB",
        "VoiceId": "Amy",
        "OriginationNumber": "+442071234567",
    }
    send(pinpoint, app_id, Endpoints={"e": {}}, MessageConfiguration={"VoiceMessage": voice})
    got = text(server, number)

    assert got["body"] == "<speak>Your code is 123</speak>"
    assert got["origination"] == "+442071234567"
    assert (got["details"]["LanguageCode"], got["details"]["VoiceId"]) == ("en-GB", "Amy")


def test_a_voice_template_brings_its_voice(server, pinpoint, app_id):
    enable(pinpoint, app_id, "VOICE")
    number, name = phone(), f"t-{uuid.uuid4().hex}"
    content = {"Body": "Hello {{x}}", "LanguageCode": "de-DE", "VoiceId": "Hans", "DefaultSubstitutions": '{"x": "du"}'}
    pinpoint.create_voice_template(TemplateName=name, VoiceTemplateRequest=content)
    send(
        pinpoint,
        app_id,
        Addresses={number: {"ChannelType": "VOICE"}},
        TemplateConfiguration={"VoiceTemplate": {"Name": name}},
    )
    got = text(server, number)

    assert got["body"] == "Hello du"
    assert (got["details"]["LanguageCode"], got["details"]["VoiceId"]) == ("de-DE", "Hans")


def test_an_sms_carries_its_sender_and_registrations(server, pinpoint, app_id):
    enable(pinpoint, app_id, "SMS", SenderId="CHANNEL", ShortCode="12345")
    number, other = phone(), phone()
    sms = {"Body": "x", "EntityId": "e", "TemplateId": "t", "Keyword": "k", "MediaUrl": "https://m"}
    own = {"MessageType": "PROMOTIONAL", "OriginationNumber": "+14255550142", "SenderId": "OWN"}
    send(
        pinpoint,
        app_id,
        Addresses={number: {"ChannelType": "SMS"}},
        MessageConfiguration={"SMSMessage": {**sms, **own}},
    )
    send(pinpoint, app_id, Addresses={other: {"ChannelType": "SMS"}}, MessageConfiguration={"SMSMessage": sms})
    got, plain = text(server, number), text(server, other)

    assert (got["origination"], got["sender_id"], got["message_type"]) == ("+14255550142", "OWN", "PROMOTIONAL")
    assert {name: got["details"][name] for name in ("EntityId", "TemplateId", "Keyword", "MediaUrl")} == {
        name: sms[name] for name in ("EntityId", "TemplateId", "Keyword", "MediaUrl")
    }
    assert (plain["origination"], plain["sender_id"], plain["message_type"]) == ("12345", "CHANNEL", "TRANSACTIONAL")
