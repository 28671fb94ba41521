"""The data directory: wherever it is, whoever it belongs to, whatever the environment says."""

import os
import subprocess

import psycopg
import pytest

from repoint.db.embedded import dsn_of, socket_folder
from tests.conftest import REPOINT, start_server
from tests.killing import postmaster

SOMEBODY = 65534


def repoint(*arguments, **more):
    return subprocess.run([REPOINT, *arguments], capture_output=True, text=True, timeout=60, **more)


@pytest.mark.parametrize("name", ["with spaces, and a comma", "übergroß 'quoted'", "l" * 100])
def test_a_folder_may_have_any_name(tmp_path, name):
    server = start_server(tmp_path / name, "--workers", "0")
    client = server.client()
    app = client.create_app(CreateApplicationRequest={"Name": "Kept"})["ApplicationResponse"]
    server.stop()
    keys = server.access_key_id, server.secret_access_key
    again = start_server(tmp_path / name, "--workers", "0", keys=keys)

    assert again.client().get_app(ApplicationId=app["Id"])["ApplicationResponse"]["Name"] == "Kept"
    assert again.stop() == 0


def test_a_name_that_a_shell_would_change_is_refused_before_anything_is_made(tmp_path):
    done = repoint("serve", "--data-dir", tmp_path / "a$b", "--port", "0")

    assert done.returncode == 1
    assert done.stderr.endswith("a$b: the path has '$' in it\n")
    assert not (tmp_path / "a$b").exists()


def test_a_command_finds_the_server_of_a_long_path_whatever_its_own_folder_for_temporary_files(tmp_path):
    (tmp_path / "temporary").mkdir()
    folder = tmp_path / ("l" * 100)
    server = start_server(folder, "--workers", "0")
    done = repoint("keys", "list", "--data-dir", folder, env=os.environ | {"TMPDIR": str(tmp_path / "temporary")})

    assert server.access_key_id in done.stdout
    assert server.stop() == 0


@pytest.mark.parametrize("trap", ["a link to another's", "open to all"])
def test_the_socket_of_a_long_path_is_not_laid_where_others_could_reach_it(tmp_path, trap):
    """Its folder among the temporary files has a name that anybody could think of, and make before us."""
    folder = tmp_path / ("l" * 100)
    temporary, theirs = tmp_path / "temporary", tmp_path / "theirs"
    for path in (temporary, theirs):
        path.mkdir()
    made = temporary / socket_folder(folder / "postgres").name
    if trap == "open to all":
        made.mkdir()
        made.chmod(0o777)
    else:
        made.symlink_to(theirs)
    before = theirs.stat().st_uid
    environment = os.environ | {"TMPDIR": str(temporary)}
    done = repoint("keys", "create", "--name", "a", "--data-dir", folder, env=environment)

    assert done.returncode == 1
    assert f"{made} is not ours alone" in done.stderr.splitlines()[-1]
    assert (list(theirs.iterdir()), theirs.stat().st_uid) == ([], before)


@pytest.mark.parametrize("variable", ["LC_ALL", "LANG"])
def test_a_locale_that_the_machine_does_not_have_is_no_hindrance(tmp_path, variable):
    others = {name: value for name, value in os.environ.items() if name != "LANG" and not name.startswith("LC_")}
    done = repoint("keys", "create", "--name", "a", "--data-dir", tmp_path, env=others | {variable: "tlh_QO.UTF-8"})

    assert done.returncode == 0, done.stderr


def test_letters_are_those_of_unicode_whatever_the_locale(tmp_path):
    server = start_server(tmp_path / "data", "--workers", "0", environment={"LC_ALL": "C"})
    with psycopg.connect(dsn_of(server.data_dir)) as connection:
        assert connection.execute("SELECT lower('IÄ')").fetchone() == ("iä",)
    assert server.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as others")
def test_root_who_looks_at_a_users_installation_leaves_it_to_the_user(tmp_path):
    folder = tmp_path / "data"
    repoint("keys", "create", "--name", "a", "--data-dir", folder, check=True)
    for lock in folder.glob("*.lock"):
        lock.unlink()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, SOMEBODY, SOMEBODY)
    first, second = (repoint("doctor", "--data-dir", folder, "--port", "0") for _ in range(2))

    assert (first.returncode, second.returncode) == (0, 0), first.stdout
    assert len(list(folder.glob("*.lock"))) == 2
    assert {path.stat().st_uid for path in folder.rglob("*")} == {SOMEBODY}


def test_a_lock_file_that_names_anothers_postgresql_is_forgotten(server, tmp_path):
    """After a power failure the number of our server may have become that of another."""
    repoint("keys", "create", "--name", "a", "--data-dir", tmp_path, check=True)
    lock = tmp_path / "postgres" / "postmaster.pid"
    lock.write_text(f"{postmaster(server.data_dir)}\n{tmp_path / 'postgres'}\n")
    lock.chmod(0o666)

    assert repoint("keys", "list", "--data-dir", tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("host", "port", "status", "said"),
    [
        ("::1", "0", 0, "ok    port 0: free"),
        ("nowhere.invalid", "8000", 1, "FAIL  port 8000: cannot listen on nowhere.invalid:8000: "),
        ("192.0.2.1", "8000", 1, "FAIL  port 8000: cannot listen on 192.0.2.1:8000: "),
    ],
)
def test_the_doctor_says_whether_one_can_listen_there(tmp_path, host, port, status, said):
    done = repoint("doctor", "--data-dir", tmp_path / "none", "--host", host, "--port", port)

    assert done.returncode == status
    assert said in done.stdout


def test_why_postgresql_does_not_start_is_told(tmp_path):
    repoint("keys", "create", "--name", "a", "--data-dir", tmp_path, check=True)
    with (tmp_path / "postgres" / "postgresql.conf").open("a") as file:
        file.write("port = 'none'\n")
    done = repoint("keys", "list", "--data-dir", tmp_path)

    assert done.returncode == 1
    assert "PostgreSQL did not start: " in done.stderr
    assert "server.log" in done.stderr


@pytest.mark.parametrize("content", ["", "not hex", "0123"])
def test_a_file_that_holds_no_key_is_an_error_one_can_read(tmp_path, content):
    (tmp_path / "secret.key").write_text(content)
    done = repoint("serve", "--data-dir", tmp_path, "--port", "0")

    assert done.returncode == 1
    assert done.stderr.endswith(f"{tmp_path / 'secret.key'} is no secret key: that is 64 hex digits\n")


def test_the_doctor_sees_that_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    done = repoint("doctor", "--data-dir", tmp_path / "file", "--port", "0")

    assert done.returncode == 1
    assert f"FAIL  data directory: {tmp_path / 'file'} is no folder" in done.stdout
