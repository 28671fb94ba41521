"""Rows held by the test's own connection, so that who wants to write them stops in the middle of its work."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import psycopg

from repoint.db.embedded import dsn_of
from tests.conftest import eventually


class Holder:
    """A transaction that holds rows until `release`."""

    def __init__(self, dsn):
        self._holding = psycopg.connect(dsn)
        self._watching = psycopg.connect(dsn, autocommit=True)

    def hold(self, query, parameters):
        """Lock what the query finds, which must be something."""
        assert self._holding.execute(query, parameters).fetchall()

    def hold_endpoint(self, app_id, endpoint_id):
        """Nobody writes this endpoint until `release`."""
        self.hold(
            "SELECT 1 FROM endpoint WHERE app_id = %s AND endpoint_id = %s FOR NO KEY UPDATE", [app_id, endpoint_id]
        )

    def wait_for_waiting(self):
        """Return once somebody waits for what is held; the process that does."""
        waiting = "%s = ANY(pg_blocking_pids(pid))"
        return eventually(lambda: self._ask(waiting, [self._holding.info.backend_pid]))[0][0]

    def disconnect(self, process):
        """End somebody's connection."""
        self._watching.execute("SELECT pg_terminate_backend(%s)", [process])

    def is_somebody_queued(self):
        """Whether a process waits for another's advisory lock."""
        return bool(self._ask("wait_event_type = 'Lock' AND wait_event = 'advisory'", []))

    def _ask(self, condition, parameters):
        query = f"SELECT pid FROM pg_stat_activity WHERE {condition}"
        return self._watching.execute(query, parameters).fetchall()

    def release(self):
        """Let them go on."""
        self._holding.commit()

    def close(self):
        """Release, and disconnect."""
        self._holding.close()
        self._watching.close()


@contextlib.contextmanager
def holding(server):
    """A Holder; whatever happens, it lets go in the end."""
    with contextlib.closing(Holder(dsn_of(server.data_dir))) as holder:
        yield holder


@contextlib.contextmanager
def others(holder):
    """A pool for requests that wait for what is held; released before they are waited for."""
    with ThreadPoolExecutor() as pool:
        try:
            yield pool
        finally:
            holder.release()
