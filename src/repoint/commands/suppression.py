"""`repoint suppression …`: the addresses that are not sent to."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

import click

from repoint.clock import iso8601
from repoint.options import INSTALLATION, ask, run, settings_options
from repoint.resources import suppression
from repoint.resources.call import Server
from repoint.resources.messages.recipients import normal_address
from repoint.resources.suppression import REASONS, Filter, Suppressed
from repoint.wire.paging import read_token, token_of

PAGE_MAX = 10_000
BATCH = 1_000
SINCE_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
region_option = click.option(
    "--region",
    default="us-east-1",
    show_default=True,
    envvar=["AWS_REGION", "AWS_DEFAULT_REGION"],
    help="The list of this region.  [env: AWS_REGION]",
)
channel_option = click.option(
    "--channel", default="EMAIL", show_default=True, type=click.Choice(["EMAIL", "SMS", "VOICE"])
)
reason_option = click.option("--reason", type=click.Choice(REASONS), help="Only those with this reason.")


class Since(click.ParamType[datetime]):
    """A moment: an ISO 8601 timestamp, or how long ago, such as 7d, 12h or 30m."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment meant."""
        if isinstance(value, datetime):
            return value
        unit = SINCE_UNITS.get(value[-1:])
        try:
            if unit is not None and value[:-1].isdigit():
                return datetime.now(UTC) - timedelta(**{unit: int(value[:-1])})
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither a timestamp nor a time ago such as 7d", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


since_option = click.option(
    "--since", type=Since(), help="Only those that came on the list since, such as 7d or 2026-11-01."
)


@click.group("suppression")
def suppression_group() -> None:
    """Addresses that are not sent to.

    Hard bounces and complaints come on the list by themselves; every email, text message
    and call is checked against it before it is sent.
    """


@suppression_group.command("list")
@click.option("--region", default="", help="Only this region's list; all without it.")
@click.option("--channel", type=click.Choice(["EMAIL", "SMS", "VOICE"]))
@reason_option
@since_option
@click.option("--address", default="", help="Only this address.")
@click.option("--page-size", default=100, show_default=True, type=click.IntRange(1, PAGE_MAX))
@click.option("--token", default="", help="The NextToken of the page before.")
@click.option("--json", "as_json", is_flag=True, help="{Item: [...], NextToken}.")
@settings_options(INSTALLATION)
def suppression_list(  # noqa: PLR0913 - a filter has that many flags
    *,
    region: str,
    channel: str | None,
    reason: str | None,
    since: datetime | None,
    address: str,
    page_size: int,
    token: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Show the list, a page at a time."""
    wanted = Filter(
        region, channel or "", reason or "", since, suppression.normal(channel or "EMAIL", address) if address else ""
    )
    after = _after(token)

    async def read(server: Server) -> list[Suppressed]:
        return await suppression.list_page(server.db, wanted, after=after, limit=page_size + 1)

    found: list[Suppressed] = ask(given, read)
    page = found[:page_size]
    next_token = (
        token_of([page[-1].region, page[-1].channel_type, page[-1].address], "suppression")
        if len(found) > page_size
        else None
    )
    if as_json:
        click.echo(json.dumps({"Item": [_document(one) for one in page], "NextToken": next_token}, indent=2))
        return
    for one in page:
        click.echo(
            f"{one.region}  {one.channel_type:<5}  {one.reason:<11}  {one.created_at:%Y-%m-%d %H:%M}  {one.address}"
        )
    if next_token:
        click.echo(f"more: --token {next_token}")


def _after(token: str) -> tuple[str, str, str]:
    if not token:
        return ("", "", "")
    try:
        region, channel_type, address = read_token(token, "suppression")
    except ValueError:
        raise click.UsageError("--token: was not given out by a previous page") from None
    return str(region), str(channel_type), str(address)


def _document(one: Suppressed) -> dict[str, Any]:
    return {
        "Region": one.region,
        "Channel": one.channel_type,
        "Address": one.address,
        "Reason": one.reason,
        "Since": iso8601(one.created_at),
        "ApplicationId": one.app_id,
        "MessageId": one.message_id,
        "Facts": one.facts,
    }


@suppression_group.command("add")
@region_option
@channel_option
@click.option("--reason", default="MANUAL", show_default=True, type=click.Choice(REASONS))
@click.argument("addresses", nargs=-1, required=True)
@settings_options(INSTALLATION)
def suppression_add(*, region: str, channel: str, reason: str, addresses: tuple[str, ...], **given: Any) -> None:
    """Put addresses on the list."""
    entries = [_entry(region, channel, address, reason, f"{address!r}") for address in addresses]
    run(given, lambda server: _add(server, entries))
    click.echo(f"{len(entries)} on the list of {region}")


def _entry(region: str, channel: str, address: str, reason: str, where: str) -> Suppressed:
    normal = normal_address(channel, address.strip())
    if normal is None:
        raise click.ClickException(f"{where}: not an address of the {channel} channel")
    return Suppressed(region, channel, normal, reason, datetime.now(UTC))


def _rows(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    try:
        yield from enumerate(csv.reader(file), 1)
    except (UnicodeDecodeError, csv.Error) as error:
        raise click.ClickException(f"{file.name}: {error}") from None


async def _add(server: Server, entries: list[Suppressed]) -> None:
    for start in range(0, len(entries), BATCH):
        batch = entries[start : start + BATCH]
        await server.db.atomically(lambda connection, batch=batch: suppression.add(connection, batch))  # type: ignore[misc]  # mypy cannot infer a lambda with a default


@suppression_group.command("remove")
@region_option
@channel_option
@click.argument("address")
@settings_options(INSTALLATION)
def suppression_remove(*, region: str, channel: str, address: str, **given: Any) -> None:
    """Take an address off the list: it is sent to again."""
    if not ask(given, lambda server: suppression.remove(server.db, region, channel, address)):
        raise click.ClickException(f"{address} is not on the list of {region}")
    click.echo(f"{address} is off the list")


@suppression_group.command("clear")
@region_option
@channel_option
@reason_option
@since_option
@click.confirmation_option(prompt="Take all of these off the list?")
@settings_options(INSTALLATION)
def suppression_clear(*, region: str, channel: str, reason: str | None, since: datetime | None, **given: Any) -> None:
    """Take all addresses off the list, or all that fit."""
    wanted = Filter(region, channel, reason or "", since)
    click.echo(f"{ask(given, lambda server: suppression.clear(server.db, wanted))} taken off")


@suppression_group.command("import")
@region_option
@channel_option
@click.option(
    "--reason", default="MANUAL", show_default=True, type=click.Choice(REASONS), help="Where a line has none."
)
@click.argument("file", type=click.File("r", encoding="utf-8-sig"))  # spreadsheets begin their files with a mark
@settings_options(INSTALLATION)
def suppression_import(*, region: str, channel: str, reason: str, file: Any, **given: Any) -> None:
    """Put a file's addresses on the list: all of them, or, when a line is wrong, none.

    \b
    Each line is an address, or `address,reason`; a first line of column names and empty lines are left out. The export
    of another system's list (Amazon SES, SendGrid, …) needs little more than `cut` to become one.
    """  # noqa: D301 - \b is where click keeps the lines
    entries = []
    for number, row in _rows(file):
        fields = [field.strip() for field in row]
        if not any(fields) or (number == 1 and "@" not in fields[0] and fields[0][:1] not in "+0123456789"):
            continue
        given_reason = fields[1].upper() if len(fields) > 1 and fields[1] else reason
        if given_reason not in REASONS:
            raise click.ClickException(f"line {number}: the reason must be one of {', '.join(REASONS)}")
        entries.append(_entry(region, channel, fields[0], given_reason, f"line {number}"))
    run(given, lambda server: _add(server, entries))
    click.echo(f"{len(entries)} on the list of {region}")
