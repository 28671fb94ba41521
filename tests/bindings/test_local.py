"""Local functions that do what Lambda's may: read, print, log, fork, leave things behind, change while they run."""

import asyncio
import logging
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from repoint.bindings import store
from repoint.bindings.functions import Functions
from repoint.bindings.local import LocalFailure, LocalFunction
from repoint.clock import system_clock
from repoint.db import Database
from repoint.db.embedded import dsn_of
from repoint.sealing import Seal
from tests.conftest import eventually

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:guide"


@pytest.fixture
def call(tmp_path):
    """Call a handler of this body with these events, one after the other; their answers, or failures' documents."""

    async def run(events, seconds):
        function = LocalFunction(ARN, tmp_path / "handler.py", "lambda_handler", {})
        answers = []
        for event in events:
            try:
                answers.append(await function.invoke(event, seconds=seconds))
            except LocalFailure as failure:
                answers.append(failure.document)
        await function.close()
        return answers

    def call_it(body, *events, seconds=10.0):
        source = "import os, sys, time\ndef lambda_handler(event, context):\n"
        (tmp_path / "handler.py").write_text(source + textwrap.indent(body, "    "))
        return asyncio.run(run(events or ({},), seconds))

    return call_it


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    "body",
    [
        "return sys.stdin.read()",
        "import subprocess\nreturn subprocess.run(['cat'], capture_output=True).stdout.decode()",
    ],
)
def test_there_is_nothing_on_standard_input(call, body):
    assert call(body, {}, {}) == ["", ""]


def test_a_forked_process_does_not_answer_for_the_handler(call):
    body = "if os.fork() == 0:\n    return 'another'\nreturn event"

    assert call(body, 1, 2, 3) == [1, 2, 3]


def test_what_a_handler_has_begun_ends_with_it(call, tmp_path):
    body = f"""
        pid = os.fork()
        if pid == 0:
            time.sleep(600)
        open({str(tmp_path / "pid")!r}, "w").write(str(pid))
        sys.exit(1)
    """
    [failure] = call(textwrap.dedent(body), seconds=20.0)
    pid = int((tmp_path / "pid").read_text())

    assert failure["errorMessage"].endswith("exit status 1")
    assert eventually(lambda: not is_running(pid))


def test_a_handler_ends_with_the_worker_that_called_it(tmp_path):
    """Killed, a worker ends nobody: what it has called must notice."""
    (tmp_path / "handler.py").write_text(
        f"import os\ndef lambda_handler(event, context):\n"
        f"    open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()) + ' ')\n    while True: pass\n"
    )
    caller = (
        "import asyncio, pathlib, sys\nfrom repoint.bindings.local import LocalFunction\n"
        "function = LocalFunction('a:f', pathlib.Path(sys.argv[1]), 'lambda_handler', {})\n"
        "asyncio.run(function.invoke({}, seconds=600.0))\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", caller, tmp_path / "handler.py"])
    pid = int(eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip()))
    assert is_running(pid)
    worker.send_signal(signal.SIGKILL)
    worker.wait()

    assert eventually(lambda: not is_running(pid))


def test_what_a_handler_says_is_in_the_log(call, caplog):
    """Printed, logged as AWS's samples do, at any length, and at last."""
    body = """
        import logging
        logging.getLogger().setLevel(logging.INFO)
        logging.info("logged")
        print("printed")
        print("x" * 200_000)
        print("last", end="", flush=True)
        os._exit(3)
    """
    with caplog.at_level(logging.INFO):
        call(textwrap.dedent(body))
    said = [record.getMessage() for record in caplog.records if record.name == "repoint.function.guide"]

    assert said[0].startswith("[INFO]\t")
    assert said[0].endswith("\tlogged")
    assert (said[1], sum(line.count("x") for line in said[2:-1]), said[-1]) == ("printed", 200_000, "last")


def test_an_exception_is_in_the_log_with_its_lines(call, caplog):
    with caplog.at_level(logging.INFO):
        [failure] = call("raise KeyError('x')")
    said = [record.getMessage() for record in caplog.records if record.name == "repoint.function.guide"]

    assert (failure["errorType"], said[0], said[-1]) == (
        "KeyError",
        "Traceback (most recent call last):",
        "KeyError: 'x'",
    )
    assert "handler.py" in said[1]
    assert not any("runner.py" in line for line in said)


def test_a_handler_may_close_its_standard_output(call):
    assert call("sys.stdout.close()\nreturn 1", {}, {}) == [1, 1]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return float('nan')", "malformed"),
        ("return chr(0xd800)", ""),
        ("return {1}", "Object of type set is not JSON serializable"),
        ("return 'x' * 300_000_000", "MemoryError"),
    ],
)
def test_an_answer_that_is_no_json_is_refused_in_lambdas_words(call, body, why):
    [failure] = call(body)

    assert failure["errorType"] == "Runtime.MarshalError"
    assert failure["errorMessage"].startswith("Unable to marshal response: ")
    assert why in failure["errorMessage"]


def test_a_handler_finds_lambdas_environment(call, tmp_path):
    [found] = call("return [dict(os.environ), __name__, context.log_group_name, context.log_stream_name]")
    environment, module, group, stream = found

    assert module == "handler"
    assert (
        environment
        | {
            "AWS_LAMBDA_FUNCTION_NAME": "guide",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_LOG_GROUP_NAME": group,
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            "LAMBDA_TASK_ROOT": str(tmp_path),
            "_HANDLER": "handler.lambda_handler",
            "TZ": ":UTC",
        }
        == environment
    )


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:lambda:eu-west-1:123456789012:function:guide", "guide"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:guide:PROD", "guide"),
        ("arn:aws:kinesis:eu-west-1:123456789012:stream/guide", "guide"),
        ("arn:aws:sns:eu-west-1:123456789012:guide", "guide"),
    ],
)
def test_a_function_is_named_without_what_is_around_it(tmp_path, arn, name):
    (tmp_path / "handler.py").write_text("def lambda_handler(event, context):\n    return context.function_name\n")

    async def scene():
        function = LocalFunction(arn, tmp_path / "handler.py", "lambda_handler", {})
        found = await function.invoke({})
        await function.close()
        return found

    assert asyncio.run(scene()) == name


def test_a_changed_module_beside_the_handler_is_loaded_anew(tmp_path):
    (tmp_path / "handler.py").write_text(
        "import beside\ndef lambda_handler(event, context):\n    return beside.VALUE\n"
    )
    (tmp_path / ".#handler.py").symlink_to("somebody@host.1234")  # as Emacs locks what it edits

    async def scene():
        function = LocalFunction(ARN, tmp_path / "handler.py", "lambda_handler", {})
        answers = []
        for value in (1, 2):
            (tmp_path / "beside.py").write_text(f"VALUE = {value}\n")
            answers.append(await function.invoke({}))
        await function.close()
        return answers

    assert asyncio.run(scene()) == [1, 2]


def test_a_file_without_the_handler_is_told_in_lambdas_words(tmp_path):
    (tmp_path / "handler.py").write_text("x = 1\n")
    with pytest.raises(LocalFailure, match="Handler 'lambda_handler' missing on module 'handler'"):
        asyncio.run(LocalFunction(ARN, tmp_path / "handler.py", "lambda_handler", {}).load())


def test_what_an_arn_was_bound_to_before_is_let_go(server, tmp_path):
    """Also where it was at a call when the binding changed."""
    calls = tmp_path / "calls"
    source = (
        "import os, time\ndef lambda_handler(event, context):\n"
        f"    open({str(calls)!r}, 'a').write('x')\n    time.sleep(event)\n    return os.getpid()\n"
    )
    for name in ("old", "new"):
        (tmp_path / f"{name}.py").write_text(source)

    async def scene():
        db, seal = Database(dsn_of(server.data_dir)), Seal.from_settings("", server.data_dir)
        await db.open()
        functions = Functions(db, seal, system_clock)
        arn = ARN + "moved"
        await store.put(db, seal, store.check(arn, f"python:{tmp_path}/old.py"), system_clock())
        idle = await functions.invoke(arn, 0)
        busy = [asyncio.create_task(functions.invoke(arn, 1)) for _ in range(2)]
        await asyncio.to_thread(eventually, lambda: len(calls.read_text()) == 3)
        await store.put(db, seal, store.check(arn, f"python:{tmp_path}/new.py"), system_clock())
        new = await functions.invoke(arn, 0)
        old = {idle, *await asyncio.gather(*busy)}
        await asyncio.to_thread(eventually, lambda: not any(is_running(pid) for pid in old))
        assert is_running(new)
        await functions.close()
        await db.close()

    asyncio.run(scene())
