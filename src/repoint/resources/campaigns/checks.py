"""What can be known of a campaign before it runs, checked when it is written: every error names the member."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from repoint.clock import iso8601
from repoint.resources.apps import check_hook, check_quiet_time
from repoint.resources.call import Call
from repoint.resources.campaigns.contents import (
    IN_APP_MEMBERS,
    PUSH_CHANNELS,
    PUSH_MEMBERS,
    TEMPLATE_TYPES,
    channels_of,
    is_in_app,
    own_channels,
    template_named,
)
from repoint.resources.campaigns.far_ends import check_custom
from repoint.resources.campaigns.faults import refuse
from repoint.resources.campaigns.matching import mistake_in
from repoint.resources.campaigns.schedule import IMMEDIATE, ScheduleError, Timetable, read_schedule
from repoint.resources.campaigns.treatments import COHORTS, Treatment, treatments_of
from repoint.resources.channels.kinds import MAILBOX
from repoint.resources.channels.store import load_channels
from repoint.resources.messages.recipients import CONFIGURED_TYPES
from repoint.resources.segments.store import VERSION_MAX, StoredSegment, load_segment
from repoint.resources.templates.kinds import HEADER_NAME
from repoint.resources.templates.store import load_scheduled_template, load_template
from repoint.wire.exceptions import BadRequestException

PAST_SECONDS_MAX = 60  # callers write "now" by their own clock, and often without its seconds
# What is rendered of a channel's message.
TEXTS = (
    "Title",
    "Body",
    "HtmlBody",
    "RawContent",
    "Url",
    "MediaUrl",
    "ImageUrl",
    "ImageIconUrl",
    "ImageSmallIconUrl",
)
COMPARISONS = ("GREATER_THAN", "LESS_THAN", "GREATER_THAN_OR_EQUAL", "LESS_THAN_OR_EQUAL", "EQUAL")


def check_shares(document: Mapping[str, Any]) -> None:
    """Percentages: each from 0 to 100, all together at most 100; the default treatment has what is left.

    Raises:
        BadRequestException: naming the member.
    """
    holdout = document.get("HoldoutPercent", 0)
    if not 0 <= holdout <= COHORTS:
        raise refuse("HoldoutPercent", "must be from 0 to 100")
    total = holdout
    for index, treatment in enumerate(document.get("AdditionalTreatments", [])):
        if not 0 <= treatment["SizePercent"] <= COHORTS:
            raise refuse(f"AdditionalTreatments[{index}].SizePercent", "must be from 0 to 100")
        total += treatment["SizePercent"]
    if total > COHORTS:
        raise refuse("AdditionalTreatments", f"HoldoutPercent and all SizePercent together are {total}, more than 100")


def check_schedules(document: Mapping[str, Any], before: Mapping[str, Any] | None, now: datetime) -> None:
    """Every treatment's schedule; a start in the past only stays if it has been there `before`.

    Raises:
        BadRequestException: naming the member.
    """
    treatments = treatments_of(document)
    known = {one.schedule.get("StartTime") for one in treatments_of(before)} if before else set()
    for treatment in treatments:
        path = f"{treatment.path}Schedule"
        if not treatment.schedule:
            raise refuse(path, "is required")
        try:
            timetable = read_schedule(treatment.schedule)
        except ScheduleError as error:
            raise refuse(f"{path}.{error.member}", error.rule) from None
        if treatment.schedule["StartTime"] not in known:
            _check_not_past(path, timetable, now)
        check_quiet_time(f"{path}.QuietTime", treatment.schedule.get("QuietTime", {}))
        if treatment.schedule.get("EventFilter"):
            _check_event_filter(f"{path}.EventFilter", treatment.schedule["EventFilter"])
        if is_in_app(treatment) and timetable.frequency != "IN_APP_EVENT":
            raise refuse(f"{path}.Frequency", "must be IN_APP_EVENT for an in-app message")
        if not is_in_app(treatment) and timetable.frequency == "IN_APP_EVENT":
            rule = "is required, or an InAppTemplate, when Schedule.Frequency is IN_APP_EVENT"
            raise refuse(f"{treatment.path}MessageConfiguration.InAppMessage", rule)
    at_once = [one for one in treatments if one.schedule["StartTime"] == IMMEDIATE]
    if document.get("IsPaused") and any(one.schedule.get("Frequency", "ONCE") == "ONCE" for one in at_once):
        raise refuse("IsPaused", f"a campaign that starts {IMMEDIATE} cannot be paused")


def _check_not_past(path: str, timetable: Timetable, now: datetime) -> None:
    if timetable.start is not None and timetable.start < now - timedelta(seconds=PAST_SECONDS_MAX):
        raise refuse(f"{path}.StartTime", f"{iso8601(timetable.start)} is past")
    if timetable.end is not None and timetable.end <= now:
        raise refuse(f"{path}.EndTime", f"{iso8601(timetable.end)} is past")


def _check_event_filter(path: str, given: Mapping[str, Any]) -> None:
    dimensions = given["Dimensions"]
    if not dimensions.get("EventType", {}).get("Values"):
        raise refuse(f"{path}.Dimensions.EventType", "must name at least one type of event")
    for name, attribute in dimensions.get("Attributes", {}).items():
        rule = mistake_in(attribute)
        if rule is not None:
            raise refuse(f"{path}.Dimensions.Attributes.{name}.Values", rule)
    for name, metric in dimensions.get("Metrics", {}).items():
        if metric["ComparisonOperator"] not in COMPARISONS:
            rule = f"must be one of {', '.join(COMPARISONS)}"
            raise refuse(f"{path}.Dimensions.Metrics.{name}.ComparisonOperator", rule)


async def pinned_segment(call: Call, app_id: str, document: Mapping[str, Any]) -> StoredSegment:
    """The segment's version that the campaign names, or the latest.

    Raises:
        BadRequestException: naming SegmentId or SegmentVersion.
    """
    segment_id, version = document.get("SegmentId"), document.get("SegmentVersion")
    if not segment_id:
        raise refuse("SegmentId", "is required")
    latest = await call.db.cached(load_segment, (app_id, segment_id, None))
    if latest is None:
        raise refuse("SegmentId", f"there is no segment {segment_id} in this application")
    if version is None:
        return latest
    found = None
    if 0 < version <= VERSION_MAX:
        found = await call.db.cached(load_segment, (app_id, segment_id, version))
    if found is None:
        raise refuse("SegmentVersion", f"segment {segment_id} has no version {version}")
    return found


async def check_contents(
    call: Call, app_id: str, document: Mapping[str, Any], before: Mapping[str, Any] | None
) -> None:
    """Something to send, that can be rendered, on channels that are on, with templates that are there.

    A template that was named `before` may have been deleted since: what it said last is kept for the campaign.

    Raises:
        BadRequestException: naming the member.
    """
    check_hook("Hook", document.get("Hook") or {})
    known = [one.templates for one in treatments_of(before)] if before else []
    for treatment in treatments_of(document):
        if document.get("Hook") and is_in_app(treatment):
            raise refuse("Hook", "cannot go with an in-app message, which is not sent but fetched")
        check_custom(treatment)
        _check_in_app(treatment)
        _check_email(treatment)
        _check_texts(call, treatment)
        await _check_templates(call, treatment, known)
        if not channels_of(treatment):
            rule = "there is nothing to send: give MessageConfiguration or TemplateConfiguration"
            raise refuse(f"{treatment.path}MessageConfiguration", rule)
        await _check_channels(call, app_id, treatment)


def _check_in_app(treatment: Treatment) -> None:
    """An in-app message has what clients are shown; of its Body they know nothing."""
    message = treatment.message.get("InAppMessage")
    if message and not any(message.get(name) for name in IN_APP_MEMBERS):
        path = f"{treatment.path}MessageConfiguration.InAppMessage"
        raise refuse(path, f"has nothing to show: give one of {', '.join(IN_APP_MEMBERS)}")


def _check_email(treatment: Treatment) -> None:
    """From whom it is, and headers that are headers: as direct messages have them."""
    path, email = f"{treatment.path}MessageConfiguration.EmailMessage", treatment.message.get("EmailMessage") or {}
    if email.get("FromAddress") and not MAILBOX.match(email["FromAddress"]):
        raise refuse(f"{path}.FromAddress", "must be an email address, or a name and <address>")
    for index, header in enumerate(email.get("Headers") or ()):
        if not HEADER_NAME.match(header.get("Name") or ""):
            raise refuse(f"{path}.Headers[{index}].Name", "must be the name of a header")


def _check_texts(call: Call, treatment: Treatment) -> None:
    """The treatment's own texts compile, as a template's did when it was written."""
    for member in ("EmailMessage", "SMSMessage", *PUSH_MEMBERS):
        message = treatment.message.get(member) or {}
        texts = {name: message[name] for name in TEXTS if message.get(name)}
        for index, header in enumerate(message.get("Headers") or ()):
            texts[f"Headers[{index}].Value"] = header.get("Value") or ""
        for name, text in texts.items():
            mistake = call.server.texts.mistake(text)
            if mistake is not None:
                raise refuse(f"{treatment.path}MessageConfiguration.{member}.{name}", mistake)


async def _check_templates(call: Call, treatment: Treatment, known: Sequence[Mapping[str, Any]]) -> None:
    path = f"{treatment.path}TemplateConfiguration"
    if template_named(treatment, "VoiceTemplate"):
        raise refuse(f"{path}.VoiceTemplate", "is not supported for campaigns")
    for member, template_type in TEMPLATE_TYPES.items():
        if not template_named(treatment, member):
            continue
        named = treatment.templates[member]
        key = (call.region, template_type, named["Name"], named.get("Version"))
        try:
            is_known = any(one.get(member) == named for one in known)
            found = await call.db.cached(load_scheduled_template if is_known else load_template, key)
        except BadRequestException as error:
            raise refuse(f"{path}.{member}", error.message) from None
        if found is None:
            version = f", version {named['Version']}" if named.get("Version") else ""
            raise refuse(f"{path}.{member}", f"there is no {template_type} template {named['Name']}{version}")


async def _check_channels(call: Call, app_id: str, treatment: Treatment) -> None:
    fault = await channel_fault(call, app_id, treatment)
    if fault is not None:
        raise refuse(f"{treatment.path}{fault[0]}", fault[1])


async def channel_fault(call: Call, app_id: str, treatment: Treatment) -> tuple[str, str] | None:
    """Why a treatment cannot be sent as the application's channels are set now: the member and the rule, or None."""
    channels = await call.db.cached(load_channels, app_id)
    wanted = own_channels(treatment)
    if "EMAIL" in wanted:
        email = channels.get("EMAIL")
        if email is not None and not email.is_enabled:
            return _member(treatment, "EmailMessage", "EmailTemplate"), "the application's EMAIL channel is disabled"
        sender = treatment.message.get("EmailMessage", {}).get("FromAddress")
        if not sender and not (email and email.settings.get("FromAddress")):
            return (
                "MessageConfiguration.EmailMessage.FromAddress",
                "is required: the application's EMAIL channel has no FromAddress",
            )
    is_on = {name: channels[name].is_enabled if name in channels else name not in CONFIGURED_TYPES for name in wanted}
    if "SMS" in wanted and not is_on["SMS"] and wanted == {"SMS"}:
        return _member(treatment, "SMSMessage", "SMSTemplate"), "the application's SMS channel is disabled"
    if wanted and wanted <= PUSH_CHANNELS.keys() and not any(is_on.values()):
        enabled = f"none of {', '.join(sorted(wanted))} is enabled in the application"
        return _member(treatment, "DefaultMessage", "PushTemplate"), enabled
    return None


def _member(treatment: Treatment, message: str, template: str) -> str:
    if template_named(treatment, template):
        return f"TemplateConfiguration.{template}"
    return f"MessageConfiguration.{message}" if treatment.message.get(message) else "MessageConfiguration"
