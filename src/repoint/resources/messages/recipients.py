"""Who is to get a message: addresses, endpoints, and all endpoints of users."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repoint.resources.call import Call
from repoint.resources.channels.kinds import BARE_MAILBOX
from repoint.resources.domains import ascii_domain
from repoint.resources.endpoints import store as endpoints
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
# Channels that need settings before they can send: nothing can be delivered without what they hold, and voice is off
# in a new application. E-mail and SMS send unless they were turned off.
CONFIGURED_TYPES = PUSH_TYPES | {"VOICE"}
PHONE_DECORATION = re.compile(r"[\s().-]+")
PHONE = re.compile(r"\+?[1-9]\d{6,14}\Z", re.ASCII)
EMAIL_ADDRESS = re.compile(r"[^\s@<>\x00-\x1f\x7f]{1,64}@[^\s@<>\x00-\x1f\x7f]{1,255}\Z")
DOMAIN_OCTETS_MAX = 253  # RFC 1035, without what a name's wire form adds
TOKEN_BYTES_MAX = 2_048  # push tokens are opaque, but all of today's are far shorter


@dataclass(frozen=True, slots=True)
class Recipient:
    """One who may get the message: an address with its channel, or an endpoint; `key` is its name in the answer.

    `given` is what the request says for this one alone. `user_id` is given for the endpoints of a SendUsersMessages
    request, where opting out and being inactive count.
    """

    key: str
    given: Mapping[str, Any]
    channel_type: str | None
    address: str | None
    endpoint: Endpoint | None
    is_endpoint: bool
    user_id: str | None = None

    @property
    def target(self) -> tuple[str | None, str | None]:
        """Where the message would arrive: what two recipients share when one is a duplicate of the other."""
        if self.channel_type is None or self.address is None:
            return self.channel_type, self.address
        address = normal_address(self.channel_type, self.address) or self.address
        if self.channel_type == "EMAIL":
            mailbox, _, domain = address.rpartition("@")
            address = f"{mailbox}@{domain.lower()}"
        elif self.channel_type in ("SMS", "VOICE"):
            address = address.removeprefix("+")
        return self.channel_type, address


def normal_address(channel_type: str, address: str) -> str | None:
    """The address as it is dialled or mailed; None when it cannot be one."""
    if channel_type in ("SMS", "VOICE"):
        dialled = PHONE_DECORATION.sub("", address)
        return dialled if PHONE.match(dialled) else None
    if channel_type == "EMAIL":
        return address if EMAIL_ADDRESS.match(address) else None
    return address if 0 < len(address.encode()) <= TOKEN_BYTES_MAX else None


def can_be_mailed(address: str) -> bool:
    """Whether an address can stand in a header and an envelope: no relay needs to be asked about any other."""
    if not BARE_MAILBOX.match(address):
        return False
    try:
        return len(ascii_domain(address.rpartition("@")[2])) <= DOMAIN_OCTETS_MAX
    except UnicodeError:
        return False


def addresses(wanted: Mapping[str, Any]) -> list[Recipient]:
    """A request's addresses."""
    return [
        Recipient(address, given, given.get("ChannelType"), address, None, is_endpoint=False)
        for address, given in wanted.get("Addresses", {}).items()
    ]


async def of_endpoints(call: Call, app_id: str, wanted: Mapping[str, Any]) -> list[Recipient]:
    """A request's endpoints; one that does not exist is a recipient all the same, for the answer."""
    ids = list(wanted.get("Endpoints", {}))
    found = await asyncio.gather(*(endpoints.get(call.db, app_id, endpoint_id) for endpoint_id in ids))
    return [
        Recipient(
            endpoint_id,
            wanted["Endpoints"][endpoint_id],
            endpoint.channel_type if endpoint else None,
            endpoint.address if endpoint else None,
            endpoint,
            is_endpoint=True,
        )
        for endpoint_id, endpoint in zip(ids, found, strict=True)
    ]


async def of_users(call: Call, app_id: str, users: Mapping[str, Mapping[str, Any]]) -> list[Recipient]:
    """All endpoints of a request's users, user by user, oldest first; all users are read together."""
    ids = list(users)
    found = await asyncio.gather(*(call.db.gather(endpoints.of_users, (app_id, user_id)) for user_id in ids))
    return [
        Recipient(
            endpoint.given_id,
            users[user_id],
            endpoint.channel_type,
            endpoint.address,
            endpoint,
            is_endpoint=True,
            user_id=user_id,
        )
        for user_id, theirs in zip(ids, found, strict=True)
        for endpoint in theirs
    ]
