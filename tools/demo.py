"""`make demo`: start a server, send the first messages with unmodified boto3, show what arrived.

Everything is real: an embedded PostgreSQL, signed requests, SMTP on the way to the inbox. `--keep` stays up afterwards.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import boto3

REPOINT = str(Path(sys.executable).with_name("repoint"))
PEOPLE = {"john@example.com": "John", "ryan@example.com": "Ryan", "dave@example.com": "Dave"}
PHONE = "+14255550142"
WAIT_SECONDS = 20


def start(data_dir: Path, log: Path, port: int) -> tuple["subprocess.Popen[str]", str]:
    """A server on a new data directory, and its URL."""
    command = [REPOINT, "serve", "--data-dir", str(data_dir), "--port", str(port)]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)  # noqa: S603 - our own
    assert process.stdout is not None
    match = re.match(r"ready (http://\S+)", process.stdout.readline())
    if match is None:
        raise SystemExit(f"the server did not start:\n{log.read_text()}")
    return process, match[1]


def re_point(data_dir: Path, url: str) -> None:
    """All that a caller has to change: where its client calls, and with which key."""
    command = [REPOINT, "keys", "create", "--data-dir", str(data_dir), "--name", "demo", "--json"]
    key = json.loads(subprocess.check_output(command, stderr=subprocess.DEVNULL))  # noqa: S603 - our own
    os.environ["AWS_ENDPOINT_URL_PINPOINT"] = url
    os.environ["AWS_ACCESS_KEY_ID"] = key["AccessKeyId"]
    os.environ["AWS_SECRET_ACCESS_KEY"] = key["SecretAccessKey"]
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"


def set_up(client: Any) -> str:
    """An application with its channels, a template, and somebody's phone; returns the application's id."""
    created = client.create_app(CreateApplicationRequest={"Name": "Demo"})
    app_id: str = created["ApplicationResponse"]["Id"]
    client.update_email_channel(
        ApplicationId=app_id,
        EmailChannelRequest={
            "FromAddress": "Demo Shop <news@example.com>",
            "Identity": "arn:aws:ses:us-east-1:123456789012:identity/example.com",
        },
    )
    client.update_sms_channel(ApplicationId=app_id, SMSChannelRequest={"Enabled": True})
    client.create_email_template(
        TemplateName="MyEmailTemplate",
        EmailTemplateRequest={
            "Subject": "{{FirstName}}, your order is on its way",
            "HtmlPart": "<h1>Good news, {{FirstName}}!</h1><p>Your order left our house this morning.</p>",
            "TextPart": "Good news, {{FirstName}}! Your order left our house this morning.",
            "DefaultSubstitutions": json.dumps({"FirstName": "friend"}),
        },
    )
    client.update_endpoint(
        ApplicationId=app_id,
        EndpointId="anns-phone",
        EndpointRequest={
            "ChannelType": "SMS",
            "Address": PHONE,
            "User": {"UserId": "ann", "UserAttributes": {"FirstName": ["Ann"]}},
        },
    )
    return app_id


def send(client: Any, app_id: str) -> list[dict[str, Any]]:
    """The partner guide's two examples: an email from a template to three people, a text to a stored endpoint."""
    emails = client.send_messages(
        ApplicationId=app_id,
        MessageRequest={
            "Addresses": {
                address: {"ChannelType": "EMAIL", "Substitutions": {"FirstName": [name]}}
                for address, name in PEOPLE.items()
            },
            "MessageConfiguration": {"EmailMessage": {"FromAddress": "news@example.com"}},
            "TemplateConfiguration": {"EmailTemplate": {"Name": "MyEmailTemplate"}},
        },
    )["MessageResponse"]["Result"]
    texts = client.send_messages(
        ApplicationId=app_id,
        MessageRequest={
            "Endpoints": {"anns-phone": {}},
            "MessageConfiguration": {
                "SMSMessage": {
                    "Body": "{{User.UserAttributes.FirstName}} your one time password is: {{OTP}}",
                    "MessageType": "TRANSACTIONAL",
                    "OriginationNumber": "+12065550199",
                    "Substitutions": {"OTP": ["123456"]},
                }
            },
        },
    )["MessageResponse"]["EndpointResult"]
    return [*emails.values(), *texts.values()]


def arrived(url: str, count: int) -> list[dict[str, Any]]:
    """What the inbox has received, oldest first, once it is all there."""
    address = f"{url}/inbox/api/wait?count={count}&timeout={WAIT_SECONDS}"
    with urllib.request.urlopen(address, timeout=WAIT_SECONDS + 5) as response:  # noqa: S310 - our own server
        messages: list[dict[str, Any]] = json.loads(response.read())["messages"]
    return messages[::-1]


def show(messages: list[dict[str, Any]]) -> None:
    """A line or two for each message."""
    for message in messages:
        print(f"  {message['channelType']:<5}  to {message['recipient']:<18}  from {message['sender']}")
        if message["subject"]:
            print(f"         {message['subject']}")
        print(f"         {message['preview']}")


def main() -> int:
    """Run the demo; 0 when everything that was sent has arrived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="stay up afterwards, to look around")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="repoint-demo-") as folder:
        data_dir, log = Path(folder) / "data", Path(folder) / "server.log"
        print("Starting PostgreSQL and Repoint …", flush=True)
        process, url = start(data_dir, log, options.port)
        try:
            re_point(data_dir, url)
            client = boto3.client("pinpoint")
            results = send(client, set_up(client))
            messages = arrived(url, len(results))
            accepted = sum(result["DeliveryStatus"] == "SUCCESSFUL" for result in results)
            print(f"boto3 sent {len(results)} messages, {accepted} were accepted, {len(messages)} were delivered:\n")
            show(messages)
            print(f"\nThey went to the inbox, {url}/inbox, and nowhere else: no relay is configured.")
            if options.keep:
                keep(url)
            return 0 if len(messages) == accepted == len(results) else 1
        finally:
            process.terminate()
            process.wait()


def keep(url: str) -> None:
    """Stay up until Ctrl-C."""
    print("\nStaying up. In another shell:")
    for name in ("AWS_ENDPOINT_URL_PINPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        print(f"  export {name}={os.environ[name]}")
    print(f"  aws pinpoint get-apps\nThe inbox: {url}/inbox      Stop with Ctrl-C.", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
