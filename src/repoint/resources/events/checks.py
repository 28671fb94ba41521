"""What an event may hold, beyond what the model's shapes say (AWS's quotas page and the guide's "Events")."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from repoint.clock import MOMENT_RULE, epoch_milliseconds, read_moment
from repoint.resources.events.store import Event
from repoint.wire.exceptions import BadRequestException

EVENT_BYTES_MAX = 1_000 * 1024
JSON_BYTES_MAX = 6  # of one character: \u0001
KEYS_MAX = 40
KEY_CHARACTERS_MAX = 50
VALUE_CHARACTERS_MAX = 200
TYPE_CHARACTERS_MAX = 256
SESSION_RULE = "Session duration in milliseconds must be equal to the difference of start and stop timestamp"
# Types that Pinpoint's own SDKs report; they do not count as custom types.
BUILT_IN = re.compile(r"_(?:session|userauth|monetization|campaign|inapp|email|SMS|journey|custom)\.")
APPLICATION = (("AppPackageName", "package_name"), ("AppTitle", "title"), ("AppVersionCode", "version_code"))


def read_timestamp(member: str, text: str) -> datetime:
    """A moment in any form SDKs send.

    Raises:
        BadRequestException: naming the member.
    """
    try:
        return read_moment(text)
    except ValueError:
        raise BadRequestException(f"{member}: {MOMENT_RULE}") from None


def event_names(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The (kind, name) pairs that count against an application's quotas."""
    names = [("attribute", name) for name in given.get("Attributes", ())]
    names += [("metric", name) for name in given.get("Metrics", ())]
    if not BUILT_IN.match(given["EventType"]):
        names.append(("type", given["EventType"]))
    return names


def checked_event(app_id: str, endpoint_id: str, given: Mapping[str, Any], now: datetime) -> Event:
    """An event as the log keeps it; `document` has what the stream's record needs besides the endpoint.

    Raises:
        BadRequestException: naming the member and the rule.
    """
    if not 1 <= len(given["EventType"]) <= TYPE_CHARACTERS_MAX:
        raise BadRequestException(f"EventType: must have 1 to {TYPE_CHARACTERS_MAX} characters")
    attributes, metrics = given.get("Attributes", {}), given.get("Metrics", {})
    _check_keys(attributes, metrics)
    _check_size(given)
    application: dict[str, Any] = {theirs: given[ours] for ours, theirs in APPLICATION if ours in given}
    application["sdk"] = {
        theirs: given[ours] for ours, theirs in (("SdkName", "name"), ("ClientSdkVersion", "version")) if ours in given
    }
    document = {
        "attributes": attributes,
        "metrics": metrics,
        "application": application,
        "session": _session(given["Session"]) if "Session" in given else {},
    }
    moment = read_timestamp("Timestamp", given["Timestamp"])
    return Event(app_id, endpoint_id, given["EventType"], moment, now, document)


def _check_keys(attributes: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    if len(attributes) + len(metrics) > KEYS_MAX:
        raise BadRequestException(f"Attributes and Metrics: must be at most {KEYS_MAX} together")
    for member, names in (("Attributes", attributes), ("Metrics", metrics)):
        for name in names:
            if not 1 <= len(name) <= KEY_CHARACTERS_MAX:
                raise BadRequestException(
                    f"{member}: a name must have 1 to {KEY_CHARACTERS_MAX} characters: {name[:60]!r}"
                )
    for name, value in attributes.items():
        if len(value) > VALUE_CHARACTERS_MAX:
            raise BadRequestException(f"Attributes.{name}: must be at most {VALUE_CHARACTERS_MAX} characters")


def _check_size(given: Mapping[str, Any]) -> None:
    """As JSON. Keys, attributes and metrics are bounded already: what can be large are the strings beside them."""
    texts = [value for value in (*given.values(), given.get("Session", {}).get("Id")) if type(value) is str]
    if (
        sum(map(len, texts)) > EVENT_BYTES_MAX // JSON_BYTES_MAX
        and sum(len(msgspec.json.encode(text)) for text in texts) > EVENT_BYTES_MAX
    ):
        raise BadRequestException(f"The event is larger than {EVENT_BYTES_MAX} bytes")


def _session(given: Mapping[str, Any]) -> dict[str, Any]:
    """A session as the stream writes it."""
    started = epoch_milliseconds(read_timestamp("Session.StartTimestamp", given["StartTimestamp"]))
    session: dict[str, Any] = {"session_id": given["Id"], "start_timestamp": started}
    if given.get("StopTimestamp"):
        stopped = epoch_milliseconds(read_timestamp("Session.StopTimestamp", given["StopTimestamp"]))
        if "Duration" in given and stopped - started != given["Duration"]:
            raise BadRequestException(SESSION_RULE)
        session["stop_timestamp"] = stopped
    return session
