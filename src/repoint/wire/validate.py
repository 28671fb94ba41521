"""Compile the model's shapes into validators, once, at start.

A validator takes a decoded JSON value and returns it as the model means it: unknown members and nulls dropped (as the
service's own Java reader does), blobs decoded, timestamps parsed. What breaks a rule raises `ShapeError`, which
gathers the path to the member while it unwinds, so the happy path carries no path at all.
"""

import base64
import binascii
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from repoint.clock import MILLISECONDS_BEFORE, MOMENT_RULE, SECONDS_FROM
from repoint.wire.bounds import BOUNDS, Bound

Validator = Callable[[Any], Any]
Shapes = dict[str, dict[str, Any]]
LONG_MAX = 2**63 - 1
INTEGER_MAX = 2**31 - 1
EPOCH_SECONDS_MAX = 253_402_300_799


class ShapeError(Exception):
    """A value that the model does not allow; `path` leads to it from the payload, outermost first."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule
        self.path: list[str] = []

    def message(self) -> str:
        """One sentence naming the member and the rule it broke."""
        path = "".join(self.path).lstrip(".").encode(errors="backslashreplace").decode()
        return f"{path}: {self.rule}" if path else self.rule


@dataclass(frozen=True, slots=True)
class Refused:
    """Stands where an item was that breaks a rule, in a request whose items are answered one by one."""

    message: str
    given: Any


def string(value: Any) -> str:
    """A JSON string PostgreSQL can hold: no NUL, no half of a surrogate pair."""
    if type(value) is not str:
        raise ShapeError("must be a string")
    if "\x00" in value:
        raise ShapeError("must not contain the NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ShapeError("must be well-formed Unicode") from None
    return value


def boolean(value: Any) -> bool:
    """A JSON true or false."""
    if type(value) is not bool:
        raise ShapeError("must be true or false")
    return value


def whole(value: Any, maximum: int) -> int:
    """A JSON number without a fraction, within a Java integer's or long's range."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise ShapeError("must be a whole number")
    if not -maximum - 1 <= value <= maximum:
        raise ShapeError(f"must be between {-maximum - 1} and {maximum}")
    return value


def integer(value: Any) -> int:
    """A 32-bit whole number."""
    return whole(value, INTEGER_MAX)


def long(value: Any) -> int:
    """A 64-bit whole number."""
    return whole(value, LONG_MAX)


def double(value: Any) -> float:
    """A finite JSON number."""
    if type(value) is not float and type(value) is not int:
        raise ShapeError("must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ShapeError("must be a finite number")
    return number


def blob(value: Any) -> bytes:
    """Base64 text."""
    try:
        return base64.b64decode(string(value), validate=True)
    except (binascii.Error, ValueError):
        raise ShapeError("must be base64") from None


def timestamp(value: Any) -> datetime:
    """ISO 8601 (a missing zone means UTC) or a number of seconds since 1970; in UTC."""
    if type(value) in (int, float) and 0 <= value <= EPOCH_SECONDS_MAX:
        return datetime.fromtimestamp(value, UTC)
    try:
        moment = datetime.fromisoformat(string(value).strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # the latter for what is of the year 1 or 9999, and in UTC not any more
        raise ShapeError("must be an ISO 8601 timestamp") from None


def enumeration(values: list[str]) -> Validator:
    """One of the model's values."""
    allowed = frozenset(values)

    def check(value: Any) -> str:
        if type(value) is not str or value not in allowed:
            raise ShapeError(f"must be one of {', '.join(values)}")
        return value

    return check


def list_of(item: Validator) -> Validator:
    """Each item by its own shape; null items are refused (there is nothing to drop them from)."""

    def check(value: Any) -> list[Any]:
        if type(value) is not list:
            raise ShapeError("must be a list")
        checked = []
        for index, element in enumerate(value):
            try:
                checked.append(item(element))
            except ShapeError as error:
                error.path.insert(0, f"[{index}]")
                raise
        return checked

    return check


def map_of(item: Validator, *, keeps_nulls: bool = False, checks_nulls: bool = False) -> Validator:
    """Each value by its own shape.

    A null value is dropped, unless it is how a caller says "remove this name", or each item is answered for itself.
    """

    def check(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise ShapeError("must be an object")
        checked = {}
        for key, element in value.items():
            try:
                if element is not None or checks_nulls:
                    checked[string(key)] = item(element)
                elif keeps_nulls:
                    checked[string(key)] = None
            except ShapeError as error:
                error.path.insert(0, f".{key!r}" if "." in key else f".{key}")
                raise
        return checked

    return check


def bounded(check: Validator, bound: Bound, kind: str) -> Validator:
    """The member's shape, and its documented limits."""
    low, high, choices = bound
    noun = {"string": " characters", "list": " items", "map": " entries"}.get(kind, "")

    def within(value: Any) -> Any:
        checked = check(value)
        if choices and checked not in choices:
            raise ShapeError(f"must be one of {', '.join(choices)}")
        size = checked if not noun else len(checked)
        if low is not None and size < low:
            raise ShapeError(f"must be at least {low:.10g}{noun}")
        if high is not None and size > high:
            raise ShapeError(f"must be at most {high:.10g}{noun}")
        return checked

    return within


SCALARS: dict[str, Validator] = {
    "string": string,
    "boolean": boolean,
    "integer": integer,
    "long": long,
    "double": double,
    "blob": blob,
    "timestamp": timestamp,
}

# Within these maps a null removes the name it stands under: the endpoint's own documented way to forget an attribute.
REMOVABLE = (
    frozenset({("EndpointRequest", "Attributes"), ("EndpointRequest", "Metrics")})
    | {
        (structure, member)
        for structure in ("EndpointBatchItem", "PublicEndpoint")
        for member in ("Attributes", "Metrics")
    }
    | {("EndpointUser", "UserAttributes")}
)

# Required by the model, but not by the service: a template says it all (the developer guide's later editions).
OPTIONAL = frozenset({("MessageRequest", "MessageConfiguration"), ("SendUsersMessageRequest", "MessageConfiguration")})


def string_or_list(check: Validator) -> Validator:
    """A list of strings, or one bare string standing for it."""

    def lenient(value: Any) -> Any:
        return [string(value)] if type(value) is str else check(value)

    return lenient


# Moments that the model calls strings; callers who write their JSON themselves also send them as numbers.
MOMENTS = frozenset(
    {("Event", "Timestamp"), ("Session", "StartTimestamp"), ("Session", "StopTimestamp")}
    | {(structure, "EffectiveDate") for structure in ("EndpointRequest", "EndpointBatchItem", "PublicEndpoint")}
)


def moment(value: Any) -> str:
    """A string, or a number of seconds or milliseconds since 1970, as text."""
    if type(value) is not int and type(value) is not float:
        return string(value)
    if not SECONDS_FROM <= value < MILLISECONDS_BEFORE:
        raise ShapeError(MOMENT_RULE)
    return str(value)


# What PutEvents answers item by item: one that breaks a rule must not take its neighbours with it.
FORGIVEN = frozenset({"EventsBatch", "PublicEndpoint", "Event"})


def forgiving(check: Validator) -> Validator:
    """The value, or what is wrong with it."""

    def checked(value: Any) -> Any:
        try:
            return check(value)
        except ShapeError as error:
            return Refused(error.message(), value)

    return checked


class Validators:
    """All shapes' validators, compiled when first asked for."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self.compiled: dict[str, Validator] = {}

    def shape(self, name: str) -> Validator:
        """The validator of a shape by its name in the model."""
        found = self.compiled.get(name)
        if found is None:
            # A shape may contain itself (segment groups do): hand out a forwarder while it is being compiled.
            self.compiled[name] = lambda value: self.compiled[name](value)  # noqa: PLW0108 - looked up when called
            found = self.compiled[name] = self.compile(name)
        return found

    def compile(self, name: str) -> Validator:
        """Compile one shape."""
        shape = self.shapes[name]
        kind = shape["type"]
        if kind == "structure":
            check = self.structure(name, shape)
            return forgiving(check) if name in FORGIVEN else check
        if kind == "list":
            return list_of(self.shape(shape["member"]["shape"]))
        if kind == "map":
            item = shape["value"]["shape"]
            return map_of(self.shape(item), checks_nulls=item in FORGIVEN)
        return enumeration(shape["enum"]) if "enum" in shape else SCALARS[kind]

    def structure(self, name: str, shape: dict[str, Any]) -> Validator:
        """An object: its members by their shapes, its required members there, everything else dropped."""
        members = {member: self.member(name, member) for member in shape.get("members", {})}
        required = tuple(member for member in shape.get("required", ()) if (name, member) not in OPTIONAL)

        def check(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise ShapeError("must be an object")
            checked = {}
            for member, element in value.items():
                validate = members.get(member)
                if validate is None or element is None:
                    continue
                try:
                    checked[member] = validate(element)
                except ShapeError as error:
                    error.path.insert(0, f".{member}")
                    raise
            for member in required:
                if member not in checked:
                    missing = ShapeError("is required")
                    missing.path.append(f".{member}")
                    raise missing
            return checked

        return check

    def member(self, structure: str, member: str) -> Validator:
        """A member's shape with what its place adds: documented limits, leniencies."""
        name = self.shapes[structure]["members"][member]["shape"]
        shape = self.shapes[name]
        check = self.shape(name)
        if (structure, member) in REMOVABLE:
            item = self.shape(shape["value"]["shape"])
            is_list = self.shapes[shape["value"]["shape"]]["type"] == "list"
            check = map_of(string_or_list(item) if is_list else item, keeps_nulls=True)
        if (structure, member) in MOMENTS:
            check = moment
        bound = BOUNDS.get((structure, member))
        return check if bound is None else bounded(check, bound, shape["type"])
