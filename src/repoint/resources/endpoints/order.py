"""Updates of endpoints, and the order in which they are merged: what touches the same waits, under the users' locks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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

    def keys(self, owner: str | None) -> list[tuple[str, str, str]]:
        """What two updates must not share to be merged by one statement; `owner` is the user it is about, if any."""
        keys = [("endpoint", self.app_id, self.endpoint_id)]
        if self.address is not None:
            keys.append(("address", self.app_id, self.address))
        if owner is not None:
            keys.append(("user", self.app_id, owner))
        return keys


@dataclass(frozen=True, slots=True)
class Turn:
    """The updates of a transaction whose users are locked: in which rounds, by position, they are merged.

    `owners` are the users they are about; `importing` those of their applications that have an import under way.
    """

    updates: Sequence[EndpointUpdate]
    rounds: list[list[int]]
    owners: list[str | None]
    importing: frozenset[str]


async def rounds_of(
    connection: Connection, updates: Sequence[EndpointUpdate], positions: Sequence[int]
) -> list[list[int]]:
    """The positions of some updates in sets, merged one after the other; nothing is locked."""
    return split(updates, positions, await _owners(connection, updates, positions))


async def locked_turn(connection: Connection, updates: Sequence[EndpointUpdate], positions: Sequence[int]) -> Turn:
    """The turn of some updates, their users locked until the transaction ends.

    One at a time may change who belongs to a user, or what is known of them; so whose an endpoint is, is asked again
    under the lock.
    """
    locked: set[tuple[str, str | None]] = set()
    importing: frozenset[str] = frozenset()
    for _ in range(ATTEMPTS_MAX):
        owners = await _owners(connection, updates, positions)
        users = {(updates[n].app_id, owners[n]) for n in positions}
        importing |= await lock_users(connection, users - locked)
        if users <= locked or not any(updates[n].names_no_owner for n in positions):
            return Turn(updates, split(updates, positions, owners), owners, importing)
        locked |= users
    raise AssertionError("endpoints keep changing their users")


async def _owners(
    connection: Connection, updates: Sequence[EndpointUpdate], positions: Sequence[int]
) -> list[str | None]:
    """The user each update is about: the one it names, or whose attributes it changes without a name."""
    owners = [update.user_id for update in updates]
    unnamed = [n for n in positions if updates[n].names_no_owner]
    if unnamed:
        cursor = await connection.execute(
            """SELECT item.position, e.user_id
               FROM unnest(%s::int[], %s::text[], %s::text[]) AS item (position, app_id, endpoint_id)
               JOIN endpoint e USING (app_id, endpoint_id)""",
            [unnamed, [updates[n].app_id for n in unnamed], [updates[n].endpoint_id for n in unnamed]],
        )
        for position, user_id in await cursor.fetchall():
            owners[position] = user_id
    return owners


async def lock_users(connection: Connection, users: Iterable[tuple[str, str | None]]) -> frozenset[str]:
    """Lock users, and their applications shared, until the transaction ends; without a user only the application.

    Returns those of the applications that have an import under way.
    """
    pairs = list(users)
    if not pairs:
        return frozenset()
    cursor = await connection.execute(
        "SELECT lock_users(%s, %s)", [[app_id for app_id, _ in pairs], [user_id for _, user_id in pairs]]
    )
    row = await cursor.fetchone()
    assert row is not None
    return frozenset(row[0])


def split(updates: Sequence[EndpointUpdate], positions: Sequence[int], owners: Sequence[str | None]) -> list[list[int]]:
    """These positions, in sets that share no endpoint, address or user; order is kept within each of them."""
    rounds: list[list[int]] = []
    last: dict[tuple[str, str, str], int] = {}
    for position in positions:
        keys = updates[position].keys(owners[position])
        number = max((last.get(key, -1) for key in keys), default=-1) + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(position)
        for key in keys:
            last[key] = number
    return rounds
