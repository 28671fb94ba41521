"""All 122 operations through a real client: what is valid is taken, what is not is refused in AWS's own words."""

import json

import pytest
from botocore.exceptions import ClientError

from repoint.operations import OPERATIONS as BUILT
from tests.signed import send_raw
from tests.wire.inputs import MODEL, OPERATIONS, broken_bodies, request_of, value_of


def call(client, name, parameters):
    """The status and error code of one call; parameters go out as they are."""
    try:
        response = client._make_api_call(name, parameters)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
    return response["ResponseMetadata"]["HTTPStatusCode"], ""


def raw(server, name, body):
    """Send a body as it is to an operation, correctly signed."""
    http = MODEL.operation_model(name).http
    path = http["requestUri"].split("?")[0]
    for part in [piece for piece in path.split("/") if piece.startswith("{")]:
        path = path.replace(part, "email" if part == "{template-type}" else "x")
    return send_raw(server, http["method"], path, body)


def test_all_operations_of_the_model_are_routed():
    assert sorted(BUILT) == OPERATIONS
    assert len(OPERATIONS) == 122


@pytest.mark.parametrize("full", [False, True], ids=["minimal", "full"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_valid_input_is_answered_as_the_model_says(server, name, full):
    status, code = call(server.client(), name, request_of(name, full=full))
    allowed = {error.name for error in MODEL.operation_model(name).error_shapes} | {
        "",
        "NotFoundException",
        "BadRequestException",
        "ConflictException",
    }

    assert status < 500
    assert code in allowed
    if BUILT[name] is None:
        assert (status, code) in [(405, "MethodNotAllowedException"), (400, "BadRequestException")]


@pytest.mark.parametrize("name", [name for name in OPERATIONS if list(broken_bodies(name))])
def test_broken_input_is_a_bad_request_that_says_why(server, name):
    for fault, body in broken_bodies(name):
        status, code, answer = raw(server, name, body)

        assert (fault, status, code) == (fault, 400, "BadRequestException")
        assert answer["Message"]
        assert answer["RequestID"]


@pytest.mark.parametrize("name", [name for name in OPERATIONS if list(broken_bodies(name))])
def test_unknown_members_and_nulls_are_passed_over(server, name):
    """What a newer SDK sends, and what an older one leaves empty, must not turn a good request into a bad one."""
    payload = MODEL.operation_model(name).input_shape.members[
        MODEL.operation_model(name).input_shape.serialization["payload"]
    ]
    plain = json.loads(json.dumps(value_of(payload, full=False), default=lambda value: "aGk="))
    optional = {member: None for member in payload.members if member not in payload.required_members}
    _, expected, _ = raw(server, name, json.dumps(plain).encode())
    _, code, _ = raw(server, name, json.dumps({**plain, **optional, "NewerThanUs": [1, {}]}).encode())

    assert (code == "BadRequestException") == (expected == "BadRequestException")


@pytest.mark.parametrize("name", [name for name in OPERATIONS if BUILT[name] is None])
def test_an_operation_that_is_not_built_says_so_by_name(server, name):
    with pytest.raises(ClientError, match=f"{name} is not built yet") as caught:
        server.client()._make_api_call(name, request_of(name, full=False))

    assert caught.value.response["Error"]["Code"] == "MethodNotAllowedException"
