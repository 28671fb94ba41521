"""What can be said of each recipient before anything is sent: a list of named rules, the first that applies answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repoint.resources.channels.store import Channel
from repoint.resources.messages.content import Content, resolve
from repoint.resources.messages.recipients import (
    CONFIGURED_TYPES,
    MESSAGE_MEMBERS,
    PUSH_TYPES,
    TEMPLATE_TYPES,
    Recipient,
    can_be_mailed,
    normal_address,
)
from repoint.resources.messages.sizes import fault_of
from repoint.resources.texts import SoundTexts

PERMANENT_FAILURE = "PERMANENT_FAILURE"
OVERRIDES = ("BodyOverride", "TitleOverride", "RawContent")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for a recipient that will not be sent to: Pinpoint's three members for it."""

    delivery_status: str
    status_message: str
    status_code: int = 400


@dataclass(frozen=True, slots=True)
class Basis:
    """What all recipients of a request are judged by: its content, its templates' documents, the app's channels."""

    content: Mapping[str, Any]
    templates: Mapping[str, Mapping[str, Any]]
    channels: Mapping[str, Channel]
    texts: SoundTexts

    def resolved(self, recipient: Recipient) -> Content:
        """What this recipient would read, before rendering."""
        assert recipient.channel_type is not None
        template = self.templates.get(TEMPLATE_TYPES[recipient.channel_type])
        return resolve(recipient.channel_type, self.content, recipient.given, template)


def refused(message: str) -> Verdict:
    """Will never work as it stands."""
    return Verdict(PERMANENT_FAILURE, message)


def stop_if_unknown(_: Basis, recipient: Recipient) -> Verdict | None:
    """An endpoint id that names nothing fails alone, not the request."""
    is_unknown = recipient.is_endpoint and recipient.endpoint is None
    return refused("There is no endpoint with this id") if is_unknown else None


def stop_if_opted_out(_: Basis, recipient: Recipient) -> Verdict | None:
    """SendMessages sends whatever the endpoint's OptOut and status are; SendUsersMessages asks them."""
    if recipient.user_id is None or recipient.endpoint is None:
        return None
    if recipient.endpoint.is_opted_out:
        return Verdict("OPT_OUT", "The endpoint has opted out: its OptOut is ALL")
    return None if recipient.endpoint.is_active else refused("The endpoint is inactive: its EndpointStatus is INACTIVE")


def stop_if_nowhere(_: Basis, recipient: Recipient) -> Verdict | None:
    """An address without a channel, or an endpoint without an address."""
    if recipient.channel_type is None:
        if recipient.is_endpoint:
            return refused("The endpoint has no ChannelType")
        return refused("ChannelType: is required for an address")
    return refused("The endpoint has no Address") if recipient.is_endpoint and not recipient.address else None


def stop_if_not_direct(_: Basis, recipient: Recipient) -> Verdict | None:
    """PUSH, CUSTOM and IN_APP are for campaigns and journeys."""
    if recipient.channel_type in MESSAGE_MEMBERS:
        return None
    return refused(f"Messages cannot be sent directly on the {recipient.channel_type} channel")


def stop_if_channel_is_off(basis: Basis, recipient: Recipient) -> Verdict | None:
    """Direct email goes out even when its channel is off (Pinpoint's console guide)."""
    channel_type = recipient.channel_type or ""
    channel = basis.channels.get(channel_type)
    is_on = channel.is_enabled if channel else channel_type not in CONFIGURED_TYPES
    if is_on or channel_type == "EMAIL":
        return None
    return refused(f"The {channel_type} channel is not enabled for this application")


def stop_if_address_is_none(_: Basis, recipient: Recipient) -> Verdict | None:
    """What cannot be dialled or mailed."""
    channel_type, address = recipient.channel_type or "", recipient.address or ""
    if normal_address(channel_type, address) is not None and (channel_type != "EMAIL" or can_be_mailed(address)):
        return None
    kind = {"EMAIL": "an email address"}.get(channel_type, "a phone number in E.164 form")
    return refused(f"Invalid address: not {'a device token' if channel_type in PUSH_TYPES else kind}")


def stop_if_content_is_unfit(basis: Basis, recipient: Recipient) -> Verdict | None:
    """Nothing is for this channel, or it is too long. What has variables is measured when they are filled in."""
    assert recipient.channel_type is not None
    content = basis.resolved(recipient)
    if content.is_empty:
        return refused(
            f"There is no content for the {recipient.channel_type} channel: give a message, a template or a default"
        )
    if any("{{" in text for text in content.parts.values()):
        return None
    problem = fault_of(recipient.channel_type, content.parts)
    return refused(problem) if problem else None


def stop_if_no_sender(basis: Basis, recipient: Recipient) -> Verdict | None:
    """An email is from somebody: the message's, or else the channel's FromAddress."""
    if recipient.channel_type != "EMAIL":
        return None
    channel = basis.channels.get("EMAIL")
    sender = basis.content["Message"].get("EmailMessage", {}).get("FromAddress")
    if sender or (channel and channel.settings.get("FromAddress")):
        return None
    return refused("No FromAddress: neither the message nor the email channel has one")


def stop_if_override_is_broken(basis: Basis, recipient: Recipient) -> Verdict | None:
    """An override that is not Handlebars fails its own recipient."""
    for name in OVERRIDES:
        mistake = basis.texts.mistake(recipient.given.get(name, ""))
        if mistake is not None:
            return refused(f"{name}: {mistake}")
    return None


RULES = (
    stop_if_unknown,
    stop_if_opted_out,
    stop_if_nowhere,
    stop_if_not_direct,
    stop_if_channel_is_off,
    stop_if_address_is_none,
    stop_if_override_is_broken,
    stop_if_content_is_unfit,
    stop_if_no_sender,
)


def judge(basis: Basis, recipient: Recipient) -> Verdict | None:
    """Why this recipient will not be sent to; None when it will."""
    for rule in RULES:
        verdict = rule(basis, recipient)
        if verdict is not None:
            return verdict
    return None


def judge_all(basis: Basis, recipients: Sequence[Recipient]) -> list[Verdict | None]:
    """All of them, in order: of those with the same address the first that can be sent to is, the others are not."""
    verdicts: list[Verdict | None] = []
    sent: set[tuple[str | None, str | None]] = set()
    for recipient in recipients:
        verdict = judge(basis, recipient)
        if verdict is None and recipient.target in sent:
            verdict = Verdict("DUPLICATE", "Another recipient of this request has the same address")
        if verdict is None:
            sent.add(recipient.target)
        verdicts.append(verdict)
    return verdicts


def has_content(basis: Basis, recipient: Recipient) -> bool:
    """Whether the request has anything for this recipient's channel."""
    return recipient.channel_type in MESSAGE_MEMBERS and not basis.resolved(recipient).is_empty
