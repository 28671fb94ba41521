"""The campaign operations: create, update, delete, get, versions, activities."""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from repoint.clock import iso8601
from repoint.db import Connection
from repoint.resources import tags
from repoint.resources.apps import App, require_app
from repoint.resources.call import Call, new_id, page_of
from repoint.resources.campaigns import checks, store
from repoint.resources.campaigns.activities import Activity, list_activities
from repoint.resources.campaigns.far_ends import check_far_ends
from repoint.resources.campaigns.faults import refuse
from repoint.resources.campaigns.schedule import WINDOWED, read_schedule
from repoint.resources.campaigns.standing import changed_states, first_states
from repoint.resources.campaigns.store import StoredCampaign
from repoint.resources.campaigns.treatments import treatments_of
from repoint.resources.segments.sources import load_sources
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException, NotFoundException
from repoint.wire.paging import Page, split_page

DEFAULTS = ("CampaignHook", "Limits", "QuietTime")
LABELS = frozenset({"Description", "Name", "TreatmentDescription", "TreatmentName"})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
OPEN_CAMPAIGNS_MAX = 25  # of an application, of each frequency that answers events: Pinpoint's quota


async def create_campaign(call: Call, request: shapes.CreateCampaignRequest) -> shapes.CampaignResponse:
    """Create a campaign; an IMMEDIATE one starts behind the reply."""
    app = await require_app(call, request["ApplicationId"])
    document = cast("dict[str, Any]", dict(request["WriteCampaignRequest"]))
    given_tags = document.pop("tags", {})
    tags.check_tags(given_tags)
    await _check(call, app, document, None)
    now = call.now()
    campaign = StoredCampaign(
        app_id=app.app_id,
        campaign_id=new_id(),
        version=1,
        latest_version=1,
        document=document,
        defaults=_defaults(app),
        fault=None,
        fault_reason="",
        created_at=now,
        modified_at=now,
    )
    campaign = dataclasses.replace(campaign, states=first_states(campaign))
    async with call.db.transaction() as connection:
        locked = await connection.execute("SELECT 1 FROM app WHERE app_id = %s FOR KEY SHARE", [app.app_id])
        if await locked.fetchone() is None:
            raise NotFoundException("Application not found")
        await _check_quota(connection, campaign, None)
        await store.insert_campaign(connection, campaign)
        if given_tags:
            await tags.replace_tags(connection, _arn(call, campaign), given_tags)
    return _document(call, campaign, given_tags)


async def update_campaign(call: Call, request: shapes.UpdateCampaignRequest) -> shapes.CampaignResponse:
    """Change a campaign member by member: what is left out keeps its value, so `IsPaused` alone is a request.

    A new version comes of it. Runs under way go on as they began; tags are passed over, as at AWS.
    """
    app = await require_app(call, request["ApplicationId"])
    given = {name: value for name, value in request["WriteCampaignRequest"].items() if name != "tags"}
    before = await _require(call, app, request["CampaignId"])
    document = _merged(before.document, given)
    if before.status == "COMPLETED" and any(
        (value or None) != (before.document.get(name) or None) for name, value in given.items() if name not in LABELS
    ):
        raise BadRequestException("The campaign is completed: only its name and descriptions can be changed")
    await _check(call, app, document, before)
    async with call.db.transaction() as connection:
        latest = await store.lock_campaign(connection, app.app_id, before.campaign_id)
        if latest.version != before.version:
            raise BadRequestException("The campaign was changed by another request at the same time; try again")
        version = latest.version + 1
        changed = dataclasses.replace(
            latest, version=version, latest_version=version, document=document, modified_at=call.now()
        )
        failed = await store.failed_treatments(connection, latest) if latest.fault else ()
        changed = changed_states(changed, latest, given, failed)
        await _check_quota(connection, changed, latest)
        await store.insert_version(connection, changed)
        await _move_windows(connection, changed)
    return await _shown(call, changed)


async def _move_windows(connection: Connection, campaign: StoredCampaign) -> None:
    """Windows that are open close by the new schedules, those of treatments that are gone at once."""
    ends: dict[str, datetime | None] = {state.treatment_id: campaign.modified_at for state in campaign.states}
    for treatment in treatments_of(campaign.document):
        timetable = read_schedule(treatment.schedule)
        if timetable.is_windowed:
            ends[treatment.treatment_id] = timetable.end
    for treatment_id, end in ends.items():
        await store.move_window(connection, campaign, treatment_id, end)
    await store.close_other_windows(connection, campaign, list(ends))


def _merged(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The definition with what is given; what goes with a member goes when that is replaced."""
    document = {**before, **given}
    if "SegmentId" in given and "SegmentVersion" not in given:
        document.pop("SegmentVersion", None)
    is_custom_still = "CustomMessage" in document.get("MessageConfiguration", {})
    if "CustomDeliveryConfiguration" not in given and not is_custom_still:
        document.pop("CustomDeliveryConfiguration", None)
    return document


async def delete_campaign(call: Call, request: shapes.DeleteCampaignRequest) -> shapes.CampaignResponse:
    """Delete a campaign: what it has not sent yet is not sent."""
    app = await require_app(call, request["ApplicationId"])
    arn = call.arn(f"apps/{app.app_id}/campaigns/{request['CampaignId']}")
    campaign_tags = (await tags.tags_of(call, [arn])).get(arn, {})  # not meanwhile: that would take a second connection
    async with call.db.transaction() as connection:
        campaign = await store.lock_campaign(connection, app.app_id, request["CampaignId"])
        await store.delete_campaign(connection, app.app_id, campaign.campaign_id)
        await tags.delete_tags(connection, arn)
    return _document(call, dataclasses.replace(campaign, fault="DELETED"), campaign_tags)


async def get_campaign(call: Call, request: shapes.GetCampaignRequest) -> shapes.CampaignResponse:
    """A campaign as it is now."""
    app = await require_app(call, request["ApplicationId"])
    return await _shown(call, await _require(call, app, request["CampaignId"]))


async def get_campaigns(call: Call, request: shapes.GetCampaignsRequest) -> shapes.CampaignsResponse:
    """An application's campaigns, by id."""
    app = await require_app(call, request["ApplicationId"])
    page = page_of(request.get("PageSize"), request.get("Token"), f"campaigns/{app.app_id}")
    after = str(page.after[0]) if page.after else ""
    async with call.db.connection() as connection:
        rows = await store.list_campaigns(connection, app.app_id, after=after, limit=page.size + 1)
    return await _page(call, *split_page(rows, page, lambda campaign: [campaign.campaign_id]))


async def get_campaign_version(call: Call, request: shapes.GetCampaignVersionRequest) -> shapes.CampaignResponse:
    """One version of a campaign."""
    app = await require_app(call, request["ApplicationId"])
    text = request["Version"]
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:11]) <= store.VERSION_MAX:
        raise NotFoundException("Resource not found")
    return await _shown(call, await _require(call, app, request["CampaignId"], int(text)))


async def get_campaign_versions(call: Call, request: shapes.GetCampaignVersionsRequest) -> shapes.CampaignsResponse:
    """A campaign's versions, newest first."""
    app = await require_app(call, request["ApplicationId"])
    page = page_of(request.get("PageSize"), request.get("Token"), f"campaigns/{app.app_id}/{request['CampaignId']}")
    before = _number(page) if page.after else store.VERSION_MAX
    await _require(call, app, request["CampaignId"])
    async with call.db.connection() as connection:
        rows = await store.list_versions(
            connection, app.app_id, request["CampaignId"], before=before, limit=page.size + 1
        )
    return await _page(call, *split_page(rows, page, lambda campaign: [campaign.version]))


async def get_campaign_activities(
    call: Call, request: shapes.GetCampaignActivitiesRequest
) -> shapes.ActivitiesResponse:
    """A campaign's runs, one for each treatment, the latest first; their counts move while they run."""
    app = await require_app(call, request["ApplicationId"])
    page = page_of(request.get("PageSize"), request.get("Token"), f"activities/{app.app_id}/{request['CampaignId']}")
    before = None
    if page.after:
        before = EPOCH + timedelta(microseconds=_number(page)), str(page.after[-1])
    await _require(call, app, request["CampaignId"])
    async with call.db.connection() as connection:
        rows = await list_activities(connection, app.app_id, request["CampaignId"], before=before, limit=page.size + 1)
    found, token = split_page(rows, page, _position)
    answer: shapes.ActivitiesResponse = {"Item": [activity.document() for activity in found]}
    if token:
        answer["NextToken"] = token
    return answer


def _position(activity: Activity) -> list[Any]:
    return [(activity.slot - EPOCH) // MICROSECOND, activity.activity_id]


def _number(page: Page) -> int:
    """The number a token holds first."""
    assert page.after
    number = page.after[0]
    if not isinstance(number, int) or not 0 <= number <= (datetime.max.replace(tzinfo=UTC) - EPOCH) // MICROSECOND:
        raise BadRequestException("token: was not given out by a previous page")
    return min(number, store.VERSION_MAX) if len(page.after) == 1 else number


async def _require(call: Call, app: App, campaign_id: str, version: int | None = None) -> StoredCampaign:
    async with call.db.connection() as connection:
        found = await store.find_campaign(connection, app.app_id, campaign_id, version)
    if found is None:
        raise NotFoundException("Resource not found")
    return found


def _defaults(app: App) -> dict[str, Any]:
    return {name: app.settings[name] for name in DEFAULTS if app.settings.get(name)}


async def _check(call: Call, app: App, document: dict[str, Any], before: StoredCampaign | None) -> None:
    """Refuse what cannot run, and pin the segment's version.

    What only pauses a campaign is not asked for more than a schedule: one whose channel was disabled can be stopped.
    """
    checks.check_shares(document)
    checks.check_schedules(document, before.document if before else None, call.now())
    if before and document.get("IsPaused") and document == {**before.document, "IsPaused": True}:
        return
    segment = await checks.pinned_segment(call, app.app_id, document)
    document["SegmentVersion"] = segment.version
    defaults = before.defaults if before else _defaults(app)
    await checks.check_contents(call, app.app_id, document, before.document if before else None)
    if any(treatment.schedule.get("Frequency") == "EVENT" for treatment in treatments_of(document)):
        async with call.db.connection() as connection:
            sources = await load_sources(connection, app.app_id, segment.criteria)
        if any(one.is_imported for one in (segment, *sources.values())):
            rule = "a segment that was imported, or rests on one that was, cannot be used with an EVENT schedule"
            raise refuse("SegmentId", rule)
    await check_far_ends(call.server, document, before.document if before else None, defaults)


async def _check_quota(connection: Connection, campaign: StoredCampaign, before: StoredCampaign | None) -> None:
    """Each event, and each look of a client, costs work for every open campaign: there are only so many."""
    frequency = campaign.document["Schedule"].get("Frequency")
    if frequency not in WINDOWED or (before and before.document["Schedule"].get("Frequency") == frequency):
        return
    if await store.count_open(connection, campaign.app_id, frequency) >= OPEN_CAMPAIGNS_MAX:
        rule = f"an application may have {OPEN_CAMPAIGNS_MAX} campaigns of Frequency {frequency} that are not over"
        raise refuse("Schedule.Frequency", rule)


async def _page(call: Call, campaigns: list[StoredCampaign], token: str | None) -> shapes.CampaignsResponse:
    found = await tags.tags_of(call, [_arn(call, campaign) for campaign in campaigns])
    answer: shapes.CampaignsResponse = {
        "Item": [_document(call, campaign, found.get(_arn(call, campaign), {})) for campaign in campaigns]
    }
    if token:
        answer["NextToken"] = token
    return answer


async def _shown(call: Call, campaign: StoredCampaign) -> shapes.CampaignResponse:
    arn = _arn(call, campaign)
    return _document(call, campaign, (await tags.tags_of(call, [arn])).get(arn, {}))


def _arn(call: Call, campaign: StoredCampaign) -> str:
    return call.arn(f"apps/{campaign.app_id}/campaigns/{campaign.campaign_id}")


def _document(call: Call, campaign: StoredCampaign, campaign_tags: dict[str, str]) -> shapes.CampaignResponse:
    """As every operation shows it: what the caller gave, and what Pinpoint adds to it."""
    states = {state.treatment_id: {"CampaignStatus": campaign.status_of(state)} for state in campaign.states}
    additional = campaign.document.get("AdditionalTreatments", [])
    treatments = [
        {**_with_schedule(treatment), "Id": str(index), "State": states.get(str(index), {})}
        for index, treatment in enumerate(additional, start=1)
    ]
    shown = {
        "HoldoutPercent": 0,
        "IsPaused": False,
        "Limits": {},
        **_with_schedule(campaign.document),
        "AdditionalTreatments": treatments,
        "ApplicationId": campaign.app_id,
        "Arn": _arn(call, campaign),
        "CreationDate": iso8601(campaign.created_at),
        "Id": campaign.campaign_id,
        "LastModifiedDate": iso8601(campaign.modified_at),
        "State": {"CampaignStatus": campaign.status},
        "Version": campaign.version,
        "tags": campaign_tags,
    }
    if additional:
        shown["DefaultState"] = states.get("0", {})
    return cast("shapes.CampaignResponse", shown)


def _with_schedule(given: dict[str, Any]) -> dict[str, Any]:
    """The members as given; a schedule with the two members Pinpoint fills in."""
    if not given.get("Schedule"):
        return given
    return {**given, "Schedule": {"IsLocalTime": False, "Timezone": "UTC", **given["Schedule"]}}
