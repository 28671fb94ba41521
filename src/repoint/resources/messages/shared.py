"""What all recipients of a request share: its content, checked, and its templates, pinned to this moment's versions."""

from collections.abc import Iterator, Mapping
from email.parser import BytesHeaderParser
from email.policy import compat32
from email.utils import getaddresses
from typing import Any

from repoint.resources.call import Call
from repoint.resources.channels.kinds import MAILBOX
from repoint.resources.channels.store import load_channels
from repoint.resources.messages.charsets import is_charset
from repoint.resources.messages.content import PUSH_PARTS
from repoint.resources.messages.verdicts import Basis
from repoint.resources.templates.kinds import HEADER_NAME
from repoint.resources.templates.store import load_template
from repoint.wire.exceptions import BadRequestException

TEMPLATE_MEMBERS = {
    "EMAIL": "EmailTemplate",
    "SMS": "SMSTemplate",
    "VOICE": "VoiceTemplate",
    "PUSH": "PushTemplate",
}
CONTEXT_CHARACTERS_MAX = 10_000  # AWS states no limit; every event of the message repeats its context


async def read_shared(call: Call, app_id: str, wanted: Mapping[str, Any]) -> Basis:
    """What the request's recipients are judged by; its `content` is what is kept for delivery.

    Raises:
        BadRequestException: naming the member that no recipient could be sent.
    """
    if "MessageConfiguration" not in wanted and not wanted.get("TemplateConfiguration"):
        raise BadRequestException("MessageConfiguration: is required when there is no TemplateConfiguration")
    message = dict(wanted.get("MessageConfiguration", {}))
    if "EmailMessage" in message:
        message["EmailMessage"] = _checked_email(message["EmailMessage"])
    for path, text in _texts(message):
        mistake = call.server.texts.mistake(text)
        if mistake is not None:
            raise BadRequestException(f"MessageConfiguration.{path}: {mistake}")
    check_context(wanted)
    pinned, documents = await _templates(call, wanted.get("TemplateConfiguration", {}))
    content = {
        "Region": call.region,
        "Message": message,
        "Templates": pinned,
        "Context": wanted.get("Context", {}),
        "TraceId": wanted.get("TraceId"),
    }
    return Basis(content, documents, await call.db.cached(load_channels, app_id), call.server.texts)


def check_context(wanted: Mapping[str, Any]) -> None:
    """The message's context and each recipient's are within what an event may repeat.

    Raises:
        BadRequestException: naming the one that is not.
    """
    places = {"": wanted} | {
        f"{member}[{key}].": given
        for member in ("Addresses", "Endpoints", "Users")
        for key, given in wanted.get(member, {}).items()
    }
    for path, place in places.items():
        if sum(len(name) + len(value) for name, value in place.get("Context", {}).items()) > CONTEXT_CHARACTERS_MAX:
            raise BadRequestException(f"{path}Context: must be at most {CONTEXT_CHARACTERS_MAX} characters")


async def _templates(
    call: Call, given: Mapping[str, Any]
) -> tuple[dict[str, dict[str, str]], dict[str, Mapping[str, Any]]]:
    if "InAppTemplate" in given:
        raise BadRequestException("TemplateConfiguration.InAppTemplate: in-app messages cannot be sent, only fetched")
    pinned: dict[str, dict[str, str]] = {}
    documents: dict[str, Mapping[str, Any]] = {}
    for template_type, member in TEMPLATE_MEMBERS.items():
        if member not in given:
            continue
        name, version = given[member].get("Name"), given[member].get("Version")
        if not name:
            raise BadRequestException(f"TemplateConfiguration.{member}.Name: is required")
        try:
            template = await call.db.cached(load_template, (call.region, template_type, name, version))
        except BadRequestException as error:
            raise BadRequestException(f"TemplateConfiguration.{member}.{error.message}") from None
        if template is None:
            which = name if version is None else f"{name}, version {version}"
            raise BadRequestException(f"TemplateConfiguration.{member}: there is no {template_type} template {which}")
        pinned[template_type] = {"Name": name, "Version": str(template.version)}
        documents[template_type] = template.document
    return pinned, documents


def _checked_email(email: Mapping[str, Any]) -> dict[str, Any]:
    """An EmailMessage all can be sent; a raw email without a FromAddress is from whom its own header says."""
    path = "MessageConfiguration.EmailMessage"
    checked = dict(email)
    for member in ("FromAddress", "FeedbackForwardingAddress"):
        if email.get(member) and not MAILBOX.match(email[member]):
            raise BadRequestException(f"{path}.{member}: must be an email address, or a name and <address>")
    for index, address in enumerate(email.get("ReplyToAddresses", ())):
        if not MAILBOX.match(address):
            raise BadRequestException(f"{path}.ReplyToAddresses[{index}]: must be an email address")
    _check_simple(f"{path}.SimpleEmail", email.get("SimpleEmail", {}))
    data = email.get("RawEmail", {}).get("Data")
    if data is not None:
        sender = _raw_sender(f"{path}.RawEmail.Data", data)
        checked.setdefault("FromAddress", sender)
    return checked


def _check_simple(path: str, simple: Mapping[str, Any]) -> None:
    for index, header in enumerate(simple.get("Headers", ())):
        if not HEADER_NAME.match(header.get("Name", "")):
            raise BadRequestException(f"{path}.Headers[{index}].Name: must be the name of a header")
    for member in ("Subject", "HtmlPart", "TextPart"):
        charset = simple.get(member, {}).get("Charset")
        if charset and not is_charset(charset):
            raise BadRequestException(f"{path}.{member}.Charset: must be the name of a character set, such as UTF-8")


def _raw_sender(path: str, data: bytes) -> str:
    """The From header of a raw email, or its first address; empty when there is none that could be a sender."""
    name, colon, _ = data.partition(b"\n")[0].decode("latin-1").partition(":")
    if not colon or not HEADER_NAME.match(name.rstrip(" \t")):
        raise BadRequestException(f"{path}: must be a MIME message, which begins with its headers")
    sender = " ".join(str(BytesHeaderParser(policy=compat32).parsebytes(data).get("From", "")).split())
    if MAILBOX.match(sender):
        return sender
    mailbox = next((mailbox for _, mailbox in getaddresses([sender])), "")
    return mailbox if MAILBOX.match(mailbox) else ""


def _texts(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """All of a message's texts that are rendered, each with its path."""
    for member, layer in message.items():
        simple = layer.get("SimpleEmail", {})
        for part in ("Subject", "HtmlPart", "TextPart"):
            yield f"{member}.SimpleEmail.{part}.Data", simple.get(part, {}).get("Data", "")
        for index, header in enumerate(simple.get("Headers", ())):
            yield f"{member}.SimpleEmail.Headers[{index}].Value", header.get("Value", "")
        for part in PUSH_PARTS:
            yield f"{member}.{part}", layer.get(part, "")
