"""What each kind of channel takes, hides and shows (Pinpoint's API reference, one page a channel)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from repoint.wire.exceptions import BadRequestException

LABEL = r"[^\s@<>(),;:\\\"\[\].\x00-\x1f\x7f]{1,63}"
ADDRESS = rf"[^\s@<>(),;:\\\"\[\]\x00-\x1f\x7f]{{1,64}}@{LABEL}(?:\.{LABEL})*"
MAILBOX = re.compile(rf"(?:[^<>\x00-\x1f\x7f]*<{ADDRESS}>|{ADDRESS})\Z")
BARE_MAILBOX = re.compile(rf"{ADDRESS}\Z")
IDENTIFIERS = frozenset({"BundleId", "TeamId"})
APNS_SECRETS = frozenset({"Certificate", "PrivateKey", "TokenKey"})
APNS_METHODS: Mapping[str, tuple[str, ...]] = {
    "CERTIFICATE": ("Certificate", "PrivateKey"),
    "KEY": ("BundleId", "TeamId", "TokenKey", "TokenKeyId"),
    "TOKEN": ("BundleId", "TeamId", "TokenKey", "TokenKeyId"),
}
GCM_METHODS: Mapping[str, tuple[str, ...]] = {"KEY": ("ApiKey",), "TOKEN": ("ServiceJson",)}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of channel. `methods` are its ways to authenticate, each with the members it needs."""

    channel_type: str
    request_member: str
    secrets: frozenset[str] = field(default=frozenset())
    shown: tuple[str, ...] = ()
    methods: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    credential: str = ""


KINDS = {
    kind.channel_type: kind
    for kind in (
        Kind("ADM", "ADMChannelRequest", frozenset({"ClientId", "ClientSecret"})),
        *(
            Kind(channel_type, f"{name}ChannelRequest", APNS_SECRETS, methods=APNS_METHODS)
            for channel_type, name in (
                ("APNS", "APNS"),
                ("APNS_SANDBOX", "APNSSandbox"),
                ("APNS_VOIP", "APNSVoip"),
                ("APNS_VOIP_SANDBOX", "APNSVoipSandbox"),
            )
        ),
        Kind("BAIDU", "BaiduChannelRequest", frozenset({"ApiKey", "SecretKey"}), credential="ApiKey"),
        Kind(
            "EMAIL",
            "EmailChannelRequest",
            shown=("FromAddress", "Identity", "ConfigurationSet", "RoleArn", "OrchestrationSendingRoleArn"),
        ),
        Kind(
            "GCM",
            "GCMChannelRequest",
            frozenset({"ApiKey", "ServiceJson"}),
            methods=GCM_METHODS,
            credential="ApiKey",
        ),
        Kind("SMS", "SMSChannelRequest", shown=("SenderId", "ShortCode")),
        Kind("VOICE", "VoiceChannelRequest"),
    )
}
MESSAGES_PER_SECOND = 20


def check(kind: Kind, given: Mapping[str, Any], merged: Mapping[str, Any], *, is_enabled: bool) -> None:
    """Refuse what cannot work: `given` is the request, `merged` what would be stored.

    Raises:
        BadRequestException: naming the member.
    """
    method = given.get("DefaultAuthenticationMethod")
    if method is not None and method.upper() not in kind.methods:
        raise BadRequestException(f"DefaultAuthenticationMethod: must be one of {', '.join(kind.methods)}")
    if kind.methods:
        _check_methods(kind, given, merged, is_enabled=is_enabled)
    if "FromAddress" in given and not MAILBOX.match(given["FromAddress"]):
        raise BadRequestException("FromAddress: must be an email address, or a name and <address>")
    if given.get("ServiceJson"):
        _check_service_json(given["ServiceJson"])


def _check_methods(kind: Kind, given: Mapping[str, Any], merged: Mapping[str, Any], *, is_enabled: bool) -> None:
    """A certificate comes with its key, a token key with what it signs for; an enabled channel can authenticate.

    Pinpoint does not fall back from one method to the other, so it is the default method that has to be complete.
    """
    named = {name for name, value in given.items() if value} - IDENTIFIERS
    wanted = [method for method, names in kind.methods.items() if named & set(names)]
    if is_enabled or "DefaultAuthenticationMethod" in given:
        wanted.append((merged.get("DefaultAuthenticationMethod") or default_method(kind, merged)).upper())
    for method in wanted:
        for name in kind.methods[method]:
            if not merged.get(name):
                raise BadRequestException(f"{name}: is required for authentication by {method.lower()}")


def _check_service_json(text: str) -> None:
    try:
        msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise BadRequestException("ServiceJson: must be the JSON of a service account") from None


def specifics(kind: Kind, settings: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """What this kind shows besides what all do."""
    document: dict[str, Any] = {name: settings[name] for name in kind.shown if settings.get(name)}
    if kind.channel_type == "EMAIL":
        document["MessagesPerSecond"] = MESSAGES_PER_SECOND
    if kind.channel_type == "SMS":
        document["PromotionalMessagesPerSecond"] = MESSAGES_PER_SECOND
        document["TransactionalMessagesPerSecond"] = MESSAGES_PER_SECOND
    if kind.secrets:
        document["HasCredential"] = bool(secrets)
    if kind.methods:
        method = settings.get("DefaultAuthenticationMethod") or default_method(kind, secrets)
        document["DefaultAuthenticationMethod"] = method.upper()
    if kind.credential and secrets.get(kind.credential):
        document["Credential"] = secrets[kind.credential]
    elif kind.channel_type == "BAIDU":
        document["Credential"] = ""
    if kind.methods == APNS_METHODS:
        document["HasTokenKey"] = bool(secrets.get("TokenKey"))
    if kind.channel_type == "GCM":
        document["HasFcmServiceCredentials"] = bool(secrets.get("ServiceJson"))
    return document


def default_method(kind: Kind, secrets: Mapping[str, str]) -> str:
    """How a push service is spoken to when the caller has not said: by what there are credentials for."""
    if kind.channel_type == "GCM":
        return "TOKEN" if secrets.get("ServiceJson") and not secrets.get("ApiKey") else "KEY"
    return "KEY" if secrets.get("TokenKey") and not secrets.get("Certificate") else "CERTIFICATE"
