"""The processes of an installation, and the CPU time they take: Repoint's own and PostgreSQL's."""

import contextlib
from pathlib import Path

import psutil


def heads() -> tuple[psutil.Process, psutil.Process]:
    """The supervisor of the server that runs, and the first process of its database, which is nobody's child."""
    supervisor = next(
        process
        for process in psutil.Process().children(recursive=True)
        if "serve" in process.cmdline() and process.children()
    )
    folder = supervisor.cmdline()[supervisor.cmdline().index("--data-dir") + 1]
    return supervisor, postmaster(Path(folder))


def postmaster(data_dir: Path) -> psutil.Process:
    """The first process of a data directory's database."""
    return psutil.Process(int((data_dir / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0]))


def family(*heads: psutil.Process) -> list[psutil.Process]:
    """These and their descendants."""
    return [one for head in heads for one in (head, *head.children(recursive=True))]


def cpu_seconds(*heads: psutil.Process) -> float:
    """What these have taken since they started, with their descendants, those that have ended among them."""
    ended = sum(sum(head.cpu_times()[2:4]) for head in heads)
    seconds = float(ended)
    for one in family(*heads):
        with contextlib.suppress(psutil.NoSuchProcess):
            seconds += sum(one.cpu_times()[:2])
    return seconds
