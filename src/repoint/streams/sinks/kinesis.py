"""Kinesis Data Streams: PutRecords, at most 500 records and 5 MB a call (AWS's API reference)."""

import asyncio
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from repoint.streams.sink import SinkError, StreamRecord, parts, waves

RECORDS_MAX = 500
CALL_BYTES_MAX = 4 * 1024 * 1024
KEY_CHARACTERS_MAX = 256


class KinesisSink:
    """One stream. A call may take some records and refuse others, so no call has two records of one endpoint."""

    records_max = RECORDS_MAX

    def __init__(self, client: Any, arn: str) -> None:
        self._client = client
        self._arn = arn
        self._name = arn.rpartition("/")[2]

    async def write(self, records: Sequence[StreamRecord]) -> None:
        """Put the records, wave by wave; what one call refuses is what the stream tries again.

        Raises:
            SinkError: with the first refusal's code and text.
        """
        for wave in waves(records):
            for part in parts(wave, RECORDS_MAX, CALL_BYTES_MAX):
                await asyncio.to_thread(self._put, part)

    async def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _put(self, records: Sequence[StreamRecord]) -> None:
        entries = [{"Data": record.data, "PartitionKey": record.key[:KEY_CHARACTERS_MAX] or "-"} for record in records]
        try:
            answer = self._client.put_records(Records=entries, StreamName=self._name)
        except (BotoCoreError, ClientError) as error:
            raise SinkError(f"{self._arn}: {error}") from error
        refused = next((one for one in answer["Records"] if one.get("ErrorCode")), None)
        if refused is not None:
            raise SinkError(f"{self._arn}: {refused['ErrorCode']}: {refused.get('ErrorMessage', '')}")
