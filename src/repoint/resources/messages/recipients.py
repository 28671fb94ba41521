"""Who is to get a message, and what can be said of each before anything is sent."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repoint.resources.endpoints.store import Endpoint

PUSH_TYPES = frozenset({"GCM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "ADM", "BAIDU"})
MESSAGE_MEMBERS = {
    "EMAIL": "EmailMessage",
    "SMS": "SMSMessage",
    "VOICE": "VoiceMessage",
    "GCM": "GCMMessage",
    "ADM": "ADMMessage",
    "BAIDU": "BaiduMessage",
    "APNS": "APNSMessage",
    "APNS_SANDBOX": "APNSMessage",
    "APNS_VOIP": "APNSMessage",
    "APNS_VOIP_SANDBOX": "APNSMessage",
}
TEMPLATE_TYPES = {"EMAIL": "EMAIL", "SMS": "SMS", "VOICE": "VOICE"} | dict.fromkeys(PUSH_TYPES, "PUSH")
TEMPLATE_MEMBERS = {
    "EMAIL": "EmailTemplate",
    "SMS": "SMSTemplate",
    "VOICE": "VoiceTemplate",
    "PUSH": "PushTemplate",
}
# Channels that need settings before they can send: nothing can be delivered without what they hold, and voice is off
# in a new application. E-mail and SMS send unless they were turned off.
CONFIGURED_TYPES = PUSH_TYPES | {"VOICE"}
PHONE_DECORATION = re.compile(r"[\s().-]+")
PHONE = re.compile(r"\+?[1-9]\d{6,14}\Z")
EMAIL_ADDRESS = re.compile(r"[^\s@<>\x00-\x1f\x7f]{1,64}@[^\s@<>\x00-\x1f\x7f]{1,255}\Z")


@dataclass(frozen=True, slots=True)
class Recipient:
    """One entry of a request: an address with its channel, or an endpoint."""

    key: str
    given: Mapping[str, Any]
    channel_type: str | None
    address: str | None
    endpoint: Endpoint | None
    is_endpoint: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for a recipient that will not be sent to."""

    delivery_status: str
    status_message: str
    status_code: int = 400


def refused(message: str) -> Verdict:
    """Will never work as it stands."""
    return Verdict("PERMANENT_FAILURE", message)


def normal_address(channel_type: str, address: str) -> str | None:
    """The address as it is dialled or mailed; None when it cannot be one."""
    if channel_type in ("SMS", "VOICE"):
        dialled = PHONE_DECORATION.sub("", address)
        return dialled if PHONE.match(dialled) else None
    if channel_type == "EMAIL":
        return address if EMAIL_ADDRESS.match(address) else None
    return address


def judge(
    recipient: Recipient,
    channels: Mapping[str, bool],
    message: Mapping[str, Any],
    templates: Mapping[str, Any],
) -> Verdict | None:
    """Why this recipient cannot be sent to, or None. `channels` says of each configured channel if it is enabled."""
    channel_type = recipient.channel_type
    if recipient.is_endpoint and recipient.endpoint is None:
        return refused("There is no endpoint with this id")
    if channel_type is None or not recipient.address:
        return refused("The endpoint has no address")
    if channel_type not in MESSAGE_MEMBERS:
        return refused(f"Messages cannot be sent directly on the {channel_type} channel")
    if not channels.get(channel_type, channel_type not in CONFIGURED_TYPES) and channel_type != "EMAIL":
        return refused(f"The {channel_type} channel is not enabled for this application")
    if normal_address(channel_type, recipient.address) is None:
        kind = "an email address" if channel_type == "EMAIL" else "a phone number in E.164 form"
        return refused(f"Invalid address: not {kind}")
    if not has_content(recipient, message, templates):
        return refused(f"There is no content for the {channel_type} channel: give a message, a template or a default")
    return None


def has_content(recipient: Recipient, message: Mapping[str, Any], templates: Mapping[str, Any]) -> bool:
    """Whether anything says what this recipient should read."""
    channel_type = recipient.channel_type or ""
    if any(recipient.given.get(name) for name in ("BodyOverride", "RawContent")):
        return True
    if TEMPLATE_TYPES.get(channel_type) in templates:
        return True
    own = message.get(MESSAGE_MEMBERS.get(channel_type, ""), {})
    if any(own.get(name) for name in ("Body", "RawContent", "SimpleEmail", "RawEmail", "Title", "SilentPush")):
        return True
    if channel_type in PUSH_TYPES and message.get("DefaultPushNotificationMessage"):
        return True
    return bool(message.get("DefaultMessage", {}).get("Body"))
