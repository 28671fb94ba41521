"""`repoint metrics …`: the metrics behind the KPIs."""

from typing import Any

import click

from repoint.options import INSTALLATION, run, settings_options
from repoint.resources.kpis.rollup import rebuild


@click.group("metrics")
def metrics_group() -> None:
    """The metrics that the KPI operations answer from. Workers keep them; the log has all it takes to rebuild them."""


@metrics_group.command("rebuild")
@settings_options(INSTALLATION)
def metrics_rebuild(**given: Any) -> None:
    """Forget the metrics and count the whole log again. Servers may go on meanwhile; KPIs are low until it is done."""
    count = run(given, lambda server: rebuild(server.db))
    click.echo(f"counted {count} events")
