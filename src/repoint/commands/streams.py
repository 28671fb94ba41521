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
    """List the streams: how many events have arrived, when the last did, and what the far end says.

    What is too large for a far end is set aside, in NAME.too-large.jsonl in the `streams` folder of the data directory
    of the worker that forwards the stream.
    """
    found: list[EventStream] = ask(given, lambda server: load_streams(server.db))
    if as_json:
        click.echo(json.dumps([_document(one) for one in found], default=str, indent=2))
        return
    for one in found:
        last = f"last {one.forwarded_at:%Y-%m-%d %H:%M:%S}" if one.forwarded_at else "none yet"
        times = "failed once" if one.failures == 1 else f"failed {one.failures} times in a row"
        trouble = f"  {times}: {one.last_error}" if one.failures else ""
        aside = f", {one.set_aside} of them too large and set aside" if one.set_aside else ""
        click.echo(f"{one.app_id}  {one.destination_arn}  {one.forwarded} events, {last}{aside}{trouble}")


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
