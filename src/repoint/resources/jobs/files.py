"""Files as they are stored: which of them a job is for, the pieces they are done in, and a piece's lines.

A plain file's pieces are ranges of its bytes. A gzip file can only be read from its beginning: its pieces share it, and
each unpacks all of it and takes every second chunk. Unpacking costs a fiftieth of what importing does.
"""

import asyncio
import itertools
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from repoint.bindings.storage import Place, Storage, StoredObject
from repoint.resources.jobs.rows import FileError
from repoint.resources.jobs.store import Piece

FILE_BYTES_MAX = 1_073_741_824
UNPACKED_BYTES_MAX = 32 * FILE_BYTES_MAX
PIECE_BYTES_MAX = 32 * 1024 * 1024
PIECE_BYTES_MIN = 4 * 1024 * 1024
PIECES_LEFT = 8
GZIP_SHARES = 2
GZIP_SHARED_BYTES = 1024 * 1024
"""Of a gzip file smaller than that there is one piece."""
CHUNK_BYTES = 8 * 1024 * 1024
LINE_BYTES_MAX = 1024 * 1024
UNPACK_BYTES = 1024 * 1024
PIECES_MAX = 10_000
GZIP = b"\x1f\x8b"
ENDINGS = {"CSV": (".csv",), "JSON": (".json", ".jsonl", ".ndjson")}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of a piece, and where the next chunk begins.

    `lines_before` are those of the file (None: of the piece) before it.
    """

    content: bytes
    begins_at: int
    ends_at: int
    lines_before: int | None = None


def is_of_format(key: str, file_format: str) -> bool:
    """Whether a file's name says it is CSV, or JSON; `.gz` may follow, and alone is what an export writes: JSON."""
    name = key.lower()
    plain = name.removesuffix(".gz")
    return plain.endswith(ENDINGS[file_format]) or (
        file_format == "JSON" and plain != name and "." not in plain.rpartition("/")[2]
    )


async def plan_pieces(storage: Storage, place: Place, file_format: str, job_id: str) -> list[Piece]:
    """The pieces an import is done in. A URL that names a file means that file, whatever its name ends in.

    Raises:
        FileError: when there is nothing to import, or too much.
        StorageError: when the store cannot be asked.
    """
    found = await storage.find(place)
    if [one.key for one in found] != [place.key]:
        found = [one for one in found if is_of_format(one.key, file_format)]
    if not found:
        raise FileError(f"there is no {file_format} file at {place.url}")
    pieces: list[Piece] = []
    left = sum(one.size for one in found)
    for one in found:
        pieces += await _pieces_of(storage, place.bucket, one, _Planned(job_id, len(pieces), left))
        left -= one.size
        if len(pieces) > PIECES_MAX:
            raise FileError(f"{place.url}: more than {PIECES_MAX} pieces of up to {PIECE_BYTES_MAX} bytes")
    return pieces


class _Planned(NamedTuple):
    """How far a job has been planned: the next piece's number, and the bytes that are left."""

    job_id: str
    number: int
    bytes_left: int


def _bounds(size: int, bytes_left: int) -> list[int]:
    """Where a plain file's pieces begin: smaller towards a job's end, so that all workers come to it together."""
    bounds, begin = [0], 0
    while True:
        begin += min(PIECE_BYTES_MAX, max(PIECE_BYTES_MIN, (bytes_left - begin) // PIECES_LEFT))
        if begin >= size:
            return bounds
        bounds.append(begin)


async def _pieces_of(storage: Storage, bucket: str, one: StoredObject, planned: _Planned) -> list[Piece]:
    head = b"".join([part async for part in storage.read(Place(bucket, one.key), 0, min(2, one.size))])
    is_gzip = head == GZIP
    too_large = f"is larger than {FILE_BYTES_MAX} bytes" if one.size > FILE_BYTES_MAX else None
    if is_gzip:
        bounds = [(share * CHUNK_BYTES, one.size) for share in range(_shares(one.size))]
    else:
        bounds = list(itertools.pairwise([*_bounds(one.size, planned.bytes_left), one.size]))
    return [
        Piece(
            job_id=planned.job_id,
            piece=planned.number + index,
            key=one.key,
            e_tag=one.e_tag,
            file_bytes=one.size,
            begins_at=begin,
            ends_at=end,
            is_gzip=is_gzip,
            status="FAILED" if too_large else "WAITING",
            read_to=begin,
            lines=0,
            processed=0,
            failed=0,
            failures=[],
            reason=too_large,
        )
        for index, (begin, end) in enumerate(bounds[:1] if too_large else bounds)
    ]


def _shares(size: int) -> int:
    """How many pieces share a gzip file of so many bytes."""
    return GZIP_SHARES if size >= GZIP_SHARED_BYTES else 1


async def first_line(storage: Storage, bucket: str, piece: Piece) -> bytes:
    """The file's first line: the header of its every piece.

    Raises:
        FileError: when it has none, or one without an end.
        StorageError: when the store cannot be read.
    """
    content = b""
    # Of a plain file no more than a line can take is asked for, wherever the piece lies.
    head = piece if piece.is_gzip else replace(piece, ends_at=min(piece.file_bytes, 2 * LINE_BYTES_MAX))
    async for part in _content(storage, bucket, head, 0):
        content += part
        line, found, _ = content.partition(b"\n")
        if found:
            return line
        if len(content) > LINE_BYTES_MAX:
            raise FileError(f"line 1: is longer than {LINE_BYTES_MAX} bytes")
    if not content:
        raise FileError("is empty")
    return content


async def chunks(storage: Storage, bucket: str, piece: Piece) -> AsyncIterator[Chunk]:
    """What is left of a piece, some megabytes of whole lines at a time.

    Raises:
        FileError: for a line without an end, or gzip that is broken.
        StorageError: when the store cannot be read.
    """
    number = lines = 0
    async for chunk in _cut(storage, bucket, piece):
        if not piece.is_gzip:
            yield chunk
            continue
        is_ours = number % _shares(piece.file_bytes) == piece.begins_at // CHUNK_BYTES
        if is_ours and (piece.read_to == piece.begins_at or chunk.ends_at > piece.read_to):
            yield replace(chunk, lines_before=lines)
        number += 1
        lines += chunk.content.count(b"\n")


async def _cut(storage: Storage, bucket: str, piece: Piece) -> AsyncIterator[Chunk]:
    """What is left of a plain piece, or all of a gzip file: every time the same chunks."""
    position = 0 if piece.is_gzip else piece.read_to
    # A piece in the middle of a file begins with the first line that begins in it: whether one begins at its very
    # first byte, the byte before tells.
    skips = 0 < piece.begins_at == piece.read_to and not piece.is_gzip
    position -= skips
    buffer = b""
    async for part in _content(storage, bucket, piece, position):
        buffer += part
        if skips:
            _, found, rest = buffer.partition(b"\n")
            if not found:
                _check_length(buffer)
                continue
            position += len(buffer) - len(rest)
            buffer, skips = rest, False
        end = _end_in(buffer, position, piece)
        if end is not None:
            if end:
                yield Chunk(buffer[:end], position, position + end)
            return
        _check_length(buffer[buffer.rfind(b"\n") + 1 :])
        while len(buffer) >= CHUNK_BYTES:
            cut = buffer.rfind(b"\n", 0, CHUNK_BYTES) + 1
            yield Chunk(buffer[:cut], position, position + cut)
            position, buffer = position + cut, buffer[cut:]
    if buffer and not skips and (piece.is_gzip or position < piece.ends_at):
        yield Chunk(buffer, position, position + len(buffer))


def _end_in(buffer: bytes, position: int, piece: Piece) -> int | None:
    """How much of the buffer is the piece's, if its last line ends in it; None if it does not yet."""
    if piece.is_gzip:
        return None
    left = piece.ends_at - position
    if left <= 0:
        return 0
    if len(buffer) < left:
        return None
    newline = buffer.find(b"\n", left - 1)
    return None if newline < 0 else newline + 1


def _check_length(rest: bytes) -> None:
    if len(rest) > LINE_BYTES_MAX:
        raise FileError(f"has a line longer than {LINE_BYTES_MAX} bytes")


async def _content(storage: Storage, bucket: str, piece: Piece, begin: int) -> AsyncIterator[bytes]:
    """A gzip file's whole content; a plain one's from an offset to the piece's end and a line's length beyond."""
    place = Place(bucket, piece.key)
    if piece.is_gzip:
        async for unpacked in _unpacked(storage, place, piece):
            yield unpacked
        return
    async for part in storage.read(place, begin, piece.ends_at, e_tag=piece.e_tag):
        yield part
    beyond = min(piece.file_bytes, piece.ends_at + 2 * LINE_BYTES_MAX)
    async for part in storage.read(place, piece.ends_at, beyond, e_tag=piece.e_tag):
        yield part


async def _unpacked(storage: Storage, place: Place, piece: Piece) -> AsyncIterator[bytes]:
    """A gzip file's content."""
    unpacker = zlib.decompressobj(wbits=31)
    total, is_open = 0, True
    async for part in storage.read(place, 0, piece.ends_at, e_tag=piece.e_tag):
        left, plain = part, b""
        while left or len(plain) == UNPACK_BYTES:  # a full answer may have more behind it
            try:
                plain = await asyncio.to_thread(unpacker.decompress, left, UNPACK_BYTES)
            except zlib.error as error:
                raise FileError(f"not gzip: {error}") from None
            left, is_open = unpacker.unconsumed_tail, not unpacker.eof
            if unpacker.eof:  # gzip files may be several, one after the other
                left = unpacker.unused_data
                unpacker = zlib.decompressobj(wbits=31)
            total += len(plain)
            if total > UNPACKED_BYTES_MAX:
                raise FileError(f"is larger than {UNPACKED_BYTES_MAX} bytes unpacked")
            if plain:
                yield plain
    if is_open:
        raise FileError("not gzip: it ends before its end")
