"""A treatment's content: which channels it has something to say on, and how the delivery pipeline is told. Pure.

With a template, content comes from the template and settings (sender, SMS type) from MessageConfiguration. The default
message reaches push channels and SMS; email needs an email of its own (Pinpoint's guide is silent on both).
"""

from collections.abc import Mapping
from typing import Any

from repoint.resources.campaigns.treatments import Treatment

PUSH_CHANNELS = {
    "ADM": "ADMMessage",
    "APNS": "APNSMessage",
    "APNS_SANDBOX": "APNSMessage",
    "APNS_VOIP": "APNSMessage",
    "APNS_VOIP_SANDBOX": "APNSMessage",
    "BAIDU": "BaiduMessage",
    "GCM": "GCMMessage",
}
PUSH_MEMBERS = ("DefaultMessage", *sorted(set(PUSH_CHANNELS.values())))
TEMPLATE_TYPES = {
    "EmailTemplate": "EMAIL",
    "PushTemplate": "PUSH",
    "SMSTemplate": "SMS",
    "InAppTemplate": "INAPP",
}
SAYS_SOMETHING = ("Body", "HtmlBody", "JsonBody", "MediaUrl", "RawContent", "SilentPush", "Title")
IN_APP_MEMBERS = ("Content", "CustomConfig", "Layout")
SMS_SETTINGS = ("MessageType", "OriginationNumber", "SenderId", "EntityId", "TemplateId")
# One picture has one name in campaigns and another in direct messages.
PUSH_RENAMED = {"ImageSmallIconUrl": "SmallImageIconUrl"}


def template_named(treatment: Treatment, member: str) -> bool:
    """Whether the treatment names a template of this kind."""
    return bool(treatment.templates.get(member, {}).get("Name"))


def channels_of(treatment: Treatment) -> set[str]:
    """The channel types whose endpoints get something from this treatment."""
    return own_channels(treatment) | custom_types(treatment)


def custom_types(treatment: Treatment) -> set[str]:
    """The channel types whose endpoints its function or webhook delivers to, even where it has a message of theirs."""
    if not is_custom(treatment):
        return set()
    return set(treatment.custom_delivery.get("EndpointTypes") or ["CUSTOM"])


def own_channels(treatment: Treatment) -> set[str]:
    """The channel types whose endpoints get a message on their own channel."""
    message = treatment.message
    found = set()
    if template_named(treatment, "EmailTemplate") or _says(message.get("EmailMessage")):
        found.add("EMAIL")
    if template_named(treatment, "SMSTemplate") or _says(message.get("SMSMessage")) or _says_default(message):
        found.add("SMS")
    for channel_type, member in PUSH_CHANNELS.items():
        if template_named(treatment, "PushTemplate") or _says(message.get(member)) or _says_default(message):
            found.add(channel_type)
    if is_in_app(treatment):
        found.add("IN_APP")
    return found - custom_types(treatment)


def is_in_app(treatment: Treatment) -> bool:
    """Whether it has an in-app message."""
    return bool(treatment.message.get("InAppMessage")) or template_named(treatment, "InAppTemplate")


def is_custom(treatment: Treatment) -> bool:
    """Whether a function or webhook of the customer's delivers it."""
    return bool(treatment.custom_delivery)


def _says(message: Mapping[str, Any] | None) -> bool:
    return any((message or {}).get(name) for name in SAYS_SOMETHING)


def _says_default(message: Mapping[str, Any]) -> bool:
    return _says(message.get("DefaultMessage"))


def direct_message(treatment: Treatment) -> dict[str, Any]:
    """The treatment's MessageConfiguration in the shape direct messages have, which is what delivery reads."""
    message = treatment.message
    found: dict[str, Any] = {}
    email = message.get("EmailMessage", {})
    if email or template_named(treatment, "EmailTemplate"):
        found["EmailMessage"] = _email(email, has_template=template_named(treatment, "EmailTemplate"))
    sms = message.get("SMSMessage") or {}
    if sms or message.get("DefaultMessage"):
        body = {} if template_named(treatment, "SMSTemplate") else {"Body": sms.get("Body") or _default_body(message)}
        found["SMSMessage"] = {**{name: sms[name] for name in SMS_SETTINGS if sms.get(name)}, **body}
    if not template_named(treatment, "PushTemplate"):
        for member in PUSH_MEMBERS:
            if message.get(member):
                name = "DefaultPushNotificationMessage" if member == "DefaultMessage" else member
                found[name] = {PUSH_RENAMED.get(key, key): value for key, value in message[member].items()}
    return found


def custom_delivery(treatment: Treatment) -> dict[str, Any]:
    """The treatment's function or webhook, for which endpoints it is, and what it is told, as delivery reads it."""
    return {
        "DeliveryUri": treatment.custom_delivery["DeliveryUri"],
        "EndpointTypes": sorted(custom_types(treatment)),
        "Data": treatment.message.get("CustomMessage", {}).get("Data", ""),
    }


def _email(email: Mapping[str, Any], *, has_template: bool) -> dict[str, Any]:
    sender = {"FromAddress": email["FromAddress"]} if email.get("FromAddress") else {}
    if has_template:
        return sender
    parts = {"Subject": email.get("Title"), "HtmlPart": email.get("HtmlBody"), "TextPart": email.get("Body")}
    simple: dict[str, Any] = {name: {"Data": text} for name, text in parts.items() if text}
    if email.get("Headers"):
        simple["Headers"] = email["Headers"]
    return {**sender, "SimpleEmail": simple}


def _default_body(message: Mapping[str, Any]) -> str:
    return str(message.get("DefaultMessage", {}).get("Body", ""))
