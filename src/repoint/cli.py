"""The command line: `repoint serve`, `work`, `config`, `doctor`, `keys …`, `render` and others."""

import dataclasses
import json
import sys
from datetime import timedelta
from typing import Any

import click
from click.core import ParameterSource

from repoint import __version__, doctor
from repoint.commands.bindings import bindings_group, functions_group
from repoint.commands.campaigns import campaigns_group, why_command
from repoint.commands.cluster import distribute_command
from repoint.commands.dkim import dkim_group
from repoint.commands.events import events_group
from repoint.commands.metrics import metrics_group
from repoint.commands.render import render_command
from repoint.commands.segments import segments_group
from repoint.commands.streams import streams_group
from repoint.commands.suppression import suppression_group
from repoint.commands.tracking import preferences_group, tracking_group
from repoint.commands.transfers import export_command, import_command
from repoint.config import Settings
from repoint.gateway.policy import PolicyError, parse_policy
from repoint.main import serve, work
from repoint.options import ALL, INSTALLATION, run, settings_of, settings_options
from repoint.resources import keys
from repoint.resources.call import Server

SOURCES = {
    ParameterSource.COMMANDLINE: "flag",
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT_MAP: "file",
    ParameterSource.DEFAULT: "default",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def main() -> None:
    """Repoint: a self-hosted server for the clients of Amazon Pinpoint.

    \b
    Start it:            repoint serve --data-dir ./data
    Point clients at it: export AWS_ENDPOINT_URL_PINPOINT=http://127.0.0.1:8000
    """  # noqa: D301 - \b is where click keeps the lines


@main.command("serve")
@settings_options(ALL)
def serve_command(**given: Any) -> None:
    """Answer the API and deliver messages, in one command.

    Prints `ready http://HOST:PORT` when it answers. The first start makes an administrator's access key and shows it,
    once, on standard error. Stop it with SIGTERM or Ctrl-C: it finishes what it has begun.

    \b
    More than one machine: give all the same --database-url and --secret-key, run `repoint serve --workers 0` where
    the API is wanted and `repoint work` where delivery is.
    """  # noqa: D301 - \b is where click keeps the lines
    try:
        sys.exit(serve(settings_of(given)))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {given['host']}:{given['port']}: {error.strerror}") from None


@main.command("work")
@settings_options(ALL)
def work_command(**given: Any) -> None:
    """Deliver messages for servers elsewhere that share the database."""
    sys.exit(work(settings_of(given)))


@main.command("config")
@settings_options(ALL)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.pass_context
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


@main.command("doctor")
@settings_options(ALL)
def doctor_command(**given: Any) -> None:
    """Check an installation: the data directory, the database, the secret key, the port, the relays.

    Exits with status 1 when something needs attention.
    """
    findings = doctor.examine(settings_of(given))
    for finding in findings:
        click.echo(f"{'ok  ' if finding.is_fine else 'FAIL'}  {finding.subject}: {finding.text}")
    sys.exit(0 if all(finding.is_fine for finding in findings) else 1)


@main.group("keys")
def keys_group() -> None:
    """Access keys: who may sign requests, and what each may do.

    They work on a running server's database as well as on a stopped one's.
    """


@keys_group.command("create")
@settings_options(INSTALLATION)
@click.option("--name", required=True, help="Who or what will use the key.")
@click.option(
    "--policy",
    type=click.File("r"),
    help="A file with an IAM policy (JSON) on mobiletargeting:* actions; without it the key may do everything.",
)
@click.option("--expires-in-days", type=click.IntRange(1), help="The key stops working after so many days.")
@click.option("--json", "as_json", is_flag=True, help="Print {AccessKeyId, SecretAccessKey}.")
def keys_create(*, name: str, policy: Any, expires_in_days: int | None, as_json: bool, **given: Any) -> None:
    """Make an access key and show its secret, this once.

    \b
    Example: a key that may only send, in one application:
      {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "mobiletargeting:SendMessages",
       "Resource": "arn:aws:mobiletargeting:*:*:apps/APP/*"}]}
    """  # noqa: D301 - \b is where click keeps the lines
    document = _policy(policy) if policy else keys.ADMINISTRATOR_POLICY

    async def create(server: Server) -> keys.NewKey:
        now = server.clock()
        expires_at = now + timedelta(days=expires_in_days) if expires_in_days else None
        return await keys.create_key(server.db, server.seal, name=name, policy=document, now=now, expires_at=expires_at)

    _show_new_key(run(given, create), as_json=as_json)


@keys_group.command("list")
@settings_options(INSTALLATION)
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
def keys_list(*, as_json: bool, **given: Any) -> None:
    """List access keys: id, name, when made, when last used."""
    found: list[keys.StoredKey] = run(given, lambda server: keys.list_keys(server.db))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(key) for key in found], default=str, indent=2))
        return
    for key in found:
        used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
        expiry = f"  expires {key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else ""
        click.echo(f"{key.access_key_id}  {key.name:<24}  made {key.created_at:%Y-%m-%d}  used {used}{expiry}")


@keys_group.command("rotate")
@settings_options(INSTALLATION)
@click.argument("access_key_id")
@click.option("--old-works-hours", type=click.FloatRange(0), default=24, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print {AccessKeyId, SecretAccessKey}.")
def keys_rotate(*, access_key_id: str, old_works_hours: float, as_json: bool, **given: Any) -> None:
    """Make a second key with the same name and policy; the first goes on working for a while."""

    async def rotate(server: Server) -> keys.NewKey | None:
        now = server.clock()
        return await keys.rotate_key(
            server.db,
            server.seal,
            access_key_id=access_key_id,
            now=now,
            old_expires_at=now + timedelta(hours=old_works_hours),
        )

    new = run(given, rotate)
    if new is None:
        raise click.ClickException(f"there is no access key {access_key_id}")
    _show_new_key(new, as_json=as_json)


@keys_group.command("revoke")
@settings_options(INSTALLATION)
@click.argument("access_key_id")
def keys_revoke(*, access_key_id: str, **given: Any) -> None:
    """Delete an access key: requests signed with it are refused from now on."""
    if not run(given, lambda server: keys.revoke_key(server.db, access_key_id)):
        raise click.ClickException(f"there is no access key {access_key_id}")
    click.echo(f"{access_key_id} is revoked")


def _policy(file: Any) -> dict[str, Any]:
    text = file.read()
    try:
        parse_policy(text)
    except PolicyError as error:
        raise click.ClickException(f"policy: {error}") from None
    document: dict[str, Any] = json.loads(text)
    return document


def _show_new_key(key: keys.NewKey, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"AccessKeyId": key.access_key_id, "SecretAccessKey": key.secret}))
        return
    click.echo(f"export AWS_ACCESS_KEY_ID={key.access_key_id}")
    click.echo(f"export AWS_SECRET_ACCESS_KEY={key.secret}")


main.add_command(bindings_group)
main.add_command(campaigns_group)
main.add_command(why_command)
main.add_command(distribute_command)
main.add_command(events_group)
main.add_command(dkim_group)
main.add_command(segments_group)
main.add_command(render_command)
main.add_command(functions_group)
main.add_command(metrics_group)
main.add_command(streams_group)
main.add_command(import_command)
main.add_command(export_command)
main.add_command(preferences_group)
main.add_command(suppression_group)
main.add_command(tracking_group)

if __name__ == "__main__":
    main()
