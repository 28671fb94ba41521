"""`repoint campaigns …` and `repoint why`: what campaigns do, will do, would do and did."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import click
import msgspec

from repoint.clock import iso8601
from repoint.delivery.rehearsal import rehearse as rehearse_messages
from repoint.delivery.rehearsal import unsigned_domains
from repoint.delivery.trial_calls import far_end_faults, hook_payload
from repoint.options import INSTALLATION, ask, settings_options
from repoint.resources.call import Server
from repoint.resources.campaigns import store
from repoint.resources.campaigns.activities import Activity, list_activities
from repoint.resources.campaigns.faults import RunError
from repoint.resources.campaigns.preflight import Report, rehearse
from repoint.resources.campaigns.schedule import WINDOWED, opens_at, read_schedule, slots
from repoint.resources.campaigns.snapshot import ACCEPTED, ELSEWHERE
from repoint.resources.campaigns.store import StoredCampaign
from repoint.resources.campaigns.treatments import treatments_of
from repoint.resources.campaigns.why import Answer, explain
from repoint.resources.endpoints.store import get_many

CAMPAIGNS_MAX = 10_000
ACTIVITIES_MAX = 100
BAR_CHARACTERS = 32
WATCH_SECONDS = 0.5
AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document.")
APP = click.option("--app", "app_id", help="Only this application's.")


@click.group("campaigns")
def campaigns_group() -> None:
    """Campaigns: what they do, will do and would do."""


@campaigns_group.command("list")
@APP
@AS_JSON
@settings_options(INSTALLATION)
def campaigns_list(*, app_id: str | None, as_json: bool, **given: Any) -> None:
    """All campaigns: status, next run, name."""
    found: list[StoredCampaign] = ask(given, lambda server: _campaigns(server, app_id))
    if as_json:
        _json([_row(campaign) for campaign in found])
        return
    if not found:
        click.echo("there are no campaigns", err=True)
    for campaign in found:
        row = _row(campaign)
        click.echo(f"{row['Id']}  {row['Status']:<16}  next {row['NextRun'] or '-':<24}  {row['Name']}")


@campaigns_group.command("next")
@APP
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="So many runs.")
@AS_JSON
@settings_options(INSTALLATION)
def campaigns_next(*, app_id: str | None, count: int, as_json: bool, **given: Any) -> None:
    """What the scheduler will do next, in order."""
    found: list[StoredCampaign] = ask(given, lambda server: _campaigns(server, app_id))
    coming = sorted((row for campaign in found for row in _coming(campaign, count)), key=lambda row: row["At"])[:count]
    if as_json:
        _json(coming)
        return
    if not coming:
        click.echo("no run is scheduled", err=True)
    for row in coming:
        click.echo(
            f"{row['At']}  campaign {row['CampaignId']} treatment {row['TreatmentId']}  {row['Name']}{_remarks(row)}"
        )


@campaigns_group.command("show")
@click.argument("campaign_id")
@AS_JSON
@settings_options(INSTALLATION)
def campaigns_show(*, campaign_id: str, as_json: bool, **given: Any) -> None:
    """One campaign, and its runs with whom they reached and left out."""
    campaign, activities = ask(given, lambda server: _with_activities(server, campaign_id))
    if as_json:
        runs = [{**one.document(), "Reason": one.reason} for one in activities]
        _json({**_row(campaign), "Definition": campaign.document, "Activities": runs})
        return
    for name, value in _row(campaign).items():
        click.echo(f"{name:<10} {value or '-'}")
    for one in activities:
        click.echo(
            f"\nrun of {iso8601(one.slot)} treatment {one.treatment_id}: {one.state} {one.result or ''} {one.reason}"
        )
        click.echo(f"  {_progress(one)}")
        for reason, number in one.document()["ExecutionMetrics"].items():
            click.echo(f"  {number:>9}  {reason}")


@campaigns_group.command("watch")
@click.argument("campaign_id")
@settings_options(INSTALLATION)
def campaigns_watch(*, campaign_id: str, **given: Any) -> None:
    """Follow a campaign's latest run until it has ended."""

    async def watch(server: Server) -> None:
        shown = ""
        while True:
            campaign, activities = await _with_activities(server, campaign_id)
            latest = [one for one in activities if one.slot == activities[0].slot]
            is_over = bool(latest) and all(one.ended_at for one in latest)
            text = "  ".join(f"{one.treatment_id}: {_progress(one)}" for one in latest) or _waiting(campaign)
            if text != shown:
                click.echo(f"\r\033[K{text}" if sys.stdout.isatty() else text, nl=not sys.stdout.isatty())
                shown = text
            if is_over or campaign.fault or (not latest and campaign.status == "COMPLETED"):
                click.echo(nl=sys.stdout.isatty())
                return
            await asyncio.sleep(WATCH_SECONDS)

    ask(given, watch)


@campaigns_group.command("preflight")
@click.argument("campaign_id")
@AS_JSON
@settings_options(INSTALLATION)
def campaigns_preflight(*, campaign_id: str, as_json: bool, **given: Any) -> None:
    """Whom the next run would reach, whom it would leave out and why, and what is amiss. Nothing is sent.

    Exits with status 1 when something would stop the run, or some of its messages.
    """

    async def prepare(server: Server) -> tuple[Report, dict[str, int], list[str]]:
        campaign = await _campaign(server, campaign_id)
        report = await rehearse(server, campaign)
        report.faults += await far_end_faults(server, campaign.app_id, report.contents.values(), report.at)
        unsigned = await unsigned_domains(server, campaign.app_id, report.contents.values())
        return report, await _amiss(server, campaign, report), unsigned

    report, amiss, unsigned = ask(given, prepare)
    counts = {name: dict(reasons) for name, reasons in report.counts.by_treatment.items() if name != ELSEWHERE}
    users = dict(report.counts.users)
    if as_json:
        shown = {"Counts": counts, "Users": users, "Faults": report.faults, "Messages": amiss, "Unsigned": unsigned}
        _json({"At": iso8601(report.at), **shown, "Notes": report.notes})
    else:
        click.echo(f"judged for {iso8601(report.at)}")
        for name, reasons in counts.items():
            click.echo(f"treatment {name}: {reasons.pop(ACCEPTED, 0)} would get a message")
            for reason, number in sorted(reasons.items()):
                click.echo(f"  {number:>9}  {reason}")
        for name, number in users.items():
            click.echo(f"{name}: {number}")
        for text, number in amiss.items():
            click.echo(f"FAIL  {number} of {len(report.samples)} messages made on trial: {text}")
        for fault in report.faults:
            click.echo(f"FAIL  {fault}")
        for note in report.notes:
            click.echo(f"NOTE  {note}")
        for domain in unsigned:
            click.echo(f"NOTE  no DKIM key here signs for {domain}: make one by `repoint dkim create {domain}`")
    sys.exit(1 if report.faults or amiss else 0)


@campaigns_group.command("hook-payload")
@click.argument("campaign_id")
@click.argument("endpoint_ids", metavar="ENDPOINT...", nargs=-1)
@settings_options(INSTALLATION)
def campaigns_hook_payload(*, campaign_id: str, endpoint_ids: Sequence[str], **given: Any) -> None:
    """What the campaign's hook would be told of endpoints, as JSON for `repoint functions test`."""

    async def make(server: Server) -> dict[str, Any]:
        try:
            payload = await hook_payload(server, await _campaign(server, campaign_id), endpoint_ids)
        except RunError as error:
            raise click.ClickException(error.reason) from None
        if payload is None:
            raise click.ClickException(f"campaign {campaign_id} has no hook, and its application neither")
        return payload

    _json(ask(given, make))


@click.command("why")
@click.argument("campaign_id")
@click.argument("endpoint_id")
@AS_JSON
@settings_options(INSTALLATION)
def why_command(*, campaign_id: str, endpoint_id: str, as_json: bool, **given: Any) -> None:
    """Why an endpoint got a campaign's message, or did not, run by run, with the facts as they stood then."""

    async def explained(server: Server) -> list[Answer]:
        await _campaign(server, campaign_id)
        return await explain(server.db, campaign_id, endpoint_id)

    answers: list[Answer] = ask(given, explained)
    if as_json:
        _json([msgspec.to_builtins(answer) for answer in answers])
        return
    if not answers:
        raise click.ClickException(
            f"campaign {campaign_id} has not run: `repoint campaigns preflight {campaign_id}` says whom it would reach"
        )
    for answer in answers:
        click.echo(f"run of {iso8601(answer.slot)}, treatment {answer.treatment_id}: {answer.reason}")
        click.echo(f"  {answer.text}")


async def _campaigns(server: Server, app_id: str | None) -> list[StoredCampaign]:
    apps = await server.db.fetch_all(
        "SELECT app_id FROM app WHERE %s::text IS NULL OR app_id = %s ORDER BY app_id", [app_id, app_id]
    )
    if app_id and not apps:
        raise click.ClickException(f"there is no application {app_id}")
    async with server.db.connection() as connection:
        found: list[StoredCampaign] = []
        for (one,) in apps:
            found += await store.list_campaigns(connection, one, after="", limit=CAMPAIGNS_MAX)
        return found


async def _campaign(server: Server, campaign_id: str) -> StoredCampaign:
    row = await server.db.fetch_one("SELECT app_id FROM campaign WHERE campaign_id = %s", [campaign_id])
    if row is not None:
        async with server.db.connection() as connection:
            found = await store.find_campaign(connection, row[0], campaign_id)
        if found is not None:
            return found
    raise click.ClickException(f"there is no campaign {campaign_id}")


async def _with_activities(server: Server, campaign_id: str) -> tuple[StoredCampaign, list[Activity]]:
    campaign = await _campaign(server, campaign_id)
    async with server.db.connection() as connection:
        found = await list_activities(connection, campaign.app_id, campaign_id, before=None, limit=ACTIVITIES_MAX)
    return campaign, found


async def _amiss(server: Server, campaign: StoredCampaign, report: Report) -> dict[str, int]:
    """What keeps messages for a sample of the audience from being made as they should."""
    async with server.db.connection() as connection:
        found = await get_many(connection, [(campaign.app_id, endpoint_id) for endpoint_id, _ in report.samples])
    amiss: dict[str, int] = {}
    for treatment_id, content in report.contents.items():
        own = [
            endpoint
            for endpoint, (_, treatment) in zip(found, report.samples, strict=True)
            if endpoint is not None and treatment == treatment_id
        ]
        for text, number in (await rehearse_messages(server, content, own, report.at)).items():
            amiss[f"treatment {treatment_id}: {text}"] = number
    return amiss


def _row(campaign: StoredCampaign) -> dict[str, Any]:
    coming = [state.next_at for state in campaign.states if state.next_at is not None]
    return {
        "Id": campaign.campaign_id,
        "AppId": campaign.app_id,
        "Name": campaign.document.get("Name", ""),
        "Version": campaign.version,
        "Status": campaign.status,
        "Reason": campaign.fault_reason,
        "Segment": f"{campaign.document['SegmentId']} version {campaign.document['SegmentVersion']}",
        "NextRun": iso8601(min(coming)) if coming else None,
    }


def _waiting(campaign: StoredCampaign) -> str:
    """What there is to see of a campaign that has not run."""
    coming = _row(campaign)["NextRun"]
    return f"{campaign.status}: the first run is due at {coming}" if coming else campaign.status


def _coming(campaign: StoredCampaign, count: int) -> Sequence[dict[str, Any]]:
    """The next runs of a campaign's treatments."""
    found: list[dict[str, Any]] = []
    treatments = {one.treatment_id: one for one in treatments_of(campaign.document)}
    for state in campaign.states:
        if state.next_slot is None or state.next_at is None or state.treatment_id not in treatments:
            continue
        timetable = read_schedule(treatments[state.treatment_id].schedule)
        later = islice(slots(timetable, state.next_slot, state.next_slot), count - 1)
        moments: list[datetime] = [state.next_at, *(opens_at(timetable, slot) for slot in later)]
        found += [
            {
                "At": iso8601(moment),
                "CampaignId": campaign.campaign_id,
                "TreatmentId": state.treatment_id,
                "Name": campaign.document.get("Name", ""),
                "Frequency": timetable.frequency,
                "IsLocalTime": timetable.is_local,
                "IsPaused": campaign.is_paused,
            }
            for moment in moments
        ]
    return found


def _remarks(row: dict[str, Any]) -> str:
    """What is not a run for everybody at that moment."""
    is_window = row["Frequency"] in WINDOWED
    found = ["opens for events"] if is_window else []
    if row["IsLocalTime"]:
        found.append("local time: when the hour strikes first on earth")
    if row["IsPaused"]:
        found.append("paused: it will wait" if is_window else "paused: it will be skipped")
    return f"  ({'; '.join(found)})" if found else ""


def _progress(activity: Activity) -> str:
    settled = activity.total - activity.counts.get("ACCEPTED", 0)
    share = settled / activity.total if activity.total else float(activity.ended_at is not None)
    bar = "#" * int(share * BAR_CHARACTERS)
    unknown = activity.counts.get("UNKNOWN", 0)
    return (
        f"[{bar:<{BAR_CHARACTERS}}] {settled}/{activity.total}, {activity.counts.get('SENT', 0)} sent, "
        f"{activity.counts.get('FAILED', 0)} failed, {activity.counts.get('STOPPED', 0)} stopped"
        f"{f', {unknown} in doubt' if unknown else ''}"
    )


def _json(document: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
