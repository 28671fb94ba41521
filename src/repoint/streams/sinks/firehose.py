"""Amazon Data Firehose: PutRecordBatch, at most 500 records and 4 MB a call (AWS's API reference)."""

from collections.abc import Callable, Sequence
from typing import Any

from repoint.streams.calls import Calls, refusal
from repoint.streams.sink import StreamRecord, parts, stop_if_too_large, waves

RECORDS_MAX = 500
CALL_BYTES_MAX = 3 * 1024 * 1024
RECORD_BYTES_MAX = 1000 * 1024


class FirehoseSink:
    """One delivery stream. As a call may take some records and refuse others, none has two of one endpoint."""

    records_max = RECORDS_MAX

    def __init__(self, client: Callable[[], Any], arn: str) -> None:
        self._client = client
        self._arn = arn
        self._name = arn.rpartition("/")[2]
        self._calls = Calls(arn, self._put)

    async def write(self, records: Sequence[StreamRecord]) -> None:
        """Put the records, wave by wave.

        Raises:
            SinkError: with the first refusal's code and text.
        """
        stop_if_too_large(records, RECORD_BYTES_MAX, self._arn)
        await self._calls.make([part for wave in waves(records) for part in parts(wave, RECORDS_MAX, CALL_BYTES_MAX)])

    async def close(self) -> None:
        """Let go of the thread; the client is shared."""
        self._calls.close()

    def _put(self, records: Sequence[StreamRecord]) -> list[str]:
        entries = [{"Data": record.data} for record in records]
        answer = self._client().put_record_batch(DeliveryStreamName=self._name, Records=entries)
        return [refusal(one) for one in answer["RequestResponses"]]
