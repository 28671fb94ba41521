"""Applications (the console's projects) and their settings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from psycopg.types.json import Jsonb

from repoint.bindings.functions import HOOK_URL, LAMBDA
from repoint.clock import iso8601
from repoint.db import Database
from repoint.resources import tags
from repoint.resources.call import Call, new_id, page_of
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException, NotFoundException
from repoint.wire.paging import split_page

HOUR_MINUTE = re.compile(r"([01]\d|2[0-3]):[0-5]\d\Z")
# Accepted by UpdateApplicationSettings, and never shown again (AWS's API reference).
UNSHOWN_SETTINGS = ("CloudWatchMetricsEnabled", "EventTaggingEnabled")


@dataclass(frozen=True, slots=True)
class App:
    """A stored application."""

    app_id: str
    region: str
    name: str
    created_at: datetime
    settings: dict[str, Any]
    settings_modified_at: datetime


async def load_app(db: Database, app_id: str) -> App | None:
    """The application, or None; for `Database.cached`."""
    row = await db.fetch_one(
        "SELECT app_id, region, name, created_at, settings, settings_modified_at FROM app WHERE app_id = %s",
        [app_id],
    )
    return App(*row) if row else None


async def require_app(call: Call, app_id: str) -> App:
    """The application, if it is one of the caller's region.

    Raises:
        NotFoundException: with the text AWS's emulators and clients know.
    """
    app = await call.db.cached(load_app, app_id)
    if app is None or app.region != call.region:
        raise NotFoundException("Application not found")
    return app


async def create_app(call: Call, request: shapes.CreateAppRequest) -> shapes.ApplicationResponse:
    """Create an application. Names need not be unique."""
    wanted = request["CreateApplicationRequest"]
    if not wanted["Name"].strip():
        raise BadRequestException("Name: must not be blank")
    given_tags = wanted.get("tags", {})
    tags.check_tags(given_tags)
    app = App(new_id(), call.region, wanted["Name"], call.now(), {}, call.now())
    async with call.db.settings_change() as connection:
        await connection.execute(
            """INSERT INTO app (app_id, region, name, created_at, settings_modified_at)
               VALUES (%s, %s, %s, %s, %s)""",
            [app.app_id, app.region, app.name, app.created_at, app.settings_modified_at],
        )
        if given_tags:
            await tags.replace_tags(connection, _arn(call, app.app_id), given_tags)
    return _document(call, app, given_tags)


async def get_app(call: Call, request: shapes.GetAppRequest) -> shapes.ApplicationResponse:
    """One application."""
    app = await require_app(call, request["ApplicationId"])
    arn = _arn(call, app.app_id)
    return _document(call, app, (await tags.tags_of(call, [arn])).get(arn, {}))


async def get_apps(call: Call, request: shapes.GetAppsRequest) -> shapes.ApplicationsResponse:
    """The region's applications, by id."""
    page = page_of(request.get("PageSize"), request.get("Token"), f"apps/{call.region}")
    rows = await call.db.fetch_all(
        """SELECT app_id, region, name, created_at, settings, settings_modified_at FROM app
           WHERE region = %s AND app_id > %s ORDER BY app_id LIMIT %s""",
        [call.region, str(page.after[0]) if page.after else "", page.size + 1],
    )
    apps, token = split_page([App(*row) for row in rows], page, lambda app: [app.app_id])
    found = await tags.tags_of(call, [_arn(call, app.app_id) for app in apps])
    answer: shapes.ApplicationsResponse = {
        "Item": [_document(call, app, found.get(_arn(call, app.app_id), {})) for app in apps]
    }
    if token:
        answer["NextToken"] = token
    return answer


async def delete_app(call: Call, request: shapes.DeleteAppRequest) -> shapes.ApplicationResponse:
    """Delete an application and all that is its own. Endpoints, which may be millions, are purged behind the reply."""
    document = await get_app(call, {"ApplicationId": request["ApplicationId"]})
    async with call.db.settings_change() as connection:
        await connection.execute("DELETE FROM app WHERE app_id = %s", [request["ApplicationId"]])
        await connection.execute("INSERT INTO app_purge (app_id) VALUES (%s) ON CONFLICT DO NOTHING", [document["Id"]])
        await tags.delete_tags(connection, document["Arn"])
    return document


async def get_application_settings(
    call: Call, request: shapes.GetApplicationSettingsRequest
) -> shapes.ApplicationSettingsResource:
    """An application's defaults for campaigns and journeys."""
    return _settings_document(await require_app(call, request["ApplicationId"]))


async def update_application_settings(
    call: Call, request: shapes.UpdateApplicationSettingsRequest
) -> shapes.ApplicationSettingsResource:
    """Change settings member by member; what is left out keeps its value (unstated by AWS, the safer reading)."""
    app = await require_app(call, request["ApplicationId"])
    given = cast("dict[str, Any]", request["WriteApplicationSettingsRequest"])
    check_quiet_time("QuietTime", given.get("QuietTime", {}))
    check_hook("CampaignHook", given.get("CampaignHook", {}))
    async with call.db.settings_change() as connection:
        row = await (
            await connection.execute(
                """UPDATE app SET settings = settings || %s, settings_modified_at = %s WHERE app_id = %s
                   RETURNING app_id, region, name, created_at, settings, settings_modified_at""",
                [Jsonb(given), call.now(), app.app_id],
            )
        ).fetchone()
    if row is None:
        raise NotFoundException("Application not found")
    return _settings_document(App(*row))


def check_quiet_time(path: str, quiet_time: Mapping[str, str]) -> None:
    """Two wall clock times, or none.

    Raises:
        BadRequestException: naming the member, under `path`.
    """
    for edge in ("Start", "End"):
        if edge in quiet_time and not HOUR_MINUTE.match(quiet_time[edge]):
            raise BadRequestException(f"{path}.{edge}: must be HH:MM on a 24-hour clock, such as 09:00")
    if len(quiet_time) == 1:
        raise BadRequestException(f"{path}: Start and End belong together")


def check_hook(path: str, hook: Mapping[str, str]) -> None:
    """A campaign hook: the name or ARN of a function, or a URL; whether it is there is seen when a campaign has it.

    Raises:
        BadRequestException: naming the member, under `path`.
    """
    function, url = hook.get("LambdaFunctionName"), hook.get("WebUrl")
    if hook.get("Mode") == "DELIVERY":
        raise BadRequestException(
            f"{path}.Mode: DELIVERY is not supported any more: use a campaign's CustomDeliveryConfiguration"
        )
    if function and url:
        raise BadRequestException(f"{path}: can have LambdaFunctionName or WebUrl, not both")
    if function and not LAMBDA.match(function):
        raise BadRequestException(f"{path}.LambdaFunctionName: must be the name or ARN of a Lambda function")
    if url and not HOOK_URL.match(url):
        raise BadRequestException(f"{path}.WebUrl: must be an https:// URL")
    if hook.get("Mode") and not function and not url:
        raise BadRequestException(f"{path}: needs LambdaFunctionName or WebUrl")


def _arn(call: Call, app_id: str) -> str:
    return call.arn(f"apps/{app_id}")


def _document(call: Call, app: App, app_tags: dict[str, str]) -> shapes.ApplicationResponse:
    return {
        "Arn": _arn(call, app.app_id),
        "CreationDate": iso8601(app.created_at),
        "Id": app.app_id,
        "Name": app.name,
        "tags": app_tags,
    }


def _settings_document(app: App) -> shapes.ApplicationSettingsResource:
    shown = {name: value for name, value in app.settings.items() if name not in UNSHOWN_SETTINGS}
    document = {
        "ApplicationId": app.app_id,
        "CampaignHook": {},
        "LastModifiedDate": iso8601(app.settings_modified_at),
        "Limits": {},
        "QuietTime": {},
        **shown,
    }
    return cast("shapes.ApplicationSettingsResource", document)
