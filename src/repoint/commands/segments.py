"""`repoint segments …`: what segments there are, how many they hold, who, and why."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from repoint.clock import iso8601
from repoint.options import INSTALLATION, ask, settings_options
from repoint.resources.call import Server
from repoint.resources.endpoints.store import document as endpoint_document
from repoint.resources.segments import audience
from repoint.resources.segments.store import StoredSegment, find_segments, load_segment
from repoint.resources.segments.tree import leaves_of, outline
from repoint.resources.segments.verdict import Verdict
from repoint.wire.exceptions import BadRequestException, NotFoundException

Result = TypeVar("Result")
Action = Callable[[Server, StoredSegment], Awaitable[Result]]


@click.group("segments")
def segments_group() -> None:
    """Segments: how many endpoints they hold, which, and why.

    A SEGMENT is named by its id, or by its name where that is unmistakable.
    """


def _options(function: Any) -> Any:
    for option in (
        settings_options(INSTALLATION),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--app", "app_id", help="The application, where a name alone could mean several segments."),
    ):
        function = option(function)
    return function


def _one_segment(function: Any) -> Any:
    argument = click.argument("segment", metavar="SEGMENT")
    version = click.option("--version", type=click.IntRange(1), help="A version; without it, the latest.")
    return argument(version(_options(function)))


def _on_segment(named: dict[str, Any], action: Action[Result]) -> tuple[StoredSegment, Result]:
    """Find the segment that is named, and do something with it."""
    text, app_id, version = named.pop("segment"), named.pop("app_id"), named.pop("version")

    async def act(server: Server) -> tuple[StoredSegment, Result]:
        found = await find_segments(server.db, text, app_id)
        if len(found) != 1:
            several = f"{len(found)} segments are named {text}: give an id" if found else f"there is no segment {text}"
            raise click.ClickException(several)
        segment = await load_segment(server.db, (*found[0], version))
        if segment is None:
            raise click.ClickException(f"segment {text} has no version {version}")
        return segment, await action(server, segment)

    try:
        result: tuple[StoredSegment, Result] = ask(named, act)
    except (BadRequestException, NotFoundException) as error:
        raise click.ClickException(error.message) from None
    return result


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _summary(segment: StoredSegment) -> dict[str, Any]:
    return {
        "ApplicationId": segment.app_id,
        "Id": segment.segment_id,
        "Version": segment.version,
        "Name": segment.name,
        "SegmentType": "IMPORT" if segment.is_imported else "DIMENSIONAL",
        "LastModifiedDate": iso8601(segment.modified_at),
    }


@segments_group.command("list")
@_options
def segments_list(*, app_id: str | None, as_json: bool, **given: Any) -> None:
    """All segments, or an application's, in their latest versions."""

    async def find(server: Server) -> list[StoredSegment | None]:
        keys = await find_segments(server.db, None, app_id)
        return [await load_segment(server.db, (*key, None)) for key in keys]

    found = [segment for segment in ask(given, find) if segment is not None]
    if as_json:
        _print_json([_summary(segment) for segment in found])
        return
    for segment in found:
        kind = "imported" if segment.is_imported else "dimensional"
        click.echo(f"{segment.segment_id}  {kind:<11}  version {segment.version:<4}  {segment.name}")


@segments_group.command("show")
@_one_segment
def segments_show(*, as_json: bool, **named: Any) -> None:
    """What a segment was defined as."""

    async def nothing(_: Server, __: StoredSegment) -> None:
        """It has been loaded."""

    segment, _ = _on_segment(named, nothing)
    definition = {"ImportDefinition": segment.import_definition} if segment.is_imported else segment.criteria
    if as_json:
        _print_json(_summary(segment) | definition)
        return
    for name, value in _summary(segment).items():
        click.echo(f"{name + ':':<18} {value}")
    _print_json(definition)


@segments_group.command("count")
@click.option("--estimate", is_flag=True, help="From a sample of the endpoints: quick, however many there are.")
@_one_segment
def segments_count(*, as_json: bool, estimate: bool, **named: Any) -> None:
    """How many endpoints are in a segment, and how many of them could be sent to.

    Those are active, have not opted out, and have an address.
    """

    async def count(server: Server, segment: StoredSegment) -> audience.Size:
        measure = audience.estimate if estimate else audience.count
        return await measure(server.db, segment, server.clock())

    _, size = _on_segment(named, count)
    if as_json:
        _print_json({"Total": size.total, "Eligible": size.eligible, "IsExact": size.is_exact})
        return
    about = "" if size.is_exact else "about "
    click.echo(f"{about}{size.total:,} endpoints, of which {about}{size.eligible:,} could be sent to")


@segments_group.command("sample")
@click.option("--limit", type=click.IntRange(1, audience.SAMPLE_MAX), default=10, show_default=True)
@_one_segment
def segments_sample(*, as_json: bool, limit: int, **named: Any) -> None:
    """Some of a segment's members."""

    async def find(server: Server, segment: StoredSegment) -> Any:
        return await audience.sample(server.db, segment, server.clock(), limit=limit)

    _, endpoints = _on_segment(named, find)
    if as_json:
        _print_json([endpoint_document(endpoint) for endpoint in endpoints])
        return
    for one in endpoints:
        click.echo(f"{one.given_id}  {one.channel_type or '-'}  {one.address or '-'}  {one.user_id or '-'}")


@segments_group.command("explain")
@_one_segment
def segments_explain(*, as_json: bool, **named: Any) -> None:
    """A segment in words, with how many endpoints meet each condition by itself."""

    async def explain(server: Server, segment: StoredSegment) -> Any:
        return await audience.count_conditions(server.db, segment, server.clock())

    _, (tree, counts) = _on_segment(named, explain)
    if as_json:
        leaves = zip(leaves_of(tree), counts, strict=True)
        _print_json([{"Path": leaf.path, "Condition": leaf.words(), "Endpoints": number} for leaf, number in leaves])
        return
    numbers = iter(counts)
    for depth, words, leaf in outline(tree):
        click.echo(f"{'  ' * depth}{words}" + ("" if leaf is None else f": {next(numbers):,} endpoints"))


@segments_group.command("why")
@_one_segment
@click.argument("endpoint", metavar="ENDPOINT")
def segments_why(*, as_json: bool, endpoint: str, **named: Any) -> None:
    """Which conditions let an endpoint in, or keep it out, and what it has where they look."""

    async def judge(server: Server, segment: StoredSegment) -> Verdict:
        return await audience.why(server.db, segment, endpoint, server.clock())

    segment, verdict = _on_segment(named, judge)
    if as_json:
        deciding = [one.path for one in verdict.deciding()]
        _print_json({"IsMember": verdict.is_met, "DecidedBy": deciding, "Conditions": verdict.document()})
        return
    click.echo(
        f"{endpoint} is {'in' if verdict.is_met else 'not in'} {segment.name or segment.segment_id}, because of:"
    )
    for one in verdict.deciding():
        click.echo(f"  {one.line()}")
    click.echo("All conditions:")
    for line in verdict.lines(1):
        click.echo(line)
