"""`repoint render`: what a template makes of an endpoint, before anybody gets it."""

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from repoint.delivery.render import RenderingError, Templates, render_parts, variables_of
from repoint.options import INSTALLATION, ask, settings_options
from repoint.resources.call import Server
from repoint.resources.endpoints import store as endpoints
from repoint.resources.messages.content import Content, body_part, resolve
from repoint.resources.templates import store as templates
from repoint.wire.exceptions import BadRequestException

PARTS = {"html": "HtmlPart", "text": "TextPart", "subject": "Subject", "title": "Title", "body": "Body"}
CHANNELS = {"email": "EMAIL", "sms": "SMS", "voice": "VOICE", "push": "GCM"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be rendered, and for whom."""

    name: str | None
    file: Path | None
    template_type: str
    version: str
    region: str
    service: str
    app_id: str | None
    endpoint_id: str | None
    context: Path | None
    values: tuple[str, ...]

    @property
    def channel_type(self) -> str:
        """The channel whose texts are chosen."""
        return self.service.upper() if self.template_type == "push" else CHANNELS[self.template_type]


@click.command("render")
@click.argument("name", metavar="[TEMPLATE]", required=False)
@click.option(
    "--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file, not a stored template."
)
@click.option("--type", "template_type", type=click.Choice(list(CHANNELS)), default="email", show_default=True)
@click.option("--version", default="active", show_default=True, help="A version's number, latest, or active.")
@click.option(
    "--region", default="us-east-1", show_default=True, envvar="AWS_DEFAULT_REGION", help="Where it is stored."
)
@click.option(
    "--service", type=click.Choice(["gcm", "apns", "adm", "baidu"]), default="gcm", help="Of a push template."
)
@click.option("--app", "app_id", help="The application of --endpoint.")
@click.option("--endpoint", "endpoint_id", help="Render for this endpoint.")
@click.option("--context", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A JSON file of values.")
@click.option("--set", "values", multiple=True, metavar="NAME=VALUE", help="A substitution; may be repeated.")
@click.option("--part", type=click.Choice(list(PARTS)), help="Only this part, and nothing around it.")
@click.option("--format", "shape", type=click.Choice(["text", "html", "json"]), default="text", show_default=True)
@settings_options(INSTALLATION)
def render_command(*, part: str | None, shape: str, **given: Any) -> None:
    """Show what a template says, for an endpoint or for values of your own.

    \b
    A stored template, for an endpoint:  repoint render welcome --app APP --endpoint e1
    Its HTML, to look at in a browser:   repoint render welcome --app APP --endpoint e1 --format html > welcome.html
    An SMS template, with one value:     repoint render code --type sms --set Code=1234
    A file that is not stored yet:       repoint render --file welcome.html --context ann.json

    \b
    The JSON of --context is what a template names, as an endpoint has it:
      {"Address": "ann@example.com", "User": {"UserAttributes": {"First": ["Ann"]}}}
    """  # noqa: D301 - \b is where click keeps the lines
    wanted = Wanted(**{name: given.pop(name) for name in Wanted.__slots__})
    _check(wanted)
    try:
        parts = _render_file(wanted) if _needs_no_server(wanted) else ask(given, lambda server: _render(wanted, server))
    except (RenderingError, BadRequestException) as error:
        raise click.ClickException(str(error)) from None
    _show(parts, part, shape)


def _check(wanted: Wanted) -> None:
    if (wanted.name is None) == (wanted.file is None):
        raise click.UsageError("give the name of a stored template, or --file")
    if wanted.endpoint_id and not wanted.app_id:
        raise click.UsageError("--endpoint needs --app: an endpoint belongs to an application")
    if wanted.endpoint_id and wanted.context:
        raise click.UsageError("give --endpoint or --context, not both")


def _needs_no_server(wanted: Wanted) -> bool:
    return wanted.name is None and wanted.endpoint_id is None


def _render_file(wanted: Wanted) -> dict[str, str]:
    return _rendered(wanted, _file_content(wanted), _context(wanted))


async def _render(wanted: Wanted, server: Server) -> dict[str, str]:
    content, variables = await asyncio.gather(_content(wanted, server), _variables(wanted, server))
    return _rendered(wanted, content, variables)


def _rendered(wanted: Wanted, content: Content, variables: dict[str, Any]) -> dict[str, str]:
    content = replace(content, substitutions=_substitutions(wanted))
    return render_parts(Templates(), content, variables, now=datetime.now(UTC), missing_fails=False)


def _file_content(wanted: Wanted) -> Content:
    assert wanted.file is not None
    try:
        source = wanted.file.read_text()
    except UnicodeDecodeError:
        raise click.ClickException(f"{wanted.file} is not UTF-8") from None
    return Content({body_part(source) if wanted.template_type == "email" else "Body": source}, {}, {}, {})


async def _content(wanted: Wanted, server: Server) -> Content:
    """The template's texts, as its channel would choose them."""
    if wanted.name is None:
        return _file_content(wanted)
    version = None if wanted.version == "active" else wanted.version
    key = (wanted.region, wanted.template_type.upper(), wanted.name, version)
    stored = await templates.load_template(server.db, key)
    if stored is None:
        which = "" if version is None else f", version {version},"
        raise click.ClickException(
            f"there is no {wanted.template_type} template {wanted.name}{which} in {wanted.region}"
        )
    return resolve(wanted.channel_type, {"Message": {}}, {}, stored.document)


async def _variables(wanted: Wanted, server: Server) -> dict[str, Any]:
    if wanted.endpoint_id is None:
        return _context(wanted)
    assert wanted.app_id is not None
    endpoint = await endpoints.get(server.db, wanted.app_id, wanted.endpoint_id)
    if endpoint is None:
        raise click.ClickException(f"there is no endpoint {wanted.endpoint_id} in application {wanted.app_id}")
    return variables_of(endpoint, wanted.app_id)


def _context(wanted: Wanted) -> dict[str, Any]:
    if wanted.context is None:
        return variables_of(None, wanted.app_id or "")
    try:
        return msgspec.json.decode(wanted.context.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise click.ClickException(f"{wanted.context}: not a JSON object: {error}") from None


def _substitutions(wanted: Wanted) -> dict[str, list[str]]:
    found = {}
    for pair in wanted.values:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise click.UsageError(f"--set {pair}: write NAME=VALUE")
        found[name] = [value]
    return found


def _show(parts: dict[str, str], part: str | None, shape: str) -> None:
    if shape == "html" and part is None:
        part = "html"
    if part is not None:
        if PARTS[part] not in parts:
            raise click.ClickException(f"the template has no {part}: it has {', '.join(sorted(parts))}")
        parts = {PARTS[part]: parts[PARTS[part]]}
    if shape == "json":
        click.echo(json.dumps(parts, ensure_ascii=False, indent=2))
    elif part is not None:
        click.echo(next(iter(parts.values())))
    else:
        click.echo("\n\n".join(f"--- {name}\n{text}" for name, text in parts.items()))
