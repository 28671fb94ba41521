"""`repoint streams …`: how the event streams fare."""

import json
from typing import Any

import click

from repoint.options import INSTALLATION, ask, settings_options
from repoint.resources.events.stream import EventStream, load_streams


@click.group("streams")
def streams_group() -> None:
    """The event streams. They are set by PutEventStream; `repoint bindings` says where their ARNs lead."""


@streams_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@settings_options(INSTALLATION)
def streams_list(*, as_json: bool, **given: Any) -> None:
    """List the streams: how many events have arrived, when the last did, and what the far end says."""
    found: list[EventStream] = ask(given, lambda server: load_streams(server.db))
    if as_json:
        click.echo(json.dumps([_document(one) for one in found], default=str, indent=2))
        return
    for one in found:
        last = f"last {one.forwarded_at:%Y-%m-%d %H:%M:%S}" if one.forwarded_at else "none yet"
        trouble = f"  {one.failures} failures: {one.last_error}" if one.failures else ""
        click.echo(f"{one.app_id}  {one.destination_arn}  {one.forwarded} events, {last}{trouble}")


def _document(stream: EventStream) -> dict[str, Any]:
    return {
        "app_id": stream.app_id,
        "destination_arn": stream.destination_arn,
        "forwarded": stream.forwarded,
        "forwarded_at": stream.forwarded_at,
        "failures": stream.failures,
        "last_error": stream.last_error,
    }
