"""Kinesis Data Streams: PutRecords, at most 500 records and 5 MB a call (AWS's API reference)."""

from collections.abc import Callable, Sequence
from typing import Any

from repoint.streams.calls import Calls, refusal
from repoint.streams.sink import StreamRecord, parts, stop_if_too_large, waves

RECORDS_MAX = 500
CALL_BYTES_MAX = 4 * 1024 * 1024
KEY_CHARACTERS_MAX = 256
RECORD_BYTES_MAX = 1024 * 1024 - 4 * KEY_CHARACTERS_MAX  # with its key a record may have 1 MB


class KinesisSink:
    """One stream. A call may take some records and refuse others, so no call has two records of one endpoint."""

    records_max = RECORDS_MAX

    def __init__(self, client: Callable[[], Any], arn: str) -> None:
        self._client = client
        self._arn = arn
        self._name = arn.rpartition("/")[2]
        self._calls = Calls(arn, self._put)

    async def write(self, records: Sequence[StreamRecord]) -> None:
        """Put the records, wave by wave; what a call refuses is what the stream tries again, before later waves.

        Raises:
            SinkError: with the first refusal's code and text.
        """
        stop_if_too_large(records, RECORD_BYTES_MAX, self._arn)
        await self._calls.make([part for wave in waves(records) for part in parts(wave, RECORDS_MAX, CALL_BYTES_MAX)])

    async def close(self) -> None:
        """Let go of the thread; the client is shared."""
        self._calls.close()

    def _put(self, records: Sequence[StreamRecord]) -> list[str]:
        entries = [{"Data": record.data, "PartitionKey": record.key[:KEY_CHARACTERS_MAX] or "-"} for record in records]
        answer = self._client().put_records(Records=entries, StreamName=self._name)
        return [refusal(one) for one in answer["Records"]]
