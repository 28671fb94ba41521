"""The five kinds of template: which member carries them, and which of their texts are Handlebars."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from repoint import handlebars
from repoint.resources.templates.store import decode_defaults
from repoint.wire.exceptions import BadRequestException

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}\Z")
HEADER_NAME = re.compile(r"[!-9;-~]+\Z")  # RFC 5322, 3.6.8
PUSH_PARTS = {"ADM": 6_000, "APNS": 4_000, "Baidu": 4_000, "Default": 4_000, "GCM": 4_000}
PUSH_TEXTS = (
    "Body",
    "ImageIconUrl",
    "ImageUrl",
    "MediaUrl",
    "RawContent",
    "SmallImageIconUrl",
    "Sound",
    "Title",
    "Url",
)
IN_APP_CHARACTERS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of template.

    `texts` are compiled; `parts` are the members that have texts of their own, and how many characters each may have.
    """

    template_type: str
    request_member: str
    texts: tuple[str, ...]
    parts: Mapping[str, int] = field(default_factory=dict)


KINDS = {
    kind.template_type: kind
    for kind in (
        Kind("EMAIL", "EmailTemplateRequest", ("Subject", "HtmlPart", "TextPart")),
        Kind("SMS", "SMSTemplateRequest", ("Body",)),
        Kind("VOICE", "VoiceTemplateRequest", ("Body",)),
        Kind("PUSH", "PushNotificationTemplateRequest", PUSH_TEXTS, PUSH_PARTS),
        Kind("INAPP", "InAppTemplateRequest", ()),  # in-app templates have no variables
    )
}


def check_name(name: str) -> None:
    """A template's name goes into its ARN.

    Raises:
        BadRequestException: when it would not do there.
    """
    if not NAME.match(name):
        raise BadRequestException(
            "template-name: must have 1 to 128 letters, digits, - and _, and start with a letter or digit"
        )


def check_content(kind: Kind, content: Mapping[str, Any]) -> None:
    """Compile all of a template's texts now, so that nobody finds a mistake in them when a campaign has started.

    Raises:
        BadRequestException: naming the member, the line and the column.
    """
    _check_size(kind, content)
    for index, header in enumerate(content.get("Headers", ())):
        if not HEADER_NAME.match(header.get("Name", "")):
            raise BadRequestException(f"{kind.request_member}.Headers[{index}].Name: must be the name of a header")
    for path, text in _texts(kind, content):
        try:
            handlebars.compile(text)
        except handlebars.TemplateError as error:
            raise BadRequestException(f"{kind.request_member}.{path}: {error}") from None
    if "DefaultSubstitutions" in content:
        decode_defaults(content["DefaultSubstitutions"])


def _check_size(kind: Kind, content: Mapping[str, Any]) -> None:
    """The limits that hang on where a text stands, from the developer guide's quotas page."""
    if kind.template_type == "INAPP" and len(msgspec.json.encode(content).decode()) > IN_APP_CHARACTERS_MAX:
        raise BadRequestException(f"{kind.request_member}: must be at most {IN_APP_CHARACTERS_MAX} characters")
    for part, maximum in kind.parts.items():
        for name, text in content.get(part, {}).items():
            if len(text) > maximum:
                raise BadRequestException(f"{kind.request_member}.{part}.{name}: must be at most {maximum} characters")


def _texts(kind: Kind, content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """All that is rendered, each with its path: header values are, their names are not."""
    for index, header in enumerate(content.get("Headers", ())):
        yield f"Headers[{index}].Value", header.get("Value", "")
    layers = [(f"{part}.", content.get(part, {})) for part in kind.parts] or [("", content)]
    for prefix, layer in layers:
        for name in kind.texts:
            if layer.get(name):
                yield f"{prefix}{name}", layer[name]
