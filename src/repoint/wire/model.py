"""The service model at run time: which operation a request names, what it carries, what it may answer.

Built from `service.json` (generated). Every input of this API is path and query members plus at most one JSON body;
every output is one JSON body or none (AWS's REST-JSON protocol).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from repoint.wire.bounds import BODY_BYTES_MAX, MEMBERS_MAX, NESTING_MAX
from repoint.wire.exceptions import BadRequestException, PayloadTooLargeException
from repoint.wire.validate import ShapeError, Validator, Validators

SURROGATE = b"\\ud"
MODEL_FILE = Path(__file__).with_name("service.json")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A member that travels in the path or the query string."""

    name: str
    member: str
    validate: Validator
    kind: str
    is_list: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """One of the 122: its route, its input and the status of its success."""

    name: str
    method: str
    template: str
    status: int
    path: tuple[Parameter, ...]
    query: Mapping[str, Parameter]
    required_query: tuple[Parameter, ...]
    payload: str | None
    validate_payload: Validator | None


class Model:
    """All operations, by name."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.shapes: dict[str, dict[str, Any]] = document["shapes"]
        self.validators = Validators(self.shapes)
        self.operations = {name: self._operation(name, entry) for name, entry in sorted(document["operations"].items())}

    @classmethod
    def load(cls) -> "Model":
        """The model this build was generated from."""
        return cls(msgspec.json.decode(MODEL_FILE.read_bytes()))

    def _operation(self, name: str, entry: Mapping[str, Any]) -> Operation:
        shape_name = entry["input"]["shape"]
        shape = self.shapes[shape_name]
        parameters = {
            member: self._parameter(member, reference)
            for member, reference in shape["members"].items()
            if "location" in reference
        }
        required = shape.get("required", ())
        query = [parameters[m] for m in parameters if shape["members"][m]["location"] == "querystring"]
        payload = shape.get("payload")
        return Operation(
            name=name,
            method=entry["http"]["method"],
            template=entry["http"]["requestUri"],
            status=entry["http"]["responseCode"],
            path=tuple(p for m, p in parameters.items() if shape["members"][m]["location"] == "uri"),
            query={parameter.name: parameter for parameter in query},
            required_query=tuple(p for p in query if p.member in required),
            payload=payload,
            validate_payload=self.validators.shape(shape["members"][payload]["shape"]) if payload else None,
        )

    def _parameter(self, member: str, reference: Mapping[str, Any]) -> Parameter:
        name = reference["shape"]
        shape = self.shapes[name]
        is_list = shape["type"] == "list"
        item = shape["member"]["shape"] if is_list else name
        return Parameter(
            name=reference["locationName"],
            member=member,
            validate=self.validators.shape(item),
            kind=self.shapes[item]["type"],
            is_list=is_list,
        )


def read_request(operation: Operation, segments: Mapping[str, str], query: bytes, body: bytes) -> dict[str, Any]:
    """The request as an SDK's caller wrote it: path, query and body members under their model names.

    Raises:
        BadRequestException: naming the member and the rule it broke.
        PayloadTooLargeException: for an operation that takes less than all take.
    """
    if len(body) > BODY_BYTES_MAX.get(operation.name, len(body)):
        raise PayloadTooLargeException(f"The body must be at most {BODY_BYTES_MAX[operation.name]} bytes")
    request: dict[str, Any] = {}
    for parameter in operation.path:
        request[parameter.member] = _checked(parameter, segments[parameter.name])
    if operation.query:
        _read_query(operation, query, request)
    if operation.payload is not None and operation.validate_payload is not None:
        value = _read_body(body, operation.payload)
        try:
            request[operation.payload] = operation.validate_payload(value)
        except ShapeError as error:
            raise BadRequestException(f"Invalid {operation.payload}: {error.message()}") from None
        except RecursionError:
            raise BadRequestException(f"Invalid {operation.payload}: nested too deeply") from None
    return request


def _read_query(operation: Operation, query: bytes, request: dict[str, Any]) -> None:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000)
    except (UnicodeDecodeError, ValueError):
        raise BadRequestException("The query string is not well-formed") from None
    for name, text in pairs:
        parameter = operation.query.get(name)
        if parameter is None:
            continue
        if parameter.is_list:
            request.setdefault(parameter.member, []).append(_checked(parameter, text))
        else:
            request[parameter.member] = _checked(parameter, text)
    for parameter in operation.required_query:
        if parameter.member not in request:
            raise BadRequestException(f"{parameter.name}: is required")


def _checked(parameter: Parameter, text: str) -> Any:
    """A path or query value as its shape; they travel as text, whatever their type."""
    value: Any = text
    if parameter.kind == "boolean":
        value = {"true": True, "false": False}.get(text.lower(), text)
    elif parameter.kind in ("integer", "long") and text.lstrip("-").isascii() and text.lstrip("-").isdigit():
        value = int(text[:20])
    try:
        checked = parameter.validate(value)
    except ShapeError as error:
        raise BadRequestException(f"{parameter.name}: {error.message()}") from None
    if checked == "":
        raise BadRequestException(f"{parameter.name}: must not be empty")
    return checked


def _read_body(body: bytes, member: str) -> Any:
    if not body:
        raise BadRequestException(f"{member}: is required: the request has no body")
    try:
        value = _decoded(body)
    except (msgspec.DecodeError, ValueError) as error:
        raise BadRequestException(f"The body is not well-formed JSON: {error}") from None
    except RecursionError:
        raise BadRequestException("The body is nested too deeply") from None
    if body.count(b",") > MEMBERS_MAX:
        raise BadRequestException(f"The body has more than {MEMBERS_MAX} members")
    if body.count(b"{") + body.count(b"[") > NESTING_MAX and _depth(value) > NESTING_MAX:
        raise BadRequestException(f"The body is nested deeper than {NESTING_MAX} levels")
    return value


def _decoded(body: bytes) -> Any:
    """The JSON value; half a surrogate pair is left to the check of its member: only the item it is in is refused."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        if SURROGATE not in body.lower():
            raise
        return json.loads(body.decode(), parse_constant=_no_constant)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _depth(value: Any) -> int:
    """How many levels a decoded document has, counted without recursion."""
    depth = 0
    level = [value]
    while level and depth <= NESTING_MAX:
        depth += 1
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return depth


def unquote_segment(raw: str) -> str:
    """A path segment as its caller meant it; what is not UTF-8 is refused.

    Raises:
        BadRequestException: for bytes that are not UTF-8.
    """
    try:
        return unquote(raw, errors="strict")
    except UnicodeDecodeError:
        raise BadRequestException("The path is not well-formed UTF-8") from None
