"""A row of the log as Pinpoint's event stream writes it (developer guide, "Streaming events").

Applications' events are version 3.0, those of messages 3.1. Attribute values are strings, moments are milliseconds.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from repoint.clock import epoch_milliseconds, iso8601
from repoint.resources.events.reader import LoggedEvent

Record = dict[str, Any]


def record_of(event: LoggedEvent, account_id: str) -> Record:
    """The event's record: of an application's own event when PutEvents brought it, else of a message's."""
    if "application" in event.document:
        return _app_record(event, account_id)
    return _message_record(event, account_id)


def line_of(record: Record) -> bytes:
    """A record as it goes over the wire: one JSON object and a line end."""
    return msgspec.json.encode(record) + b"\n"


def _app_record(event: LoggedEvent, account_id: str) -> Record:
    document = event.document
    endpoint: Mapping[str, Any] = document.get("endpoint", {})
    demographic: Mapping[str, str] = endpoint.get("Demographic", {})
    application: Record = {"app_id": event.app_id, **document["application"]}
    if "AppVersion" in demographic:
        application["version_name"] = demographic["AppVersion"]
    return {
        "event_type": event.event_type,
        "event_timestamp": epoch_milliseconds(event.event_at),
        "arrival_timestamp": epoch_milliseconds(event.arrival_at),
        "event_version": "3.0",
        "application": application,
        "client": {"client_id": endpoint.get("Id", event.endpoint_id)},
        "device": _device(demographic),
        "session": document.get("session", {}),
        "attributes": document.get("attributes", {}),
        "metrics": document.get("metrics", {}),
        "client_context": {"custom": {"endpoint": _shown(endpoint).text()}},
        "awsAccountId": account_id,
    }


def _device(demographic: Mapping[str, str]) -> Record:
    """The endpoint's device, as its demographic describes it."""
    device: Record = {"platform": {}}
    if "Locale" in demographic:
        language, _, country = demographic["Locale"].replace("-", "_").partition("_")
        locale = {"code": demographic["Locale"], "country": country, "language": language}
        device["locale"] = {name: value for name, value in locale.items() if value}
    for ours, theirs in (("Make", "make"), ("Model", "model")):
        if ours in demographic:
            device[theirs] = demographic[ours]
    for ours, theirs in (("Platform", "name"), ("PlatformVersion", "version")):
        if ours in demographic:
            device["platform"][theirs] = demographic[ours]
    return device


class ShownEndpoint(msgspec.Struct, rename="pascal", omit_defaults=True, gc=False):
    """An endpoint in `client_context`, as Pinpoint has it: without the address.

    A struct, because each mail of a campaign has one.
    """

    channel_type: str | None = None
    endpoint_status: str | None = None
    opt_out: str | None = None
    request_id: str | None = None
    effective_date: str | None = None
    demographic: Mapping[str, str] | None = None
    user: Mapping[str, str] | None = None

    def text(self) -> str:
        """JSON, which stands there in a string."""
        return msgspec.json.encode(self).decode()


def _shown(endpoint: Mapping[str, Any]) -> ShownEndpoint:
    """The endpoint of an application's own event, as the log has it."""
    moment = endpoint.get("EffectiveDate")
    return ShownEndpoint(
        channel_type=endpoint.get("ChannelType") or None,
        endpoint_status=endpoint.get("EndpointStatus") or None,
        opt_out=endpoint.get("OptOut") or None,
        request_id=endpoint.get("RequestId") or None,
        effective_date=iso8601(datetime.fromisoformat(moment)) if moment else None,
        demographic=endpoint.get("Demographic") or None,
        user={"UserId": endpoint["UserId"]} if endpoint.get("UserId") else {},
    )


def _message_record(event: LoggedEvent, account_id: str) -> Record:
    document = event.document
    record: Record = {
        "event_type": event.event_type,
        "event_timestamp": epoch_milliseconds(event.event_at),
        "arrival_timestamp": epoch_milliseconds(event.arrival_at),
        "event_version": "3.1",
        "application": {"app_id": event.app_id, "sdk": {}},
        "client": {"client_id": document.get("client_id", event.endpoint_id)},
        "device": {"platform": {}},
        "session": {},
        "attributes": {name: _text(value) for name, value in document.get("attributes", {}).items()},
    }
    for member in ("metrics", "client_context"):
        if member in document:
            record[member] = document[member]
    record["awsAccountId"] = account_id
    if "facets" in document:
        record["facets"] = document["facets"]
    return record


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
