"""`repoint serve` and `repoint work`: which processes run, and under whose care."""

import contextlib
import socket
import sys
from collections.abc import Iterator

import uvloop

from repoint.config import Settings, http_url, reachable
from repoint.main.api import api_process
from repoint.main.checking import check
from repoint.main.installation import CannotOpenError, Installation
from repoint.main.workers import bounce_process, worker_process
from repoint.metrics import prepare_metrics, shown_metrics
from repoint.processes import Process, Supervisor, live, settle_garbage
from repoint.resources import keys
from repoint.sealing import SealError


class PortError(CannotOpenError):
    """A server cannot listen where it is to."""


def serve(settings: Settings) -> int:
    """`repoint serve`: the API and the workers, until told to stop; returns the exit status.

    Raises:
        SettingError: when it cannot do what it is set to, and
        PortError: when it cannot listen where it is to; nothing has been opened or made then.
    """
    check(settings)
    if settings.bounce_domain and settings.bounce_smtp_port:
        _check_port(settings.bounce_smtp_host, settings.bounce_smtp_port)
    if settings.inbox_smtp_port and settings.workers and not settings.smtp_url:
        _check_port("127.0.0.1", settings.inbox_smtp_port)
    with reserve_port(settings.host, settings.port) as port, opened(settings) as installation:
        uvloop.run(_announce_first_key(installation))
        return _supervise(installation, port)


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Installation]:
    """The installation, if the key is the one that its secrets were sealed with.

    A server with another would refuse everybody, and a worker send mails whose links lead nowhere.

    Raises:
        CannotOpenError: when it is not, or the installation is not to be had.
    """
    installation = Installation.open(settings)
    try:
        try:
            uvloop.run(_check_key(installation))
        except SealError as error:
            raise CannotOpenError(str(error)) from None
        yield installation
    finally:
        installation.close()


async def _check_key(installation: Installation) -> None:
    async with installation.server() as server:
        await keys.check_seal(server.db, server.seal)


def _supervise(installation: Installation, port: int) -> int:
    """Run the API processes and the workers; returns when they have ended."""
    settings = installation.settings
    installation.settings = reachable(settings, port)
    api = [
        Process(f"api-{number}", lambda life: api_process(installation, port, life))
        for number in range(1, settings.api_processes + 1)
    ]
    workers = [
        Process(f"worker-{number}", lambda life: worker_process(installation, life), niceness=5)
        for number in range(1, settings.workers + 1)
    ]
    if settings.bounce_domain and settings.bounce_smtp_port:
        workers.append(Process("bounces", lambda life: bounce_process(installation, life)))
    watch = installation.embedded.revive if installation.embedded else None
    supervisor = Supervisor([*api, *workers], drain_seconds=settings.drain_seconds, watch=watch)
    with prepare_metrics(settings.data_dir / "metrics"):
        return supervisor.run(lambda: print(f"ready {http_url(settings.host, port)}", flush=True))  # noqa: T201


def work(settings: Settings) -> int:
    """`repoint work`: one worker in this process, for a server elsewhere on the same database.

    Raises:
        SettingError: when it cannot do what it is set to, and
        PortError: when it cannot show its metrics where it is to.
    """
    check(settings)
    shown: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if settings.metrics_port:
        _check_port(settings.host, settings.metrics_port)
        shown = shown_metrics(settings.host, settings.metrics_port)
    with opened(settings) as installation, prepare_metrics(settings.data_dir / "metrics"), shown:
        settle_garbage()
        uvloop.run(live(lambda life: worker_process(installation, life), lambda: print("ready", flush=True), None))  # noqa: T201
    return 0


async def _announce_first_key(installation: Installation) -> None:
    """Make the administrator's key at the first start, and show it, once."""
    async with installation.server() as server:
        key = await keys.create_first_key(server.db, server.seal, now=server.clock())
    if key is not None:
        lines = [
            "A first access key, for the administrator. It is shown this once:",
            f"  export AWS_ACCESS_KEY_ID={key.access_key_id}",
            f"  export AWS_SECRET_ACCESS_KEY={key.secret}",
        ]
        print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201


def _check_port(host: str, port: int) -> None:
    """Notice before anything is opened that a port is taken."""
    with reserve_port(host, port):
        pass


@contextlib.contextmanager
def reserve_port(host: str, port: int) -> Iterator[int]:
    """The port, held by this process so that API processes can come and go on it; 0 becomes a free one.

    Raises:
        PortError: when somebody else listens there, or nobody can.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe, socket.socket(family) as holder:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            if port:
                probe.bind((host, port))
                probe.close()
            holder.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PortError(f"cannot listen on {host}:{port}: {reason}") from None
        yield holder.getsockname()[1]
