"""The AWS CLI, unmodified, with nothing but AWS_ENDPOINT_URL_PINPOINT set."""

import json
import subprocess
import sys
from pathlib import Path

AWS = Path(sys.executable).with_name("aws")


def aws(server, *arguments):
    """What `aws pinpoint …` prints, decoded."""
    command = [AWS, "pinpoint", *arguments, "--output", "json"]
    done = subprocess.run(command, env=server.environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_an_application_is_made_and_listed(server):
    made = aws(server, "create-app", "--create-application-request", "Name=FromTheShell,tags={team=crm}")

    listed = aws(server, "get-apps", "--page-size", "1000")["ApplicationsResponse"]["Item"]

    assert made["ApplicationResponse"]["tags"] == {"team": "crm"}
    assert made["ApplicationResponse"]["Id"] in [app["Id"] for app in listed]


def test_the_guides_sms_to_a_stored_endpoint_is_delivered(server, app_id):
    endpoint = {
        "ChannelType": "SMS",
        "Address": "+14255550177",
        "User": {"UserId": "cli", "UserAttributes": {"FirstName": ["Cleo"]}},
    }
    message = {
        "Endpoints": {"from-the-shell": {}},
        "MessageConfiguration": {
            "SMSMessage": {
                "Body": "{{User.UserAttributes.FirstName}} your one time password is: {{OTP}}",
                "MessageType": "TRANSACTIONAL",
                "Substitutions": {"OTP": ["654321"]},
            }
        },
    }
    target = ["--application-id", app_id]
    aws(
        server,
        "update-endpoint",
        *target,
        "--endpoint-id",
        "from-the-shell",
        "--endpoint-request",
        json.dumps(endpoint),
    )
    answer = aws(server, "send-messages", *target, "--message-request", json.dumps(message))
    (received,) = server.get("/inbox/api/wait?recipient=%2B14255550177&timeout=15")["messages"]

    assert answer["MessageResponse"]["EndpointResult"]["from-the-shell"]["DeliveryStatus"] == "SUCCESSFUL"
    assert received["preview"] == "Cleo your one time password is: 654321"


def test_a_tag_is_put_on_an_arn_with_slashes(server):
    arn = aws(server, "create-app", "--create-application-request", "Name=Tagged")["ApplicationResponse"]["Arn"]
    aws(server, "tag-resource", "--resource-arn", arn, "--tags-model", '{"tags": {"a b": "1"}}')

    assert aws(server, "list-tags-for-resource", "--resource-arn", arn) == {"TagsModel": {"tags": {"a b": "1"}}}
