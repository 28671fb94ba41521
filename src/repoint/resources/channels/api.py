"""The 31 operations on channels: ten kinds, to be read, put and deleted, and all of them at a glance."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

from repoint.clock import iso8601
from repoint.resources.apps import require_app
from repoint.resources.call import Call
from repoint.resources.channels.kinds import KINDS, Kind, check, specifics
from repoint.resources.channels.store import (
    Channel,
    delete_channel,
    load_channels,
    lock_channel,
    open_credentials,
    put_channel,
    seal_credentials,
)
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException, NotFoundException

Handler = Callable[[Call, Any], Awaitable[dict[str, Any]]]


def _getter(channel_type: str) -> Handler:
    async def get_channel(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        app = await require_app(call, request["ApplicationId"])
        channel = (await call.db.cached(load_channels, app.app_id)).get(channel_type)
        if channel is None:
            raise NotFoundException("Resource not found")
        return _document(call, app.app_id, KINDS[channel_type], channel)

    return get_channel


def _updater(channel_type: str) -> Handler:
    kind = KINDS[channel_type]

    async def update_channel(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        app = await require_app(call, request["ApplicationId"])
        async with call.db.settings_change() as connection:
            stored = await lock_channel(connection, app.app_id, channel_type)
            channel = _merged(call, app.app_id, kind, stored, request[kind.request_member])
            await put_channel(connection, app.app_id, channel)
        return _document(call, app.app_id, kind, channel)

    return update_channel


def _deleter(channel_type: str) -> Handler:
    async def remove_channel(call: Call, request: dict[str, Any]) -> dict[str, Any]:
        app = await require_app(call, request["ApplicationId"])
        async with call.db.settings_change() as connection:
            channel = await lock_channel(connection, app.app_id, channel_type)
            if channel is None:
                raise NotFoundException("Resource not found")
            await delete_channel(connection, app.app_id, channel_type)
        return _document(call, app.app_id, KINDS[channel_type], replace(channel, is_enabled=False))

    return remove_channel


def _merged(call: Call, app_id: str, kind: Kind, stored: Channel | None, given: dict[str, Any]) -> Channel:
    """What is stored, with the request's members over it: a PUT that only enables keeps the credentials."""
    before = stored.settings if stored else {}
    is_enabled = given.get("Enabled", stored.is_enabled if stored else True)
    values = {name: value for name, value in given.items() if name != "Enabled"}
    merged = {**before, **open_credentials(call.server.seal, app_id, stored), **values}
    kept = {name: value for name, value in merged.items() if value != ""}  # an empty text forgets the value
    try:
        check(kind, values, kept, is_enabled=is_enabled)
    except BadRequestException as error:
        raise BadRequestException(f"{kind.request_member}.{error.message}") from None
    secrets = {name: value for name, value in kept.items() if name in kind.secrets}
    now = call.now()
    return Channel(
        channel_type=kind.channel_type,
        is_enabled=is_enabled,
        settings={name: value for name, value in kept.items() if name not in kind.secrets},
        credentials=seal_credentials(call.server.seal, app_id, kind.channel_type, secrets),
        version=stored.version + 1 if stored else 1,
        created_at=stored.created_at if stored else now,
        modified_at=now,
        modified_by=call.access_key_name,
    )


def _common(app_id: str, channel: Channel) -> dict[str, Any]:
    return {
        "ApplicationId": app_id,
        "CreationDate": iso8601(channel.created_at),
        "Enabled": channel.is_enabled,
        "Id": channel.channel_type.lower(),
        "IsArchived": False,
        "LastModifiedBy": channel.modified_by,
        "LastModifiedDate": iso8601(channel.modified_at),
        "Platform": channel.channel_type,
        "Version": channel.version,
    }


def _document(call: Call, app_id: str, kind: Kind, channel: Channel) -> dict[str, Any]:
    secrets = open_credentials(call.server.seal, app_id, channel)
    return _common(app_id, channel) | specifics(kind, channel.settings, secrets)


async def get_channels(call: Call, request: shapes.GetChannelsRequest) -> shapes.ChannelsResponse:
    """All configured channels, enabled or not; in-app messaging needs no configuration and is always there."""
    app = await require_app(call, request["ApplicationId"])
    found = await call.db.cached(load_channels, app.app_id)
    channels = {channel_type: _common(app.app_id, channel) for channel_type, channel in sorted(found.items())}
    for channel_type, document in channels.items():
        if KINDS[channel_type].secrets:
            document["HasCredential"] = found[channel_type].credentials is not None
    channels["IN_APP"] = {"Enabled": True, "IsArchived": False, "Version": 0}
    return cast("shapes.ChannelsResponse", {"Channels": channels})


get_adm_channel = _getter("ADM")
get_apns_channel = _getter("APNS")
get_apns_sandbox_channel = _getter("APNS_SANDBOX")
get_apns_voip_channel = _getter("APNS_VOIP")
get_apns_voip_sandbox_channel = _getter("APNS_VOIP_SANDBOX")
get_baidu_channel = _getter("BAIDU")
get_email_channel = _getter("EMAIL")
get_gcm_channel = _getter("GCM")
get_sms_channel = _getter("SMS")
get_voice_channel = _getter("VOICE")
update_adm_channel = _updater("ADM")
update_apns_channel = _updater("APNS")
update_apns_sandbox_channel = _updater("APNS_SANDBOX")
update_apns_voip_channel = _updater("APNS_VOIP")
update_apns_voip_sandbox_channel = _updater("APNS_VOIP_SANDBOX")
update_baidu_channel = _updater("BAIDU")
update_email_channel = _updater("EMAIL")
update_gcm_channel = _updater("GCM")
update_sms_channel = _updater("SMS")
update_voice_channel = _updater("VOICE")
delete_adm_channel = _deleter("ADM")
delete_apns_channel = _deleter("APNS")
delete_apns_sandbox_channel = _deleter("APNS_SANDBOX")
delete_apns_voip_channel = _deleter("APNS_VOIP")
delete_apns_voip_sandbox_channel = _deleter("APNS_VOIP_SANDBOX")
delete_baidu_channel = _deleter("BAIDU")
delete_email_channel = _deleter("EMAIL")
delete_gcm_channel = _deleter("GCM")
delete_sms_channel = _deleter("SMS")
delete_voice_channel = _deleter("VOICE")
