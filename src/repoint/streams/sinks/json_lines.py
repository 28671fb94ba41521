"""A file of JSON lines, on disk before the stream moves on; full files are put aside with the time in their name."""

import asyncio
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from repoint.streams.sink import SinkError, StreamRecord

FILE_BYTES_MAX = 256 * 1024 * 1024
TAIL_BYTES = 64 * 1024


class JsonLinesSink:
    """Appends to one file. Several streams, of several processes, may share it."""

    records_max = 5_000

    def __init__(self, path: Path, *, file_bytes_max: int = FILE_BYTES_MAX) -> None:
        self._path = path
        self._file_bytes_max = file_bytes_max

    async def write(self, records: Sequence[StreamRecord]) -> None:
        """Append the records and wait until they are on disk.

        Raises:
            SinkError: when the file cannot be written: a full disk, missing rights.
        """
        try:
            await asyncio.to_thread(self._append, b"".join(record.data for record in records))
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror or error}", records) from error

    async def close(self) -> None:
        """Nothing is kept open."""

    def _append(self, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked() as descriptor:
            size = _drop_torn_line(descriptor)
            try:
                written = 0
                while written < len(data):
                    written += os.pwrite(descriptor, data[written:], size + written)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
            if size + len(data) >= self._file_bytes_max:
                self._put_aside()

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, ours for a moment; the one of that name, also when another process has just put it aside."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o640)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if self._path.exists() and os.path.samestat(os.fstat(descriptor), self._path.stat()):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def _put_aside(self) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self._path.rename(self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}"))


def _drop_torn_line(descriptor: int) -> int:
    """Where to go on: behind the last whole line. A process that was killed may have left half of one."""
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        start = max(0, end - TAIL_BYTES)
        at = os.pread(descriptor, end - start, start).rfind(b"\n")
        if at >= 0:
            end = start + at + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)
    return end
