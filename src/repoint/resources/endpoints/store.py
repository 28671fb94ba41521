"""The endpoint table's reader. Its one writer is `merge`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import msgspec

from repoint.clock import iso8601
from repoint.db import Connection, Database
from repoint.wire import shapes

EndpointKey = tuple[str, str]
COORDINATES = ("Latitude", "Longitude")


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """A stored endpoint: everything needed to target it and to render for it.

    A struct, because a large send makes one for each recipient: a frozen dataclass takes ten times as long.
    """

    app_id: str
    endpoint_id: str
    given_id: str
    channel_type: str | None
    address: str | None
    is_active: bool
    is_opted_out: bool
    cohort_id: int
    created_at: datetime
    effective_at: datetime
    request_id: str
    user_id: str | None
    attributes: dict[str, list[str]]
    metrics: dict[str, float]
    demographic: dict[str, str]
    location: dict[str, Any]
    user_attributes: dict[str, list[str]]


def fold(endpoint_id: str) -> str:
    """Ids are case-insensitive: this is the spelling they are found by."""
    return endpoint_id.lower()


async def get_many(connection: Connection, keys: Sequence[EndpointKey]) -> list[Endpoint | None]:
    """Endpoints by (app, folded id), in the order asked for; for `Database.gather`."""
    cursor = await connection.execute(
        """SELECT app_id, endpoint_id, given_id, channel_type, address, is_active, is_opted_out, cohort_id,
                  created_at, effective_at, request_id, user_id, attributes, metrics, demographic, location,
                  user_attributes
           FROM endpoint JOIN unnest(%s::text[], %s::text[]) AS wanted (app_id, endpoint_id)
             USING (app_id, endpoint_id)""",
        [[app_id for app_id, _ in keys], [endpoint_id for _, endpoint_id in keys]],
    )
    found = {(row[0], row[1]): Endpoint(*row) for row in await cursor.fetchall()}
    return [found.get(key) for key in keys]


async def get(db: Database, app_id: str, endpoint_id: str) -> Endpoint | None:
    """One endpoint, read together with whoever else reads at this moment."""
    return await db.gather(get_many, (app_id, fold(endpoint_id)))


async def lock(connection: Connection, key: EndpointKey) -> None:
    """Keep others from changing an endpoint until the transaction ends."""
    await connection.execute("SELECT 1 FROM endpoint WHERE app_id = %s AND endpoint_id = %s FOR UPDATE", list(key))


async def of_user(db: Database, app_id: str, user_id: str) -> list[Endpoint]:
    """A user's endpoints, oldest first."""
    rows = await db.fetch_all(
        """SELECT app_id, endpoint_id, given_id, channel_type, address, is_active, is_opted_out, cohort_id,
                  created_at, effective_at, request_id, user_id, attributes, metrics, demographic, location,
                  user_attributes
           FROM endpoint WHERE app_id = %s AND user_id = %s ORDER BY created_at, endpoint_id""",
        [app_id, user_id],
    )
    return [Endpoint(*row) for row in rows]


async def of_users(connection: Connection, keys: Sequence[EndpointKey]) -> list[list[Endpoint]]:
    """The endpoints of users by (app, user id), each user's oldest first; for `Database.gather`."""
    each_once = list(dict.fromkeys(keys))
    cursor = await connection.execute(
        """SELECT app_id, endpoint_id, given_id, channel_type, address, is_active, is_opted_out, cohort_id,
                  created_at, effective_at, request_id, user_id, attributes, metrics, demographic, location,
                  user_attributes
           FROM endpoint JOIN unnest(%s::text[], %s::text[]) AS wanted (app_id, user_id) USING (app_id, user_id)
           ORDER BY created_at, endpoint_id""",
        [[app_id for app_id, _ in each_once], [user_id for _, user_id in each_once]],
    )
    found: dict[tuple[str, str | None], list[Endpoint]] = {}
    for row in await cursor.fetchall():
        endpoint = Endpoint(*row)
        found.setdefault((endpoint.app_id, endpoint.user_id), []).append(endpoint)
    return [found.get(key, []) for key in keys]


async def delete_many(connection: Connection, keys: Sequence[EndpointKey]) -> list[Endpoint | None]:
    """Delete endpoints; the first who asks for one gets what was there. For `Database.gather`."""
    cursor = await connection.execute(
        """DELETE FROM endpoint USING unnest(%s::text[], %s::text[]) AS wanted (app_id, endpoint_id)
           WHERE endpoint.app_id = wanted.app_id AND endpoint.endpoint_id = wanted.endpoint_id
           RETURNING endpoint.app_id, endpoint.endpoint_id, given_id, channel_type, address, is_active,
                     is_opted_out, cohort_id, created_at, effective_at, request_id, user_id, attributes, metrics,
                     demographic, location, user_attributes""",
        [[app_id for app_id, _ in keys], [endpoint_id for _, endpoint_id in keys]],
    )
    found = {(row[0], row[1]): Endpoint(*row) for row in await cursor.fetchall()}
    return [found.pop(key, None) for key in keys]


async def delete_of_user(db: Database, app_id: str, user_id: str) -> list[Endpoint]:
    """Delete all endpoints of a user; returns them."""
    rows = await db.fetch_all(
        """DELETE FROM endpoint WHERE app_id = %s AND user_id = %s
           RETURNING app_id, endpoint_id, given_id, channel_type, address, is_active, is_opted_out, cohort_id,
                     created_at, effective_at, request_id, user_id, attributes, metrics, demographic, location,
                     user_attributes""",
        [app_id, user_id],
    )
    return sorted((Endpoint(*row) for row in rows), key=lambda endpoint: endpoint.created_at)


def document(endpoint: Endpoint) -> shapes.EndpointResponse:
    """The endpoint as GetEndpoint shows it; coordinates are rounded to one decimal, as AWS does."""
    location = {name: round(value, 1) if name in COORDINATES else value for name, value in endpoint.location.items()}
    shown: dict[str, Any] = {
        "ApplicationId": endpoint.app_id,
        "Attributes": endpoint.attributes,
        "CohortId": str(endpoint.cohort_id),
        "CreationDate": iso8601(endpoint.created_at),
        "Demographic": endpoint.demographic,
        "EffectiveDate": iso8601(endpoint.effective_at),
        "EndpointStatus": "ACTIVE" if endpoint.is_active else "INACTIVE",
        "Id": endpoint.given_id,
        "Location": location,
        "Metrics": endpoint.metrics,
        "OptOut": "ALL" if endpoint.is_opted_out else "NONE",
        "RequestId": endpoint.request_id,
        "User": {"UserAttributes": endpoint.user_attributes},
    }
    if endpoint.channel_type is not None:
        shown["ChannelType"] = endpoint.channel_type
    if endpoint.address is not None:
        shown["Address"] = endpoint.address
    if endpoint.user_id is not None:
        shown["User"]["UserId"] = endpoint.user_id
    return cast("shapes.EndpointResponse", shown)
