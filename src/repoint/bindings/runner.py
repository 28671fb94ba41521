"""Runs a Lambda handler's file in a process of its own; started by `local`, imports nothing of Repoint.

Frames go both ways, four bytes of length and JSON: in on standard input, out on what was standard output. What the
handler prints goes to standard error.
"""

import importlib.util
import json
import os
import resource
import struct
import sys
import time
import traceback
from typing import Any, BinaryIO

HEAD = struct.Struct(">I")


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
        self.log_group_name = f"/aws/lambda/{self.function_name}"
        self.log_stream_name = f"[$LATEST]{os.getpid()}"
        self._deadline = time.monotonic() + given["seconds"]

    def get_remaining_time_in_millis(self) -> int:
        """How long the handler may still take."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def read_frame(stream: BinaryIO) -> Any:
    """The next frame; None at the end."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    return json.loads(stream.read(HEAD.unpack(head)[0]))


def write_frame(stream: BinaryIO, document: Any) -> None:
    """One frame."""
    data = json.dumps(document).encode()
    stream.write(HEAD.pack(len(data)) + data)
    stream.flush()


def failure(error: BaseException) -> dict[str, Any]:
    """An exception in the form Lambda answers it."""
    trace = traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
    return {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": trace}


def load(path: str, name: str) -> Any:
    """The handler in a file."""
    sys.path.insert(0, os.path.dirname(path))  # noqa: PTH120 - nothing else here needs pathlib, and this starts faster
    spec = importlib.util.spec_from_file_location("lambda_function", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lambda_function"] = module
    spec.loader.exec_module(module)
    return getattr(module, name)


def main() -> None:
    """Load the handler, then answer one request after the other."""
    path, name, memory_megabytes = sys.argv[1:4]
    limit = int(memory_megabytes) * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    try:
        handler = load(path, name)
    except BaseException as error:  # noqa: BLE001 - whatever the file does wrong is the caller's to know
        write_frame(answers, {"failure": failure(error) | {"when": "init"}})
        return
    write_frame(answers, {"ready": True})
    while (request := read_frame(sys.stdin.buffer)) is not None:
        try:
            answer = {"result": handler(request["event"], Context(request["context"]))}
            json.dumps(answer)
        except Exception as error:  # noqa: BLE001 - the same
            answer = {"failure": failure(error)}
        sys.stdout.flush()
        write_frame(answers, answer)


if __name__ == "__main__":
    main()
