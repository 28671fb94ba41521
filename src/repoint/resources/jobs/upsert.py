"""A chunk's rows into the endpoint table, set by set, by the rules of UpdateEndpoint.

What a chunk's transaction does, in this order: the rows that are certainly fine stand in `import_item`; new endpoints
are inserted and known ones merged; then, under one lock for the application's imports, addresses are taken from their
former holders and users' attributes are shared. Only there a chunk looks at other endpoints, so it sees what another
import committed meanwhile. Rows these sets cannot express (an Id twice in a chunk, a full user, an endpoint that wakes
up at its old address …) are left over, for `endpoints.merge` to do one by one.

No statement here compares an endpoint's app_id with a constant: of an application that is newer than the table's
statistics PostgreSQL would expect no row at all, and read all its endpoints for each row of the chunk. It is a column
of import_item to join with, or `(SELECT …)`, which the planner knows nothing of.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg import sql

from repoint.db import Connection
from repoint.resources.endpoints.write import ENDPOINT_BYTES_MAX, ENDPOINTS_PER_USER_MAX

# Rows whose jsonb is smaller than this are within ENDPOINT_BYTES_MAX as text, for certain. Compressed values are large,
# whatever they take up.
SUSPICIOUS_BYTES = 6000
ROUNDS_MAX = 3
RELATIONS_MAX = 8
SAMPLE_ROWS = 32


@dataclass(slots=True)
class Keys:
    """What rows have in common when the order in which they are merged matters."""

    endpoint_ids: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    user_ids: set[str] = field(default_factory=set)

    def add(self, endpoint_id: str, address: str | None, user_id: str | None) -> None:
        """A row's keys."""
        self.endpoint_ids.add(endpoint_id)
        if address is not None:
            self.addresses.add(address)
        if user_id is not None:
            self.user_ids.add(user_id)


@dataclass(slots=True)
class Upsert:
    """What is to be done with the rows in import_item, and the lines that are left over from it.

    `slow` are the keys of the chunk's rows that are merged one by one: what shares any of them is, too, for its order.
    """

    app_id: str
    request_id: str
    now: datetime
    slow: Keys = field(default_factory=Keys)
    left: set[int] = field(default_factory=set)
    suspicious: int = 0


async def create_items(connection: Connection, app_id: str) -> None:
    """The table of rows that are certainly fine; NULL is "not given"."""
    await connection.execute(
        sql.SQL("""CREATE TEMP TABLE import_item (
               app_id text DEFAULT {}, line int, endpoint_id text, given_id text, has_id boolean, removes boolean,
               channel_type text, address text, is_active boolean DEFAULT true, is_opted_out boolean,
               effective_at timestamptz, user_id text, attributes jsonb, metrics jsonb, demographic jsonb,
               location jsonb, user_attributes jsonb
           ) ON COMMIT DROP""").format(sql.Literal(app_id))
    )


async def upsert(connection: Connection, wanted: Upsert) -> None:
    """Merge import_item into the endpoints, within the caller's transaction; what remains of it has been written."""
    await _leave_related(connection, wanted, await _repeated_ids(connection))
    for _ in range(ROUNDS_MAX):
        wanted.suspicious = 0
        await connection.execute("SAVEPOINT attempt")
        await _keep_last_holders(connection)
        hard = await _write(connection, wanted) or await _oversized(connection, wanted)
        if not hard:
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"import/{wanted.app_id}"]
            )
            full, differing = await _unsettled_users(connection, wanted)
            hard = await _lines_of_users(connection, full)
            if not hard:
                await _take_addresses(connection, wanted)
                if differing:
                    await _share_user_attributes(connection, wanted, differing)
                return
        await connection.execute("ROLLBACK TO SAVEPOINT attempt")
        await _leave_related(connection, wanted, hard)
    await _leave_all(connection, wanted)


async def _leave_related(connection: Connection, wanted: Upsert, lines: Sequence[int]) -> None:
    """Take lines out of the set, and all that are related to them or to the slow ones, however far."""
    await _leave(connection, wanted, lines)
    for _ in range(RELATIONS_MAX):
        if not wanted.slow.endpoint_ids:
            return
        cursor = await connection.execute(
            """SELECT line FROM import_item i
               LEFT JOIN endpoint e ON (i.address IS NULL OR i.user_id IS NULL)
                 AND e.app_id = i.app_id AND e.endpoint_id = i.endpoint_id
               WHERE i.endpoint_id = ANY(%s) OR coalesce(i.address, e.address) = ANY(%s)
                 OR coalesce(i.user_id, e.user_id) = ANY(%s)""",
            [list(wanted.slow.endpoint_ids), list(wanted.slow.addresses), list(wanted.slow.user_ids)],
        )
        related = [line for (line,) in await cursor.fetchall()]
        if not related:
            return
        await _leave(connection, wanted, related)
    await _leave_all(connection, wanted)


async def _leave(connection: Connection, wanted: Upsert, lines: Sequence[int]) -> None:
    """Take lines out of the set, remembering their keys: those they give, and those their endpoints have."""
    if not lines:
        return
    cursor = await connection.execute(
        """WITH gone AS (
               DELETE FROM import_item WHERE line = ANY(%s) RETURNING app_id, line, endpoint_id, address, user_id)
           SELECT gone.line, gone.endpoint_id, coalesce(gone.address, e.address), gone.user_id, e.user_id
           FROM gone LEFT JOIN endpoint e USING (app_id, endpoint_id)""",
        [list(lines)],
    )
    for line, endpoint_id, address, given_user, had_user in await cursor.fetchall():
        wanted.left.add(line)
        wanted.slow.add(endpoint_id, address, given_user)
        wanted.slow.add(endpoint_id, address, had_user)


async def _leave_all(connection: Connection, wanted: Upsert) -> None:
    cursor = await connection.execute("DELETE FROM import_item RETURNING line")
    wanted.left.update([line for (line,) in await cursor.fetchall()])


async def _repeated_ids(connection: Connection) -> list[int]:
    """Lines of endpoints that are there twice: they are merged twice, in order, not by one statement."""
    cursor = await connection.execute(
        """SELECT line FROM import_item WHERE endpoint_id = ANY(ARRAY(
               SELECT endpoint_id FROM import_item WHERE has_id GROUP BY endpoint_id HAVING count(*) > 1))"""
    )
    return [line for (line,) in await cursor.fetchall()]


async def _keep_last_holders(connection: Connection) -> None:
    """Of a chunk's rows with one address, the last holds it; the others' endpoints are inactive from the start."""
    cursor = await connection.execute(
        """SELECT channel_type, address FROM import_item WHERE address IS NOT NULL
           GROUP BY channel_type, address HAVING count(*) > 1"""
    )
    shared = [address for _, address in await cursor.fetchall()]
    if shared:
        cursor = await connection.execute(
            """SELECT line FROM (
                   SELECT line, lead(line) OVER (PARTITION BY channel_type, address ORDER BY line) AS later
                   FROM import_item WHERE address = ANY(%s)) AS one
               WHERE later IS NOT NULL""",
            [shared],
        )
        lines = [line for (line,) in await cursor.fetchall()]
        await connection.execute("UPDATE import_item SET is_active = false WHERE line = ANY(%s)", [lines])


async def _write(connection: Connection, wanted: Upsert) -> list[int]:
    """Insert the new, merge into the known; returns the lines that sets cannot express."""
    row = await (await connection.execute("SELECT count(*) FROM import_item")).fetchone()
    assert row is not None
    first, second = (_update, _insert) if await _are_known(connection) else (_insert, _update)
    written = await first(connection, wanted)
    if written < row[0]:
        written += await second(connection, wanted)
    if written == row[0]:
        return []
    cursor = await connection.execute(
        """SELECT line FROM import_item WHERE line NOT IN (
               SELECT i.line FROM import_item i JOIN endpoint e USING (app_id, endpoint_id) WHERE e.request_id = %s)""",
        [wanted.request_id],
    )
    return [line for (line,) in await cursor.fetchall()]


async def _are_known(connection: Connection) -> bool:
    """Whether most of these rows update, by a sample: only which statement goes first depends on it."""
    cursor = await connection.execute(
        """SELECT count(*) FROM (SELECT app_id, endpoint_id FROM import_item LIMIT %s) AS sample
           JOIN endpoint e USING (app_id, endpoint_id)""",
        [SAMPLE_ROWS],
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0]) > SAMPLE_ROWS // 2


async def _insert(connection: Connection, wanted: Upsert) -> int:
    """New endpoints."""
    return await _written(
        connection,
        wanted,
        sql.SQL(
            """INSERT INTO endpoint AS e (app_id, endpoint_id, given_id, revision, channel_type, address, is_active,
               is_opted_out, cohort_id, created_at, effective_at, request_id, user_id, attributes, metrics,
               demographic, location, user_attributes)
           SELECT app_id, endpoint_id, given_id, 1, channel_type, address, is_active, coalesce(is_opted_out, false),
               floor(random() * 100)::smallint, %s, effective_at, %s, user_id,
               CASE WHEN removes THEN jsonb_strip_nulls(coalesce(attributes, '{{}}'))
                    ELSE coalesce(attributes, '{{}}') END,
               CASE WHEN removes THEN jsonb_strip_nulls(coalesce(metrics, '{{}}')) ELSE coalesce(metrics, '{{}}') END,
               coalesce(demographic, '{{}}'), coalesce(location, '{{}}'),
               CASE WHEN removes THEN jsonb_strip_nulls(coalesce(user_attributes, '{{}}'))
                    ELSE coalesce(user_attributes, '{{}}') END
           FROM import_item WHERE address IS NOT NULL AND channel_type IS NOT NULL
           ON CONFLICT DO NOTHING
           RETURNING {is_suspicious} AS is_suspicious"""
        ),
        [wanted.now, wanted.request_id],
    )


async def _update(connection: Connection, wanted: Upsert) -> int:
    """Known endpoints: those rows whose effect on other endpoints can be told from what they say themselves."""
    return await _written(
        connection,
        wanted,
        sql.SQL(
            """UPDATE endpoint e SET
               revision = e.revision + 1,
               channel_type = coalesce(i.channel_type, e.channel_type),
               address = coalesce(i.address, e.address),
               is_active = i.is_active,
               is_opted_out = coalesce(i.is_opted_out, e.is_opted_out),
               effective_at = i.effective_at,
               request_id = %s,
               user_id = coalesce(i.user_id, e.user_id),
               attributes = CASE WHEN i.attributes IS NULL THEN e.attributes
                                 WHEN i.removes THEN jsonb_strip_nulls(e.attributes || i.attributes)
                                 ELSE e.attributes || i.attributes END,
               metrics = CASE WHEN i.metrics IS NULL THEN e.metrics
                              WHEN i.removes THEN jsonb_strip_nulls(e.metrics || i.metrics)
                              ELSE e.metrics || i.metrics END,
               demographic = CASE WHEN i.demographic IS NULL THEN e.demographic
                                  ELSE e.demographic || i.demographic END,
               location = CASE WHEN i.location IS NULL THEN e.location ELSE e.location || i.location END,
               user_attributes = CASE
                   WHEN i.user_id IS NOT NULL AND e.user_id IS NULL
                       THEN jsonb_strip_nulls(coalesce(i.user_attributes, '{{}}'))
                   WHEN i.user_attributes IS NULL THEN e.user_attributes
                   WHEN i.removes THEN jsonb_strip_nulls(e.user_attributes || i.user_attributes)
                   ELSE e.user_attributes || i.user_attributes END
           FROM import_item i
           WHERE e.app_id = i.app_id AND e.endpoint_id = i.endpoint_id AND e.request_id <> %s
             AND (i.address IS NOT NULL AND i.channel_type IS NOT NULL
                  OR i.address IS NULL AND (e.is_active OR e.address IS NULL)
                     AND (i.channel_type IS NULL OR i.channel_type = e.channel_type))
             AND CASE WHEN i.user_id IS NULL THEN i.user_attributes IS NULL OR e.user_id IS NULL
                      ELSE e.user_id IS NULL OR e.user_id = i.user_id END
           RETURNING {is_suspicious} AS is_suspicious"""
        ),
        [wanted.request_id, wanted.request_id],
    )


# An endpoint is too large; and what is quicker to tell of one, and true of all that are.
SIZE = sql.SQL(
    """octet_length(e.attributes::text) + octet_length(e.metrics::text) + octet_length(e.user_attributes::text)
       + octet_length(e.demographic::text) + octet_length(e.location::text) + coalesce(octet_length(e.address), 0)"""
)
IS_TOO_LARGE = sql.SQL("({} > {})").format(SIZE, sql.Literal(ENDPOINT_BYTES_MAX))
IS_SUSPICIOUS = sql.SQL(
    """(pg_column_size(e.attributes) + pg_column_size(e.user_attributes) + pg_column_size(e.metrics) > {}
        OR pg_column_compression(e.attributes) IS NOT NULL OR pg_column_compression(e.user_attributes) IS NOT NULL
        OR pg_column_compression(e.metrics) IS NOT NULL OR length(e.address) > 500)"""
).format(sql.Literal(SUSPICIOUS_BYTES))


async def _written(connection: Connection, wanted: Upsert, write: sql.SQL, parameters: Sequence[object]) -> int:
    """Run a statement that writes endpoints; returns how many it wrote, and takes note of those that may be too large.

    A cluster returns immutable expressions only, and cannot write inside a WITH.
    """
    if connection.is_cluster:
        cursor = await connection.execute(write.format(is_suspicious=IS_TOO_LARGE), parameters)
        found = [is_suspicious for (is_suspicious,) in await cursor.fetchall()]
        wanted.suspicious += sum(found)
        return len(found)
    cursor = await connection.execute(
        sql.SQL("WITH written AS ({}) SELECT count(*), count(*) FILTER (WHERE is_suspicious) FROM written").format(
            write.format(is_suspicious=IS_SUSPICIOUS)
        ),
        parameters,
    )
    row = await cursor.fetchone()
    assert row is not None
    wanted.suspicious += row[1]
    return int(row[0])


async def _oversized(connection: Connection, wanted: Upsert) -> list[int]:
    """Lines that would make an endpoint too large; asked only when something written may be."""
    if not wanted.suspicious:
        return []
    cursor = await connection.execute(
        sql.SQL("SELECT i.line FROM import_item i JOIN endpoint e USING (app_id, endpoint_id) WHERE {}").format(
            IS_TOO_LARGE
        )
    )
    return [line for (line,) in await cursor.fetchall()]


async def _take_addresses(connection: Connection, wanted: Upsert) -> None:
    """An address belongs, on its channel, to the endpoint that claimed it last."""
    cursor = await connection.execute(
        """SELECT EXISTS (
               SELECT 1 FROM endpoint WHERE app_id = (SELECT %s::text) AND is_active AND request_id <> %s
                 AND address = ANY(ARRAY(SELECT address FROM import_item WHERE address IS NOT NULL AND is_active)))""",
        [wanted.app_id, wanted.request_id],
    )
    row = await cursor.fetchone()
    assert row is not None
    if not row[0]:
        return
    await connection.execute(
        """UPDATE endpoint o SET is_active = false, revision = o.revision + 1
           FROM import_item i
           WHERE o.app_id = i.app_id AND o.address = i.address AND o.channel_type = i.channel_type
             AND o.endpoint_id <> i.endpoint_id AND o.is_active AND i.is_active"""
    )


async def _unsettled_users(connection: Connection, wanted: Upsert) -> tuple[list[str], list[str]]:
    """Of the users in the set: those with too many endpoints, and those whose endpoints differ about the user."""
    cursor = await connection.execute(
        """SELECT user_id, count(*) FROM endpoint
           WHERE app_id = (SELECT %s::text)
             AND user_id = ANY(ARRAY(SELECT DISTINCT user_id FROM import_item WHERE user_id IS NOT NULL))
           GROUP BY user_id HAVING count(*) > 1""",
        [wanted.app_id],
    )
    users = await cursor.fetchall()
    if not users:  # mostly: each has one endpoint
        return [], []
    full = [user_id for user_id, endpoints in users if endpoints > ENDPOINTS_PER_USER_MAX]
    cursor = await connection.execute(
        """SELECT user_id FROM endpoint WHERE app_id = (SELECT %s::text) AND user_id = ANY(%s)
           GROUP BY user_id
           HAVING min(jsonb_hash_extended(user_attributes, 0)) <> max(jsonb_hash_extended(user_attributes, 0))""",
        [wanted.app_id, [user_id for user_id, _ in users]],
    )
    return full, [user_id for (user_id,) in await cursor.fetchall()]


async def _lines_of_users(connection: Connection, users: Sequence[str]) -> list[int]:
    if not users:
        return []
    cursor = await connection.execute("SELECT line FROM import_item WHERE user_id = ANY(%s)", [list(users)])
    return [line for (line,) in await cursor.fetchall()]


async def _share_user_attributes(connection: Connection, wanted: Upsert, users: Sequence[str]) -> None:
    """All endpoints of a user carry the same user attributes: what they had, under what the rows gave, in order.

    Of what they had, other endpoints' word (without this chunk's request id) is the newer: another import may have
    committed it while this one was at work.
    """
    await connection.execute(
        """WITH shared AS MATERIALIZED (
               SELECT user_id, jsonb_strip_nulls(jsonb_overlay(attributes ORDER BY source, line)) AS attributes
               FROM (
                   SELECT user_id, (request_id <> %s)::int AS source, 0 AS line, user_attributes AS attributes
                   FROM endpoint WHERE app_id = (SELECT %s::text) AND user_id = ANY(%s)
                   UNION ALL
                   SELECT user_id, 2, line, coalesce(user_attributes, '{}')
                   FROM import_item WHERE user_id = ANY(%s)
               ) AS word
               GROUP BY user_id
           )
           UPDATE endpoint o SET user_attributes = shared.attributes, revision = o.revision + 1
           FROM shared
           WHERE o.app_id = (SELECT %s::text) AND o.user_id = shared.user_id
             AND o.user_attributes <> shared.attributes""",
        [wanted.request_id, wanted.app_id, list(users), list(users), wanted.app_id],
    )
