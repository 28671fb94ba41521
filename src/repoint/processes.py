"""Several processes as one command: start them, start again what dies, stop them in order.

The children are forked after everything is imported, so they share its memory. Each holds the reading end of a pipe
whose writing end only the parent has: when the parent is killed, the children see the pipe end, and stop.
"""

import asyncio
import contextlib
import gc
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import uvloop

logger = logging.getLogger(__name__)

RESTART_SECONDS_MAX = 5.0
WATCH_SECONDS = 1.0
READINESS_SECONDS = 0.2
# A process that lived for so long did not fail to start: it is started again at once, however many died before it.
SETTLED_SECONDS = 60.0
# Requests make thousands of short-lived objects in no cycles; looking through the long-lived ones for garbage is rare.
GC_THRESHOLDS = (20_000, 50, 100)
SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM}


@dataclass(frozen=True, slots=True)
class Life:
    """What a child process knows of its supervisor: how to say it is ready, and when to stop."""

    ready: Callable[[], None]
    stopping: asyncio.Event


@dataclass(frozen=True, slots=True)
class Process:
    """A child to run: its name and its work, which ends when `Life.stopping` is set.

    `niceness` is how far it gives way to the others while there is not CPU enough for all.
    """

    name: str
    run: Callable[[Life], Awaitable[None]]
    niceness: int = 0


class Supervisor:
    """Runs the children until it is told to stop; calls `watch` every `WATCH_SECONDS`, which must not take long."""

    def __init__(
        self, processes: Sequence[Process], *, drain_seconds: float, watch: Callable[[], None] | None = None
    ) -> None:
        self._processes = processes
        self._watch = watch
        self._drain_seconds = drain_seconds
        self._running: dict[int, Process] = {}
        self._started: dict[str, float] = {}
        self._restarts: list[tuple[float, Process]] = []
        self._failures: dict[str, int] = {}
        self._lifeline = os.pipe()
        self._readiness = os.pipe()

    def run(self, on_ready: Callable[[], None]) -> int:
        """Start all, call `on_ready` when every one is, supervise; returns the exit status."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        gc.collect()
        gc.freeze()
        for process in self._processes:
            self._start(process)
        if not self._all_ready():
            self._stop(signal.SIGTERM)
            return 1
        on_ready()
        self._set_alarm()
        while True:
            received = signal.sigwait(SIGNALS)
            if received in (signal.SIGCHLD, signal.SIGALRM):
                if self._watch is not None and received == signal.SIGALRM:
                    self._watch()
                self._reap()
                self._restart_due()
                continue
            self._stop(signal.SIGTERM)
            return 0

    def _all_ready(self) -> bool:
        """Wait until each has said that it is ready; False when one has failed, or died without a word."""
        os.close(self._readiness[1])
        missing = len(self._processes)
        while missing:
            if select.select([self._readiness[0]], [], [], READINESS_SECONDS)[0]:
                if os.read(self._readiness[0], 1) != b"r":
                    return False
                missing -= 1
            elif dead := os.waitpid(-1, os.WNOHANG)[0]:
                process = self._running.pop(dead, None)
                if process is not None:
                    logger.error("%s died before it was ready", process.name)
                    return False
        return True

    def _start(self, process: Process) -> None:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = self._child(process)
            finally:
                os._exit(status)
        self._running[pid] = process
        self._started[process.name] = time.monotonic()

    def _child(self, process: Process) -> int:
        os.close(self._lifeline[1])
        for name in SIGNALS:
            signal.signal(name, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        gc.set_threshold(*GC_THRESHOLDS)
        os.nice(process.niceness)
        try:
            uvloop.run(live(process.run, self._say_ready, self._lifeline[0]))
        except Exception:
            logger.exception("%s failed", process.name)
            with contextlib.suppress(OSError):
                os.write(self._readiness[1], b"f")
            return 1
        finally:
            logging.shutdown()
            sys.stdout.flush()
        return 0

    def _say_ready(self) -> None:
        with contextlib.suppress(OSError):  # a child started again has nobody waiting for this
            os.write(self._readiness[1], b"r")

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            process = self._running.pop(pid, None)
            if process is None:
                continue  # the first process of a container is given orphans: PostgreSQL is one
            now = time.monotonic()
            has_settled = now - self._started[process.name] >= SETTLED_SECONDS
            failures = self._failures[process.name] = 1 if has_settled else self._failures.get(process.name, 0) + 1
            delay = min(RESTART_SECONDS_MAX, 0.1 * 2 ** min(failures, 8))
            logger.error("%s %s; starting again in %.1f s", process.name, how_it_ended(status), delay)
            self._restarts.append((now + delay, process))

    def _restart_due(self) -> None:
        now = time.monotonic()
        due = [process for at, process in self._restarts if at <= now]
        self._restarts = [(at, process) for at, process in self._restarts if at > now]
        for process in due:
            self._start(process)
        self._set_alarm()

    def _set_alarm(self) -> None:
        waits = [at - time.monotonic() for at, _ in self._restarts]
        if self._watch is not None:
            waits.append(WATCH_SECONDS)
        if waits:
            signal.setitimer(signal.ITIMER_REAL, max(0.01, min(waits)))

    def _stop(self, first: signal.Signals) -> None:
        """Ask all to finish, wait for them; kill what takes longer than it may."""
        for pid in self._running:
            os.kill(pid, first)
        deadline = time.monotonic() + self._drain_seconds
        while self._running and time.monotonic() < deadline:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid:
                self._running.pop(pid, None)
            else:
                time.sleep(0.02)
        for pid in self._running:
            logger.error("process %s did not stop in time: killed", pid)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def how_it_ended(status: int) -> str:
    """What a process's wait status says, in words: whoever was killed for want of memory did not end by itself."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def settle_garbage() -> None:
    """What is there by now stays: the collector need not look at it, and seldom at what comes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def live(run: Callable[[Life], Awaitable[None]], ready: Callable[[], None], lifeline: int | None) -> None:
    """Run one process's work until a signal, or the end of its supervisor, tells it to stop."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    if lifeline is not None:
        loop.add_reader(lifeline, _supervisor_gone, loop, lifeline, stopping)
    await run(Life(ready, stopping))


def _supervisor_gone(loop: asyncio.AbstractEventLoop, lifeline: int, stopping: asyncio.Event) -> None:
    loop.remove_reader(lifeline)
    stopping.set()
