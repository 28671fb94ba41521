"""A webhook: batches of JSON lines by POST, signed, so that the receiver knows who sent them and when."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Sequence
from http import HTTPStatus
from itertools import chain

import httpx

from repoint.bindings.webhooks import UNREACHABLE, shown
from repoint.streams.sink import SinkError, StreamRecord, TooLargeError, parts

TIMEOUT_SECONDS = 30.0
CALL_BYTES_MAX = 4 * 1024 * 1024
ANSWER_BYTES_MAX = 64 * 1024  # what is read of an answer, so that its connection can be used again
RECORD_BYTES_SURE = 64 * 1024  # whoever calls a record as small as this too large does not mean the record


class WebhookSink:
    """One URL. Any 2xx means that the whole batch has been taken; anything else, that none of it has.

    `X-Repoint-Signature` is `sha256=` and the hex HMAC-SHA256, by the binding's secret, of the value of
    `X-Repoint-Timestamp` (seconds since 1970), a full stop and the body. A batch that is sent again has the same
    `X-Repoint-Batch`. One that is answered 413 is sent in halves.
    """

    records_max = 500

    def __init__(self, client: httpx.AsyncClient, url: str, secret: str, seconds: Callable[[], float]) -> None:
        self._client = client
        self._url = url
        self._secret = secret.encode()
        self._seconds = seconds

    async def write(self, records: Sequence[StreamRecord]) -> None:
        """Post the records.

        Raises:
            SinkError: when the receiver cannot be reached, or answers anything but 2xx.
        """
        waiting = parts(records, self.records_max, CALL_BYTES_MAX)
        while waiting:
            batch = waiting[0]
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    status = await self._post(b"".join(record.data for record in batch))
            except TimeoutError:
                raise self._refusal(f"no answer within {TIMEOUT_SECONDS:g} seconds", waiting) from None
            except UNREACHABLE as error:
                raise self._refusal(str(error) or type(error).__name__, waiting) from error
            if httpx.codes.is_success(status):
                waiting.pop(0)
            elif status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(batch) > 1:
                middle = len(batch) // 2
                waiting[:1] = [batch[:middle], batch[middle:]]
            elif status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(batch[0].data) > RECORD_BYTES_SURE:
                text = f"{shown(self._url)}: HTTP {status} to a record of {len(batch[0].data)} bytes"
                raise TooLargeError(text, list(chain.from_iterable(waiting)))
            else:
                raise self._refusal(f"HTTP {status}", waiting)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    def _refusal(self, why: str, waiting: Sequence[Sequence[StreamRecord]]) -> SinkError:
        return SinkError(f"{shown(self._url)}: {why}", list(chain.from_iterable(waiting)))

    async def _post(self, body: bytes) -> int:
        stamp = str(int(self._seconds()))
        headers = {
            "content-type": "application/x-ndjson",
            "x-repoint-timestamp": stamp,
            "x-repoint-batch": hashlib.sha256(body).hexdigest()[:32],
        }
        if self._secret:
            signature = hmac.new(self._secret, stamp.encode() + b"." + body, "sha256").hexdigest()
            headers["x-repoint-signature"] = f"sha256={signature}"
        async with self._client.stream("POST", self._url, content=body, headers=headers, timeout=None) as answer:
            size = 0
            async for piece in answer.aiter_raw():
                size += len(piece)
                if size > ANSWER_BYTES_MAX:
                    break
            return answer.status_code
