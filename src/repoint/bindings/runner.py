"""Runs a Lambda handler's file in a process of its own; started by `local`, imports nothing of Repoint.

Frames go both ways, four bytes of length and JSON: in on what was standard input, out on what was standard output. The
handler finds nothing on standard input, and what it prints goes to standard error.
"""

import contextlib
import importlib.util
import json
import logging
import os
import resource
import select
import signal
import struct
import sys
import threading
import time
import traceback
from typing import Any, BinaryIO

HEAD = struct.Struct(">I")
current_request = "none"


class Context:
    """The second argument of a handler, as AWS Lambda's Python runtime makes it."""

    function_version = "$LATEST"
    identity = None
    client_context = None

    def __init__(self, given: dict[str, Any]) -> None:
        self.function_name = given["function_name"]
        self.invoked_function_arn = given["arn"]
        self.aws_request_id = given["request_id"]
        self.memory_limit_in_mb = given["memory_megabytes"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self._deadline = time.monotonic() + given["seconds"]

    def get_remaining_time_in_millis(self) -> int:
        """How long the handler may still take."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


class LogHandler(logging.StreamHandler[Any]):
    """The root logger's, in the form of Lambda's: a handler need only set a level."""

    def __init__(self) -> None:
        super().__init__()
        form = logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        form.converter = time.gmtime
        self.setFormatter(form)

    def format(self, record: logging.LogRecord) -> str:
        """A line that names the request."""
        record.aws_request_id = current_request
        return super().format(record)


def read_frame(stream: BinaryIO) -> Any:
    """The next frame; None at the end."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    return json.loads(stream.read(HEAD.unpack(head)[0]))


def write_frame(stream: BinaryIO, data: bytes, bytes_max: int) -> None:
    """One frame of JSON; where it has too many bytes, one that says so."""
    if len(data) > bytes_max:
        data = encoded({"too_large": len(data)})
    stream.write(HEAD.pack(len(data)) + data)
    stream.flush()


def encoded(document: Any) -> bytes:
    """As JSON."""
    return json.dumps(document).encode()


def failure(error: BaseException) -> dict[str, Any]:
    """An exception in the form Lambda answers it."""
    trace = traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
    return {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": trace}


def load(path: str, name: str) -> Any:
    """The handler in a file, whose module has the file's name as in Lambda."""
    folder, file = os.path.split(path)
    stem = os.path.splitext(file)[0]  # noqa: PTH122 - nothing else here needs pathlib, and this starts faster
    sys.path.insert(0, folder)
    called = "lambda_function" if stem in sys.modules else stem
    spec = importlib.util.spec_from_file_location(called, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[called] = module
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise AttributeError(f"Handler {name!r} missing on module {called!r}")
    return getattr(module, name)


def answer_of(handler: Any, request: dict[str, Any]) -> bytes:
    """What a call comes to, as JSON."""
    global current_request  # noqa: PLW0603 - as Lambda's runtime keeps it: there is one at a time
    current_request = request["context"]["request_id"]
    try:
        answer = {"result": handler(request["event"], Context(request["context"]))}
    except Exception as error:  # noqa: BLE001 - whatever the file does wrong is the caller's to know
        traceback.print_exception(type(error), error, error.__traceback__ and error.__traceback__.tb_next)
        return encoded({"failure": failure(error)})
    try:
        return encoded(answer)
    except (TypeError, ValueError, RecursionError, MemoryError) as error:
        message = f"Unable to marshal response: {str(error) or type(error).__name__}"
        refusal = {"errorMessage": message, "errorType": "Runtime.MarshalError", "stackTrace": []}
        return encoded({"failure": refusal})


def end_with(requests: int) -> None:
    """Once nobody is left who could ask, nothing that the handler has begun goes on."""
    waiting = select.poll()
    waiting.register(requests, 0)  # only that the other end is closed is of interest
    waiting.poll()
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Load the handler, then answer one request after the other."""
    path, name, memory_megabytes, bytes_max = sys.argv[1:5]
    limit = int(memory_megabytes) * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    logging.getLogger().addHandler(LogHandler())
    own = os.getpid()
    # A process that the handler forks neither answers for it nor keeps it from being seen to have ended.
    os.register_at_fork(after_in_child=lambda: [os.dup2(nothing, one.fileno()) for one in (requests, answers)])
    threading.Thread(target=end_with, args=[requests.fileno()], daemon=True).start()
    try:
        handler = load(path, name)
    except BaseException as error:  # noqa: BLE001 - the same
        write_frame(answers, encoded({"failure": failure(error) | {"when": "init"}}), int(bytes_max))
        return
    write_frame(answers, encoded({"ready": True}), int(bytes_max))
    while (request := read_frame(requests)) is not None:
        answer = answer_of(handler, request)
        with contextlib.suppress(ValueError, OSError):  # it may have closed it
            sys.stdout.flush()
        if os.getpid() != own:
            os._exit(0)
        write_frame(answers, answer, int(bytes_max))


if __name__ == "__main__":
    main()
