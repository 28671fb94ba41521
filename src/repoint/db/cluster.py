"""A Citus cluster: which tables lie on all its nodes, and how they get there.

By endpoint_id lie the tables with a row for each endpoint: co-located, so that a node joins its own part of them.
Everything else stays on the coordinator: settings, the work that waits, the event log (whose readers go by the
coordinator's transactions) and the metrics counted from it.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import psycopg
from psycopg.rows import TupleRow

from repoint.db.migrate import LOCK

DISTRIBUTED: Final = ("endpoint", "message", "segment_member", "campaign_drop")
# Without an endpoint_id of their own: copied to every node, so that any table may be joined with them.
REPLICATED: Final = ("segment_user",)
SHARDS: Final = 32


class ClusterError(Exception):
    """The database is no cluster, or cannot be made one."""


def distribute(dsn: str, *, shards: int = SHARDS) -> Iterator[str]:
    """Spread the tables over the nodes; yields the name of each once it is. What has been done before is left alone.

    Nothing may write to the database meanwhile. A table is done as a whole or not at all: it can be run again.

    Raises:
        ClusterError: when there is no Citus in the database, or the cluster has no worker.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        _check(connection)
        done = {name for (name,) in connection.execute("SELECT logicalrelid::text FROM pg_dist_partition")}
        for table in _missing(DISTRIBUTED, done):
            if table == DISTRIBUTED[0]:
                connection.execute(
                    "SELECT create_distributed_table(%s, 'endpoint_id', shard_count => %s)", [table, shards]
                )
            else:
                connection.execute(
                    "SELECT create_distributed_table(%s, 'endpoint_id', colocate_with => %s)", [table, DISTRIBUTED[0]]
                )
            connection.execute("SELECT truncate_local_data_after_distributing_table(%s)", [table])
            yield table
        for table in _missing(REPLICATED, done):
            connection.execute("SELECT create_reference_table(%s)", [table])
            connection.execute("SELECT truncate_local_data_after_distributing_table(%s)", [table])
            yield table


def _missing(tables: Sequence[str], done: set[str]) -> list[str]:
    return [table for table in tables if table not in done]


def _check(connection: psycopg.Connection[TupleRow]) -> None:
    if not connection.execute("SELECT FROM pg_extension WHERE extname = 'citus'").fetchall():
        raise ClusterError("there is no Citus in this database: CREATE EXTENSION citus, on every node")
    if not connection.execute("SELECT FROM citus_get_active_worker_nodes()").fetchall():
        raise ClusterError("the cluster has no worker yet: SELECT citus_add_node(…)")
    if connection.execute("SELECT FROM pg_dist_node WHERE groupid = 0").fetchall() == []:
        raise ClusterError("the coordinator is no part of the cluster yet: SELECT citus_set_coordinator_host(…)")
