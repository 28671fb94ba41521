"""Inputs for all 122 operations, built from the service model: minimal, full, and each kind of broken."""

import copy
import json

from botocore.loaders import Loader
from botocore.model import ServiceModel

MODEL = ServiceModel(Loader().load_service_model("pinpoint", "service-2"), "pinpoint")
OPERATIONS = sorted(MODEL.operation_names)
SPECIAL = {
    "Id": "id-1",
    "PageSize": "5",
    "ResourceArn": "arn:aws:mobiletargeting:us-east-1:123456789012:apps/none",
    "FromAddress": "shop@example.com",
    "DefaultSubstitutions": '{"name": "friend"}',
    "EffectiveDate": "2031-05-06T07:08:09.123Z",
    "EndpointStatus": "ACTIVE",
    "OptOut": "NONE",
    "Timestamp": "2031-05-06T07:08:09.123Z",
    "StartTimestamp": "2031-05-06T07:08:09.123Z",
    "Start": "09:00",
    "End": "17:00",
    "Version": "1",
    "TemplateType": "EMAIL",
    "AttributeType": "endpoint-custom-attributes",
    "APNSPushType": "alert",
    "Priority": "high",
    "FeedbackForwardingAddress": "bounces@example.com",
    "ReplyToAddresses": "help@example.com",
    "Charset": "UTF-8",
}
OPTIONAL = {"MessageConfiguration"}  # where a template says it all
DEPTH_MAX = 6


def value_of(shape, *, full, member="", depth=0):
    """A value a caller could send for a shape; `full` gives every member, else the required ones."""
    if shape.type_name == "structure":
        wanted = shape.members if full and depth < DEPTH_MAX else shape.required_members
        return {name: value_of(shape.members[name], full=full, member=name, depth=depth + 1) for name in wanted}
    if shape.type_name == "list":
        return [value_of(shape.member, full=full, member=member, depth=depth + 1)]
    if shape.type_name == "map":
        return {"key": value_of(shape.value, full=full, depth=depth + 1)}
    return scalar(shape, member)


def scalar(shape, member):
    if getattr(shape, "enum", None):
        return SPECIAL.get(member) if SPECIAL.get(member) in shape.enum else shape.enum[0]
    plain = {"boolean": True, "double": 1.5, "integer": 60, "long": 60, "blob": b"From: a@b\r\n\r\nhi"}
    if shape.type_name in plain:
        return plain[shape.type_name]
    if shape.type_name == "timestamp":
        return "2031-05-06T07:08:09Z"
    return SPECIAL.get(member, "text")


def request_of(name, *, full):
    """A whole input for an operation."""
    return value_of(MODEL.operation_model(name).input_shape, full=full)


def broken_bodies(name):
    """Bodies each with one fault, and the fault's name."""
    payload = MODEL.operation_model(name).input_shape.serialization.get("payload")
    if payload is None:
        return
    shape = MODEL.operation_model(name).input_shape.members[payload]
    good = json.loads(json.dumps(value_of(shape, full=True), default=lambda value: "aGk="))
    yield "no body", b""
    yield "not JSON", b"{"
    yield "a list", b"[]"
    yield "a number", b"7"
    yield "a string", b'"x"'
    yield "half a surrogate, and no JSON", b'{"\\ud800": NaN}'
    yield "not UTF-8", b'{"a": "\xff"}'
    yield "too deep", b'{"a":' * 5000 + b"1" + b"}" * 5000
    for path, member_shape in leaves(shape):
        broken = copy.deepcopy(good)
        if set_at(broken, path, wrong_for(member_shape)):
            yield f"{'.'.join(map(str, path))} of the wrong type", json.dumps(broken).encode()
        if member_shape.type_name == "string" and set_at(broken, path, "half: \ud800"):
            yield f"{'.'.join(map(str, path))} with half a surrogate pair", json.dumps(broken).encode()
        if getattr(member_shape, "enum", None) and set_at(broken, path, "NO_SUCH_VALUE"):
            yield f"{'.'.join(map(str, path))} outside its enum", json.dumps(broken).encode()
    for member in set(shape.required_members) - OPTIONAL:
        without = {key: value for key, value in good.items() if key != member}
        yield f"without {member}", json.dumps(without).encode()


def leaves(shape, path=(), depth=0):
    """Paths to members, with their shapes, down to a sensible depth."""
    if shape.type_name != "structure" or depth > 2:
        return
    for name, member in shape.members.items():
        yield (*path, name), member
        yield from leaves(member, (*path, name), depth + 1)


def set_at(document, path, value):
    """Put a value at a path; False when the path is not there."""
    for part in path[:-1]:
        if not isinstance(document, dict) or part not in document:
            return False
        document = document[part]
    if not isinstance(document, dict) or path[-1] not in document:
        return False
    document[path[-1]] = value
    return True


def wrong_for(shape):
    """A JSON value of a type the shape does not allow."""
    return {"string": 7, "timestamp": [], "blob": 7, "boolean": "yes"}.get(shape.type_name, "no such thing")
