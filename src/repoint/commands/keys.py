"""`repoint keys …`: who may sign requests, and what each may do."""

import dataclasses
import json
from datetime import timedelta
from typing import Any

import click

from repoint.gateway.policy import PolicyError, parse_policy
from repoint.options import INSTALLATION, ask, run, settings_options
from repoint.resources import keys
from repoint.resources.call import Server


@click.group("keys")
def keys_group() -> None:
    """Access keys: who may sign requests, and what each may do.

    They work on a running server's database as well as on a stopped one's.
    """


@keys_group.command("create")
@click.option("--name", required=True, help="Who or what will use the key.")
@click.option(
    "--policy",
    type=click.File("r"),
    help="A file with an IAM policy (JSON) on mobiletargeting:* actions; without it the key may do everything.",
)
@click.option("--expires-in-days", type=click.IntRange(1), help="The key stops working after so many days.")
@click.option("--json", "as_json", is_flag=True, help="Print {AccessKeyId, SecretAccessKey}.")
@settings_options(INSTALLATION)
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
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@settings_options(INSTALLATION)
def keys_list(*, as_json: bool, **given: Any) -> None:
    """List access keys: id, name, when made, when last used."""
    found: list[keys.StoredKey] = ask(given, lambda server: keys.list_keys(server.db))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(key) for key in found], default=str, indent=2))
        return
    for key in found:
        used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
        expiry = f"  expires {key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else ""
        click.echo(f"{key.access_key_id}  {key.name:<24}  made {key.created_at:%Y-%m-%d}  used {used}{expiry}")


@keys_group.command("rotate")
@click.argument("access_key_id")
@click.option("--old-works-hours", type=click.FloatRange(0), default=24, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print {AccessKeyId, SecretAccessKey}.")
@settings_options(INSTALLATION)
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

    new = ask(given, rotate)
    if new is None:
        raise click.ClickException(f"there is no access key {access_key_id}")
    _show_new_key(new, as_json=as_json)


@keys_group.command("revoke")
@click.argument("access_key_id")
@settings_options(INSTALLATION)
def keys_revoke(*, access_key_id: str, **given: Any) -> None:
    """Delete an access key: requests signed with it are refused from now on."""
    if not ask(given, lambda server: keys.revoke_key(server.db, access_key_id)):
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
