"""`repoint dkim …`: the keys that sign email."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import click

from repoint.options import INSTALLATION, ask, run, settings_options
from repoint.resources import dkim
from repoint.resources.call import Server

SELECTORS = {"rsa": "repoint", "ed25519": "repoint-ed25519"}


@click.group("dkim")
def dkim_group() -> None:
    """DKIM keys: email from a domain that has one is signed with it."""


@dkim_group.command("create")
@click.argument("domain")
@click.option("--algorithm", type=click.Choice(dkim.ALGORITHMS), default="rsa", show_default=True)
@click.option("--selector", help="The key's name in the DNS.  [default: repoint, or repoint-ed25519]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@settings_options(INSTALLATION)
def dkim_create(*, domain: str, algorithm: str, selector: str | None, as_json: bool, **given: Any) -> None:
    """Make a key for a domain, and print the record that belongs into its DNS.

    Publish the record first where mail is already flowing: everything sent from now on is signed.
    """

    async def create(server: Server) -> dkim.DkimKey:
        name = selector or SELECTORS[algorithm]
        return await dkim.create_key(
            server.db, server.seal, domain=domain, selector=name, algorithm=algorithm, now=server.clock()
        )

    try:
        key = run(given, create)
    except dkim.DkimKeyError as error:
        raise click.ClickException(str(error)) from None
    _show([key], as_json=as_json)


@dkim_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@settings_options(INSTALLATION)
def dkim_list(*, as_json: bool, **given: Any) -> None:
    """List all keys: domain, selector, algorithm, when made."""
    found: list[dkim.DkimKey] = ask(given, lambda server: dkim.list_keys(server.db))
    if as_json:
        _show(found, as_json=True)
        return
    for key in found:
        click.echo(f"{key.domain:<32}  {key.selector:<20}  {key.algorithm:<8}  made {key.created_at:%Y-%m-%d}")


@dkim_group.command("show")
@click.argument("domain")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@settings_options(INSTALLATION)
def dkim_show(*, domain: str, as_json: bool, **given: Any) -> None:
    """Print a domain's DNS records again."""
    found = ask(given, lambda server: dkim.list_keys(server.db, _domain(domain)))
    if not found:
        raise click.ClickException(f"there is no DKIM key of {domain}")
    _show(found, as_json=as_json)


@dkim_group.command("delete")
@click.argument("domain")
@click.option("--selector", help="Only this key; without it, all of the domain's.")
@settings_options(INSTALLATION)
def dkim_delete(*, domain: str, selector: str | None, **given: Any) -> None:
    """Forget a domain's keys: its email is not signed with them any more."""
    count = ask(given, lambda server: dkim.delete_keys(server.db, _domain(domain), selector))
    if not count:
        raise click.ClickException(f"there is no such DKIM key of {domain}")
    click.echo(f"{count} deleted")


def _domain(domain: str) -> str:
    try:
        return dkim.normal_domain(domain)
    except dkim.DkimKeyError as error:
        raise click.ClickException(str(error)) from None


def _show(keys: Sequence[dkim.DkimKey], *, as_json: bool) -> None:
    if as_json:
        documents = [{**dataclasses.asdict(key), "dns_name": key.dns_name} for key in keys]
        click.echo(json.dumps(documents, default=str, indent=2))
        return
    for key in keys:
        click.echo(f"{key.dns_name}. TXT ( {' '.join(_quoted(key.dns_record))} )")


def _quoted(record: str) -> list[str]:
    """A TXT record's strings hold 255 octets each (RFC 1035 section 3.3)."""
    return [f'"{record[start : start + 255]}"' for start in range(0, len(record), 255)]
