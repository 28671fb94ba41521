"""PutEvents, signed and durable, against AWS's account quota; the log's writer against raw COPY."""

from typing import Any

from bench.api import rate, server
from bench.load import measure, signed

WARM_UP = 400
LARGE_REQUESTS = 800
EVENTS_EACH = 100


def event_of(number: int) -> dict[str, Any]:
    return {
        "EventType": "cart.add",
        "Timestamp": "2026-05-06T07:08:09.120Z",
        "Attributes": {"sku": f"A{number % 1000}", "page": "home"},
        "Metrics": {"qty": 2.0, "price": 19.5},
        "AppPackageName": "org.example.app",
        "AppTitle": "Shop",
        "AppVersionCode": "31",
        "SdkName": "web",
        "ClientSdkVersion": "5.1",
        "Session": {"Id": "s-8", "StartTimestamp": "2026-05-06T07:00:00.000Z"},
    }


def one_event(app: str, number: int) -> tuple[str, str, Any]:
    number %= 12_000
    endpoint = {"ChannelType": "GCM", "Address": f"token{number}", "User": {"UserId": f"user{number}"}}
    item = {"Endpoint": endpoint, "Events": {"e-1": event_of(number)}}
    return "POST", f"/v1/apps/{app}/events", {"BatchItem": {f"endpoint{number}": item}}


def hundred_events(app: str, number: int) -> tuple[str, str, Any]:
    events = {f"e-{at}": event_of(at) for at in range(EVENTS_EACH)}
    return "POST", f"/v1/apps/{app}/events", {"BatchItem": {f"endpoint{number}": {"Endpoint": {}, "Events": events}}}


def put_events() -> list[dict[str, Any]]:
    return [*rate("PutEvents, 1 event", 7000, 1.0, one_event), *many_events()]


def many_events() -> list[dict[str, Any]]:
    with server("--api-processes", "2") as (host, port, key, client):
        app = client.create_app(CreateApplicationRequest={"Name": "Bench"})["ApplicationResponse"]["Id"]
        address = f"{host}:{port}"
        measure(host, port, signed(key, address, [hundred_events(app, number) for number in range(WARM_UP)]))
        requests = signed(key, address, [hundred_events(app, number) for number in range(LARGE_REQUESTS)])
        measured = measure(host, port, requests)
        assert set(measured["statuses"]) == {202}, measured["statuses"]
        value = measured["rate"] * EVENTS_EACH
        return [
            {
                "name": "PutEvents, 100 events",
                "value": value,
                "unit": "events/s",
                "reference": "AWS's quota of requests, one event each",
                "reference_value": 7000,
                "ratio": value / 7000,
                "goal": 1.0,
            }
        ]
