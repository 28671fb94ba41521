"""What a far end of an event stream must be able to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One event on its way: its JSON and a line end; `key` keeps an endpoint's records in order."""

    key: str
    sequence: str
    data: bytes


class SinkError(Exception):
    """The far end did not take the records in `left`, which are in order: they are written again later.

    The text says why.
    """

    def __init__(self, text: str, left: Sequence[StreamRecord]) -> None:
        super().__init__(text)
        self.left = left


class TooLargeError(SinkError):
    """The first of the records that are left is larger than anything the far end takes: it never will."""


class Sink(Protocol):
    """A far end. Records of one key must arrive in the order given; a record may arrive again, none may be lost."""

    records_max: int

    async def write(self, records: Sequence[StreamRecord]) -> None:
        """Return when all records are safely there.

        Raises:
            SinkError: with those of which that is not known.
        """

    async def close(self) -> None:
        """Let go of connections."""


def waves(records: Sequence[StreamRecord]) -> list[list[StreamRecord]]:
    """The records in groups that have no key twice: for far ends that may refuse one record and take a later one."""
    found: list[list[StreamRecord]] = []
    seen: dict[str, int] = {}
    for record in records:
        number = seen.get(record.key, 0)
        seen[record.key] = number + 1
        if number == len(found):
            found.append([])
        found[number].append(record)
    return found


def parts(records: Sequence[StreamRecord], count_max: int, bytes_max: int) -> list[list[StreamRecord]]:
    """Records in order, in groups within limits of number and size."""
    found: list[list[StreamRecord]] = [[]]
    size = 0
    for record in records:
        if found[-1] and (len(found[-1]) == count_max or size + len(record.data) > bytes_max):
            found.append([])
            size = 0
        found[-1].append(record)
        size += len(record.data)
    return found


def stop_if_too_large(records: Sequence[StreamRecord], bytes_max: int, where: str) -> None:
    """Call this before anything is written, where a record has a limit.

    Raises:
        TooLargeError: with the first record that is beyond it.
    """
    for number, record in enumerate(records):
        if len(record.data) > bytes_max:
            text = f"{where}: a record of {len(record.data)} bytes; there it may have {bytes_max}"
            raise TooLargeError(text, [record, *records[:number], *records[number + 1 :]])
