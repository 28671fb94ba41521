"""AWS's JavaScript SDK, unmodified, with nothing but AWS_ENDPOINT_URL_PINPOINT set."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.clients.npm import installed

ROOT = Path(__file__).parents[2]
SCRIPT = """
import { PinpointClient, CreateAppCommand, CreateEmailTemplateCommand, SendMessagesCommand, GetAppCommand,
  TagResourceCommand, ListTagsForResourceCommand, PutEventsCommand } from "@aws-sdk/client-pinpoint";
const client = new PinpointClient({});
const created = await client.send(new CreateAppCommand({ CreateApplicationRequest: { Name: "FromNode" } }));
const app = created.ApplicationResponse;
await client.send(new CreateEmailTemplateCommand({ TemplateName: "FromNode" + app.Id, EmailTemplateRequest:
  { Subject: "Hello {{FirstName}}", TextPart: "Dear {{FirstName}}" } }));
const sent = await client.send(new SendMessagesCommand({ ApplicationId: app.Id, MessageRequest: {
  Addresses: { "node@example.com": { ChannelType: "EMAIL", Substitutions: { FirstName: ["Nora"] } } },
  MessageConfiguration: { EmailMessage: { FromAddress: "shop@example.com" } },
  TemplateConfiguration: { EmailTemplate: { Name: "FromNode" + app.Id } } } }));
await client.send(new TagResourceCommand({ ResourceArn: app.Arn, TagsModel: { tags: { from: "node" } } }));
const tags = (await client.send(new ListTagsForResourceCommand({ ResourceArn: app.Arn }))).TagsModel.tags;
const put = await client.send(new PutEventsCommand({ ApplicationId: app.Id, EventsRequest: { BatchItem: { "web-1": {
  Endpoint: { ChannelType: "EMAIL", Address: "web@example.com", Attributes: { plan: ["gold"] } }, Events: { one: {
    EventType: "page.view", Timestamp: new Date().toISOString(), Attributes: { path: "/" }, Metrics: { seconds: 1.5 },
    Session: { Id: "s", StartTimestamp: new Date().toISOString() } } } } } } }));
const event = put.EventsResponse.Results["web-1"].EventsItemResponse.one.StatusCode;
let error = "";
try { await client.send(new GetAppCommand({ ApplicationId: "none" })); } catch (caught) { error = caught.name; }
const status = sent.MessageResponse.Result["node@example.com"].DeliveryStatus;
console.log(JSON.stringify({ status, tags, event, error }));
"""


@pytest.fixture(scope="module")
def sdk():
    """A folder with the SDK installed."""
    return installed("javascript", "@aws-sdk/client-pinpoint", "3")


def test_the_javascript_sdk_sends_from_a_template(server, sdk):
    (sdk / "send.mjs").write_text(SCRIPT)
    done = subprocess.run(
        ["node", "send.mjs"], cwd=sdk, env=server.environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    (received,) = server.get("/inbox/api/wait?recipient=node%40example.com&timeout=15")["messages"]

    assert json.loads(done.stdout) == {
        "status": "SUCCESSFUL",
        "tags": {"from": "node"},
        "event": 202,
        "error": "NotFoundException",
    }
    assert received["subject"] == "Hello Nora"
