"""Unsubscribing (RFC 8058) and the preference page: what an endpoint's holder may see and change of it.

The token in the address is the proof, so there is nothing a foreign site could make a browser send along.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import falcon
import falcon.asgi

from repoint.delivery.subscribers import Asking, Subscribers
from repoint.delivery.tokens import Subscriber
from repoint.resources.call import Server
from repoint.resources.endpoints.store import Endpoint
from repoint.resources.tracking import Field, Tracking, load_tracking
from repoint.tracking import pages
from repoint.tracking.hits import Door
from repoint.web import read_body
from repoint.wire.exceptions import BadRequestException

BODY_BYTES_MAX = 64 * 1024
ONE_CLICK = "One-Click"
ONE_CLICK_MEANS = "one-click"
Form = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Desk:
    """What both pages need: a signed door, and the server behind it."""

    door: Door
    server: Server

    @property
    def subscribers(self) -> Subscribers:
        """The endpoints behind it."""
        return Subscribers(self.server, self.door.receipts)

    def subscriber(self, token: str) -> Subscriber:
        """Whose token it is.

        Raises:
            HTTPNotFound: when we have not made it.
        """
        found = self.door.tokens.read_subscriber_token(token)
        if found is None:
            raise falcon.HTTPNotFound
        return found

    async def settings(self, subscriber: Subscriber) -> Tracking:
        """The application's preference page."""
        return await self.server.db.cached(load_tracking, subscriber.app_id)


class Unsubscribe:
    """`/t/u/TOKEN`: where `List-Unsubscribe` leads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def on_get(self, _: falcon.asgi.Request, response: falcon.asgi.Response, token: str) -> None:
        """Ask. A GET changes nothing, since scanners follow every link in a mail."""
        endpoint = await self._desk.subscribers.endpoint(self._desk.subscriber(token))
        if endpoint is None:
            show(response, pages.gone_page())
        elif endpoint.is_opted_out:
            show(response, pages.unsubscribed_page(f"../p/{token}"))
        else:
            show(response, pages.confirm_page(endpoint.address or "", f"../p/{token}"))

    async def on_head(self, request: falcon.asgi.Request, response: falcon.asgi.Response, token: str) -> None:
        """For scanners that look whether a link is a good one."""
        await self.on_get(request, response, token)

    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response, token: str) -> None:
        """Opt the endpoint out, for the button and for a mail program's one click alike."""
        subscriber = self._desk.subscriber(token)
        if not await _is_meant(request):
            raise falcon.HTTPBadRequest(description="Send List-Unsubscribe=One-Click (RFC 8058)")
        subscribers = self._desk.subscribers
        endpoint = await subscribers.opt_out(subscriber, self._desk.door.visitor(request)._asdict(), ONE_CLICK_MEANS)
        show(response, pages.unsubscribed_page(f"../p/{token}" if endpoint else None))


class Preferences:
    """`/t/p/TOKEN`: the preference page."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def on_get(self, _: falcon.asgi.Request, response: falcon.asgi.Response, token: str) -> None:
        """The form as things stand."""
        subscriber = self._desk.subscriber(token)
        endpoint = await self._desk.subscribers.endpoint(subscriber)
        if endpoint is None:
            show(response, pages.gone_page())
        else:
            show(response, form_page(await self._desk.settings(subscriber), endpoint))

    async def on_head(self, request: falcon.asgi.Request, response: falcon.asgi.Response, token: str) -> None:
        """For scanners that look whether a link is a good one."""
        await self.on_get(request, response, token)

    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response, token: str) -> None:
        """Save, and show what is in force now."""
        subscriber = self._desk.subscriber(token)
        form = read_form(await read_body(request, BODY_BYTES_MAX))
        if form.get("save") != ["yes"]:  # it stands last: a form that was cut off, or is none, is not the wish for all
            raise falcon.HTTPBadRequest(description="This is not the whole form")
        endpoint, settings = await self._desk.subscribers.endpoint(subscriber), await self._desk.settings(subscriber)
        if endpoint is None:
            show(response, pages.gone_page())
            return
        try:
            given = values_of(settings, form)
            who = self._desk.door.visitor(request)._asdict()
            await self._desk.subscribers.change(endpoint, given, Asking(subscriber.message_id, who, ONE_CLICK_MEANS))
        except BadRequestException as error:
            response.status = falcon.HTTP_400
            show(response, form_page(settings, endpoint, pages.fault_note(error.message)))
            return
        after = await self._desk.subscribers.endpoint(subscriber) or endpoint
        show(response, form_page(settings, after, pages.saved_note()))


def form_page(settings: Tracking, endpoint: Endpoint, note: str = "") -> bytes:
    """The preference page of one endpoint."""
    values = {
        field.attribute: (endpoint.user_attributes if field.scope == "user" else endpoint.attributes).get(
            field.attribute, []
        )
        for field in settings.fields
    }
    return pages.preferences_page(
        settings, endpoint.address or "", values, is_opted_out=endpoint.is_opted_out, note=note
    )


def values_of(settings: Tracking, form: Form) -> dict[str, Any]:
    """What a form says, as UpdateEndpoint would be told it; fields that were not shown are left alone.

    Raises:
        BadRequestException: for a value that is not among a field's choices.
    """
    shown = set(form.get("shown", ()))
    attributes: dict[str, list[str]] = {}
    user_attributes: dict[str, list[str]] = {}
    for field in settings.fields:
        if field.attribute in shown:
            values = _value(field, form.get(f"value={field.attribute}", [""])[-1].strip())
            if values is not None:
                (user_attributes if field.scope == "user" else attributes)[field.attribute] = values
    given: dict[str, Any] = {"OptOut": "ALL" if form.get("opt_out") == ["ALL"] else "NONE"}
    if attributes:
        given["Attributes"] = attributes
    if user_attributes:
        given["User"] = {"UserAttributes": user_attributes}
    return given


def _value(field: Field, text: str) -> list[str] | None:
    if field.kind == "checkbox":
        return [field.on if text else field.off]
    if "\x00" in text:
        raise BadRequestException(f"{field.label}: this cannot be kept")
    if field.kind == "choice":
        if not text:
            return None
        if text not in {choice.value for choice in field.choices}:
            raise BadRequestException(f"{field.label}: not one of the choices")
    return [text] if text else []


def read_form(body: bytes) -> Form:
    """The fields of a form in application/x-www-form-urlencoded."""
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=200)
    except (UnicodeDecodeError, ValueError):
        raise falcon.HTTPBadRequest(description="This is not a form") from None


async def _is_meant(request: falcon.asgi.Request) -> bool:
    """The button's value, or RFC 8058's pair, which may come in either of the two forms browsers have."""
    body = await read_body(request, BODY_BYTES_MAX)
    if (request.content_type or "").lower().startswith("multipart/form-data"):
        return b'name="List-Unsubscribe"' in body and ONE_CLICK.encode() in body
    form = read_form(body)
    one_click = [value.strip() for value in form.get("List-Unsubscribe", ())]  # a line's end may come after it
    return one_click == [ONE_CLICK] or form.get("confirm") == ["yes"]


def show(response: falcon.asgi.Response, content: bytes) -> None:
    """Answer with a page."""
    response.content_type = "text/html; charset=utf-8"
    response.set_headers(pages.HEADERS)
    response.data = content
