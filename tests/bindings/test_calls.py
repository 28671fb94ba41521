"""Calls of functions behind HTTP and behind Lambda: what goes over the wire, and every way it may go wrong."""

import asyncio
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime

import pytest

from repoint.bindings import store
from repoint.bindings.functions import AnswerError, FunctionError, Functions
from repoint.db import Database
from repoint.db.embedded import dsn_of
from repoint.delivery.provider import CustomMessage
from repoint.delivery.providers.custom import CalledProvider
from repoint.sealing import Seal
from tests.campaigns.far_end import FarEnd, function_arn
from tests.far_ends import dripping

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
ARN = function_arn("called")
SECONDS = 3.0


@pytest.fixture
def far_end():
    with FarEnd() as running:
        yield running


@pytest.fixture
def call(server, far_end, monkeypatch):
    """Call what is bound to the ARN: `what` of Functions, by default its `invoke`."""
    for name, value in {"ENDPOINT_URL_LAMBDA": far_end.url, "ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)

    async def run(target, what, secret, seconds):
        seal, db = Seal.from_settings("", server.data_dir), Database(dsn_of(server.data_dir))
        await db.open()
        await store.put(db, seal, store.check(ARN, target, secret), NOW)
        functions = Functions(db, seal, lambda: NOW, seconds=seconds, retry_seconds=0.01)
        try:
            return await what(functions)
        finally:
            await functions.close()
            await db.close()

    def call_it(target, what=lambda functions: functions.invoke(ARN, {"a": "é"}), *, secret="", seconds=SECONDS):
        return asyncio.run(run(target, what, secret, seconds))

    return call_it


def test_an_http_function_gets_the_payload_signed(call, far_end):
    url = far_end.serve("/f", lambda payload: (200, json.dumps({"got": payload}).encode()))

    assert call(url, secret="s3cret") == {"got": {"a": "é"}}
    [(headers, body)] = far_end.requests
    stamp = headers["x-repoint-timestamp"]
    assert (stamp, headers["content-type"]) == (str(int(NOW.timestamp())), "application/json")
    wanted = hmac.new(b"s3cret", stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["x-repoint-signature"] == f"sha256={wanted}"


@pytest.mark.parametrize(
    ("status", "body", "error", "why"),
    [
        (500, b"{}", FunctionError, "HTTP 500"),
        (302, b"", FunctionError, "HTTP 302"),
        (200, b"nonsense", AnswerError, "answered no JSON"),
        (200, b"x" * (6 * 1024 * 1024 + 1), FunctionError, "answered more than 6291456 bytes"),
    ],
)
def test_an_http_function_that_answers_badly_has_failed(call, far_end, status, body, error, why):
    url = far_end.serve("/f", lambda _: (status, body))
    with pytest.raises(error, match=f"^{ARN}: .*{why}$"):
        call(url)


def test_an_http_functions_password_is_not_told(call, far_end):
    with pytest.raises(FunctionError, match=r"//user:\*\*\*@127.0.0.1:\d+/none: HTTP 404"):
        call(far_end.url.replace("//", "//user:hidden@") + "/none")


@pytest.mark.parametrize("url", ["https://xn--/", "https://127.0.0.1:99999/"])
def test_a_url_that_leads_nowhere_cannot_be_reached(call, url):
    for what in (lambda functions: functions.invoke(url, {}), lambda functions: functions.probe(url, "1" * 12)):
        with pytest.raises(FunctionError, match=f"^{url}: "):
            call("aws", what)


def test_an_answer_that_drips_ends_at_the_time_limit(call):
    with dripping() as url, pytest.raises(FunctionError, match=r"no answer within 0\.3 seconds"):
        call(url, seconds=0.3)


def test_lambda_is_invoked_by_arn_and_answers(call, far_end):
    far_end.serve(ARN, lambda payload: {"got": payload})

    assert call("aws") == {"got": {"a": "é"}}
    assert call("aws", lambda functions: functions.invoke("called", 1)) == {"got": 1}


def raising(_):
    raise KeyError("x")


@pytest.mark.parametrize(
    ("handler", "why"),
    [(raising, '"errorType": "KeyError"'), (None, "ResourceNotFoundException")],
)
def test_a_lambda_function_that_fails_is_quoted(call, far_end, handler, why):
    if handler:
        far_end.serve(ARN, handler)
    with pytest.raises(FunctionError, match=why):
        call("aws")


def test_lambda_calls_that_hang_leave_other_threads_alone(call, far_end):
    """Name look-ups, among others, are done on the loop's own threads."""
    far_end.serve(ARN)

    async def crowd(functions):
        await functions.probe(ARN, "")  # makes boto3's client, which may take longer than a call on a busy machine
        hanging = [asyncio.create_task(functions.invoke(ARN, number)) for number in range(40)]
        while len(far_end.called(ARN)) < 40:  # noqa: ASYNC110 - the far end is on threads of its own
            await asyncio.sleep(0.01)
        started = time.monotonic()
        await asyncio.to_thread(int)
        waited = time.monotonic() - started
        return waited, await asyncio.gather(*hanging, return_exceptions=True)

    with far_end.hold(ARN):
        waited, results = call("aws", crowd)

    assert waited < SECONDS / 2
    assert {type(result) for result in results} == {FunctionError}


def test_three_attempts_are_made_and_the_last_failure_is_told(call, far_end):
    left = [(500, b""), (501, b""), (502, b""), (200, b"7")]
    url = far_end.serve("/f", lambda _: left.pop(0))

    async def twice(functions):
        with pytest.raises(FunctionError, match="HTTP 502"):
            await functions.call(ARN, {})
        return await functions.call(ARN, {})

    assert call(url, twice) == 7
    assert left == []


def test_a_name_is_not_a_pattern(call):
    """What is bound to `called` is not what `c_lled` names."""
    with pytest.raises(FunctionError, match="nothing is bound to c_lled"):
        call("aws", lambda functions: functions.invoke("c_lled", {}))


def test_a_call_has_at_most_six_megabytes(call, far_end):
    """Four endpoints of 2.5 MB: two calls, though fifty might go together."""
    url = far_end.serve("/f")
    head = {"Data": "d"}
    messages = [CustomMessage(f"m{n}", ARN, head, f"e{n}", {"Address": "x" * 2_500_000}) for n in range(4)]
    outcomes = call(url, lambda functions: CalledProvider(functions, endpoints_max=50).send(messages))

    assert sorted(list(payload["Endpoints"]) for payload in far_end.called("/f")) == [["e0", "e1"], ["e2", "e3"]]
    assert {outcome.status for outcome in outcomes} == {"SUCCESSFUL"}
