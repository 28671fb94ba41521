"""`repoint serve`: one command, several processes, an orderly end."""

import smtplib
import socket
import subprocess
import urllib.request

import psutil
import psycopg
import pytest

from repoint.db.embedded import dsn_of
from tests.conftest import REPOINT, eventually, free_port, start_server
from tests.killing import postmaster
from tests.messages.sending import text_somebody


def test_health_readiness_and_metrics_answer_without_a_signature(server, pinpoint):
    pinpoint.get_apps()

    assert server.get("/healthz") == {"status": "ok"}
    assert server.get("/readyz") == {"status": "ready"}
    assert 'repoint_requests_total{operation="GetApps",status="200"}' in server.get("/metrics")


def test_sigterm_ends_everything_it_started(tmp_path):
    server = start_server(tmp_path / "data", "--api-processes", "2", "--workers", "2")
    children = psutil.Process(server.process.pid).children(recursive=True)

    assert len(children) == 4
    assert server.stop() == 0
    assert [child for child in children if child.is_running()] == []
    assert not (server.data_dir / "postgres" / "postmaster.pid").exists()


def test_a_killed_process_is_started_again(tmp_path):
    server = start_server(tmp_path / "data", "--log-level", "error")
    victims = psutil.Process(server.process.pid).children()
    for victim in victims:
        victim.kill()

    eventually(lambda: len(alive(server.process.pid) - {victim.pid for victim in victims}) == len(victims))
    assert eventually(lambda: answers(server.url + "/readyz"))
    assert server.stop() == 0


def alive(pid):
    return {child.pid for child in psutil.Process(pid).children() if is_alive(child)}


def is_alive(process):
    """Whether a process is still there, and has not merely not been waited for."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


def test_children_do_not_outlive_a_killed_supervisor(tmp_path):
    server = start_server(tmp_path / "data", "--log-level", "error")
    children = psutil.Process(server.process.pid).children(recursive=True)
    server.kill()

    eventually(lambda: not [child for child in children if is_up(child)])
    assert start_server(tmp_path / "data", keys=("x", "y")).stop() == 0


def is_up(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def metrics_at(port):
    """What a worker shows."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        return response.read().decode()


def has_metrics(server):
    """Whether the running server still has what it has counted, whoever else has started on its data since."""
    return eventually(lambda: 'repoint_requests_total{operation="CreateApp",status="201"}' in server.get("/metrics"))


def test_a_worker_elsewhere_delivers_for_a_server_without_one(tmp_path):
    server = start_server(tmp_path / "data", "--workers", "0")
    text_somebody(server.client(), "from elsewhere")
    port = free_port()
    command = [REPOINT, "work", "--data-dir", server.data_dir, "--metrics-port", str(port)]
    worker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    (received,) = server.get("/inbox/api/wait?recipient=%2B14255550188&timeout=20")["messages"]
    counted = 'repoint_messages_total{channel_type="SMS",outcome="SUCCESSFUL"} 1.0'
    eventually(lambda: counted in metrics_at(port))
    worker.terminate()

    assert received["preview"] == "from elsewhere"
    assert has_metrics(server)
    assert worker.wait(timeout=30) == 0
    assert server.stop() == 0


def test_two_servers_on_one_data_directory_count_together(tmp_path):
    first = start_server(tmp_path / "data", "--workers", "0")
    first.client().create_app(CreateApplicationRequest={"Name": "Counted"})
    eventually(lambda: has_counted(first, 1))
    second = start_server(tmp_path / "data", "--workers", "0", keys=(first.access_key_id, first.secret_access_key))
    second.client().create_app(CreateApplicationRequest={"Name": "Counted"})

    assert eventually(lambda: has_counted(first, 2))
    assert first.stop() == 0
    assert eventually(lambda: has_counted(second, 2))
    assert second.stop() == 0


def has_counted(server, applications):
    """Whether the metrics tell of so many applications that were made."""
    line = f'repoint_requests_total{{operation="CreateApp",status="201"}} {float(applications)}'
    return line in server.get("/metrics")


@pytest.mark.parametrize("folder", ["of the running server", "new"])
def test_a_taken_port_is_an_error_one_can_read(server, app_id, tmp_path, folder):
    port = server.url.rpartition(":")[2]
    data_dir = tmp_path / "data" if folder == "new" else server.data_dir
    command = [REPOINT, "serve", "--data-dir", data_dir, "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert has_metrics(server)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("flags", [["--inbox-smtp-port"], ["--bounce-domain", "b.example.com", "--bounce-smtp-port"]])
def test_a_taken_port_for_mail_is_one_too(tmp_path, flags):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [REPOINT, "serve", "--data-dir", tmp_path / "data", "--port", "0", *flags, str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert done.stderr.endswith(f":{port}: Address already in use\n")
    assert not (tmp_path / "data").exists()


def test_workers_share_the_port_of_the_inbox(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = start_server(tmp_path / "data", "--workers", "2", "--inbox-smtp-port", str(port))

    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.sendmail("a@example.com", ["shared@example.com"], "Subject: Shared\r\n\r\nHello")
    (received,) = server.get("/inbox/api/wait?recipient=shared%40example.com&timeout=20")["messages"]
    assert received["subject"] == "Shared"
    assert server.stop() == 0


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", "8000"), ("nowhere.invalid", "8000")])
def test_where_nobody_can_listen_is_an_error_one_can_read(tmp_path, host, port):
    command = [REPOINT, "serve", "--data-dir", tmp_path / "data", "--host", host, "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: cannot listen on {host}:{port}: ")


@pytest.mark.parametrize("arguments", [["serve", "--help"], ["keys", "create", "--help"], ["config", "--help"]])
def test_help_teaches(arguments):
    done = subprocess.run([REPOINT, *arguments], capture_output=True, text=True, check=True)

    assert "REPOINT_DATA_DIR" in done.stdout


def test_the_embedded_postgresql_compares_text_by_its_bytes_whatever_the_locale(server):
    with psycopg.connect(dsn_of(server.data_dir)) as connection:
        query = "SELECT datlocprovider, datcollate FROM pg_database WHERE datname = current_database()"

        assert connection.execute(query).fetchone() == ("c", "C")


def test_an_embedded_postgresql_that_is_killed_is_started_again(tmp_path):
    server = start_server(tmp_path / "data", "--log-level", "error")
    client = server.client()
    app = client.create_app(CreateApplicationRequest={"Name": "Kept"})["ApplicationResponse"]
    for _ in range(2):
        victim = postmaster(server.data_dir)
        psutil.Process(victim).kill()
        eventually(lambda victim=victim: postmaster(server.data_dir) not in (victim, None))
        eventually(lambda: answers(server.url + "/readyz"))

    assert client.get_app(ApplicationId=app["Id"])["ApplicationResponse"]["Name"] == "Kept"
    assert server.stop() == 0
