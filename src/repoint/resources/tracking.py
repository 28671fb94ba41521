"""How an application's mail is tracked and unsubscribed from. The API has no words for it: the command line sets it."""

import re
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from psycopg.types.json import Jsonb

from repoint.db import Database

FIELDS_MAX = 50
URL_CHARACTERS = re.compile(r"[!#-&(-;=?-~]+\Z")  # ASCII that can be seen, without quotes and angle brackets
ATTRIBUTE_NAME = re.compile(r"[^\x00-\x1f$={}]{1,50}\Z")


class TrackingError(Exception):
    """Settings that cannot be kept; the text says why."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One value a recipient may choose for a field, and what they read."""

    value: str
    label: str


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One attribute on the preference page.

    A `checkbox` writes `on` or `off`; a `choice` one of `choices`; a `text` what the recipient writes (at most 100
    characters, as attributes have).
    """

    attribute: str
    label: str
    kind: Literal["checkbox", "choice", "text"] = "checkbox"
    scope: Literal["endpoint", "user"] = "endpoint"
    hint: str = ""
    on: str = "Subscribed"
    off: str = "Unsubscribed"
    choices: tuple[Choice, ...] = ()


class Tracking(msgspec.Struct, frozen=True, kw_only=True):
    """An application's settings; `domain` is the address of its links, such as https://click.example.com."""

    domain: str = ""
    opens: bool = True
    clicks: bool = True
    list_unsubscribe: Literal["campaigns", "always", "never"] = "campaigns"
    title: str = ""
    fields: tuple[Field, ...] = ()


DEFAULTS = Tracking()


async def load_tracking(db: Database, app_id: str) -> Tracking:
    """The application's settings, or the defaults; for `Database.cached`."""
    row = await db.fetch_one("SELECT settings FROM tracking WHERE app_id = %s", [app_id])
    return msgspec.convert(row[0], Tracking) if row else DEFAULTS


async def change_tracking(db: Database, app_id: str, given: dict[str, Any], now: datetime) -> Tracking:
    """Change what is given, keep the rest; returns the settings in force.

    Raises:
        TrackingError: for a value that cannot be kept, or an application that does not exist.
    """
    async with db.settings_change() as connection:
        found = await connection.execute(
            """SELECT coalesce(tracking.settings, '{}') FROM app LEFT JOIN tracking USING (app_id)
               WHERE app_id = %s FOR UPDATE OF app""",
            [app_id],
        )
        row = await found.fetchone()
        if row is None:
            raise TrackingError(f"there is no application {app_id}")
        changed = check({**row[0], **given})
        await connection.execute(
            """INSERT INTO tracking (app_id, settings, modified_at) VALUES (%s, %s, %s)
               ON CONFLICT (app_id) DO UPDATE SET settings = excluded.settings, modified_at = excluded.modified_at""",
            [app_id, Jsonb(msgspec.to_builtins(changed)), now],
        )
    return changed


def check(document: dict[str, Any]) -> Tracking:
    """The settings a document describes.

    Raises:
        TrackingError: naming the member and what is wrong with it.
    """
    try:
        settings = msgspec.convert(document, Tracking)
    except msgspec.ValidationError as error:
        raise TrackingError(str(error)) from None
    if settings.domain:
        settings = msgspec.structs.replace(settings, domain=base_url(settings.domain))
    names = [field.attribute for field in settings.fields]
    if len(names) > FIELDS_MAX:
        raise TrackingError(f"fields: at most {FIELDS_MAX}")
    if len(set(names)) < len(names):
        raise TrackingError("fields: an attribute can be shown once")
    for field in settings.fields:
        _check_field(field)
    return settings


def _check_field(field: Field) -> None:
    if not ATTRIBUTE_NAME.match(field.attribute) or not field.label.strip():
        raise TrackingError(f"fields: {field.attribute!r} needs an attribute name of 1 to 50 characters and a label")
    if (field.kind == "choice") != bool(field.choices):
        raise TrackingError(f"fields: {field.attribute}: choices belong to kind 'choice', which needs some")
    values = [field.on, field.off, *(choice.value for choice in field.choices)]
    if any(not 1 <= len(value) <= 100 for value in values):  # noqa: PLR2004 - an attribute's value, by the API
        raise TrackingError(f"fields: {field.attribute}: values have 1 to 100 characters")


def base_url(text: str) -> str:
    """`click.example.com` or `https://click.example.com/` as the beginning of links, without a slash at its end.

    Raises:
        TrackingError: for what is not a web address.
    """
    url = text if "://" in text else f"https://{text}"
    if not leads_somewhere(url):
        raise TrackingError(f"not a web address: {text}")
    return url.rstrip("/")


def leads_somewhere(url: str) -> bool:
    """Whether paths can be put behind this URL, in a letter or a header, so that a browser finds them."""
    try:
        parts = urlsplit(url)
        return bool(
            URL_CHARACTERS.match(url)
            and parts.scheme in ("http", "https")
            and parts.hostname
            and parts.port != 0
            and not (parts.query or parts.fragment or parts.username)
        )
    except ValueError:  # of a port that is no number, or a bracket that is not closed
        return False
