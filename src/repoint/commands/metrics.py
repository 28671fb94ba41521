"""`repoint metrics …`: the metrics behind the KPIs, and what the KPIs do not say."""

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import click

from repoint.clock import read_moment
from repoint.options import INSTALLATION, ask, settings_options
from repoint.resources.apps import load_app
from repoint.resources.call import Server
from repoint.resources.kpis.active import ActiveDay, active_days
from repoint.resources.kpis.conversions import PURCHASE, Conversions, Goal, conversions
from repoint.resources.kpis.funnels import Step, funnel
from repoint.resources.kpis.rollup import rebuild
from repoint.resources.kpis.scan import Range

RANGE = timedelta(days=31)
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
HOURS_MAX = 366 * 24


class Moment(click.ParamType[datetime]):
    """A moment as KPIs write it, or a part of one; in UTC where it has no zone."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it."""
        try:
            moment = read_moment(value)
        except ValueError:
            moment = None
        if moment is None or not FIRST <= moment < LAST:
            self.fail(f"{value!r} is no moment such as 2031-05-06 or 2031-05-06T07:08:09Z", param, ctx)
        return moment


class Span(click.FloatRange):
    """A length of time, which NaN is not."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        number: float = super().convert(value, param, ctx)
        return number if number == number else self.fail(f"{value!r} is no number", param, ctx)  # noqa: PLR0124


@click.group("metrics")
def metrics_group() -> None:
    """The metrics that the KPI operations answer from, and conversions, funnels and active users.

    Workers keep the metrics; the log has all it takes to rebuild them.
    """


@metrics_group.command("rebuild")
@settings_options(INSTALLATION)
def metrics_rebuild(**given: Any) -> None:
    """Forget the metrics and count the whole log again. Servers may go on meanwhile; KPIs are low until it is done."""
    count = ask(given, lambda server: rebuild(server.db))
    click.echo(f"counted {count} events")


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose events are asked about, and which."""

    app_id: str
    start: datetime | None
    end: datetime | None

    async def range(self, server: Server) -> Range:
        """What was left out, filled in, of an application that is there."""
        if await load_app(server.db, self.app_id) is None:
            raise click.ClickException(f"there is no application {self.app_id}")
        now = server.clock()
        end = self.end or now
        start = self.start or end - RANGE
        if start >= end:
            raise click.UsageError("--start must be before --end")
        return Range(self.app_id, start, end)


def _range_options(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def command(*, app_id: str, start: datetime | None, end: datetime | None, **given: Any) -> None:
        function(asked=Asked(app_id, start, end), **given)

    for option in (
        settings_options(INSTALLATION),
        click.option("--json", "as_json", is_flag=True, help="One JSON list."),
        click.option(
            "--end", type=Moment(), help="Before this moment (2031-05-06, 2031-05-06T07:08:09Z); now unless given."
        ),
        click.option("--start", type=Moment(), help="From this moment on; 31 days before the end unless given."),
        click.option("--app", "app_id", required=True, help="The application's id."),
    ):
        command = option(command)
    return command


def _event(text: str) -> tuple[str, dict[str, str]]:
    """`TYPE` or `TYPE?attribute=value&…`."""
    event_type, mark, rest = text.partition("?")
    try:
        attributes = dict(parse_qsl(rest, keep_blank_values=True, strict_parsing=bool(mark)))
    except ValueError as error:
        raise click.UsageError(f"{text!r}: {error}") from None
    if not event_type:
        raise click.UsageError(f"{text!r}: names no type of event")
    return event_type, attributes


@metrics_group.command("conversions")
@click.option("--event", default=PURCHASE, show_default=True, help="What converts: TYPE, or TYPE?attribute=value&…")
@click.option("--window-days", type=Span(0, 90), default=7, show_default=True)
@click.option("--revenue", default="", help="The metric to sum; _item_price times _quantity of purchases unless given.")
@click.option("--by-treatment", is_flag=True, help="Each treatment of a campaign by itself.")
@_range_options
def metrics_conversions(
    *,
    asked: Asked,
    event: str,
    window_days: float,
    revenue: str,
    by_treatment: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """What each campaign's recipients did then: people reached and converted, conversions, revenue.

    A conversion belongs to the campaign its campaign_id attribute names, or else to the one that reached the same
    person last within the window before it.
    """
    goal = Goal(*_event(event), revenue)

    async def read(server: Server) -> list[Conversions]:
        within = await asked.range(server)
        window = timedelta(days=window_days)
        return await conversions(server.db, within, goal, window=window, by_treatment=by_treatment)

    rows = [
        {
            "campaign_id": one.campaign_id,
            **({"treatment_id": one.treatment_id} if by_treatment else {}),
            "reached": one.reached,
            "converters": one.converters,
            "rate": one.rate,
            "conversions": one.conversions,
            "named": one.named,
            "revenue": {currency: str(amount) for currency, amount in sorted(one.revenue.items())},
        }
        for one in ask(given, read)
    ]
    _show(rows, as_json=as_json)


@metrics_group.command("funnel")
@click.argument("steps", nargs=-1, required=True)
@click.option("--within-hours", type=Span(0, HOURS_MAX), help="All steps within so long of the first.")
@_range_options
def metrics_funnel(
    *,
    asked: Asked,
    steps: Sequence[str],
    within_hours: float | None,
    as_json: bool,
    **given: Any,
) -> None:
    """How many people do one thing after another.

    A step is TYPE, or TYPE?attribute=value&…

    \b
    Example: repoint metrics funnel --app APP _session.start cart.add '_monetization.purchase?_product_id=A7'
    """  # noqa: D301 - \b is where click keeps the lines
    wanted = [Step(*_event(step)) for step in steps]
    window = timedelta(hours=within_hours) if within_hours is not None else None

    async def read(server: Server) -> list[int]:
        within = await asked.range(server)
        try:
            return await funnel(server.db, within, wanted, window=window)
        except ValueError as error:
            raise click.UsageError(str(error)) from None

    counts: list[int] = ask(given, read)
    rows = [
        {
            "step": step,
            "people": count,
            "of_first": count / counts[0] if counts[0] else None,
            "of_previous": count / before if before else None,
        }
        for step, count, before in zip(steps, counts, [counts[0], *counts], strict=False)
    ]
    _show(rows, as_json=as_json)


@metrics_group.command("users")
@click.option("--endpoints", is_flag=True, help="Count endpoints instead.")
@_range_options
def metrics_users(*, asked: Asked, endpoints: bool, as_json: bool, **given: Any) -> None:
    """Active, new and returning users, by day in UTC."""

    async def read(server: Server) -> list[ActiveDay]:
        within = await asked.range(server)
        last: date = (within.end - timedelta(microseconds=1)).date()
        return await active_days(
            server.db, asked.app_id, within.start.date(), last, server.clock().date(), users=not endpoints
        )

    rows = [
        {**dataclasses.asdict(one), "day": str(one.day), "sticky": one.sticky, "retention": one.retention}
        for one in ask(given, read)
    ]
    _show(rows, as_json=as_json)


def _show(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Rows with the same members, as JSON or as a table."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        return
    table = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, dict):
        return ", ".join(f"{amount} {name}".strip() for name, amount in value.items()) or "-"
    return str(value)
