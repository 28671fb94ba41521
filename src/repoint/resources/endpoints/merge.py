"""The endpoint table's one writer: many partial updates merged into many endpoints, set by set.

The rules are Pinpoint's: what a request leaves out keeps its value; a name given null or an empty list is removed; an
address has one active endpoint a channel; a user has at most 15 endpoints, who share the user's attributes.
"""

from collections.abc import Callable, Sequence

from psycopg.types.json import Jsonb

from repoint.db import Connection
from repoint.resources.endpoints.meanwhile import note
from repoint.resources.endpoints.order import EndpointUpdate, locked_turn, rounds_of
from repoint.resources.endpoints.write import (
    ENDPOINT_BYTES_MAX,
    ENDPOINTS_PER_USER_MAX,
    PUSH_TYPES,
    Companion,
    Holder,
    Remark,
    deactivate_others,
    write,
)
from repoint.wire.exceptions import BadRequestException

ROUNDS_MAX = 400
TOGETHER_MAX = 250
PROBLEMS = {
    "channel": "Missing ChannelType: a new endpoint with an Address needs one",
    "size": f"The endpoint would be larger than {ENDPOINT_BYTES_MAX} bytes",
}


async def merge_endpoints(connection: Connection, updates: Sequence[EndpointUpdate]) -> list[Exception | None]:
    """Merge updates of many callers; for `Database.gather`.

    Returns, for each update, None or the BadRequestException its caller should see.
    """
    results: list[Exception | None] = [None] * len(updates)

    def report(position: int, problem: Exception | None) -> None:
        results[position] = problem

    await merge_with(connection, updates, None, report)
    return results


async def merge_with(
    connection: Connection,
    updates: Sequence[EndpointUpdate],
    companion: Companion | None,
    report: Callable[[int, Exception | None], None],
) -> None:
    """Merge updates of many callers, each in one commit with what belongs to it.

    What touches only itself is one statement, which commits by itself. What must look at other endpoints, or change
    them (another holder of the address, the user's others), is left out of it and done in a transaction, under locks.
    So many at once, that PostgreSQL has room for the locks of their users and addresses.

    `report(position, problem)` is told of each update once it has been committed, or refused for good: a repeated batch
    can leave it out.
    """
    for begin in range(0, len(updates), TOGETHER_MAX):
        positions = range(begin, min(begin + TOGETHER_MAX, len(updates)))
        await _merge_some(connection, updates, positions, companion, report)


async def _merge_some(
    connection: Connection,
    updates: Sequence[EndpointUpdate],
    positions: Sequence[int],
    companion: Companion | None,
    report: Callable[[int, Exception | None], None],
) -> None:
    results: list[Exception | None] = [None] * len(updates)
    settled: set[int] = set()
    if not connection.is_cluster:  # whose functions cannot look at what lies on other nodes
        first = (await rounds_of(connection, updates, positions))[0]
        remarks = await write(connection, updates, first, companion, is_alone=True)
        settled = set(first) - {one.position for one in remarks if not _is_settled(one, results)}
        for position in sorted(settled):
            report(position, results[position])
    left = [position for position in positions if position not in settled]
    if not left:
        return
    async with connection.transaction():
        await _merge_locked(connection, updates, left, results, companion)
    for position in left:
        report(position, results[position])


async def merge_in_transaction(connection: Connection, updates: Sequence[EndpointUpdate]) -> list[Exception | None]:
    """Merge one caller's updates, in order, within the caller's transaction; results as `merge_endpoints`."""
    results: list[Exception | None] = [None] * len(updates)
    await _merge_locked(connection, updates, range(len(updates)), results)
    return results


async def merge_unlocked(connection: Connection, updates: Sequence[EndpointUpdate]) -> list[Exception | None]:
    """As `merge_in_transaction`, for an import: its users and addresses, too many for locks, are looked at later."""
    results: list[Exception | None] = [None] * len(updates)
    rounds = await rounds_of(connection, updates, range(len(updates)))
    await _merge_rounds(connection, updates, rounds, results)
    return results


async def _merge_locked(
    connection: Connection,
    updates: Sequence[EndpointUpdate],
    positions: Sequence[int],
    results: list[Exception | None],
    companion: Companion | None = None,
) -> None:
    turn = await locked_turn(connection, updates, positions)
    await _merge_rounds(connection, updates, turn.rounds, results, companion)
    await note(connection, turn, [position for position in positions if results[position] is None])


async def _merge_rounds(
    connection: Connection,
    updates: Sequence[EndpointUpdate],
    rounds: list[list[int]],
    results: list[Exception | None],
    companion: Companion | None = None,
) -> None:
    for _ in range(ROUNDS_MAX):
        if not rounds:
            return
        again = await _merge_round(connection, updates, rounds.pop(0), results, companion)
        if again:
            rounds.insert(0, again)
    raise AssertionError("updates of one batch keep losing to each other")


def _is_settled(one: Remark, results: list[Exception | None]) -> bool:
    """Whether an update is done with: written, or refused for good."""
    if one.problem in PROBLEMS:
        results[one.position] = BadRequestException(PROBLEMS[one.problem])
        return True
    return one.is_written


async def _merge_round(
    connection: Connection,
    updates: Sequence[EndpointUpdate],
    positions: list[int],
    results: list[Exception | None],
    companion: Companion | None,
) -> list[int]:
    """Merge updates that do not touch each other; returns those to be tried again."""
    again = []
    remarks = await write(connection, updates, positions, companion, is_alone=False)
    takers = [
        Holder(updates[n].app_id, updates[n].endpoint_id, address, channel_type)
        for n, _, is_written, channel_type, address, *_ in remarks
        if is_written and address is not None
    ]
    if takers:
        await deactivate_others(connection, takers)
    sharers = [one for one in remarks if one.is_written and one.shared_user is not None]
    if sharers:
        await _share_user_attributes(connection, updates, sharers)
    for one in remarks:
        if _is_settled(one, results):
            continue
        if one.problem == "user" and not await _evict(connection, updates[one.position], one.channel_type):
            results[one.position] = BadRequestException(
                f"Exceeded maximum endpoint per user count: {ENDPOINTS_PER_USER_MAX}"
            )
        else:
            again.append(one.position)  # there is room now, or another process wrote this endpoint meanwhile
    return again


async def _share_user_attributes(
    connection: Connection, updates: Sequence[EndpointUpdate], sharers: list[Remark]
) -> None:
    """All endpoints of a user carry the same user attributes."""
    await connection.execute(
        """UPDATE endpoint o SET user_attributes = sharer.attributes, revision = o.revision + 1
           FROM unnest(%s::text[], %s::text[], %s::text[], %s::jsonb[])
               AS sharer (app_id, endpoint_id, user_id, attributes)
           WHERE o.app_id = sharer.app_id AND o.user_id = sharer.user_id AND o.endpoint_id <> sharer.endpoint_id
             AND o.user_attributes <> sharer.attributes""",
        [
            [updates[one.position].app_id for one in sharers],
            [updates[one.position].endpoint_id for one in sharers],
            [one.shared_user for one in sharers],
            [Jsonb(one.shared_attributes) for one in sharers],
        ],
    )


async def _evict(connection: Connection, update: EndpointUpdate, channel_type: str | None) -> bool:
    """Make room for a push endpoint: the user's oldest push endpoint leaves the user and goes inactive."""
    if channel_type not in PUSH_TYPES:
        return False
    cursor = await connection.execute(
        """SELECT endpoint_id FROM endpoint WHERE app_id = %s AND user_id = %s AND channel_type = ANY(%s)
           ORDER BY effective_at, endpoint_id LIMIT 1""",
        [update.app_id, update.user_id, PUSH_TYPES],
    )
    oldest = await cursor.fetchone()
    if oldest is None:
        return False
    cursor = await connection.execute(
        """UPDATE endpoint SET is_active = false, user_id = NULL, user_attributes = '{}', revision = revision + 1
           WHERE app_id = %s AND endpoint_id = %s""",
        [update.app_id, oldest[0]],
    )
    return cursor.rowcount == 1
