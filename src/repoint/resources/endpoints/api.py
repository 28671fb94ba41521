"""The seven operations on endpoints, users and attributes."""

from collections.abc import Mapping
from typing import Any, cast

from repoint.db import Connection
from repoint.resources.apps import require_app
from repoint.resources.call import Call
from repoint.resources.endpoints import store
from repoint.resources.endpoints.checks import checked_update
from repoint.resources.endpoints.merge import merge_endpoints, merge_in_transaction
from repoint.resources.endpoints.names import remove_names
from repoint.resources.endpoints.order import EndpointUpdate
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException, NotFoundException

ATTRIBUTE_TYPES = {
    "endpoint-custom-attributes": "attributes",
    "endpoint-metric-attributes": "metrics",
    "endpoint-user-attributes": "user_attributes",
}


def accepted(call: Call) -> shapes.MessageBody:
    """What AWS answers to a write it has taken."""
    return {"Message": "Accepted", "RequestID": call.request_id}


async def update_endpoint(call: Call, request: shapes.UpdateEndpointRequest) -> shapes.MessageBody:
    """Create an endpoint, or merge new values into it; the next read sees them."""
    app = await require_app(call, request["ApplicationId"])
    given = cast("Mapping[str, Any]", request["EndpointRequest"])
    update = await checked_update(call, app.app_id, request["EndpointId"], given)
    await call.db.gather(merge_endpoints, update)
    return accepted(call)


async def update_endpoints_batch(call: Call, request: shapes.UpdateEndpointsBatchRequest) -> shapes.MessageBody:
    """Up to 100 endpoints at once: all of them, or (the answer has no place for details) none."""
    app = await require_app(call, request["ApplicationId"])
    updates = []
    for index, item in enumerate(request["EndpointBatchRequest"]["Item"]):
        given = cast("Mapping[str, Any]", item)
        try:
            if "Id" not in given:
                raise BadRequestException("Id: is required")
            updates.append(await checked_update(call, app.app_id, given["Id"], given))
        except BadRequestException as error:
            raise BadRequestException(f"Item[{index}].{error.message}") from None
    await call.db.atomically(lambda connection: _merge_all(connection, updates))
    return accepted(call)


async def _merge_all(connection: Connection, updates: list[EndpointUpdate]) -> None:
    for index, result in enumerate(await merge_in_transaction(connection, updates)):
        if result is not None:
            raise BadRequestException(f"Item[{index}]: {result}")


async def get_endpoint(call: Call, request: shapes.GetEndpointRequest) -> shapes.EndpointResponse:
    """One endpoint."""
    app = await require_app(call, request["ApplicationId"])
    endpoint = await store.get(call.db, app.app_id, request["EndpointId"])
    if endpoint is None:
        raise NotFoundException("Resource not found")
    return store.document(endpoint)


async def delete_endpoint(call: Call, request: shapes.DeleteEndpointRequest) -> shapes.EndpointResponse:
    """Delete one endpoint; answers what it was."""
    app = await require_app(call, request["ApplicationId"])
    endpoint = await call.db.gather(store.delete_many, (app.app_id, store.fold(request["EndpointId"])))
    if endpoint is None:
        raise NotFoundException("Resource not found")
    return store.document(endpoint)


async def get_user_endpoints(call: Call, request: shapes.GetUserEndpointsRequest) -> shapes.EndpointsResponse:
    """All endpoints of a user, oldest first."""
    app = await require_app(call, request["ApplicationId"])
    return _documents(await store.of_user(call.db, app.app_id, request["UserId"]))


async def delete_user_endpoints(call: Call, request: shapes.DeleteUserEndpointsRequest) -> shapes.EndpointsResponse:
    """Delete all endpoints of a user; answers what they were."""
    app = await require_app(call, request["ApplicationId"])
    return _documents(await store.delete_of_user(call.db, app.app_id, request["UserId"]))


def _documents(endpoints: list[store.Endpoint]) -> shapes.EndpointsResponse:
    if not endpoints:
        raise NotFoundException("Resource not found")
    return {"Item": [store.document(endpoint) for endpoint in endpoints]}


async def remove_attributes(call: Call, request: shapes.RemoveAttributesRequest) -> shapes.AttributesResource:
    """Remove attribute names, exact or with `*`, from all endpoints of an application."""
    app = await require_app(call, request["ApplicationId"])
    kind = ATTRIBUTE_TYPES.get(request["AttributeType"])
    if kind is None:
        raise BadRequestException(f"attribute-type: must be one of {', '.join(ATTRIBUTE_TYPES)}")
    patterns = request["UpdateAttributesRequest"].get("Blacklist", [])
    if not patterns:
        raise BadRequestException("Blacklist: is required")
    names = await remove_names(call, app.app_id, kind, patterns)
    return {"ApplicationId": app.app_id, "AttributeType": request["AttributeType"], "Attributes": names}
