"""SIGKILL to what a server is made of."""

import contextlib
import signal

import psutil


def postmaster(data_dir):
    """The number of the embedded PostgreSQL's first process, if there is one."""
    lock = data_dir / "postgres" / "postmaster.pid"
    return int(lock.read_text().split()[0]) if lock.exists() else None


def kill_all(server, *, with_database):
    """SIGKILL to the supervisor, its children and, if asked, every process of PostgreSQL, at once."""
    victims = [server.process, *psutil.Process(server.process.pid).children(recursive=True)]
    if with_database:
        first = psutil.Process(postmaster(server.data_dir))
        victims += [first, *first.children(recursive=True)]
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)
    server.process.wait()
