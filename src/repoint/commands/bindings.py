"""`repoint bindings …` and `repoint functions …`: what stands behind an ARN."""

import json
import os
from typing import Any

import click

from repoint.bindings import declared, store
from repoint.bindings.functions import FunctionError, Functions
from repoint.config import http_url
from repoint.options import INSTALLATION, ask, run, settings_options
from repoint.resources.call import Server


@click.group("bindings")
def bindings_group() -> None:
    """What stands behind the ARNs of functions, streams and topics.

    \b
    aws                        the service the ARN names (AWS_ENDPOINT_URL_* are honoured)
    https://host/path          an HTTP endpoint
    python:/path/handler.py    a local file with lambda_handler(event, context); #name for another name
    file:/path/events.jsonl    a file of JSON lines (streams)
    kafka://host:port/topic    a Kafka topic (streams); kafkas:// is over TLS
    """  # noqa: D301 - \b is where click keeps the lines


@bindings_group.command("set")
@click.argument("arn")
@click.argument("target")
@click.option("--secret", default="", envvar="REPOINT_BINDING_SECRET", help="Signs what a URL is sent, by HMAC-SHA256.")
@settings_options(INSTALLATION)
def bindings_set(*, arn: str, target: str, secret: str, **given: Any) -> None:
    """Bind an ARN to a target. Running servers use it from now on."""
    try:
        binding = store.check(arn, target, secret)
    except store.BindingError as error:
        raise click.ClickException(str(error)) from None
    run(given, lambda server: store.put(server.db, server.seal, binding, server.clock()))
    click.echo(f"{arn} is bound to {binding.shown_target}")


@bindings_group.command("apply")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--prune", is_flag=True, help="Unbind what the file does not name.")
@settings_options(INSTALLATION)
def bindings_apply(*, file: Any, prune: bool, **given: Any) -> None:
    """Bind what a TOML file says, all or nothing; what is bound so already is left alone.

    \b
    [[binding]]
    arn = "arn:aws:kinesis:us-east-1:123456789012:stream/events"
    target = "kafka://user:${KAFKA_PASSWORD}@kafka.example.com:9092/events"
    """  # noqa: D301 - \b is where click keeps the lines
    try:
        wanted = declared.parse(file.read(), os.environ)
    except (store.BindingError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file.name}: {error}") from None
    changes: store.Changes = run(
        given, lambda server: store.apply(server.db, server.seal, wanted, server.clock(), prune=prune)
    )
    for arns, what in ((changes.added, "bound"), (changes.changed, "bound anew"), (changes.removed, "unbound")):
        for arn in arns:
            click.echo(f"{arn}  {what}")
    if not (changes.added or changes.changed or changes.removed):
        click.echo("nothing to change")


@bindings_group.command("export")
@click.option("--with-secrets", is_flag=True, help="Passwords and secrets as they are, not variables for them.")
@settings_options(INSTALLATION)
def bindings_export(*, with_secrets: bool, **given: Any) -> None:
    """Print all bindings as a file for `apply`; secrets are variables: those they came from, or new ones."""
    found: list[store.Binding] = ask(given, lambda server: store.list_all(server.db, server.seal))
    click.echo(declared.write(found, with_secrets=with_secrets), nl=False)


@bindings_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@settings_options(INSTALLATION)
def bindings_list(*, as_json: bool, **given: Any) -> None:
    """List bindings; passwords and secrets are not shown."""
    found: list[store.Binding] = ask(given, lambda server: store.list_all(server.db, server.seal))
    if as_json:
        click.echo(json.dumps([{"arn": one.arn, "target": one.shown_target} for one in found], indent=2))
        return
    for one in found:
        click.echo(f"{one.arn}  {one.shown_target}{'  signed' if one.secret else ''}")


@bindings_group.command("delete")
@click.argument("arn")
@settings_options(INSTALLATION)
def bindings_delete(*, arn: str, **given: Any) -> None:
    """Unbind an ARN."""
    if not ask(given, lambda server: store.delete(server.db, arn)):
        raise click.ClickException(f"nothing is bound to {arn}")
    click.echo(f"{arn} is not bound any more")


@click.group("functions")
def functions_group() -> None:
    """The functions that bindings name."""


@functions_group.command("test")
@click.argument("arn")
@click.argument("payload", type=click.File("r", encoding="utf-8"), default="-")
@settings_options((*INSTALLATION, "host", "port"))
def functions_test(*, arn: str, payload: Any, **given: Any) -> None:
    """Call a function as Repoint would, with a JSON payload from a file or standard input; show its answer.

    What a local function prints and logs is shown on standard error. The host and port are those of the server whose
    API it calls.
    """
    try:
        document = json.load(payload)
    except ValueError as error:
        raise click.ClickException(f"the payload is not JSON: {error}") from None

    api_url = http_url(given["host"], given["port"]) if given["port"] else ""

    async def invoke(server: Server) -> Any:
        functions = Functions(server.db, server.seal, server.clock, api_url=api_url)
        try:
            return await functions.invoke(arn, document)
        finally:
            await functions.close()

    try:
        answer = ask(given, invoke)
    except FunctionError as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(answer, indent=2))
