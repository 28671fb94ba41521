"""A request's body, read within limits of size and time."""

import asyncio
from typing import Any, NoReturn

import falcon.asgi

from repoint.wire.exceptions import PayloadTooLargeException

BODY_BYTES_MAX = 7 * 1024 * 1024
DRAIN_BYTES_MAX = 4 * BODY_BYTES_MAX  # a client that is cut off while it sends never reads why
DRAIN_BYTES = 256 * 1024
TOO_LARGE = f"The body must be at most {BODY_BYTES_MAX} bytes"
BODY_SECONDS = 30.0
LOOK_SECONDS = 1.0


class BodyTimeoutError(Exception):
    """A body has not arrived in time."""


class BodyReader:
    """Reads bodies, and gives up those that do not arrive in time.

    A timer for each request would cost as much as checking its signature, so one timer looks after all of them.
    """

    def __init__(self, *, seconds: float = BODY_SECONDS) -> None:
        self._seconds = seconds
        self._due: dict[asyncio.Task[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, request: falcon.asgi.Request) -> bytes:
        """The whole body.

        Raises:
            PayloadTooLargeException: beyond 7 MB.
            BodyTimeoutError: when it does not arrive in time.
        """
        length = request.content_length
        if length is None and "transfer-encoding" not in request.headers:
            return b""
        if length is not None and length > DRAIN_BYTES_MAX:
            raise PayloadTooLargeException(TOO_LARGE)
        task = asyncio.current_task()
        assert task is not None
        self._watch(task)
        try:
            body: bytes = await request.stream.read(BODY_BYTES_MAX + 1)
            return body if len(body) <= BODY_BYTES_MAX else await _refuse(request, len(body))
        except asyncio.CancelledError:
            if task in self._due:
                raise
            task.uncancel()
            raise BodyTimeoutError from None
        finally:
            self._due.pop(task, None)

    def _watch(self, task: asyncio.Task[Any]) -> None:
        loop = asyncio.get_running_loop()
        self._due[task] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(min(LOOK_SECONDS, self._seconds), self._look)

    def _look(self) -> None:
        """Cancel what is overdue; look again, while anything is waited for."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task in [task for task, due in self._due.items() if due <= now]:
            del self._due[task]
            task.cancel()
        self._timer = loop.call_later(min(LOOK_SECONDS, self._seconds), self._look) if self._due else None


async def _refuse(request: falcon.asgi.Request, drained: int) -> NoReturn:
    while drained < DRAIN_BYTES_MAX and (chunk := await request.stream.read(DRAIN_BYTES)):
        drained += len(chunk)
    raise PayloadTooLargeException(TOO_LARGE)
