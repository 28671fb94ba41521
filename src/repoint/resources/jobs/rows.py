"""A row of a file as an endpoint's new values: the slow and exact way, one row at a time.

Most rows never come here: `csv_rows` and `json_rows` recognise what is certainly fine and leave it to set-based SQL.
What they are not sure of is read here, by the API's own validators, and refused in the API's own words.
"""

import csv
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from repoint.resources.call import Call
from repoint.resources.endpoints.checks import check_id, checked_update
from repoint.resources.endpoints.order import EndpointUpdate
from repoint.wire.exceptions import BadRequestException
from repoint.wire.validate import ShapeError

NUMBERS = ("Metrics", "Location.Latitude", "Location.Longitude")
NOT_NAMED = "needs an Id, to update an endpoint, or ChannelType and Address, to make one"
Given = dict[str, Any]
Validate = Callable[[Any], Any]


class RowError(Exception):
    """A row that cannot be imported; its text is for the job's Failures."""


class FileError(Exception):
    """A file that cannot be imported, or not further; its text is for the job's Failures."""


def read_json_row(line: bytes, validate: Validate) -> Given:
    """A line of JSON as an EndpointBatchItem.

    Raises:
        RowError: naming the member and the rule it broke.
    """
    try:
        document = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RowError(f"not JSON: {error}") from None
    return _checked(document, validate)


def split_csv_row(line: bytes) -> list[str]:
    """A line's cells.

    Raises:
        RowError: for bytes that are not UTF-8, or quotes that do not match.
    """
    try:
        rows = list(csv.reader([line.decode()], strict=True))
    except UnicodeDecodeError:
        raise RowError("not UTF-8") from None
    except csv.Error as error:
        raise RowError(f"not CSV: {error}") from None
    return rows[0] if rows else []


def read_csv_row(cells: list[str], header: list[str], validate: Validate) -> Given:
    """Cells under their header as an EndpointBatchItem; empty cells are absent.

    Raises:
        RowError: naming the member and the rule it broke.
    """
    if len(cells) != len(header):
        raise RowError(f"{len(cells)} values under {len(header)} columns")
    document: dict[str, Any] = {}
    for path, text in zip(header, cells, strict=True):
        if text:
            _place(document, path, text)
    return _checked(document, validate)


def _place(document: dict[str, Any], path: str, text: str) -> None:
    """Put a cell where its dotted column says; names may have dots of their own."""
    member, _, rest = path.partition(".")
    if member == "User" and rest != "UserId":
        user = document.setdefault("User", {})
        user.setdefault("UserAttributes", {}).setdefault(rest.partition(".")[2], []).append(text)
    elif member == "Attributes":
        document.setdefault(member, {}).setdefault(rest, []).append(text)
    elif not rest:
        document[member] = text
    else:
        document.setdefault(member, {})[rest] = _number(path, text) if path.startswith(NUMBERS) else text


def _number(path: str, text: str) -> float:
    try:
        if not text.strip(" +-0123456789.eE"):
            return float(text)
    except ValueError:
        pass
    raise RowError(f"{path}: must be a number")


def _checked(document: Any, validate: Validate) -> Given:
    if isinstance(document, dict):
        # What an export adds, and what an import cannot set: AWS's user guide on EndpointStatus.
        document = {name: value for name, value in document.items() if name not in {"EndpointStatus", "RequestId"}}
    try:
        given: Given = validate(document)
    except ShapeError as error:
        raise RowError(error.message()) from None
    return given


def user_alone(given: Given) -> str | None:
    """The user, of a row that names a user and nothing else.

    Raises:
        RowError: for an id that cannot be one.
    """
    user = given.get("User")
    if given.keys() != {"User"} or user is None or user.keys() != {"UserId"}:
        return None
    try:
        check_id("User.UserId", user["UserId"])
    except BadRequestException as error:
        raise RowError(error.message) from None
    return str(user["UserId"])


async def update_of(call: Call, app_id: str, given: Given) -> EndpointUpdate:
    """The endpoint's new values; without an Id, a new endpoint's.

    Raises:
        RowError: naming the member and the rule it broke.
    """
    if not given.get("Id") and not is_whole(given):
        raise RowError(NOT_NAMED)
    try:
        return await checked_update(call, app_id, given.get("Id") or str(uuid.uuid4()), given)
    except BadRequestException as error:
        raise RowError(error.message) from None


def is_whole(given: Given) -> bool:
    """Whether a row has what a new endpoint needs."""
    return bool(given.get("Address") and given.get("ChannelType"))
