"""Records put by calls of an AWS client, each of which may take some records and refuse others."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from botocore.exceptions import BotoCoreError, ClientError

from repoint.streams.sink import SinkError, StreamRecord

Put = Callable[[Sequence[StreamRecord]], Sequence[str]]


class Calls:
    """Makes one stream's calls, on a thread of its own: a far end that hangs keeps nobody else's waiting."""

    def __init__(self, where: str, put: Put) -> None:
        self._where = where
        self._put = put
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stream")

    async def make(self, calls: Sequence[Sequence[StreamRecord]]) -> None:
        """One call after the other; `put` says of each of its records why it was refused, or nothing.

        Raises:
            SinkError: after the first call that failed or of which a record was refused.
        """
        loop = asyncio.get_running_loop()
        for number, records in enumerate(calls):
            rest = chain.from_iterable(calls[number + 1 :])
            try:
                refusals = await loop.run_in_executor(self._thread, self._put, records)
            except (BotoCoreError, ClientError) as error:
                raise SinkError(f"{self._where}: {error}", [*records, *rest]) from error
            refused = [record for record, why in zip(records, refusals, strict=True) if why]
            if refused:
                why = next(filter(None, refusals))
                text = f"{self._where}: {len(refused)} of {len(records)} records were refused: {why}"
                raise SinkError(text, [*refused, *rest])

    def close(self) -> None:
        """Let go of the thread; a call that hangs is left to its own time limit."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def refusal(answer: dict[str, str]) -> str:
    """Why a record was refused, as AWS's batch operations say it; nothing if it was not."""
    if not answer.get("ErrorCode"):
        return ""
    return f"{answer['ErrorCode']}: {answer.get('ErrorMessage', '')}"
