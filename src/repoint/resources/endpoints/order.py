"""Updates of endpoints, and the order in which they are merged: what touches the same waits, under locks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from repoint.db import Connection

ATTEMPTS_MAX = 400


class EndpointUpdate(msgspec.Struct, frozen=True, omit_defaults=True):
    """One partial update; None is "not given". In the maps, a null value removes its name.

    `write` reads it as the JSON it encodes to.
    """

    app_id: str
    endpoint_id: str
    given_id: str
    request_id: str
    now: datetime
    effective_at: datetime
    is_active: bool
    channel_type: str | None = None
    address: str | None = None
    is_opted_out: bool | None = None
    user_id: str | None = None
    attributes: dict[str, list[str] | None] | None = None
    metrics: dict[str, float | None] | None = None
    demographic: dict[str, str] | None = None
    location: dict[str, Any] | None = None
    user_attributes: dict[str, list[str] | None] | None = None

    @property
    def names_no_owner(self) -> bool:
        """Whether it changes what is known of a user it does not name: whoever the endpoint belongs to."""
        return self.user_attributes is not None and self.user_id is None

    @property
    def names_no_address(self) -> bool:
        """Whether its endpoint is to be active at the address it has, whatever that is."""
        return self.is_active and self.address is None

    def keys(self, touched: "Touched") -> list[tuple[str, str, str]]:
        """What two updates must not share to be merged by one statement."""
        keys = [("endpoint", self.app_id, self.endpoint_id)]
        if touched.address is not None:
            keys.append(("address", self.app_id, touched.address))
        if touched.user_id is not None:
            keys.append(("user", self.app_id, touched.user_id))
        return keys


class Touched(NamedTuple):
    """What an update is about beside its endpoint: a user, and an address, if any."""

    app_id: str
    user_id: str | None
    address: str | None


@dataclass(frozen=True, slots=True)
class Turn:
    """The updates of a transaction that holds its locks: in which rounds, by position, they are merged.

    `touched` is what they are about; `importing` those of their applications that have an import under way.
    """

    updates: Sequence[EndpointUpdate]
    rounds: list[list[int]]
    touched: list[Touched]
    importing: frozenset[str]


async def rounds_of(
    connection: Connection, updates: Sequence[EndpointUpdate], positions: Sequence[int]
) -> list[list[int]]:
    """The positions of some updates in sets, merged one after the other; nothing is locked.

    It does not know who wakes at an address without naming it: who writes alone leaves that to a turn, and an import
    says aloud where its endpoints are.
    """
    unnamed = [n for n in positions if updates[n].names_no_owner]
    return split(updates, positions, await _touched(connection, updates, unnamed))


async def locked_turn(connection: Connection, updates: Sequence[EndpointUpdate], positions: Sequence[int]) -> Turn:
    """The turn of some updates, their users and addresses locked until the transaction ends.

    One at a time may change who belongs to a user, what is known of them, or who has an address; so what an update does
    not name itself is asked again under the lock.
    """
    unnamed = [n for n in positions if updates[n].names_no_owner or updates[n].names_no_address]
    locked: set[Touched] = set()
    importing: frozenset[str] = frozenset()
    for _ in range(ATTEMPTS_MAX):
        touched = await _touched(connection, updates, unnamed)
        wanted = {touched[n] for n in positions}
        importing |= await lock_touched(connection, wanted - locked)
        if wanted <= locked or not unnamed:
            return Turn(updates, split(updates, positions, touched), touched, importing)
        locked |= wanted
    raise AssertionError("endpoints keep changing their users and addresses")


async def _touched(connection: Connection, updates: Sequence[EndpointUpdate], unnamed: Sequence[int]) -> list[Touched]:
    """What each update is about: the user and the address it names.

    For `unnamed`, also the user whose attributes it changes without a name, and the address it keeps, or wakes at.
    """
    touched = [Touched(update.app_id, update.user_id, update.address) for update in updates]
    if unnamed:
        cursor = await connection.execute(
            """SELECT item.position, e.user_id, e.address
               FROM unnest(%s::int[], %s::text[], %s::text[]) AS item (position, app_id, endpoint_id)
               JOIN endpoint e USING (app_id, endpoint_id)""",
            [unnamed, [updates[n].app_id for n in unnamed], [updates[n].endpoint_id for n in unnamed]],
        )
        for position, user_id, address in await cursor.fetchall():
            one = updates[position]
            touched[position] = Touched(
                one.app_id,
                user_id if one.names_no_owner else one.user_id,
                address if one.names_no_address else one.address,
            )
    return touched


async def lock_touched(connection: Connection, touched: Iterable[Touched]) -> frozenset[str]:
    """Lock users and addresses, and their applications shared, until the transaction ends.

    Returns those of the applications that have an import under way.
    """
    wanted = list(touched)
    if not wanted:
        return frozenset()
    cursor = await connection.execute(
        "SELECT lock_touched(%s, %s, %s)",
        [[one.app_id for one in wanted], [one.user_id for one in wanted], [one.address for one in wanted]],
    )
    row = await cursor.fetchone()
    assert row is not None
    return frozenset(row[0])


def split(updates: Sequence[EndpointUpdate], positions: Sequence[int], touched: Sequence[Touched]) -> list[list[int]]:
    """These positions, in sets that share no endpoint, address or user; order is kept within each of them."""
    rounds: list[list[int]] = []
    last: dict[tuple[str, str, str], int] = {}
    for position in positions:
        keys = updates[position].keys(touched[position])
        number = max((last.get(key, -1) for key in keys), default=-1) + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(position)
        for key in keys:
            last[key] = number
    return rounds
