"""The processes of an installation, and the CPU time they take: Repoint's own and PostgreSQL's."""

import contextlib
from pathlib import Path

import psutil

Processes = list[psutil.Process]


def processes() -> tuple[Processes, Processes]:
    """The supervisor and its children; the database they started (which is nobody's child) and its own."""
    supervisor = next(
        process
        for process in psutil.Process().children(recursive=True)
        if "serve" in process.cmdline() and process.children()
    )
    folder = supervisor.cmdline()[supervisor.cmdline().index("--data-dir") + 1]
    lock = Path(folder) / "postgres" / "postmaster.pid"
    database = psutil.Process(int(lock.read_text().split("\n", 1)[0]))
    return [supervisor, *supervisor.children(recursive=True)], [database, *database.children(recursive=True)]


def cpu_seconds(of: Processes) -> float:
    """What they have taken since they started."""
    return sum(sum(process.cpu_times()[:2]) for process in of if process.is_running())


def family_seconds(heads: Processes) -> float:
    """What these have taken since they started, with their descendants, those that have ended among them."""
    seconds = 0.0
    for head in heads:
        seconds += sum(head.cpu_times()[:4])
        for one in head.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                seconds += sum(one.cpu_times()[:2])
    return seconds
