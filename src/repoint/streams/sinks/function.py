"""A function that gets records as Lambda's event source mapping for Kinesis hands them over."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from repoint.bindings.functions import FunctionError, Functions
from repoint.clock import Clock
from repoint.streams.sink import SinkError, StreamRecord, parts, stop_if_too_large

SHARD = "shardId-000000000000"
CALL_BYTES_MAX = 4 * 1000 * 1000  # a third more in base64, within the 6 MB of a payload


class FunctionSink:
    """A handler, called with up to 100 records; what it raises is a batch to be tried again.

    After a failure it gets half as many at a time, until what fails is alone: the others have been taken then, and are
    not repeated with it. (Lambda's event source mappings can do the same, as `BisectBatchOnFunctionError`.)
    """

    records_max = 100

    def __init__(self, functions: Functions, arn: str, clock: Clock) -> None:
        self._functions = functions
        self._arn = arn
        self._clock = clock
        self._count_max = self.records_max

    async def write(self, records: Sequence[StreamRecord]) -> None:
        """Invoke the function with the records, as many at a time as its payload may have.

        Raises:
            SinkError: when it fails, crashes or takes too long.
        """
        stop_if_too_large(records, CALL_BYTES_MAX, self._arn)
        left = records
        while left:
            call = parts(left, self._count_max, CALL_BYTES_MAX)[0]
            now = self._clock()
            payload = {"Records": [kinesis_record(record, self._arn, now) for record in call]}
            try:
                await self._functions.invoke(self._arn, payload)
            except FunctionError as error:
                self._count_max = max(1, len(call) // 2)
                raise SinkError(str(error), left) from error
            self._count_max = min(self.records_max, 2 * self._count_max)
            left = left[len(call) :]

    async def close(self) -> None:
        """The functions are everybody's."""


def kinesis_record(record: StreamRecord, arn: str, now: datetime) -> dict[str, Any]:
    """A record in Lambda's form (AWS Lambda's developer guide, "Using AWS Lambda with Amazon Kinesis")."""
    region = arn.split(":")[3]
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record.key,
            "sequenceNumber": record.sequence,
            "data": base64.b64encode(record.data).decode(),
            "approximateArrivalTimestamp": now.timestamp(),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{SHARD}:{record.sequence}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/repoint",
        "awsRegion": region,
        "eventSourceARN": arn,
    }
