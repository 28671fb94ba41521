"""The 23 operations on templates."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from repoint.clock import iso8601
from repoint.resources import tags
from repoint.resources.call import Call, page_of
from repoint.resources.templates import store
from repoint.resources.templates.kinds import KINDS, check_content, check_name
from repoint.resources.templates.store import StoredTemplate, TemplateKey
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException, NotFoundException
from repoint.wire.paging import split_page

Handler = Callable[[Call, Any], Awaitable[dict[str, Any]]]
VERSION_BEYOND_ALL = 2**31 - 1


def _arn(call: Call, template_type: str, name: str) -> str:
    return call.arn(f"templates/{name}/{template_type}")


def _key(call: Call, template_type: str, name: str) -> TemplateKey:
    check_name(name)
    return call.region, template_type, name


def _missing() -> NotFoundException:
    return NotFoundException("Resource not found")


def _accepted(call: Call, message: str = "Accepted") -> dict[str, Any]:
    return {"Message": message, "RequestID": call.request_id}


def _creator(template_type: str) -> Handler:
    kind = KINDS[template_type]

    async def create_template(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        key = _key(call, template_type, request["TemplateName"])
        content = dict(request[kind.request_member])
        given_tags = content.pop("tags", {})
        tags.check_tags(given_tags)
        check_content(kind, content)
        arn = _arn(call, template_type, request["TemplateName"])
        async with call.db.settings_change() as connection:
            await store.insert_template(connection, key, content, call.now())
            if given_tags:
                await tags.replace_tags(connection, arn, given_tags)
        return {"Arn": arn, **_accepted(call, "Created")}

    return create_template


def _getter(template_type: str) -> Handler:
    async def get_template(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        key = _key(call, template_type, request["TemplateName"])
        stored = await call.db.cached(store.load_template, (*key, request.get("Version")))
        if stored is None:
            raise _missing()
        arn = _arn(call, template_type, stored.name)
        found = await tags.tags_of(call, [arn])
        return {
            **stored.document,
            "Arn": arn,
            "CreationDate": iso8601(stored.created_at),
            "LastModifiedDate": iso8601(stored.modified_at),
            "TemplateName": stored.name,
            "TemplateType": template_type,
            "Version": str(stored.version),
            "tags": found.get(arn, {}),
        }

    return get_template


def _updater(template_type: str) -> Handler:
    kind = KINDS[template_type]

    async def update_template(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        key = _key(call, template_type, request["TemplateName"])
        makes_new, wanted = request.get("CreateNewVersion", False), request.get("Version")
        if makes_new and wanted is not None:
            raise BadRequestException("version: cannot be given together with create-new-version=true")
        number = store.version_number(wanted)
        content = {name: value for name, value in request[kind.request_member].items() if name != "tags"}
        check_content(kind, content)
        async with call.db.settings_change() as connection:
            versions = await store.lock_template(connection, key)
            if versions is None:
                raise _missing()
            if number not in (None, 0, versions.latest):
                raise BadRequestException(f"version: only the latest version, {versions.latest}, can be updated")
            if not makes_new:
                await store.replace_version(connection, key, versions.latest, content, call.now())
            elif versions.kept >= store.VERSIONS_MAX:
                raise BadRequestException(f"A template has at most {store.VERSIONS_MAX} versions")
            else:
                await store.insert_version(connection, key, versions.highest + 1, content, call.now())
        return _accepted(call)

    return update_template


def _deleter(template_type: str) -> Handler:
    async def delete_template(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        key = _key(call, template_type, request["TemplateName"])
        number = store.version_number(request.get("Version"))
        async with call.db.settings_change() as connection:
            versions = await store.lock_template(connection, key)
            if versions is None:
                raise _missing()
            if number is None:
                await store.delete_template(connection, key, call.now())
            elif not await store.delete_version(connection, key, number or versions.latest, call.now()):
                raise _missing()
            if await store.lock_template(connection, key) is None:
                await tags.delete_tags(connection, _arn(call, template_type, request["TemplateName"]))
        return _accepted(call)

    return delete_template


async def list_templates(call: Call, request: shapes.ListTemplatesRequest) -> shapes.TemplatesResponse:
    """Templates of all kinds by name, with their active versions."""
    template_type = request.get("TemplateType")
    if template_type is not None and template_type not in KINDS:
        raise BadRequestException(f"template-type: must be one of {', '.join(KINDS)}")
    page = page_of(request.get("PageSize"), request.get("NextToken"), f"templates/{call.region}", member="next-token")
    after = tuple(map(str, page.after))[:2] if page.after else ("", "")
    found = await store.list_templates(
        call.db,
        call.region,
        prefix=request.get("Prefix", ""),
        template_type=template_type,
        after=cast("tuple[str, str]", (*after, "")[:2]),
        limit=page.size + 1,
    )
    shown, token = split_page(found, page, lambda template: [template.name, template.template_type])
    answer: dict[str, Any] = {"Item": [_listed(template) for template in shown]}
    return cast("shapes.TemplatesResponse", answer | ({"NextToken": token} if token else {}))


def _listed(stored: StoredTemplate) -> dict[str, Any]:
    """What a list says of a template; its ARN, tags and description are left to Get (Pinpoint's API reference)."""
    return {
        "CreationDate": iso8601(stored.created_at),
        "LastModifiedDate": iso8601(stored.modified_at),
        "TemplateName": stored.name,
        "TemplateType": stored.template_type,
        "Version": str(stored.version),
    }


def _type_in_path(request: Mapping[str, Any]) -> str:
    template_type = str(request["TemplateType"]).upper()
    if template_type not in KINDS:
        raise BadRequestException(f"template-type: must be one of {', '.join(KINDS)}")
    return template_type


async def list_template_versions(
    call: Call, request: shapes.ListTemplateVersionsRequest
) -> shapes.TemplateVersionsResponse:
    """A template's versions, newest first."""
    key = _key(call, _type_in_path(request), request["TemplateName"])
    page = page_of(request.get("PageSize"), request.get("NextToken"), f"templates/{'/'.join(key)}", member="next-token")
    first = page.after[0] if page.after else VERSION_BEYOND_ALL
    if not isinstance(first, int) or not 0 <= first <= VERSION_BEYOND_ALL:
        raise BadRequestException("next-token: was not given out by a previous page")
    found = await store.list_versions(call.db, key, before=first, limit=page.size + 1)
    if not found and page.after is None:
        raise _missing()
    shown, token = split_page(found, page, lambda template: [template.version])
    items = [
        {
            "CreationDate": iso8601(one.created_at),
            "LastModifiedDate": iso8601(one.modified_at),
            "TemplateName": one.name,
            "TemplateType": one.template_type,
            "Version": str(one.version),
            **{
                name: one.document[name]
                for name in ("DefaultSubstitutions", "TemplateDescription")
                if name in one.document
            },
        }
        for one in shown
    ]
    answer = {"Item": items, **_accepted(call, "OK")} | ({"NextToken": token} if token else {})
    return cast("shapes.TemplateVersionsResponse", answer)


async def update_template_active_version(
    call: Call, request: shapes.UpdateTemplateActiveVersionRequest
) -> shapes.MessageBody:
    """Choose the version that messages use from now on; `latest` is the highest number of this moment."""
    key = _key(call, _type_in_path(request), request["TemplateName"])
    number = store.version_number(request["TemplateActiveVersionRequest"].get("Version"))
    if number is None:
        raise BadRequestException("Version: is required")
    async with call.db.settings_change() as connection:
        versions = await store.lock_template(connection, key)
        if versions is None or not await store.activate(connection, key, number or versions.latest):
            raise _missing()
    return cast("shapes.MessageBody", _accepted(call))


create_email_template = _creator("EMAIL")
create_in_app_template = _creator("INAPP")
create_push_template = _creator("PUSH")
create_sms_template = _creator("SMS")
create_voice_template = _creator("VOICE")
get_email_template = _getter("EMAIL")
get_in_app_template = _getter("INAPP")
get_push_template = _getter("PUSH")
get_sms_template = _getter("SMS")
get_voice_template = _getter("VOICE")
update_email_template = _updater("EMAIL")
update_in_app_template = _updater("INAPP")
update_push_template = _updater("PUSH")
update_sms_template = _updater("SMS")
update_voice_template = _updater("VOICE")
delete_email_template = _deleter("EMAIL")
delete_in_app_template = _deleter("INAPP")
delete_push_template = _deleter("PUSH")
delete_sms_template = _deleter("SMS")
delete_voice_template = _deleter("VOICE")
