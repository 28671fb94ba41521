"""`repoint serve` and `repoint work`: the processes that answer and deliver."""

import sys
from typing import Any

import click

from repoint.main.serving import serve, work
from repoint.options import ALL, settings_of, settings_options

# What a `repoint work` has no use for.
OF_THE_SERVER = (
    *("port", "api_processes", "idle_seconds", "workers", "rate_limits", "rate_limit", "trusted_proxies"),
    *("bounce_smtp_port", "bounce_smtp_host", "sns_trusted_url", "inbox", "inbox_hosts"),
)


@click.command("serve")
@settings_options(name for name in ALL if name != "metrics_port")
def serve_command(**given: Any) -> None:
    """Answer the API and deliver messages, in one command.

    Prints `ready http://HOST:PORT` when it answers. The first start makes an administrator's access key and shows it,
    once, on standard error. Stop it with SIGTERM or Ctrl-C: it finishes what it has begun.

    \b
    More than one machine: give all the same --database-url and --secret-key, run `repoint serve --workers 0` where
    the API is wanted and `repoint work` where delivery is.
    """  # noqa: D301 - \b is where click keeps the lines
    sys.exit(serve(settings_of(given)))


@click.command("work")
@settings_options(name for name in ALL if name not in OF_THE_SERVER)
def work_command(**given: Any) -> None:
    """Deliver messages for servers elsewhere that share the database.

    Prints `ready` when it delivers. Stop it with SIGTERM or Ctrl-C: it finishes what it has begun. With --metrics-port
    it answers GET /metrics there.
    """
    sys.exit(work(settings_of(given)))
