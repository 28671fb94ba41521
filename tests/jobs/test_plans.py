"""An import's statements read what they need by key, whatever PostgreSQL's statistics say."""

import subprocess

import psycopg

from repoint.db.embedded import dsn_of
from tests.conftest import REPOINT, eventually, start_server

ROWS = 2_000
READ = """SELECT seq_tup_read + idx_tup_fetch, n_tup_ins + n_tup_upd FROM pg_stat_user_tables
          WHERE relname = 'endpoint'"""


def people(folder, name):
    rows = "".join(f"{n},EMAIL,{name}{n}@example.com,{name}{n},x\n" for n in range(ROWS))
    (folder / f"{name}.csv").write_text(f"Id,ChannelType,Address,User.UserId,User.UserAttributes.Name\n{rows}")
    return folder / f"{name}.csv"


def rows_read(server, app_id, file):
    """How many endpoints an import reads; its process tells PostgreSQL's statistics when it ends."""
    with psycopg.connect(dsn_of(server.data_dir), autocommit=True) as connection:
        before = connection.execute(READ).fetchone()
        command = [REPOINT, "import", file, "--app", app_id, "--data-dir", server.data_dir]
        subprocess.run(command, check=True, capture_output=True)
        after = eventually(
            lambda: (found := connection.execute(READ).fetchone())[1] >= before[1] + ROWS and found, seconds=30
        )
    return after[0] - before[0]


def test_an_application_newer_than_the_statistics_is_imported_by_key(tmp_path):
    server = start_server(tmp_path / "data", "--workers", "0", "--log-level", "error")
    client = server.client()
    known_app, new_app = (
        client.create_app(CreateApplicationRequest={"Name": name})["ApplicationResponse"]["Id"]
        for name in ("known", "new")
    )
    known, new = people(tmp_path, "known"), people(tmp_path, "new")
    rows_read(server, known_app, known)
    with psycopg.connect(dsn_of(server.data_dir), autocommit=True) as connection:
        connection.execute("ANALYZE endpoint")
    rows_read(server, new_app, new)
    read = {app_id: rows_read(server, app_id, file) for app_id, file in ((known_app, known), (new_app, new))}
    server.stop()

    assert 0 < read[new_app] <= 2 * read[known_app]
