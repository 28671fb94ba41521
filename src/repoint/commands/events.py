"""`repoint events …`: the event log, read."""

import asyncio
import sys
from typing import Any

import click
import msgspec

from repoint.options import INSTALLATION, ask, settings_options
from repoint.resources.call import Server
from repoint.resources.events.reader import BEGINNING, LoggedEvent, Position, current_snapshot, each_event, read
from repoint.resources.events.records import record_of

BATCH_EVENTS_MAX = 1_000
POLL_SECONDS = 0.25


@click.group("events")
def events_group() -> None:
    """The event log: everything that happened, as the event stream writes it."""


def _options(function: Any) -> Any:
    for option in (
        settings_options(INSTALLATION),
        click.option("--json", "as_json", is_flag=True, help="Each event as the stream's record, a line each."),
        click.option("--type", "event_types", multiple=True, help="Only events of this type; may be repeated."),
        click.option("--app", "app_id", help="Only this application's events."),
    ):
        function = option(function)
    return function


@events_group.command("list")
@click.option("--limit", type=click.IntRange(1), help="At most so many, the first ones.")
@click.option("--follow", is_flag=True, help="Go on with events as they come.")
@_options
def events_list(
    *, app_id: str | None, event_types: tuple[str, ...], as_json: bool, limit: int | None, follow: bool, **given: Any
) -> None:
    """All events in the log, in order."""
    show = _Printer(event_types, as_json=as_json, limit=limit)
    ask(given, lambda server: _print_from(server, Position(BEGINNING), app_id, show, follow=follow))


@events_group.command("tail")
@click.option("--follow/--no-follow", default=True, help="Go on until stopped (the default), or stop at the end.")
@click.option("--lines", type=click.IntRange(0), default=10, show_default=True, help="Begin with the last so many.")
@_options
def events_tail(
    *, app_id: str | None, event_types: tuple[str, ...], as_json: bool, lines: int, follow: bool, **given: Any
) -> None:
    """The last events, and then events as they come, until stopped."""

    async def tail(server: Server) -> None:
        show = _Printer(event_types, as_json=as_json)
        here = await current_snapshot(server.db)
        for event in await _last(server, app_id, event_types, lines):
            show(server, event)
        if follow:
            await _print_from(server, Position(here), app_id, show, follow=True)

    ask(given, tail)


class _Printer:
    """Writes the events that are asked for; `is_full` once there are as many as were asked for."""

    def __init__(self, event_types: tuple[str, ...], *, as_json: bool, limit: int | None = None) -> None:
        self._types = frozenset(event_types)
        self._as_json = as_json
        self._left = limit

    @property
    def is_full(self) -> bool:
        return self._left == 0

    def __call__(self, server: Server, event: LoggedEvent) -> None:
        if self.is_full or (self._types and event.event_type not in self._types):
            return
        if self._left is not None:
            self._left -= 1
        record = record_of(event, server.account_id)
        if self._as_json:
            click.echo(msgspec.json.encode(record))
        else:
            attributes = msgspec.json.encode(record["attributes"]).decode()
            moment = f"{event.arrival_at:%Y-%m-%d %H:%M:%S}"
            event_type, client_id = _plain(event.event_type), _plain(record["client"]["client_id"])
            click.echo(f"{moment}  {event_type:<28} {client_id:<36}  {attributes}")


def _plain(text: str) -> str:
    """A text of a client's as it may stand in a line of a terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


async def _print_from(server: Server, position: Position, app_id: str | None, show: _Printer, *, follow: bool) -> None:
    while not show.is_full:
        async with server.db.connection() as connection:
            events, position = await read(connection, position, BATCH_EVENTS_MAX, app_id=app_id)
        for event in events:
            show(server, event)
        sys.stdout.flush()
        if len(events) < BATCH_EVENTS_MAX:
            if not follow:
                return
            await asyncio.sleep(POLL_SECONDS)


async def _last(server: Server, app_id: str | None, event_types: tuple[str, ...], lines: int) -> list[LoggedEvent]:
    rows = await server.db.fetch_all(
        """SELECT xid::text, event_id, arrival_at, app_id, endpoint_id, event_type, event_at, document, fills FROM event
           WHERE (%s::text IS NULL OR app_id = %s) AND (%s::text[] = '{}' OR event_type = ANY(%s::text[]))
           ORDER BY event.xid DESC, event_id DESC LIMIT %s""",
        [app_id, app_id, list(event_types), list(event_types), lines],
    )
    return list(each_event(reversed(rows)))[-lines:]
