"""A webhook: batches of JSON lines by POST, signed, so that the receiver knows who sent them and when."""

import hashlib
import hmac
from collections.abc import Callable, Sequence

import httpx

from repoint.streams.sink import SinkError, StreamRecord

TIMEOUT_SECONDS = 30.0


class WebhookSink:
    """One URL. Any 2xx means that the whole batch has been taken; anything else, that none of it has.

    `X-Repoint-Signature` is `sha256=` and the hex HMAC-SHA256, by the binding's secret, of the value of
    `X-Repoint-Timestamp` (seconds since 1970), a full stop and the body. A batch that is sent again has the same
    `X-Repoint-Batch`.
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
        body = b"".join(record.data for record in records)
        stamp = str(int(self._seconds()))
        headers = {
            "content-type": "application/x-ndjson",
            "x-repoint-timestamp": stamp,
            "x-repoint-batch": hashlib.sha256(body).hexdigest()[:32],
        }
        if self._secret:
            signature = hmac.new(self._secret, stamp.encode() + b"." + body, "sha256").hexdigest()
            headers["x-repoint-signature"] = f"sha256={signature}"
        try:
            answer = await self._client.post(self._url, content=body, headers=headers, timeout=TIMEOUT_SECONDS)
        except httpx.HTTPError as error:
            raise SinkError(f"{self._url}: {str(error) or type(error).__name__}") from error
        if not answer.is_success:
            raise SinkError(f"{self._url}: HTTP {answer.status_code}")

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()
