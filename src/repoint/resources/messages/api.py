"""SendMessages: accept messages for addresses and endpoints, durably, and say at once what can be said of each."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from repoint.resources.apps import require_app
from repoint.resources.call import Call
from repoint.resources.channels.store import load_channels
from repoint.resources.endpoints import store as endpoints
from repoint.resources.messages import store
from repoint.resources.messages.recipients import (
    TEMPLATE_MEMBERS,
    Recipient,
    Verdict,
    judge,
    normal_address,
)
from repoint.resources.templates.store import load_template
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException

RECIPIENTS_MAX = 100
PERSONAL_MEMBERS = ("BodyOverride", "Context", "RawContent", "Substitutions", "TitleOverride")


async def send_messages(call: Call, request: shapes.SendMessagesRequest) -> shapes.MessageResponse:
    """Send one message to up to 100 addresses and endpoints.

    The answer says SUCCESSFUL of what has been accepted: it is stored, and will be delivered, or given up on, by a
    worker, whatever happens to this process.
    """
    app = await require_app(call, request["ApplicationId"])
    wanted = cast("dict[str, Any]", request["MessageRequest"])
    count = len(wanted.get("Addresses", {})) + len(wanted.get("Endpoints", {}))
    if not 1 <= count <= RECIPIENTS_MAX:
        raise BadRequestException(f"MessageRequest: must have 1 to {RECIPIENTS_MAX} Addresses and Endpoints together")
    recipients = _addresses(wanted) + await _endpoints(call, app.app_id, wanted)
    content = await _content(call, wanted)
    channels = {name: channel.is_enabled for name, channel in (await call.db.cached(load_channels, app.app_id)).items()}
    verdicts = _judge_all(recipients, channels, content)
    accepted = {
        (recipient.is_endpoint, recipient.key): _message(recipient)
        for recipient, verdict in zip(recipients, verdicts, strict=True)
        if verdict is None
    }
    await _accept(call, app.app_id, content, list(accepted.values()))
    return _response(call, app.app_id, wanted, list(zip(recipients, verdicts, strict=True)), accepted)


def _addresses(wanted: Mapping[str, Any]) -> list[Recipient]:
    return [
        Recipient(address, given, given.get("ChannelType"), address, None, is_endpoint=False)
        for address, given in wanted.get("Addresses", {}).items()
    ]


async def _endpoints(call: Call, app_id: str, wanted: Mapping[str, Any]) -> list[Recipient]:
    ids = list(wanted.get("Endpoints", {}))
    found = await asyncio.gather(*(endpoints.get(call.db, app_id, endpoint_id) for endpoint_id in ids))
    return [
        Recipient(
            endpoint_id,
            wanted["Endpoints"][endpoint_id],
            endpoint.channel_type if endpoint else None,
            endpoint.address if endpoint else None,
            endpoint,
            is_endpoint=True,
        )
        for endpoint_id, endpoint in zip(ids, found, strict=True)
    ]


async def _content(call: Call, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What all recipients of the request share, with its templates' versions pinned to those of this moment."""
    templates = {}
    for template_type, member in TEMPLATE_MEMBERS.items():
        named = wanted.get("TemplateConfiguration", {}).get(member)
        if named and named.get("Name"):
            key = (call.region, template_type, named["Name"], named.get("Version"))
            template = await call.db.cached(load_template, key)
            if template is None:
                version = f", version {named['Version']}" if named.get("Version") else ""
                raise BadRequestException(
                    f"TemplateConfiguration.{member}: there is no {template_type} template {named['Name']}{version}"
                )
            templates[template_type] = {"Name": named["Name"], "Version": str(template.version)}
    return {
        "Region": call.region,
        "Message": wanted.get("MessageConfiguration", {}),
        "Templates": templates,
        "Context": wanted.get("Context", {}),
        "TraceId": wanted.get("TraceId"),
    }


def _judge_all(
    recipients: list[Recipient], channels: Mapping[str, bool], content: Mapping[str, Any]
) -> list[Verdict | None]:
    verdicts: list[Verdict | None] = []
    seen: set[tuple[str | None, str | None]] = set()
    for recipient in recipients:
        verdict = judge(recipient, channels, content["Message"], content["Templates"])
        target = (recipient.channel_type, recipient.address)
        if verdict is None and target in seen:
            verdict = Verdict("DUPLICATE", "Another recipient of this request has the same address")
        seen.add(target)
        verdicts.append(verdict)
    return verdicts


def _message(recipient: Recipient) -> store.NewMessage:
    channel_type, address = cast("str", recipient.channel_type), cast("str", recipient.address)
    personal = {name: recipient.given[name] for name in PERSONAL_MEMBERS if recipient.given.get(name)}
    if recipient.endpoint is not None:
        personal["IsEndpoint"] = True
    return store.NewMessage(
        endpoint_id=recipient.endpoint.endpoint_id if recipient.endpoint else f"{channel_type}:{address}",
        message_id=store.new_message_id(),
        channel_type=channel_type,
        address=normal_address(channel_type, address) or address,
        personal=personal,
    )


async def _accept(call: Call, app_id: str, content: dict[str, Any], messages: list[store.NewMessage]) -> None:
    if not messages:
        return
    now = call.now()
    activity = store.NewActivity(
        activity_id=call.request_id,
        app_id=app_id,
        content=content,
        messages=messages,
        created_at=now,
        expires_at=now + timedelta(seconds=call.server.send_deadline_seconds),
    )
    await call.db.gather(store.insert, activity)


def _response(
    call: Call,
    app_id: str,
    wanted: Mapping[str, Any],
    judged: list[tuple[Recipient, Verdict | None]],
    accepted: Mapping[tuple[bool, str], store.NewMessage],
) -> shapes.MessageResponse:
    answer: dict[str, Any] = {"ApplicationId": app_id, "RequestId": call.request_id}
    if wanted.get("Addresses"):
        answer["Result"] = {}
    if wanted.get("Endpoints"):
        answer["EndpointResult"] = {}
    for recipient, verdict in judged:
        result = _result(verdict, None if verdict else accepted[recipient.is_endpoint, recipient.key].message_id)
        if recipient.is_endpoint:
            if recipient.address:
                result["Address"] = recipient.address
            answer["EndpointResult"][recipient.key] = result
        else:
            answer["Result"][recipient.key] = result
    return cast("shapes.MessageResponse", answer)


def _result(verdict: Verdict | None, message_id: str | None) -> dict[str, Any]:
    if verdict is None:
        return {
            "DeliveryStatus": "SUCCESSFUL",
            "MessageId": message_id,
            "StatusCode": 200,
            "StatusMessage": f"MessageId: {message_id}",
        }
    return {
        "DeliveryStatus": verdict.delivery_status,
        "StatusCode": verdict.status_code,
        "StatusMessage": verdict.status_message,
    }
