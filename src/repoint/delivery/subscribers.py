"""Endpoints as their holders see and change them, by what a mail of theirs carries: its links, its reply addresses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from repoint.db import Connection
from repoint.delivery.receipts import Receipts
from repoint.delivery.tokens import Subscriber
from repoint.resources.apps import load_app
from repoint.resources.call import Call, Server
from repoint.resources.endpoints import store as endpoints
from repoint.resources.endpoints.checks import checked_update
from repoint.resources.endpoints.merge import merge_in_transaction
from repoint.resources.endpoints.store import Endpoint
from repoint.resources.events import store as events

UNSUBSCRIBE_TAG = "unsubscribeLinkTag"


class Asking(NamedTuple):
    """By which mail somebody asks for a change, what is known of them, and how they do it."""

    message_id: str
    who: Mapping[str, str]
    means: str


@dataclass(frozen=True, slots=True)
class Subscribers:
    """What finds and changes them."""

    server: Server
    receipts: Receipts

    async def endpoint(self, subscriber: Subscriber) -> Endpoint | None:
        """The endpoint as it is now, if it is still there."""
        await self.server.db.settle()
        if await self.server.db.cached(load_app, subscriber.app_id) is None:
            return None
        endpoint_id = subscriber.endpoint_id
        if not endpoint_id:
            mail = await self.receipts.find_one(subscriber.message_id)
            endpoint_id = mail.row.endpoint_id if mail else ""
        return await endpoints.get(self.server.db, subscriber.app_id, endpoint_id)

    async def by_mail(self, message_id: str) -> Subscriber | None:
        """Whom a mail was for, while it is in the ledger; a bare address is nobody."""
        mail = await self.receipts.find_one(message_id)
        if mail is None or not mail.row.personal.get("IsEndpoint"):
            return None
        return Subscriber(mail.row.app_id, mail.row.endpoint_id, message_id)

    async def opt_out(self, subscriber: Subscriber, who: Mapping[str, str], means: str) -> Endpoint | None:
        """Stop all messages to the endpoint, and return it as it was, if it is still there.

        `means` is how it was asked for, `who` what is known of who asked.
        """
        endpoint = await self.endpoint(subscriber)
        if endpoint is not None and not endpoint.is_opted_out:
            await self.change(endpoint, {"OptOut": "ALL"}, Asking(subscriber.message_id, who, means))
        return endpoint

    async def change(self, endpoint: Endpoint, given: dict[str, Any], asking: Asking) -> None:
        """Merge new values into the endpoint, by the rules of UpdateEndpoint; opting out leaves its event.

        Raises:
            BadRequestException: for a value an endpoint cannot have.
        """
        app = await self.server.db.cached(load_app, endpoint.app_id)
        if app is None:
            return
        call = Call(self.server, app.region, "preferences")
        status = "ACTIVE" if endpoint.is_active else "INACTIVE"
        update = await checked_update(call, app.app_id, endpoint.given_id, {**given, "EndpointStatus": status})
        mail = await self.receipts.find_one(asking.message_id)

        async def write(connection: Connection) -> None:
            key = (endpoint.app_id, endpoint.endpoint_id)
            await endpoints.lock(connection, key)
            (before,) = await endpoints.get_many(connection, [key])
            if before is None:
                return
            for problem in await merge_in_transaction(connection, [update]):
                if problem is not None:
                    raise problem
            if mail is not None and update.is_opted_out and not before.is_opted_out:
                # A click on a link that has no target, as opting out by a mail's own means is shown.
                click = {**asking.who, "link": "List-Unsubscribe", "link_tags": {UNSUBSCRIBE_TAG: [asking.means]}}
                now = self.server.clock()
                event = mail.event("_email.unsubscribe", {"click": click}, "List-Unsubscribe", now)
                await events.append(connection, [event])

        await self.server.db.atomically(write)
