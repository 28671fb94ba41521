"""Local functions: Python files with a Lambda handler, run unmodified in processes apart from ours.

A process is kept for the next call, so that only the first one waits for the file to load; a changed file is loaded
anew. One that takes too long, or dies, is killed and reported as Lambda reports it.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import struct
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

RUNNER = Path(__file__).with_name("runner.py")
HEAD = struct.Struct(">I")
INVOKE_SECONDS = 15.0
LOAD_SECONDS = 30.0
EXIT_SECONDS = 1.0
MEMORY_MEGABYTES = 512
PAYLOAD_BYTES_MAX = 6 * 1024 * 1024
PROCESSES_MAX = 4
FRAME_BYTES_MAX = PAYLOAD_BYTES_MAX + 64 * 1024
LINE_BYTES_MAX = 64 * 1024
# What a function must not see of the server it belongs to.
HIDDEN = ("REPOINT_", "PROMETHEUS_")


class LocalFailure(Exception):  # noqa: N818 - it is the function's failure, in Lambda's words
    """The function raised, crashed or took too long; `document` is what Lambda would answer."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(f"{document.get('errorType', 'Error')}: {document.get('errorMessage', '')}")
        self.document = document


@dataclass(slots=True)
class Child:
    """A process with the handler loaded."""

    process: asyncio.subprocess.Process
    printing: "asyncio.Task[None]"
    version: int


class LocalFunction:
    """One file's handler."""

    def __init__(self, arn: str, path: Path, handler: str, environment: Mapping[str, str]) -> None:
        self._arn = arn
        self._path = path
        self._handler = handler
        self._name = _function_name(arn)
        self._printed = logging.getLogger(f"repoint.function.{self._name}")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
        self._environment = {**kept, **self._lambdas(), **environment}
        self._idle: list[Child] = []
        self._slots = asyncio.Semaphore(PROCESSES_MAX)
        self._is_closed = False

    def _lambdas(self) -> dict[str, str]:
        """What Lambda has in its functions' environment ("Defined runtime environment variables")."""
        return {
            "AWS_LAMBDA_FUNCTION_NAME": self._name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(MEMORY_MEGABYTES),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self._name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"[$LATEST]{uuid.uuid4().hex}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
            "LAMBDA_TASK_ROOT": str(self._path.parent),
            "_HANDLER": f"{self._path.stem}.{self._handler}",
            "TZ": ":UTC",
        }

    async def invoke(self, event: Any, *, seconds: float = INVOKE_SECONDS) -> Any:
        """Call the handler; returns what it returns.

        Raises:
            LocalFailure: when it raises, dies or takes longer than `seconds`, or a payload is larger than 6 MB.
        """
        request_id = str(uuid.uuid4())
        context = {
            "function_name": self._name,
            "arn": self._arn,
            "request_id": request_id,
            "memory_megabytes": MEMORY_MEGABYTES,
            "seconds": seconds,
        }
        data = json.dumps({"event": event, "context": context}).encode()
        if len(data) > PAYLOAD_BYTES_MAX:
            raise LocalFailure(_too_large("Request"))
        async with self._slots:
            child = await self._child()
            try:
                answer = await asyncio.wait_for(_ask(child, data), seconds)
            except TimeoutError:
                await self._discard(child)
                message = f"RequestId: {request_id} Error: Task timed out after {seconds:.2f} seconds"
                raise LocalFailure({"errorType": "Sandbox.Timedout", "errorMessage": message}) from None
            except (asyncio.IncompleteReadError, ConnectionError):
                raise LocalFailure(await self._died(child, request_id)) from None
            except BaseException:
                await self._discard(child)
                raise
            await self._keep(child)
        if "failure" in answer:
            raise LocalFailure(answer["failure"] | {"requestId": request_id})
        return answer["result"]

    async def load(self) -> None:
        """Have a process with the handler loaded, ready to be called.

        Raises:
            LocalFailure: when the file is not there or does not load.
        """
        async with self._slots:
            await self._keep(await self._child())

    async def _keep(self, child: Child) -> None:
        """For the next call, if there will be one."""
        if self._is_closed:
            await self._discard(child)
        else:
            self._idle.append(child)

    async def close(self) -> None:
        """Stop all processes, those that are at a call when they are done."""
        self._is_closed = True
        while self._idle:
            await self._discard(self._idle.pop())

    async def _child(self) -> Child:
        """A process that is ready: one that has been before, or a new one."""
        version = self._version()
        while self._idle:
            child = self._idle.pop()
            if child.version == version and child.process.returncode is None:
                return child
            await self._discard(child)
        return await self._start(version)

    def _version(self) -> int:
        """When the file, or a module beside it, was last changed."""
        try:
            newest = self._path.stat().st_mtime_ns
            with os.scandir(self._path.parent) as beside:
                for one in beside:
                    if one.name.endswith(".py"):
                        with contextlib.suppress(FileNotFoundError):  # an editor's lock, a file that is being replaced
                            newest = max(newest, one.stat().st_mtime_ns)
        except OSError as error:
            message = f"Unable to read {self._path}: {error.strerror}"
            raise LocalFailure({"errorType": "Runtime.ImportModuleError", "errorMessage": message}) from None
        return newest

    async def _start(self, version: int) -> Child:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-IB",
            str(RUNNER),
            str(self._path),
            self._handler,
            str(MEMORY_MEGABYTES),
            str(PAYLOAD_BYTES_MAX),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            cwd=self._path.parent,
            start_new_session=True,
        )
        child = Child(process, asyncio.create_task(self._log(process)), version)
        try:
            answer = await asyncio.wait_for(_answer(child), LOAD_SECONDS)
        except (TimeoutError, asyncio.IncompleteReadError):
            raise LocalFailure(await self._died(child, "none")) from None
        except BaseException:
            await self._discard(child)
            raise
        if "failure" in answer:
            await self._discard(child)
            raise LocalFailure(answer["failure"])
        return child

    async def _log(self, process: asyncio.subprocess.Process) -> None:
        """What the handler prints, line by line; a line too long to be one is several."""
        assert process.stderr is not None
        kept = b""
        while piece := await process.stderr.read(LINE_BYTES_MAX):
            *lines, kept = (kept + piece).split(b"\n")
            for line in lines:
                self._note(line)
            if len(kept) >= LINE_BYTES_MAX:
                self._note(kept)
                kept = b""
        if kept:
            self._note(kept)

    def _note(self, line: bytes) -> None:
        self._printed.info("%s", line.decode(errors="replace").rstrip(), extra={"function": self._name})

    async def _died(self, child: Child, request_id: str) -> dict[str, Any]:
        with contextlib.suppress(TimeoutError):  # its pipe is closed; how it ended is known a little later
            await asyncio.wait_for(child.process.wait(), EXIT_SECONDS)
        await self._discard(child)
        status = child.process.returncode or 0
        what = f"signal: {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        message = f"RequestId: {request_id} Error: Runtime exited with error: {what}"
        return {"errorType": "Runtime.ExitError", "errorMessage": message}

    async def _discard(self, child: Child) -> None:
        """Kill a process and all it has started, also when it is gone itself; what it has printed is not lost."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
        await child.process.wait()
        await asyncio.wait([child.printing], timeout=EXIT_SECONDS)
        child.printing.cancel()
        assert child.process.stdin is not None
        child.process.stdin.close()


def _function_name(arn: str) -> str:
    """A function's own, without its alias; of a stream or topic that a function stands behind, the stream's."""
    resource = arn.split(":", 5)[-1]
    return resource.split(":")[1] if resource.startswith("function:") else resource.rpartition("/")[2]


async def _ask(child: Child, data: bytes) -> Any:
    assert child.process.stdin is not None
    child.process.stdin.write(HEAD.pack(len(data)) + data)
    await child.process.stdin.drain()
    return await _answer(child)


async def _answer(child: Child) -> dict[str, Any]:
    assert child.process.stdout is not None
    (size,) = HEAD.unpack(await child.process.stdout.readexactly(HEAD.size))
    if size > FRAME_BYTES_MAX:
        raise asyncio.IncompleteReadError(b"", size)  # that was not the runner
    frame = await child.process.stdout.readexactly(size)
    try:
        answer: dict[str, Any] = msgspec.json.decode(frame)
    except (msgspec.DecodeError, RecursionError) as error:
        message = f"Unable to marshal response: {error}"
        return {"failure": {"errorType": "Runtime.MarshalError", "errorMessage": message}}
    return {"failure": _too_large("Response")} if "too_large" in answer else answer


def _too_large(what: str) -> dict[str, Any]:
    return {
        "errorType": f"Function.{what}SizeTooLarge",
        "errorMessage": f"{what} payload size exceeded maximum allowed payload size ({PAYLOAD_BYTES_MAX} bytes).",
    }
