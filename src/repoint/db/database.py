"""The connections to PostgreSQL, and what callers share over them: batches of work, and cached settings."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, LiteralString, TypeVar, cast

import msgspec
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from repoint.db.gather import Gatherer


class Connection(psycopg.AsyncConnection[TupleRow]):
    """A connection that knows whether it leads to a cluster (Citus), where some statements must be taken apart."""

    is_cluster = False


Parameters = Sequence[Any] | Mapping[str, Any]
Item = TypeVar("Item")
Result = TypeVar("Result")
BatchFunction = Callable[[Connection, Sequence[Item]], Awaitable[Sequence[Result | Exception]]]

BATCH_MAX = 500
CACHE_ENTRIES_MAX = 20_000
NOT_CACHED = object()
RETRIES_MAX = 5
RETRY_SECONDS = 0.05
CONNECT_SECONDS = 10
CONNECTION: dict[str, Any] = {"autocommit": True, "prepare_threshold": 2, "connect_timeout": CONNECT_SECONDS}


class DatabaseUnavailableError(Exception):
    """PostgreSQL cannot be reached, or keeps refusing: the caller may try again later."""


class Database:
    """A pool of connections in autocommit, with two things on top.

    `gather` lets concurrent callers of a function share one transaction. `cached` keeps what settings tables hold
    (apps, channels, templates, access keys) in memory and still sees every committed write: each change of a setting
    raises one counter in its own transaction, `settle` reads that counter (one query for all who ask at once), and
    when it has moved, everything cached is forgotten.
    """

    def __init__(self, dsn: str, *, connections_max: int = 8) -> None:
        self.dsn = dsn
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=connections_max,
            open=False,
            timeout=CONNECT_SECONDS,
            kwargs=CONNECTION,
            connection_class=Connection,
            configure=_set_up,
        )
        self._gatherers: dict[Any, Gatherer[Any, Any]] = {}
        self._lanes: list[Lane] = []
        self._cache: OrderedDict[Any, Any] = OrderedDict()
        self._generation = 0

    async def open(self) -> None:
        """Connect; fails if PostgreSQL does not answer within the time limit."""
        await self.pool.open(wait=True, timeout=CONNECT_SECONDS * 3)

    async def close(self) -> None:
        """Give the connections back, once nobody uses them."""
        for gatherer in self._gatherers.values():
            await gatherer.finish()
        for lane in self._lanes:
            await lane.close()
        await self.pool.close()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit."""
        try:
            async with self.pool.connection() as connection:
                yield connection
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise DatabaseUnavailableError(str(error)) from error

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside one transaction."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @contextlib.asynccontextmanager
    async def settings_change(self) -> AsyncIterator[Connection]:
        """A transaction that changes what `cached` may hold: every process sees it once this has committed."""
        async with self.transaction() as connection:
            yield connection
            await connection.execute("UPDATE config_generation SET generation = generation + 1")

    async def _run(self, query: LiteralString, parameters: Parameters) -> tuple[list[TupleRow], int]:
        """One statement; again on another connection, when PostgreSQL has been restarted under this one."""
        for attempt in range(1, RETRIES_MAX + 1):
            try:
                async with self.pool.connection() as connection:
                    cursor = await connection.execute(query, parameters)
                    rows = await cursor.fetchall() if cursor.description else []
                    return rows, cursor.rowcount
            except (PoolTimeout, psycopg.OperationalError) as error:
                await self._before_retry(attempt, error)
        raise AssertionError("the last retry raises")

    async def fetch_all(self, query: LiteralString, parameters: Parameters = ()) -> list[TupleRow]:
        """All rows of one statement, which must be safe to repeat."""
        return (await self._run(query, parameters))[0]

    async def fetch_one(self, query: LiteralString, parameters: Parameters = ()) -> TupleRow | None:
        """The first row of one statement, or None."""
        return next(iter((await self._run(query, parameters))[0]), None)

    async def execute(self, query: LiteralString, parameters: Parameters = ()) -> int:
        """Run one statement, which must be safe to repeat; returns how many rows it touched."""
        return (await self._run(query, parameters))[1]

    async def gather(self, function: BatchFunction[Item, Result], item: Item) -> Result:
        """Do `function(connection, [item, …])` together with whoever asks for the same at this moment.

        `function` commits by itself (one statement does) and must be safe to run again: a batch whose connection broke,
        or that lost a deadlock, is repeated.
        """
        gatherer = self._gatherers.get(function)
        if gatherer is None:
            lane = Lane(self, function)
            self._lanes.append(lane)
            gatherer = self._gatherers[function] = Gatherer(lane.run, batch_max=BATCH_MAX)
        return cast("Result", await gatherer.submit(item))

    async def atomically(self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Run `work` in a transaction of its own; again, when it lost a deadlock or its connection."""
        for attempt in range(1, RETRIES_MAX + 1):
            try:
                async with self.pool.connection() as connection, connection.transaction():
                    return await work(connection)
            except (PoolTimeout, psycopg.OperationalError) as error:
                await self._before_retry(attempt, error)
        raise AssertionError("the last retry raises")

    async def _before_retry(self, attempt: int, error: Exception) -> None:
        """Wait a little longer each time.

        Raises:
            DatabaseUnavailableError: when it has been tried often enough.
        """
        if attempt == RETRIES_MAX or isinstance(error, PoolTimeout):
            raise DatabaseUnavailableError(str(error)) from error
        await asyncio.sleep(RETRY_SECONDS * 2**attempt)

    async def settle(self) -> None:
        """From here on, `cached` knows everything that had committed when this was called."""
        generation = await self.gather(_read_generation, None)
        if generation != self._generation:
            self._generation = generation
            self._cache.clear()

    async def cached(self, loader: Callable[["Database", Any], Awaitable[Result]], key: Any) -> Result:
        """What `loader(database, key)` returned, as of the last `settle`; absence (None) is remembered too."""
        slot = (loader, key)
        found = self._cache.get(slot, NOT_CACHED)
        if found is not NOT_CACHED:
            self._cache.move_to_end(slot)
            return cast("Result", found)
        generation = self._generation
        value = await loader(self, key)
        if generation == self._generation:
            self._cache[slot] = value
            if len(self._cache) > CACHE_ENTRIES_MAX:
                self._cache.popitem(last=False)
        return value


class Lane:
    """A gathered function's own connection, kept: taking one from the pool for each batch would cost as much again."""

    def __init__(self, db: Database, function: BatchFunction[Any, Any]) -> None:
        self._db = db
        self._function = function
        self._connection: Connection | None = None

    async def run(self, items: Sequence[Any]) -> Sequence[Any]:
        """One batch, again if its connection broke or it lost a deadlock."""
        for attempt in range(1, RETRIES_MAX + 1):
            try:
                return await self._function(await self._own(), items)
            except psycopg.OperationalError as error:
                try:
                    await self._db._before_retry(attempt, error)  # noqa: SLF001 - one module, two classes
                except DatabaseUnavailableError as given_up:
                    return [given_up] * len(items)
        raise AssertionError("the last retry returns")

    async def _own(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await Connection.connect(self._db.dsn, **CONNECTION)
            await _set_up(self._connection)
        return self._connection

    async def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            await self._connection.close()


class JsonLoader(Loader):
    """JSON by msgspec, from PostgreSQL's own buffer."""

    def load(self, data: Buffer) -> Any:
        """One value."""
        return msgspec.json.decode(data)


async def _set_up(connection: Connection) -> None:
    """JSON is read by msgspec, and plans use indexes.

    These connections look up a few rows by key: a plan that reads a whole table is never the right one, but it is what
    PostgreSQL chooses for tables too new to have statistics.
    """
    connection.adapters.register_loader("json", JsonLoader)
    connection.adapters.register_loader("jsonb", JsonLoader)
    await learn_cluster(connection)
    await connection.execute("SET enable_hashjoin = off")
    await connection.execute("SET enable_mergejoin = off")
    await connection.execute("SET enable_seqscan = off")


async def allow_scans(connection: Connection, *, work_mem: str | None = None) -> None:
    """Let this transaction's plans read whole tables, with another `work_mem` if one is given.

    These connections are set up to look up rows by key.
    """
    await connection.execute(
        """SELECT set_config(name, value, true)
           FROM (VALUES ('enable_seqscan', 'on'), ('enable_hashjoin', 'on'), ('enable_mergejoin', 'on'),
                        ('work_mem', coalesce(%s, current_setting('work_mem')))) AS setting (name, value)""",
        [work_mem],
    )


async def learn_cluster(connection: Connection) -> None:
    """Find out where a new connection leads.

    A cluster whose shards have one copy each needs no locks on whole shards to keep copies alike.
    """
    found = await connection.execute("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')")
    row = await found.fetchone()
    connection.is_cluster = bool(row and row[0])
    if connection.is_cluster:
        await connection.execute("SET citus.all_modifications_commutative = on")


async def _read_generation(connection: Connection, items: Sequence[None]) -> Sequence[int]:
    """The settings' counter, read once for all who ask."""
    row = await (await connection.execute("SELECT generation FROM config_generation")).fetchone()
    assert row is not None
    return [row[0]] * len(items)
