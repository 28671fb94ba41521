"""The five kinds of template: which member carries them, and which of their texts are Handlebars."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from repoint import handlebars
from repoint.resources.templates.store import decode_defaults
from repoint.wire.exceptions import BadRequestException

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}\Z")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of template. `texts` are paths to what is compiled, `parts` the members that have texts of their own."""

    template_type: str
    request_member: str
    texts: tuple[str, ...]
    parts: tuple[str, ...] = ()


PUSH_PARTS = ("ADM", "APNS", "Baidu", "Default", "GCM")
KINDS = {
    kind.template_type: kind
    for kind in (
        Kind("EMAIL", "EmailTemplateRequest", ("Subject", "HtmlPart", "TextPart")),
        Kind("SMS", "SMSTemplateRequest", ("Body",)),
        Kind("VOICE", "VoiceTemplateRequest", ("Body",)),
        Kind("PUSH", "PushNotificationTemplateRequest", ("Body", "Title", "Url", "RawContent"), PUSH_PARTS),
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
    for path, text in _texts(kind, content):
        try:
            handlebars.compile(text)
        except handlebars.TemplateError as error:
            raise BadRequestException(f"{kind.request_member}.{path}: {error}") from None
    if "DefaultSubstitutions" in content:
        decode_defaults(content["DefaultSubstitutions"])


def _texts(kind: Kind, content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    layers = [(f"{part}.", content.get(part, {})) for part in kind.parts] or [("", content)]
    for prefix, layer in layers:
        for name in kind.texts:
            if layer.get(name):
                yield f"{prefix}{name}", layer[name]
