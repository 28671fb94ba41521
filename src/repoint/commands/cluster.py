"""`repoint distribute`: a database on a Citus cluster, spread over its nodes."""

from typing import Any

import click

from repoint.db.cluster import SHARDS, ClusterError, distribute
from repoint.options import INSTALLATION, ask, settings_options
from repoint.resources.call import Server


@click.command("distribute")
@click.option(
    "--shards",
    type=click.IntRange(1, 1024),
    default=SHARDS,
    show_default=True,
    help="Parts of a table: as many as the nodes you may have one day, several times over.",
)
@settings_options(INSTALLATION)
def distribute_command(*, shards: int, **given: Any) -> None:
    """Spread endpoints, messages and segments' members over the nodes of a Citus cluster.

    Stop all servers and workers first. Run it again after an upgrade: a new table may want spreading, too.
    """

    async def tell(server: Server) -> list[str]:
        return list(distribute(server.db.dsn, shards=shards))

    try:
        done: list[str] = ask(given, tell)
    except ClusterError as error:
        raise click.ClickException(str(error)) from None
    for table in done:
        click.echo(f"{table} is on all nodes")
    if not done:
        click.echo("everything is where it belongs")
