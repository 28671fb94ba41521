"""What an endpoint may hold, beyond what the model's shapes say (AWS's quotas page and EndpointRequest's own text)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from repoint.clock import MOMENT_RULE, read_moment
from repoint.resources.call import Call
from repoint.resources.endpoints.names import register_names
from repoint.resources.endpoints.order import EndpointUpdate
from repoint.resources.endpoints.store import fold
from repoint.wire.exceptions import BadRequestException

NAME_CHARACTERS_MAX = 50
VALUE_CHARACTERS_MAX = 100
VALUES_MAX = 50
ID_CHARACTERS_MAX = 1024
KEY_BYTES_MAX = 2_048  # what PostgreSQL's indexes are sure to hold; tokens and ids of today are far shorter
FORBIDDEN_IN_IDS = frozenset("${}")


def check_id(member: str, value: str) -> None:
    """Endpoint and user ids must not look like template variables."""
    if not 1 <= len(value) <= ID_CHARACTERS_MAX:
        raise BadRequestException(f"{member}: must have 1 to {ID_CHARACTERS_MAX} characters")
    _check_bytes(member, value)
    if not FORBIDDEN_IN_IDS.isdisjoint(value):
        raise BadRequestException(f"{member}: must not contain $, {{ or }}")


def _check_bytes(member: str, value: str) -> None:
    if len(value.encode()) > KEY_BYTES_MAX:
        raise BadRequestException(f"{member}: must be at most {KEY_BYTES_MAX} bytes")


def _check_name(member: str, name: str) -> None:
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        raise BadRequestException(f"{member}: a name must have 1 to {NAME_CHARACTERS_MAX} characters: {name[:60]!r}")


def _lists(member: str, given: Mapping[str, list[str] | None]) -> dict[str, list[str] | None]:
    """Attributes: names and values within limits; an empty list removes, as null does."""
    checked: dict[str, list[str] | None] = {}
    for name, values in given.items():
        _check_name(member, name)
        if values is not None and len(values) > VALUES_MAX:
            raise BadRequestException(f"{member}.{name}: must be at most {VALUES_MAX} values")
        for value in values or ():
            if len(value) > VALUE_CHARACTERS_MAX:
                raise BadRequestException(f"{member}.{name}: a value must be at most {VALUE_CHARACTERS_MAX} characters")
        checked[name] = values or None
    return checked


def _location(location: Mapping[str, Any]) -> dict[str, Any]:
    if ("Latitude" in location) != ("Longitude" in location):
        raise BadRequestException("Location: Latitude and Longitude belong together")
    return dict(location)


def _effective_date(text: str) -> datetime:
    try:
        return read_moment(text)
    except ValueError:
        raise BadRequestException(f"EffectiveDate: {MOMENT_RULE}") from None


async def checked_update(call: Call, app_id: str, endpoint_id: str, given: Mapping[str, Any]) -> EndpointUpdate:
    """An endpoint's new values, checked and ready to merge; new attribute names are counted against the app's limit.

    Raises:
        BadRequestException: naming the member and the rule.
    """
    check_id("Id", endpoint_id)
    user = given.get("User", {})
    if "UserId" in user:
        check_id("User.UserId", user["UserId"])
    _check_bytes("Address", given.get("Address", ""))
    metrics = given.get("Metrics")
    for name in metrics or ():
        _check_name("Metrics", name)
    opt_out = given.get("OptOut")
    now = call.now()
    update = EndpointUpdate(
        app_id=app_id,
        endpoint_id=fold(endpoint_id),
        given_id=endpoint_id,
        request_id=call.request_id,
        channel_type=given.get("ChannelType"),
        address=given.get("Address") or None,
        is_active=given.get("EndpointStatus") != "INACTIVE",
        is_opted_out=None if opt_out is None else opt_out == "ALL",
        effective_at=_effective_date(given["EffectiveDate"]) if given.get("EffectiveDate") else now,
        user_id=user.get("UserId"),
        attributes=_lists("Attributes", given["Attributes"]) if "Attributes" in given else None,
        metrics=metrics,
        demographic=given.get("Demographic"),
        location=_location(given["Location"]) if "Location" in given else None,
        user_attributes=_lists("User.UserAttributes", user["UserAttributes"]) if "UserAttributes" in user else None,
        now=now,
    )
    await register_names(call, update)
    return update
