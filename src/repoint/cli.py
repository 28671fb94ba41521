"""The command line: `repoint serve`, `work`, `config`, `doctor`, `keys …`, `render` and others."""

from collections.abc import Mapping
from importlib import import_module
from typing import cast

import click

from repoint import __version__

# Where each command is, below `repoint.commands`.
COMMANDS: Mapping[str, str] = {
    "bindings": "bindings.bindings_group",
    "campaigns": "campaigns.campaigns_group",
    "config": "settings.config_command",
    "distribute": "cluster.distribute_command",
    "dkim": "dkim.dkim_group",
    "doctor": "settings.doctor_command",
    "events": "events.events_group",
    "export": "transfers.export_command",
    "functions": "bindings.functions_group",
    "import": "transfers.import_command",
    "keys": "keys.keys_group",
    "metrics": "metrics.metrics_group",
    "preferences": "tracking.preferences_group",
    "render": "render.render_command",
    "segments": "segments.segments_group",
    "serve": "serving.serve_command",
    "streams": "streams.streams_group",
    "suppression": "suppression.suppression_group",
    "tracking": "tracking.tracking_group",
    "why": "campaigns.why_command",
    "work": "serving.work_command",
}


class Commands(click.Group):
    """Commands that are imported when they are called: all of them take seconds, most far less than one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the name is click's
        """Their names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of a name; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, command = COMMANDS[cmd_name].split(".")
        return cast("click.Command", getattr(import_module(f"repoint.commands.{module}"), command))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def main() -> None:
    """Repoint: a self-hosted server for the clients of Amazon Pinpoint.

    \b
    Start it:            repoint serve --data-dir ./data
    Point clients at it: export AWS_ENDPOINT_URL_PINPOINT=http://127.0.0.1:8000
    """  # noqa: D301 - \b is where click keeps the lines


if __name__ == "__main__":
    main()
