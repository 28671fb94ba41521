"""The gateway from outside: who gets in, what is answered, what a hostile client can do."""

import http.client
import json
import socket

import pytest
from botocore.exceptions import ClientError

from tests.conftest import create_key, start_server
from tests.signed import send_raw


def plain(server, method, path, body=None, headers=None):
    """An unsigned request; status, headers, body."""
    host = server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request(method, path, body=body, headers=headers or {})
    response = connection.getresponse()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/apps"), ("POST", "/v1/apps"), ("GET", "/"), ("GET", "/x/y")])
def test_nobody_gets_in_unsigned(server, method, path):
    status, headers, body = plain(server, method, path)

    assert (status, headers["x-amzn-errortype"]) == (403, "MissingAuthenticationTokenException")
    assert json.loads(body)["RequestID"] == headers["x-amzn-requestid"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"aws_access_key_id": "AKIANOBODY"}, "UnrecognizedClientException"),
        ({"aws_secret_access_key": "wrong"}, "InvalidSignatureException"),
    ],
)
def test_a_wrong_key_is_refused_as_aws_does(server, change, code):
    with pytest.raises(ClientError) as caught:
        server.client(**change).get_apps()

    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "NotFoundException"),
        ("GET", "/v2/apps", 404, "NotFoundException"),
        ("DELETE", "/v1/apps", 405, "MethodNotAllowedException"),
        ("POST", "/v1/phone/number/validate/", 400, "BadRequestException"),
        ("GET", "/v1/apps/%ff", 400, "BadRequestException"),
        ("GET", "/v1/apps/%00", 400, "BadRequestException"),
    ],
)
def test_paths_are_answered_in_the_models_words(server, method, path, status, code):
    assert send_raw(server, method, path, b"")[:2] == (status, code)


def test_a_browser_may_ask_first(server):
    status, headers, _ = plain(server, "OPTIONS", "/v1/apps", headers={"Origin": "https://example.com"})

    assert status == 200
    assert headers["access-control-allow-origin"] == "*"
    assert headers["allow"] == "GET, POST"


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
def test_a_body_over_7_mb_is_too_large(server, chunked):
    pieces = iter([b"x" * 2**20] * 8) if chunked else b"x" * (7 * 2**20 + 1)
    status, headers, _ = plain(server, "POST", "/v1/apps", body=pieces)

    assert (status, headers["x-amzn-errortype"]) == (413, "PayloadTooLargeException")


def test_garbage_on_the_socket_hurts_nobody(server, pinpoint):
    host, port = server.url.removeprefix("http://").split(":")
    for garbage in (
        b"\x00\xff" * 500,
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /v1/apps\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(garbage)

    assert pinpoint.get_apps()["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """A server that waits for nobody longer than a second."""
    running = start_server(tmp_path_factory.mktemp("impatient") / "data", "--idle-seconds", "1", "--log-level", "error")
    yield running
    running.stop()


@pytest.mark.parametrize(
    "beginning",
    [b"", b"GET /v1/apps HTTP/1.1\r\nHo", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"],
    ids=["nothing", "half a head", "one request and no other"],
)
def test_a_silent_connection_is_closed(impatient, beginning):
    host, port = impatient.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(beginning)
        received = list(iter(lambda: connection.recv(65536), b""))  # the socket's timeout is the test's limit

    assert len(received) == beginning.startswith(b"GET /healthz")


def test_two_requests_may_share_a_connection(server):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    statuses = []
    for _ in range(2):
        connection.request("GET", "/v1/apps")
        response = connection.getresponse()
        statuses.append((response.status, len(response.read()) > 0))

    assert statuses == [(403, True), (403, True)]


def test_a_deny_of_an_endpoint_holds_however_its_id_is_written(server, tmp_path, pinpoint, app_id):
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    denied = f"arn:aws:mobiletargeting:*:*:apps/{app_id}/endpoints/Vip"
    policy = {"Statement": [everything, {"Effect": "Deny", "Action": "*", "Resource": denied}]}
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    key_id, secret = create_key(server.data_dir, "most", "--policy", str(tmp_path / "policy.json"))
    client = server.client(aws_access_key_id=key_id, aws_secret_access_key=secret)
    pinpoint.update_endpoint(ApplicationId=app_id, EndpointId="vip", EndpointRequest={"ChannelType": "SMS"})

    for endpoint_id in ("vip", "VIP", "Vip"):
        with pytest.raises(client.exceptions.ForbiddenException, match="explicit deny"):
            client.get_endpoint(ApplicationId=app_id, EndpointId=endpoint_id)
    with pytest.raises(client.exceptions.NotFoundException):
        client.get_endpoint(ApplicationId=app_id, EndpointId="vip2")


def test_a_policy_lets_a_key_do_only_what_it_says(server, tmp_path, pinpoint, app_id):
    policy = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Action": "mobiletargeting:Get*",
            "Resource": f"arn:aws:mobiletargeting:*:*:apps/{app_id}",
        },
    }
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    key_id, secret = create_key(server.data_dir, "reader", "--policy", str(tmp_path / "policy.json"))
    reader = server.client(aws_access_key_id=key_id, aws_secret_access_key=secret)

    assert reader.get_app(ApplicationId=app_id)["ApplicationResponse"]["Id"] == app_id
    with pytest.raises(
        reader.exceptions.ForbiddenException, match="is not authorized to perform: mobiletargeting:Dele"
    ):
        reader.delete_app(ApplicationId=app_id)
    with pytest.raises(reader.exceptions.ForbiddenException, match="because no identity-based policy allows"):
        reader.get_apps()


def test_a_configured_rate_is_kept(tmp_path):
    server = start_server(tmp_path / "data", "--rate-limit", "GetApps=2", "--log-level", "error")
    client = server.client()
    headers = client.get_apps()["ResponseMetadata"]["HTTPHeaders"]
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        [client.get_apps() for _ in range(10)]
    refused = caught.value.response["ResponseMetadata"]["HTTPHeaders"]

    assert (headers["ratelimit-limit"], headers["ratelimit-remaining"]) == ("2", "1")
    assert int(refused["retry-after"]) >= 1
    assert server.stop() == 0
