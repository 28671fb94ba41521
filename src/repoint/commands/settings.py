"""`repoint config` and `repoint doctor`: what an installation is set to, and whether it is well."""

import dataclasses
import json
import sys
from typing import Any

import click
from click.core import ParameterSource

from repoint import doctor
from repoint.config import Settings
from repoint.options import ALL, settings_of, settings_options

SOURCES = {
    ParameterSource.COMMANDLINE: "flag",
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT_MAP: "file",
    ParameterSource.DEFAULT: "default",
}


@click.command("config")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.pass_context
@settings_options(ALL)
def config_command(context: click.Context, /, *, as_json: bool, **given: Any) -> None:
    """Show every setting's effective value and where it comes from (secrets are masked)."""
    rows = []
    for entry in dataclasses.fields(Settings):
        origin = context.get_parameter_source(entry.name) or ParameterSource.DEFAULT
        value = given[entry.name]
        shown = "***" if entry.metadata["secret"] and value else value
        rows.append((entry.name, shown, SOURCES.get(origin, origin.name.lower())))
    if as_json:
        document = {name: {"value": value, "source": source} for name, value, source in rows}
        click.echo(json.dumps(document, default=str, indent=2))
        return
    width = max(len(name) for name, _, _ in rows)
    for name, value, source in rows:
        text = ", ".join(value) if isinstance(value, tuple) else str(value)
        click.echo(f"{name:<{width}}  {source:<11}  {text}")


@click.command("doctor")
@settings_options(ALL)
def doctor_command(**given: Any) -> None:
    """Check an installation: the data directory, the database, the secret key, the port, the relays.

    Exits with status 1 when something needs attention.
    """
    findings = doctor.examine(settings_of(given))
    for finding in findings:
        click.echo(f"{'ok  ' if finding.is_fine else 'FAIL'}  {finding.subject}: {finding.text}")
    sys.exit(0 if all(finding.is_fine for finding in findings) else 1)
