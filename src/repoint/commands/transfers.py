"""`repoint import` and `repoint export`: endpoints from files and into files, with their progress."""

import asyncio
import contextlib
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from repoint.bindings.storage import Place, Storage, StorageError, StorageUrlError, parse_url
from repoint.main import Installation
from repoint.main.workers import build_storage, run_jobs
from repoint.options import INSTALLATION, settings_of_existing, settings_options
from repoint.resources.apps import load_app
from repoint.resources.call import Call, Server
from repoint.resources.campaigns.copies import why_not
from repoint.resources.jobs import store
from repoint.resources.jobs.api import create_export, create_import, failures_of
from repoint.resources.jobs.watch import Watch, format_of
from repoint.wire.exceptions import WireError

SETTINGS = (*INSTALLATION, "bucket", "s3_endpoint_url", "job_concurrency", "lease_seconds")
UPLOADS = "repoint-uploads"
LOOK_SECONDS = 0.2
LINE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened installation, one of its applications, and a worker for jobs in this process."""

    server: Server
    storage: Storage
    call: Call
    app_id: str


@click.command("import")
@click.argument("files", nargs=-1)
@click.option("--app", "app_id", required=True, help="The application's id.")
@click.option("--segment", help="Make a segment of this name of what is imported.")
@click.option("--format", "file_format", type=click.Choice(["CSV", "JSON"]), help="Where the files' names do not say.")
@click.option("--watch", metavar="URL", help="Go on: import every file that appears under this s3:// prefix.")
@click.option("--campaign", "campaign_id", help="With --watch: send a copy of this campaign to each file's endpoints.")
@click.option(
    "--every",
    "every_seconds",
    type=click.FloatRange(0.1, 86_400),
    default=5.0,
    show_default=True,
    help="With --watch: look for new files every so many seconds.",
)
@settings_options(SETTINGS)
def import_command(
    *,
    files: tuple[str, ...],
    app_id: str,
    segment: str | None,
    file_format: str | None,
    watch: str | None,
    every_seconds: float,
    **given: Any,
) -> None:
    """Import endpoints from files, CSV or JSON lines, plain or gzip.

    FILES are on this machine, or s3:// URLs. Works beside a running server as well as without one; what is begun goes
    on with the server's workers should this command be stopped.

    \b
    repoint import people.csv --app 0123456789abcdef0123456789abcdef --segment People
    repoint import --watch s3://incoming/people/ --app 0123456789abcdef0123456789abcdef
    """  # noqa: D301 - \b is where click keeps the lines
    campaign_id: str | None = given.pop("campaign_id")
    if bool(files) == bool(watch):
        raise click.UsageError("name FILES, or a prefix with --watch")
    if campaign_id and not watch:
        raise click.UsageError("--campaign goes with --watch")
    definition = _definition(given["account_id"], segment)

    async def act(opened: Opened) -> bool:
        if watch:
            await _check_campaign(opened, campaign_id)
            place = _parsed(watch)
            watched = Watch(opened.call, opened.storage, opened.app_id, place, definition, campaign_id)
            await _watch(opened, watched, every_seconds)
        jobs = [await _import(opened, group, definition, file_format) for group in _groups(files)]
        return all(jobs)

    if not _run(given, app_id, act):
        raise click.exceptions.Exit(1)


@click.command("export")
@click.argument("to")
@click.option("--app", "app_id", required=True, help="The application's id.")
@click.option("--segment", "segment_id", help="Only this segment's endpoints: its id.")
@click.option("--segment-version", type=click.IntRange(1), help="Of the segment, this version.")
@settings_options(SETTINGS)
def export_command(*, to: str, app_id: str, segment_id: str | None, segment_version: int | None, **given: Any) -> None:
    """Export endpoints as gzip JSON lines.

    TO is a folder on this machine, or an s3:// URL.
    """

    async def act(opened: Opened) -> bool:
        place = Place(UPLOADS, f"{uuid.uuid4().hex}/") if "://" not in to else _parsed(to)
        wanted: dict[str, Any] = {"S3UrlPrefix": place.url, "RoleArn": _role(given["account_id"])}
        if segment_id:
            wanted["SegmentId"] = segment_id
        if segment_version:
            wanted["SegmentVersion"] = segment_version
        job = await create_export(opened.call, opened.app_id, wanted)
        is_complete = await _follow(opened, job)
        if is_complete and "://" not in to:
            await _fetch(opened.storage, place, Path(to))
        return is_complete

    if not _run(given, app_id, act):
        raise click.exceptions.Exit(1)


def _role(account_id: str) -> str:
    return f"arn:aws:iam::{account_id}:role/repoint"


def _definition(account_id: str, segment: str | None) -> dict[str, Any]:
    definition: dict[str, Any] = {"RoleArn": _role(account_id), "RegisterEndpoints": True}
    return definition | ({"DefineSegment": True, "SegmentName": segment} if segment else {})


def _run(given: dict[str, Any], app_id: str, act: Callable[[Opened], Awaitable[bool]]) -> bool:
    """Open the installation for one action."""
    installation = Installation.open(settings_of_existing(given))

    async def opened() -> bool:
        async with installation.server() as server, _working(installation, server):
            app = await load_app(server.db, app_id)
            if app is None:
                raise click.ClickException(f"there is no application {app_id}")
            storage = build_storage(installation.settings)
            return await act(Opened(server, storage, Call(server, app.region), app_id))

    try:
        return asyncio.run(opened())
    except (WireError, StorageError, StorageUrlError) as error:
        raise click.ClickException(str(error)) from None
    finally:
        installation.close()


@contextlib.asynccontextmanager
async def _working(installation: Installation, server: Server) -> AsyncIterator[None]:
    """Jobs are done in this process too, so that no server needs to run."""
    stopping = asyncio.Event()
    working = asyncio.create_task(run_jobs(installation, server, stopping))
    try:
        yield
    finally:
        stopping.set()
        await working


def _parsed(url: str) -> Place:
    try:
        return parse_url(url)
    except StorageUrlError as error:
        raise click.ClickException(f"{url}: {error}") from None


def _groups(files: tuple[str, ...]) -> list[list[str]]:
    """What is one job: each URL, and all files of this machine together."""
    local = [name for name in files if "://" not in name]
    return [*([local] if local else []), *([name] for name in files if "://" in name)]


async def _import(opened: Opened, names: list[str], definition: dict[str, Any], file_format: str | None) -> bool:
    formats = {file_format or format_of(name) for name in names}
    if len(formats) != 1 or None in formats:
        raise click.ClickException("the files' names do not say one format: use --format, or import them apart")
    uploads = [] if "://" in names[0] else await _upload(opened.storage, names)
    url = names[0] if not uploads else uploads[0].url if len(uploads) == 1 else _folder(uploads[0]).url
    wanted = definition | {"S3Url": _parsed(url).url, "Format": formats.pop()}
    is_complete = await _follow(opened, await create_import(opened.call, opened.app_id, wanted))
    for place in uploads:
        await opened.storage.delete(place)
    return is_complete


def _folder(place: Place) -> Place:
    return Place(place.bucket, place.key.rpartition("/")[0] + "/")


async def _upload(storage: Storage, names: list[str]) -> list[Place]:
    folder = uuid.uuid4().hex
    places = []
    for number, name in enumerate(names, 1):
        path = Path(name)
        if not await asyncio.to_thread(path.is_file):
            raise click.ClickException(f"there is no file {name}")
        place = Place(UPLOADS, f"{folder}/{number:04}-{path.name}")
        await storage.put_file(place, path)
        places.append(place)
    return places


async def _check_campaign(opened: Opened, campaign_id: str | None) -> None:
    if campaign_id is not None:
        async with opened.server.db.connection() as connection:
            problem = await why_not(connection, opened.app_id, campaign_id)
        if problem:
            raise click.ClickException(problem)


async def _watch(opened: Opened, watch: Watch, every_seconds: float) -> None:
    click.echo(f"watching {watch.place.url}")
    running: dict[str, str] = {}
    while True:
        try:
            begun = await watch.look()
        except StorageError as error:
            click.echo(f"cannot look: {error}", err=True)
            begun = []
        for job in begun:
            running[job.job_id] = job.definition["S3Url"]
            click.echo(f"importing {job.definition['S3Url']}: job {job.job_id}")
        for job_id in list(running):
            job_now = await store.get(opened.server.db, job_id)
            if job_now is None or job_now.completed_at is not None:
                name = running.pop(job_id)
                reason = f": {job_now.reason}" if job_now and job_now.reason else ""
                click.echo(f"{name}: {job_now.status if job_now else 'GONE'}{reason}")
        await asyncio.sleep(every_seconds)


async def _fetch(storage: Storage, place: Place, folder: Path) -> None:
    """An export's parts, from the store into a folder."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    for one in await storage.find(place):
        part = Place(place.bucket, one.key)
        target = folder / one.key.rpartition("/")[2]
        with target.open("wb") as file:
            async for content in storage.read(part, 0, one.size):
                await asyncio.to_thread(file.write, content)
        await storage.delete(part)
        click.echo(str(target))


async def _follow(opened: Opened, job: store.Job) -> bool:
    """Show a job's progress until it ends; returns whether it ended well."""
    shown = Progress(is_terminal=sys.stderr.isatty())
    while True:
        found = await store.get(opened.server.db, job.job_id)
        if found is None:
            raise click.ClickException("the application has been deleted meanwhile")
        pieces = await store.pieces_of(opened.server.db, [job.job_id])
        shown.show(found, pieces)
        if found.completed_at is not None:
            break
        await asyncio.sleep(LOOK_SECONDS)
    shown.end(found, pieces)
    return found.status == "COMPLETED"


@dataclass(slots=True)
class Progress:
    """A bar on a terminal, a line now and then elsewhere; rows, rows per second, what is left."""

    is_terminal: bool
    begun_at: float = field(default_factory=time.monotonic)
    line_at: float = 0.0

    def show(self, job: store.Job, pieces: list[store.Piece]) -> None:
        """How far the job is now."""
        now = time.monotonic()
        if not pieces or (not self.is_terminal and now - self.line_at < LINE_SECONDS):
            return
        self.line_at = now
        rows = sum(piece.processed for piece in pieces)
        seconds = max(0.001, now - self.begun_at)
        text = f"{rows:,} rows, {rows / seconds:,.0f}/s"
        share = share_done(pieces) if job.job_type == "IMPORT" else None
        if share is not None:
            left = f", {seconds * (1 - share) / share:.0f} s left" if share > 0 else ""
            text = f"{share:4.0%}  {text}{left}"
        if self.is_terminal:
            bar = "" if share is None else f"[{'#' * round(30 * share):<30}] "
            click.echo(f"\r\x1b[K{bar}{text}", nl=False, err=True)
        else:
            click.echo(text, err=True)

    def end(self, job: store.Job, pieces: list[store.Piece]) -> None:
        """How the job ended, and what failed."""
        if self.is_terminal:
            click.echo("\r\x1b[K", nl=False, err=True)
        rows, failed = sum(piece.processed for piece in pieces), sum(piece.failed for piece in pieces)
        seconds = max(0.001, time.monotonic() - self.begun_at)
        click.echo(f"{job.status}: {rows:,} rows in {seconds:.1f} s ({rows / seconds:,.0f}/s), {failed:,} failed")
        for failure in failures_of(job, pieces)[: store.FAILURES_MAX]:
            click.echo(f"  {failure}", err=True)


def share_done(pieces: list[store.Piece]) -> float:
    """How much of the files is done, by bytes; of a gzip file only whether it is."""
    plain = [piece for piece in pieces if not piece.is_gzip]
    packed = [piece for piece in pieces if piece.is_gzip]
    total = sum(piece.ends_at - piece.begins_at for piece in plain) + sum(piece.file_bytes for piece in packed)
    done = sum(
        (piece.ends_at if piece.status != "WAITING" else min(piece.read_to, piece.ends_at)) - piece.begins_at
        for piece in plain
    ) + sum(piece.file_bytes for piece in packed if piece.status != "WAITING")
    return done / total if total else 1.0
