"""Which text a recipient is to read: what the request says first, then its templates, then its defaults.

Source: Pinpoint's API reference on MessageConfiguration and TemplateConfiguration. For each part of a message the
order is: the recipient's override, the channel's message, the template, the default message.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from repoint.resources.messages.recipients import MESSAGE_MEMBERS, PUSH_TYPES, TEMPLATE_TYPES
from repoint.resources.templates.store import decode_defaults

PUSH_TEMPLATE_MEMBERS = {"GCM": "GCM", "ADM": "ADM", "BAIDU": "Baidu"}
PUSH_PARTS = (
    "Title",
    "Body",
    "Action",
    "Url",
    "Sound",
    "MediaUrl",
    "ImageUrl",
    "ImageIconUrl",
    "SmallImageIconUrl",
    "RawContent",
)
VOICE_MEMBERS = ("LanguageCode", "VoiceId")
UNSENT_MEMBERS = frozenset({"Substitutions", *PUSH_PARTS})


@dataclass(frozen=True, slots=True, eq=False)  # one is itself: what is known of it can be kept by it
class Content:
    """The parts of one message before rendering, and the values they may use besides the endpoint's.

    `message` is what else the channel's message says: sender, message type, a notification's priority or data.
    `raw` is what the caller has made whole: an email, or a custom channel's data.
    """

    parts: dict[str, str]
    message: Mapping[str, Any]
    substitutions: dict[str, list[str]]
    defaults: dict[str, str]
    headers: list[tuple[str, str]] = field(default_factory=list)
    raw: bytes | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send; a silent notification needs no text."""
        return not self.parts and self.raw is None and not self.message.get("SilentPush")


def resolve(
    channel_type: str,
    shared: Mapping[str, Any],
    personal: Mapping[str, Any],
    template: Mapping[str, Any] | None,
) -> Content:
    """The content for one recipient; `template` is the template's document, if one is named."""
    message = shared["Message"]
    own = message.get(MESSAGE_MEMBERS[channel_type], {})
    defaults = message.get("DefaultMessage", {})
    push_defaults = message.get("DefaultPushNotificationMessage", {}) if channel_type in PUSH_TYPES else {}
    parts = _parts(channel_type, own, push_defaults, template or {}, defaults)
    _override(channel_type, parts, personal)
    return Content(
        parts=parts,
        message=_members(channel_type, own, push_defaults, template or {}),
        substitutions={
            **defaults.get("Substitutions", {}),
            **push_defaults.get("Substitutions", {}),
            **own.get("Substitutions", {}),
            **personal.get("Substitutions", {}),
        },
        defaults=_defaults(template or {}),
        headers=_headers(own, template or {}),
        raw=_raw_email(own, personal) if channel_type == "EMAIL" else None,
    )


def whole(data: str) -> Content:
    """Content that goes out as it is."""
    return Content(parts={}, message={}, substitutions={}, defaults={}, raw=data.encode())


def _members(
    channel_type: str, own: Mapping[str, Any], push_defaults: Mapping[str, Any], template: Mapping[str, Any]
) -> Mapping[str, Any]:
    """What a message says besides its texts, such as a notification's data, priority and badge, or a call's voice."""
    if channel_type in PUSH_TYPES:
        return {name: value for name, value in {**push_defaults, **own}.items() if name not in UNSENT_MEMBERS}
    if channel_type == "VOICE":
        return {**{name: template[name] for name in VOICE_MEMBERS if template.get(name)}, **own}
    return own


def _parts(
    channel_type: str,
    own: Mapping[str, Any],
    push_defaults: Mapping[str, Any],
    template: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> dict[str, str]:
    if channel_type == "EMAIL":
        return _email_parts(own, template, defaults)
    if TEMPLATE_TYPES[channel_type] == "PUSH":
        member = PUSH_TEMPLATE_MEMBERS.get(channel_type, "APNS")
        layers = (defaults, template.get("Default", {}), template.get(member, {}), push_defaults, own)
        return {name: layer[name] for layer in layers for name in PUSH_PARTS if layer.get(name)}
    body = own.get("Body") or template.get("Body") or defaults.get("Body")
    return {"Body": body} if body else {}


def _email_parts(own: Mapping[str, Any], template: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, str]:
    simple = own.get("SimpleEmail", {})
    parts = {
        "Subject": simple.get("Subject", {}).get("Data") or template.get("Subject", ""),
        "HtmlPart": simple.get("HtmlPart", {}).get("Data") or "",
        "TextPart": simple.get("TextPart", {}).get("Data") or "",
    }
    if own.get("Body") and not (parts["HtmlPart"] or parts["TextPart"]):
        parts[body_part(own["Body"])] = own["Body"]
    if not (parts["HtmlPart"] or parts["TextPart"]):
        parts["HtmlPart"], parts["TextPart"] = template.get("HtmlPart", ""), template.get("TextPart", "")
    if not (parts["HtmlPart"] or parts["TextPart"]) and defaults.get("Body"):
        parts[body_part(defaults["Body"])] = defaults["Body"]
    return {name: text for name, text in parts.items() if text}


def body_part(body: str) -> str:
    """A body without a type is HTML if it looks like it."""
    return "HtmlPart" if "<" in body and ">" in body else "TextPart"


def _override(channel_type: str, parts: dict[str, str], personal: Mapping[str, Any]) -> None:
    """What this recipient alone is to read; RawContent leaves nothing of the rest (an email's is not made of parts)."""
    body, title, raw = (personal.get(name) for name in ("BodyOverride", "TitleOverride", "RawContent"))
    if body and channel_type == "EMAIL":
        parts.pop("HtmlPart", None)
        parts.pop("TextPart", None)
        parts[body_part(body)] = body
    elif body:
        parts["Body"] = body
    if title and channel_type == "EMAIL":
        parts["Subject"] = title
    elif title and channel_type in PUSH_TYPES:
        parts["Title"] = title
    raw = raw or parts.get("RawContent")
    if raw and channel_type != "EMAIL":
        parts.clear()
        parts["RawContent" if channel_type in PUSH_TYPES else "Body"] = raw


def _defaults(template: Mapping[str, Any]) -> dict[str, str]:
    text = template.get("DefaultSubstitutions")
    return decode_defaults(text) if text else {}


def _headers(own: Mapping[str, Any], template: Mapping[str, Any]) -> list[tuple[str, str]]:
    given = own.get("SimpleEmail", {}).get("Headers") or template.get("Headers") or []
    return [(header["Name"], header.get("Value", "")) for header in given if header.get("Name")]


def _raw_email(own: Mapping[str, Any], personal: Mapping[str, Any]) -> bytes | None:
    """An email the caller has made whole: it replaces everything. RawEmail is kept as base64, as JSON has no bytes."""
    if personal.get("RawContent"):
        return str(personal["RawContent"]).encode()
    data = own.get("RawEmail", {}).get("Data")
    if isinstance(data, str):
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            return data.encode()
    return data or None
