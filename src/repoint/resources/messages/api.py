"""SendMessages and SendUsersMessages: accept messages durably, and say at once what can be said of each recipient."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

import msgspec

from repoint.resources.apps import require_app
from repoint.resources.call import Call
from repoint.resources.messages import recipients, store
from repoint.resources.messages.recipients import Recipient, normal_address
from repoint.resources.messages.shared import read_shared
from repoint.resources.messages.verdicts import Basis, Verdict, has_content, judge_all
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException

RECIPIENTS_MAX = 100
PERSONAL_MEMBERS = ("BodyOverride", "Context", "RawContent", "Substitutions", "TitleOverride")
KEY_CHARACTERS_MAX = 512


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
    basis = await read_shared(call, app.app_id, wanted)
    found = recipients.addresses(wanted) + await recipients.of_endpoints(call, app.app_id, wanted)
    answer: dict[str, Any] = {"ApplicationId": app.app_id, "RequestId": call.request_id}
    if wanted.get("Addresses"):
        answer["Result"] = {}
    if wanted.get("Endpoints"):
        answer["EndpointResult"] = {}
    for recipient, result in zip(found, await _accept(call, app.app_id, wanted, basis, found), strict=True):
        answer["EndpointResult" if recipient.is_endpoint else "Result"][recipient.key] = result
    return cast("shapes.MessageResponse", answer)


async def send_users_messages(call: Call, request: shapes.SendUsersMessagesRequest) -> shapes.SendUsersMessagesResponse:
    """Send one message to all endpoints of up to 100 users for whose channels it has content.

    A user nobody knows, or without such an endpoint, is answered by an empty map: there was no one to send to.
    """
    app = await require_app(call, request["ApplicationId"])
    wanted = cast("dict[str, Any]", request["SendUsersMessageRequest"])
    if not wanted["Users"]:
        raise BadRequestException(f"SendUsersMessageRequest: must have 1 to {RECIPIENTS_MAX} Users")
    basis = await read_shared(call, app.app_id, wanted)
    theirs = await recipients.of_users(call, app.app_id, wanted["Users"])
    found = [recipient for recipient in theirs if has_content(basis, recipient)]
    results: dict[str, dict[str, Any]] = {user_id: {} for user_id in wanted["Users"]}
    for recipient, result in zip(found, await _accept(call, app.app_id, wanted, basis, found), strict=True):
        results[cast("str", recipient.user_id)][recipient.key] = result
    answer = {"ApplicationId": app.app_id, "RequestId": call.request_id, "Result": results}
    return cast("shapes.SendUsersMessagesResponse", answer)


async def _accept(
    call: Call, app_id: str, wanted: Mapping[str, Any], basis: Basis, found: Sequence[Recipient]
) -> list[dict[str, Any]]:
    """Store what can be sent, in one commit; the result of each recipient, in order."""
    verdicts = judge_all(basis, found)
    activity_id = _activity_id(call, app_id, wanted)
    results, messages = [], []
    for recipient, verdict in zip(found, verdicts, strict=True):
        if verdict is None:
            message = _message(activity_id, recipient)
            messages.append(message)
            results.append(_result(recipient, None, message.message_id))
        else:
            results.append(_result(recipient, verdict, ""))
    if messages:
        now = call.now()
        activity = store.NewActivity(
            activity_id=activity_id,
            app_id=app_id,
            content=dict(basis.content),
            messages=messages,
            created_at=now,
            expires_at=now + timedelta(seconds=call.server.send_deadline_seconds),
        )
        await call.db.gather(store.insert, activity)
    return results


def _activity_id(call: Call, app_id: str, wanted: Mapping[str, Any]) -> str:
    """The id of what this request sends: the same for every retry an SDK makes of it, which is then sent once.

    AWS's SDKs give a call and its retries one `amz-sdk-invocation-id`. Message ids follow from the activity's, so that
    a retry is answered as the first attempt was, and its rows are there already.
    """
    if not call.invocation_id:
        return call.request_id
    facts = (app_id, call.access_key_name, call.invocation_id)
    digest = hashlib.sha256(msgspec.json.encode((facts, wanted))).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def _message(activity_id: str, recipient: Recipient) -> store.NewMessage:
    channel_type, address = cast("str", recipient.channel_type), cast("str", recipient.address)
    personal = {name: recipient.given[name] for name in PERSONAL_MEMBERS if recipient.given.get(name)}
    address = normal_address(channel_type, address) or address
    if recipient.endpoint is not None:
        personal["IsEndpoint"] = True
        key = recipient.endpoint.endpoint_id
    else:
        key = f"{channel_type}:{address}"  # no endpoint's: those are folded to lower case
        if len(key) > KEY_CHARACTERS_MAX:
            key = f"{channel_type}:{hashlib.sha256(address.encode()).hexdigest()}"
    return store.NewMessage(
        endpoint_id=key,
        message_id=store.message_id_of(activity_id, key),
        channel_type=channel_type,
        address=address,
        personal=personal,
    )


def _result(recipient: Recipient, verdict: Verdict | None, message_id: str) -> dict[str, Any]:
    if verdict is None:
        result: dict[str, Any] = {
            "DeliveryStatus": "SUCCESSFUL",
            "MessageId": message_id,
            "StatusCode": 200,
            "StatusMessage": f"MessageId: {message_id}",
        }
    else:
        result = {
            "DeliveryStatus": verdict.delivery_status,
            "StatusCode": verdict.status_code,
            "StatusMessage": verdict.status_message,
        }
    if recipient.is_endpoint and recipient.address:
        result["Address"] = recipient.address
    return result
