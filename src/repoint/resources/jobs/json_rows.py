"""JSON lines: which of them are certainly fine, told by msgspec at a few microseconds a line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from repoint.resources.endpoints.checks import (
    KEY_BYTES_MAX,
    NAME_CHARACTERS_MAX,
    VALUE_CHARACTERS_MAX,
    VALUES_MAX,
)
from repoint.wire import shapes
from repoint.wire.bounds import BOUNDS

Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
Value = Annotated[str, Meta(max_length=VALUE_CHARACTERS_MAX)]
Values = Annotated[list[Value], Meta(max_length=VALUES_MAX)]
# As many characters as are certainly few enough bytes; what is longer takes the slow way.
KEY_CHARACTERS_MAX = KEY_BYTES_MAX // 4
IdText = Annotated[str, Meta(min_length=1, max_length=KEY_CHARACTERS_MAX)]
# A date PostgreSQL reads as Python does; any other form takes the slow way.
MOMENT = r"^[12][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?Z$"


def _text(structure: str, member: str) -> Any:
    bound = BOUNDS.get((structure, member))
    maximum = None if bound is None or bound.maximum is None else int(bound.maximum)
    return Annotated[str, Meta(max_length=maximum)] if maximum else str


DEMOGRAPHIC = ("AppVersion", "Locale", "Make", "Model", "ModelVersion", "Platform", "PlatformVersion", "Timezone")
PLACES = ("City", "Country", "PostalCode", "Region")
RowDemographic = msgspec.defstruct(
    "RowDemographic",
    [(name, _text("EndpointDemographic", name), msgspec.UNSET) for name in DEMOGRAPHIC],
    forbid_unknown_fields=True,
)
RowLocation = msgspec.defstruct(
    "RowLocation",
    [
        *((name, _text("EndpointLocation", name), msgspec.UNSET) for name in PLACES),
        ("Latitude", Annotated[float, Meta(ge=-90, le=90)], msgspec.UNSET),
        ("Longitude", Annotated[float, Meta(ge=-180, le=180)], msgspec.UNSET),
    ],
    forbid_unknown_fields=True,
)


class RowUser(msgspec.Struct):
    """A row's user."""

    UserId: IdText | None = None
    UserAttributes: dict[Name, Values | None] | None = None


class Row(msgspec.Struct):
    """A row as it is when nothing about it needs a second look; members that are not named are of no effect."""

    Id: IdText | None = None
    Address: Annotated[str, Meta(min_length=1, max_length=KEY_CHARACTERS_MAX)] | None = None
    ChannelType: shapes.ChannelType | None = None
    OptOut: Literal["ALL", "NONE"] | None = None
    EffectiveDate: Annotated[str, Meta(pattern=MOMENT)] | None = None
    Attributes: dict[Name, Values | None] | None = None
    Metrics: dict[Name, float | None] | None = None
    Demographic: RowDemographic | None = None  # type: ignore[valid-type]  # a struct made of the model's limits
    Location: RowLocation | None = None  # type: ignore[valid-type]  # the same
    User: RowUser | None = None


@dataclass(slots=True)
class Sorted:
    """Lines sorted out: what goes to SQL, users named alone, and the positions of what takes the slow way."""

    copied: list[bytes] = field(default_factory=list)
    users: list[tuple[int, str]] = field(default_factory=list)
    slow: list[int] = field(default_factory=list)
    names: set[tuple[str, str]] = field(default_factory=set)


DECODER = msgspec.json.Decoder(Row)


def sort_out(lines: Sequence[bytes], *, blocked: frozenset[tuple[str, str]] = frozenset()) -> Sorted:
    """Sort a chunk's lines, numbered from 1. Rows with a `blocked` name, for which there is no room, are slow."""
    done = Sorted()
    seen: dict[str, set[str]] = {"attributes": set(), "metrics": set(), "user_attributes": set()}
    for position, line in enumerate(lines, 1):
        try:
            row = DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            done.slow.append(position)
            continue
        user = row.User
        if user is not None and row.Id is None and row.Address is None and _is_user_alone(row, user):
            assert user.UserId is not None
            done.users.append((position, user.UserId))
            continue
        attributes, metrics, users = row.Attributes or {}, row.Metrics or {}, (user and user.UserAttributes) or {}
        if not _is_plain(line, row) or (blocked and not blocked.isdisjoint(_names(attributes, metrics, users))):
            done.slow.append(position)
            continue
        removes = not (all(attributes.values()) and all(users.values())) or None in metrics.values()
        if removes:
            done.names.update(_names(attributes, metrics, users))
        else:
            seen["attributes"].update(attributes)
            seen["metrics"].update(metrics)
            seen["user_attributes"].update(users)
        endpoint_id = row.Id.lower().encode() if row.Id else b""
        body = _with_nulls(row) if removes else line
        done.copied.append(b"%d\x02%b\x02%b\x02%b\n" % (position, endpoint_id, b"t" if removes else b"f", body))
    done.names.update((kind, name) for kind, names in seen.items() for name in names)
    return done


def _names(
    attributes: Mapping[str, Any], metrics: Mapping[str, Any], user_attributes: Mapping[str, Any]
) -> set[tuple[str, str]]:
    """The names that get a value; one that is removed needs no room."""
    given = {"attributes": attributes, "metrics": metrics, "user_attributes": user_attributes}
    return {(kind, name) for kind, values in given.items() for name, value in values.items() if value not in (None, [])}


def _is_user_alone(row: Row, user: RowUser) -> bool:
    return (
        user.UserId is not None
        and not user.UserAttributes
        and _is_id(user.UserId)
        and (row.ChannelType, row.OptOut, row.EffectiveDate) == (None, None, None)
        and (row.Demographic, row.Location) == (None, None)
        and not (row.Attributes or row.Metrics)
    )


def _is_id(text: str) -> bool:
    return "$" not in text and "{" not in text and "}" not in text and text.isprintable()


def _is_plain(line: bytes, row: Row) -> bool:
    """What the struct cannot say: ids that are none, coordinates that are alone, bytes COPY would trip over."""
    location: Any = row.Location
    return (
        (row.Id is None or _is_id(row.Id))
        and (row.Id is not None or (row.Address is not None and row.ChannelType is not None))
        and (row.User is None or row.User.UserId is None or _is_id(row.User.UserId))
        and (location is None or (location.Latitude is msgspec.UNSET) == (location.Longitude is msgspec.UNSET))
        and b"\\u0000" not in line
        and b"\r" not in line
    )


def _with_nulls(row: Row) -> bytes:
    """The row again, an empty list made null: both mean that the name is to be removed."""
    for given in (row.Attributes, row.User.UserAttributes if row.User else None):
        for name, values in (given or {}).items():
            if values == []:
                assert given is not None
                given[name] = None
    return msgspec.json.encode(row)
