"""`repoint streams …`: how the event streams fare."""

import json
from datetime import datetime
from typing import Any

import click

from repoint.options import INSTALLATION, ask, settings_options
from repoint.resources.call import Server
from repoint.resources.events.reader import load_position, read
from repoint.resources.events.stream import EventStream, load_streams


@click.group("streams")
def streams_group() -> None:
    """The event streams. They are set by PutEventStream; `repoint bindings` says where their ARNs lead."""


@streams_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@settings_options(INSTALLATION)
def streams_list(*, as_json: bool, **given: Any) -> None:
    """List the streams: how many events have arrived, since when others wait, and what the far end says.

    What is too large for a far end is set aside, in NAME.too-large.jsonl in the `streams` folder of the data directory
    of the worker that forwards the stream.
    """
    found: list[tuple[EventStream, datetime | None]] = ask(given, _streams)
    if as_json:
        documents = [_document(one) | {"waiting_since": since} for one, since in found]
        click.echo(json.dumps(documents, default=str, indent=2))
        return
    for one, since in found:
        last = f"last {one.forwarded_at:%Y-%m-%d %H:%M:%S}" if one.forwarded_at else "none yet"
        times = "failed once" if one.failures == 1 else f"failed {one.failures} times in a row"
        trouble = f"  {times}: {one.last_error}" if one.failures else ""
        aside = f", {one.set_aside} of them too large and set aside" if one.set_aside else ""
        behind = f", others wait since {since:%Y-%m-%d %H:%M:%S}" if since else ""
        click.echo(f"{one.app_id}  {one.destination_arn}  {one.forwarded} events, {last}{aside}{behind}{trouble}")


async def _streams(server: Server) -> list[tuple[EventStream, datetime | None]]:
    return [(one, await _waiting_since(server, one)) for one in await load_streams(server.db)]


async def _waiting_since(server: Server, stream: EventStream) -> datetime | None:
    """When the first event came that has not arrived; None when all have."""
    async with server.db.connection() as connection:
        position = await load_position(connection, stream.reader_name)
        for _ in range(2):  # what is left of the reader's round, and the round after it
            if position is not None:
                events, position = await read(connection, position, 1, app_id=stream.app_id)
                if events:
                    return events[0].arrival_at
    return None


def _document(stream: EventStream) -> dict[str, Any]:
    return {
        "app_id": stream.app_id,
        "destination_arn": stream.destination_arn,
        "forwarded": stream.forwarded,
        "forwarded_at": stream.forwarded_at,
        "set_aside": stream.set_aside,
        "failures": stream.failures,
        "last_error": stream.last_error,
    }
