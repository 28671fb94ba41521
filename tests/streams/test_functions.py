"""Local functions: AWS's handlers run unmodified, apart from the server, within limits, and fail as Lambda's do."""

import asyncio
import json
import subprocess
import time

import pytest

from repoint.bindings.local import LocalFailure, LocalFunction
from tests.conftest import REPOINT, eventually, start_server
from tests.delivery.hostile_smtp import HostileRelay, in_thread
from tests.streams.conftest import arn_of, bind, stream_to

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:guide"
GUIDE_BOUNCES = """import boto3
import json
import base64
client = boto3.client('pinpoint')

def lambda_handler(event, context):
  for record in event['Records']:
    payload = base64.b64decode(record["kinesis"]["data"])
    pinpoint_event = json.loads(payload)
    if pinpoint_event['event_type'] == '_email.hardbounce':
      endpoint_id = pinpoint_event['client']['client_id']
      # TODO - call the CDP to inform that endpoint_id's email address is invalid
"""
GUIDE_CHANNEL = """import json

def lambda_handler(event, context):
  for endpoint_id in event['Endpoints']:

    endpoint_profile = event['Endpoints']['endpoint_id']
    user_id = endpoint_profile['User']['UserId']

    # TODO - call CDP to inform that User with user_id received a 20% off offer
    # or TODO - Call Facebook to write a message
    # or TODO - write into a database the details of the journey path they are on
"""
GUIDE_TWO_WAY = """import json
import boto3

def lambda_handler(event, context):
  for record in event['Records']:
    messagejson = record['Sns']['Message']
    message = json.loads(messagejson)
    customer_txt_message = message['messageBody']
    customer_num = message['originationNumber']
    origination_id = message['destinationNumber']

    # TODO process the customer_txt_message from user with number  customer_num
"""
GUIDE_FILTER = """import json
import mock_offer_system

def lambda_handler(event, context):
  for endpointId,endpoint in event['Endpoints'].items():
    # TODO - call a webservice, look up a value from a database, call a CRM API to retrieve an offer for this endpoint
    offer_data = mock_offer_system.retrieve_offer_for_endpoint(endpointId)
    # add offer data to endpoint attributes so it can be used for message rendering
    endpoint['Attributes']['Offer'] = [offer_data]

  # return mutated endpoints
  return event['Endpoints']
"""
OBSERVER = """import sys
import guide

def lambda_handler(event, context):
    def note(frame, what, result):
        if what == "return" and frame.f_code is guide.lambda_handler.__code__ and "endpoint_id" in frame.f_locals:
            open({file!r}, "a").write(frame.f_locals["endpoint_id"] + "\\n")
    sys.setprofile(note)
    try:
        return guide.lambda_handler(event, context)
    finally:
        sys.setprofile(None)
"""
SMS = {"originationNumber": "+1", "destinationNumber": "+2", "messageBody": "hi"}


def run(tmp_path, source, event, *, seconds=10.0, **siblings):
    """One call of a handler."""
    for name, text in {"handler": source, **siblings}.items():
        (tmp_path / f"{name}.py").write_text(text)

    async def call():
        function = LocalFunction(ARN, tmp_path / "handler.py", "lambda_handler", {"AWS_DEFAULT_REGION": "eu-west-1"})
        try:
            return await function.invoke(event, seconds=seconds)
        finally:
            await function.close()

    return asyncio.run(call())


@pytest.mark.parametrize(
    ("source", "event", "expected"),
    [
        (GUIDE_CHANNEL, {"Endpoints": {"endpoint_id": {"User": {"UserId": "u"}}}}, None),
        (GUIDE_TWO_WAY, {"Records": [{"Sns": {"Message": json.dumps(SMS)}}]}, None),
        (GUIDE_FILTER, {"Endpoints": {"a": {"Attributes": {}}}}, {"a": {"Attributes": {"Offer": ["20% for a"]}}}),
    ],
    ids=["custom channel", "two-way SMS", "campaign filter"],
)
def test_the_guides_handlers_run_unmodified(tmp_path, source, event, expected):
    offers = "def retrieve_offer_for_endpoint(endpoint_id):\n    return f'20% for {endpoint_id}'\n"

    assert run(tmp_path, source, event, mock_offer_system=offers) == expected


HEAD = "import os, sys, time\ndef lambda_handler(event, context):\n    "


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("raise KeyError('x')", "KeyError", "'x'"),
        ("time.sleep(60)", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
        ("sys.exit(3)", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("os._exit(3)", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("os.kill(os.getpid(), 9)", "Runtime.ExitError", "Runtime exited with error: signal: SIGKILL"),
        ("return bytearray(600 * 1024 * 1024) and 1", "MemoryError", ""),
        ("return 'x' * (7 * 1024 * 1024)", "Function.ResponseSizeTooLarge", "6291456 bytes"),
        ("return object()", "Runtime.MarshalError", "not JSON serializable"),
    ],
)
def test_a_failure_is_reported_as_lambda_reports_it(tmp_path, body, kind, text):
    started = time.monotonic()
    with pytest.raises(LocalFailure) as caught:
        run(tmp_path, HEAD + body, {}, seconds=1.0)

    assert caught.value.document["errorType"] == kind
    assert text in caught.value.document["errorMessage"]
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("source", "kind"), [("import nothing_like_it", "ModuleNotFoundError"), ("def", "SyntaxError")]
)
def test_a_file_that_does_not_load_says_so(tmp_path, source, kind):
    with pytest.raises(LocalFailure, match=kind):
        run(tmp_path, source, {})


def test_a_handler_sees_lambdas_context_and_none_of_the_servers_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("REPOINT_SECRET_KEY", "00" * 32)
    body = (
        "print('noise on standard output')\n"
        "    return [context.function_name, context.get_remaining_time_in_millis() > 5000,"
        " context.invoked_function_arn, [name for name in os.environ if name.startswith('REPOINT')]]"
    )

    assert run(tmp_path, HEAD + body, {}) == ["guide", True, ARN, []]


def test_a_process_is_kept_and_a_changed_file_is_loaded_anew(tmp_path):
    path = tmp_path / "handler.py"

    async def scene():
        function = LocalFunction(ARN, path, "lambda_handler", {})
        path.write_text(HEAD + "return ['old', os.getpid()]")
        old = [await function.invoke({}), await function.invoke({})]
        path.write_text(HEAD + "return ['new', os.getpid()]")
        new = await function.invoke({})
        await function.close()
        return old, new

    old, new = asyncio.run(scene())

    assert old[0] == old[1]
    assert (new[0], new[1] != old[0][1]) == ("new", True)


def functions_test(server, arn, payload):
    command = [REPOINT, "functions", "test", "--data-dir", server.data_dir, arn]
    return subprocess.run(command, input=payload, capture_output=True, text=True)


def test_a_function_is_tried_on_the_command_line(server, tmp_path):
    (tmp_path / "echo.py").write_text("def main(event, context):\n    return {'got': event}\n")
    bind(server, ARN, f"python:{tmp_path}/echo.py#main")

    done = functions_test(server, ARN, '{"a": 1}')
    unbound = functions_test(server, ARN + "2", "{}")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"got": {"a": 1}})
    assert json.loads(functions_test(server, "guide", "1").stdout) == {"got": 1}
    assert unbound.returncode == 1
    assert "nothing is bound to" in unbound.stderr


def test_a_function_that_is_tried_shows_what_it_prints_and_finds_the_api(server, tmp_path):
    source = "import os\nprint('said')\ndef lambda_handler(event, context):\n    return os.environ[event]\n"
    (tmp_path / "says.py").write_text(source)
    bind(server, ARN + "3", f"python:{tmp_path}/says.py")
    command = [REPOINT, "functions", "test", "--data-dir", server.data_dir, "--port", "8123", ARN + "3"]
    done = subprocess.run(command, input='"AWS_ENDPOINT_URL_PINPOINT"', capture_output=True, text=True)

    assert json.loads(done.stdout) == "http://127.0.0.1:8123"
    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == ["said"]


@pytest.mark.parametrize(
    ("arn", "target", "why"),
    [
        ("nonsense", "aws", "is not the ARN"),
        (ARN, "kafka://host/topic", "can be bound to aws, http, python"),
        (ARN, "python:relative.py", "absolute path"),
        (arn_of("s"), "kafka://host", "names no topic"),
        (arn_of("s"), "kafka://host:9092,other:port/topic", "'other:port' is no broker's host:port"),
        (arn_of("s"), "kafkas://host/topic?tls=no", "there may be mechanism=PLAIN"),
        (arn_of("s"), "https://", "names no host"),
        (arn_of("s"), "http://[::1", "Invalid IPv6 URL"),
        (arn_of("s"), "http://host:port/", "Port could not be cast"),
        (arn_of("s"), "http://host:99999/", "Port out of range"),
        (arn_of("s"), "file:/tmp/a\nb", "cannot be printed"),
    ],
)
def test_a_binding_that_cannot_be_is_refused(server, arn, target, why):
    command = [REPOINT, "bindings", "set", "--data-dir", server.data_dir, arn, target]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 1
    assert why in done.stderr


def test_bindings_are_listed_without_secrets_and_deleted(server):
    arn = arn_of("listed")
    bind(server, arn, "kafka://user:hidden@host:9092/topic", "--secret", "hidden2")
    command = [REPOINT, "bindings", "list", "--data-dir", server.data_dir]
    listed = subprocess.check_output(command, text=True)
    subprocess.run([REPOINT, "bindings", "delete", "--data-dir", server.data_dir, arn], check=True, capture_output=True)

    assert f"{arn}  kafka://user:***@host:9092/topic" in listed
    assert "hidden" not in listed
    assert arn not in subprocess.check_output(command, text=True)


def test_the_guides_handler_finds_the_hard_bounce_of_a_bounced_mail(tmp_path):
    found = tmp_path / "found"
    (tmp_path / "guide.py").write_text(GUIDE_BOUNCES)
    (tmp_path / "observer.py").write_text(OBSERVER.format(file=str(found)))
    with in_thread(HostileRelay({"RCPT": "550 5.1.1 no such user"})) as relay:
        server = start_server(tmp_path / "data", "--smtp-url", f"smtp://127.0.0.1:{relay.port}?starttls=never")
        client = server.client()
        app = client.create_app(CreateApplicationRequest={"Name": "Bounces"})["ApplicationResponse"]["Id"]
        bind(server, arn_of("bounces"), f"python:{tmp_path}/observer.py")
        stream_to(client, app, arn_of("bounces"))
        bounce(client, app)
        eventually(lambda: found.exists() and found.read_text())
        server.stop()

    assert found.read_text() == "gone\n"


def bounce(client, app):
    """Send to an endpoint whose address the relay does not know."""
    channel = {"FromAddress": "shop@example.com", "Identity": "arn:aws:ses"}
    client.update_email_channel(ApplicationId=app, EmailChannelRequest=channel)
    endpoint = {"ChannelType": "EMAIL", "Address": "gone@example.com", "OptOut": "NONE"}
    client.update_endpoint(ApplicationId=app, EndpointId="gone", EndpointRequest=endpoint)
    content = {"Subject": {"Data": "Hi"}, "TextPart": {"Data": "Hello"}}
    request = {"Endpoints": {"gone": {}}, "MessageConfiguration": {"EmailMessage": {"SimpleEmail": content}}}
    client.send_messages(ApplicationId=app, MessageRequest=request)
