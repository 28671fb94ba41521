"""`repoint tracking …` and `repoint preferences …`: how an application's mail is tracked and unsubscribed from."""

import json
import tomllib
from typing import Any

import click
import msgspec

from repoint.options import INSTALLATION, ask, settings_options
from repoint.resources.apps import load_app
from repoint.resources.call import Server
from repoint.resources.tracking import Field, Tracking, TrackingError, change_tracking, load_tracking


@click.group("tracking")
def tracking_group() -> None:
    """Opens, clicks and unsubscribing: what an application's mail has in it."""


@tracking_group.command("set")
@click.option("--app", required=True, help="The application's id.")
@click.option(
    "--domain", help="Where its links lead, such as https://click.example.com; '' for the server's own address."
)
@click.option("--opens/--no-opens", default=None, help="A pixel in HTML mail.")
@click.option("--clicks/--no-clicks", default=None, help="Links of HTML mail lead over the server.")
@click.option(
    "--list-unsubscribe",
    type=click.Choice(["campaigns", "always", "never"]),
    help="Which mail to endpoints has one-click unsubscribe headers.",
)
@settings_options(INSTALLATION)
def tracking_set(*, app: str, **given: Any) -> None:
    """Change an application's tracking; what is not given stays as it is."""
    names = ("domain", "opens", "clicks", "list_unsubscribe")
    changes = {name: given.pop(name) for name in names}
    _show(_change(given, app, {name: value for name, value in changes.items() if value is not None}))


@tracking_group.command("show")
@click.option("--app", required=True, help="The application's id.")
@settings_options(INSTALLATION)
def tracking_show(*, app: str, **given: Any) -> None:
    """An application's tracking and preference page, as JSON."""

    async def read(server: Server) -> Tracking | None:
        await server.db.settle()
        return await load_tracking(server.db, app) if await load_app(server.db, app) else None

    found: Tracking | None = ask(given, read)
    if found is None:
        raise click.ClickException(f"there is no application {app}")
    _show(found)


@click.group("preferences")
def preferences_group() -> None:
    """The preference page: which attributes recipients see and change."""


@preferences_group.command("set")
@click.option("--app", required=True, help="The application's id.")
@click.option("--title", help="The page's title.")
@click.option(
    "--field", "fields", multiple=True, metavar="ATTRIBUTE=LABEL", help="A checkbox: Subscribed, Unsubscribed."
)
@click.option("--file", type=click.File("rb"), help="A TOML file with a title and [[fields]] of every kind.")
@settings_options(INSTALLATION)
def preferences_set(*, app: str, title: str | None, fields: tuple[str, ...], file: Any, **given: Any) -> None:
    """Say what the page shows; the fields given replace those there were.

    \b
    Example: repoint preferences set --app APP --title "What may we send you?" \
               --field "EmailPreference_DailyDeals=Daily deals" --field "EmailPreference_News=Our newsletter"
    """  # noqa: D301 - \b is where click keeps the lines
    changes: dict[str, Any] = _read(file) if file else {}
    if title is not None:
        changes["title"] = title
    if fields:
        changes["fields"] = [msgspec.to_builtins(_field(text)) for text in fields]
    _show(_change(given, app, changes))


@preferences_group.command("clear")
@click.option("--app", required=True, help="The application's id.")
@settings_options(INSTALLATION)
def preferences_clear(*, app: str, **given: Any) -> None:
    """Show nothing but the choice to stop all messages."""
    _show(_change(given, app, {"title": "", "fields": []}))


def _field(text: str) -> Field:
    attribute, equals, label = text.partition("=")
    if not equals:
        raise click.UsageError(f"--field: ATTRIBUTE=LABEL, not {text!r}")
    return Field(attribute=attribute.strip(), label=label.strip())


def _read(file: Any) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read().decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file.name}: {error}") from None
    unknown = sorted(document.keys() - {"title", "fields"})
    if unknown:
        raise click.ClickException(f"{file.name}: no such setting: {', '.join(unknown)}")
    return document


def _change(given: dict[str, Any], app: str, changes: dict[str, Any]) -> Tracking:
    async def change(server: Server) -> Tracking:
        return await change_tracking(server.db, app, changes, server.clock())

    try:
        changed: Tracking = ask(given, change)
    except TrackingError as error:
        raise click.ClickException(str(error)) from None
    return changed


def _show(settings: Tracking) -> None:
    click.echo(json.dumps(msgspec.to_builtins(settings), indent=2))
