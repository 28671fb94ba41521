"""PutEvents."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from repoint.resources.apps import require_app
from repoint.resources.call import Call
from repoint.resources.endpoints.checks import checked_update
from repoint.resources.endpoints.store import fold
from repoint.resources.events.accept import Item, accept
from repoint.resources.events.checks import checked_event, event_names
from repoint.resources.events.names import register_names
from repoint.resources.events.store import Event
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException
from repoint.wire.validate import Refused

EVENTS_MAX = 100
ENDPOINTS_MAX = 100
ACCEPTED = {"Message": "Accepted", "StatusCode": 202}
Answer = dict[str, Any]


async def put_events(call: Call, request: shapes.PutEventsRequest) -> shapes.EventsResponse:
    """Record events, and create or update their endpoints; each endpoint and event is answered for itself."""
    app = await require_app(call, request["ApplicationId"])
    batch = cast("Mapping[str, Any]", request["EventsRequest"]["BatchItem"])
    _check_counts(batch)
    answers: dict[str, Answer] = {}
    items: list[tuple[Item, Answer]] = []
    for endpoint_id, given in batch.items():
        answers[endpoint_id] = answer = {"EndpointItemResponse": ACCEPTED, "EventsItemResponse": {}}
        item = await _checked_item(call, app.app_id, endpoint_id, given, answer)
        if item is not None:
            items.append((item, answer))
    if items:
        await call.db.gather(accept, [item for item, _ in items])
    for item, answer in items:
        if isinstance(item.problem, BadRequestException):
            _refuse_endpoint(answer, item.problem.message)
        elif item.problem is not None:
            raise item.problem
    return cast("shapes.EventsResponse", {"Results": answers})


def _check_counts(batch: Mapping[str, Any]) -> None:
    """Limits of the whole request (AWS's quotas page)."""
    if len(batch) > ENDPOINTS_MAX:
        raise BadRequestException(f"BatchItem: must be at most {ENDPOINTS_MAX} endpoints")
    count = sum(len(given["Events"]) for given in batch.values() if not isinstance(given, Refused))
    if count > EVENTS_MAX:
        raise BadRequestException(f"A request must have at most {EVENTS_MAX} events; this one has {count}")


async def _checked_item(call: Call, app_id: str, endpoint_id: str, given: Any, answer: Answer) -> Item | None:
    """What is to be written of one endpoint's part; the answer has what is refused already."""
    if isinstance(given, Refused):
        answer["EventsItemResponse"] = dict.fromkeys(_event_ids(given.given), ACCEPTED)
        _refuse_endpoint(answer, given.message)
        return None
    events = []
    for event_id, event in given["Events"].items():
        try:
            events.append(await _checked_event(call, app_id, fold(endpoint_id), event))
        except BadRequestException as error:
            answer["EventsItemResponse"][event_id] = {"Message": error.message, "StatusCode": 400}
        else:
            answer["EventsItemResponse"][event_id] = ACCEPTED
    try:
        if isinstance(given["Endpoint"], Refused):
            raise BadRequestException(f"Endpoint.{given['Endpoint'].message}")
        update = await checked_update(call, app_id, endpoint_id, given["Endpoint"])
    except BadRequestException as error:
        _refuse_endpoint(answer, error.message)
        return None
    return Item(update, events)


def _event_ids(given: Any) -> Iterable[str]:
    """The events' names in a part that breaks the model's rules: it may have none, or some no answer could hold."""
    events = given.get("Events") if isinstance(given, dict) else None
    names = events if isinstance(events, dict) else ()
    return (name for name in names if name.encode(errors="ignore").decode() == name)


async def _checked_event(call: Call, app_id: str, endpoint_id: str, given: Any) -> Event:
    if isinstance(given, Refused):
        raise BadRequestException(given.message)
    event = checked_event(app_id, endpoint_id, given, call.now())
    await register_names(call, app_id, event_names(given))
    return event


def _refuse_endpoint(answer: Answer, message: str) -> None:
    """An endpoint that is refused has nobody its events could belong to."""
    answer["EndpointItemResponse"] = {"Message": message, "StatusCode": 400}
    refused = {"Message": f"The endpoint was refused: {message}", "StatusCode": 400}
    answer["EventsItemResponse"] = {
        event_id: refused if given is ACCEPTED else given for event_id, given in answer["EventsItemResponse"].items()
    }
