"""What is said of processes that died, and of a database that neither answers nor refuses."""

import signal
import subprocess
import sys
import urllib.error
import urllib.request

import psutil
import pytest

from tests.conftest import eventually, start_server
from tests.killing import postmaster
from tests.messages.sending import text_somebody

DIES_UNREADY = """
import asyncio, logging, os, signal
from repoint.processes import Process, Supervisor
logging.basicConfig()
async def dies(life): os.kill(os.getpid(), signal.SIGKILL)
async def waits(life): life.ready(); await life.stopping.wait()
raise SystemExit(Supervisor([Process("waits", waits), Process("dies", dies)], drain_seconds=5).run(print))
"""


def test_a_silent_database_is_not_ready_and_is_again_when_it_speaks(tmp_path):
    server = start_server(tmp_path / "data", "--workers", "0")
    first = psutil.Process(postmaster(server.data_dir))
    silent = [first, *first.children()]
    for process in silent:
        process.suspend()
    try:
        with pytest.raises(urllib.error.HTTPError, match="503") as refused:
            urllib.request.urlopen(server.url + "/readyz", timeout=30)
        assert server.get("/healthz") == {"status": "ok"}
    finally:
        for process in silent:
            process.resume()

    assert b"has not answered for" in refused.value.read()
    assert eventually(lambda: server.get("/readyz") == {"status": "ready"})
    assert server.stop() == 0


def test_the_log_says_which_signal_ended_a_process(tmp_path):
    server = start_server(tmp_path / "data", "--workers", "0")
    (api,) = psutil.Process(server.process.pid).children()
    api.send_signal(signal.SIGUSR1)
    log = tmp_path / "data.log"

    assert eventually(lambda: "api-1 was ended by SIGUSR1; starting again in 0.2 s" in log.read_text())
    assert server.stop() == 0


def test_a_process_that_dies_before_it_is_ready_ends_the_start():
    done = subprocess.run([sys.executable, "-c", DIES_UNREADY], capture_output=True, text=True, timeout=30)

    assert done.returncode == 1
    assert "dies died before it was ready" in done.stderr


def test_messages_that_nobody_delivers_are_seen_in_the_metrics(tmp_path):
    server = start_server(tmp_path / "data", "--workers", "0")
    text_somebody(server.client(), "waits")

    assert eventually(lambda: waits(server.get("/metrics")), seconds=60)
    assert server.stop() == 0


def waits(metrics):
    """Whether one message is waiting, and has for some time."""
    values = dict(line.split() for line in metrics.splitlines() if line.startswith("repoint_outbox_"))
    return values["repoint_outbox_messages"] == "1.0" and float(values["repoint_outbox_oldest_seconds"]) > 0
