"""Imports stopped in the middle of a chunk, and requests that write the same meanwhile: each user stays one."""

import json
from collections import Counter

import psycopg
import pytest
from psycopg import sql

from repoint.db.embedded import dsn_of
from tests.conftest import eventually
from tests.holding import holding, others
from tests.jobs.running import begin_import, endpoints, finished, put, summary
from tests.resources.test_users_at_once import endpoint_of, of_user, put_endpoints, update

SEEN = {"Attributes": {"seen": ["yes"]}}
SAID_BY_BOTH = {"Plan": ["gold"], "City": ["Graz"]}


def begin(server, client, app_id, rows):
    """An import of these rows; its job's id."""
    content = "".join(json.dumps({"Id": name} | row) + "\n" for name, row in rows.items())
    return begin_import(client, app_id, put(server, f"{app_id}/rows.json", content), "JSON")["Id"]


def stop_before_commit(server, client, app_id, piece, rows):
    """Begin an import whose chunk has looked at its users and waits for `piece` before its commit."""
    update(client, app_id, "known", {"ChannelType": "CUSTOM", "Address": "known"})
    with holding(server) as row:
        row.hold_endpoint(app_id, "known")
        job_id = begin(server, client, app_id, rows | {"known": SEEN})
        row.wait_for_waiting()
        piece.hold("SELECT 1 FROM job_piece WHERE job_id = %s FOR NO KEY UPDATE", [job_id])
        row.release()
    piece.wait_for_waiting()
    return job_id


def assert_forgotten(server, notes, app_id):
    """Nobody needs the notes of an application without an import."""
    query = sql.SQL("SELECT FROM {} WHERE app_id = %s").format(sql.Identifier(notes))
    with psycopg.connect(dsn_of(server.data_dir), autocommit=True) as connection:
        eventually(lambda: not connection.execute(query, [app_id]).fetchall())


def stopped_request(holder, pool, client, app_id, batch):
    """A request that has begun, and waits for what is held."""
    request = pool.submit(put_endpoints, client, app_id, batch)
    holder.wait_for_waiting()
    return request


def go_on(holder, request, client, app_id, job_id):
    """Let a request end once the import waits for it, or has ended without; and then the import."""
    eventually(lambda: holder.is_somebody_queued() or has_ended(client, app_id, job_id))
    holder.release()
    request.result()
    finished(client, app_id, job_id)


@pytest.fixture
def meanwhile(server, pinpoint, app_id):
    """Runs an import and, between its chunk's look at its users and its commit, a request."""

    def run(rows, request):
        with holding(server) as piece, others(piece) as pool:
            job_id = stop_before_commit(server, pinpoint, app_id, piece, rows)
            pool.submit(request).result()
            piece.release()
            return summary(finished(pinpoint, app_id, job_id))

    return run


def test_an_import_and_an_update_that_add_to_one_user_share_attributes(server, pinpoint, app_id, meanwhile):
    end = meanwhile(
        {"a": endpoint_of("u", 1, Plan="gold")},
        lambda: update(pinpoint, app_id, "b", endpoint_of("u", 2, City="Graz")),
    )

    assert end == ("COMPLETED", 2, 0)
    assert of_user(pinpoint, app_id, "u") == {"a": SAID_BY_BOTH, "b": SAID_BY_BOTH}
    assert_forgotten(server, "user_update", app_id)


def test_what_a_request_says_during_an_import_is_the_newer(pinpoint, app_id, meanwhile):
    def change_twice():
        update(pinpoint, app_id, "b", endpoint_of("u", 2, Plan="gold", Team="blue"))
        update(pinpoint, app_id, "b", {"User": {"UserAttributes": {"Plan": []}}})

    meanwhile({"a": endpoint_of("u", 1, Plan="bronze", Team="red", City="Graz")}, change_twice)
    both_say = {"City": ["Graz"], "Team": ["blue"]}

    assert of_user(pinpoint, app_id, "u") == {"a": both_say, "b": both_say}


def test_a_user_has_no_more_than_fifteen_endpoints_when_the_import_ends(server, pinpoint, app_id, meanwhile):
    for number in range(14):
        update(pinpoint, app_id, f"e{number}", endpoint_of("u", number))
    meanwhile(
        {"a": endpoint_of("u", 98)},
        lambda: update(pinpoint, app_id, "b", endpoint_of("u", 99)),
    )
    found = endpoints(server, pinpoint, app_id)
    left = {name: one["EndpointStatus"] for name, one in found.items() if "UserId" not in one["User"]}

    assert len(of_user(pinpoint, app_id, "u")) == 15
    assert Counter(left.values()) == {"ACTIVE": 1, "INACTIVE": 1}  # the one of no user, and the one too many
    assert {"a", "b"} - set(left) != set()


def test_an_address_is_the_requests_when_an_import_claims_it_too(server, pinpoint, app_id, meanwhile):
    def take_twice():
        for name in ("b", "c"):
            update(pinpoint, app_id, name, {"ChannelType": "CUSTOM", "Address": "same"})

    others_address = {"ChannelType": "EMAIL", "Address": "same"}
    end = meanwhile({"a": {"ChannelType": "CUSTOM", "Address": "same"}, "mail": others_address}, take_twice)
    found = endpoints(server, pinpoint, app_id)

    assert end == ("COMPLETED", 3, 0)
    assert {name for name, one in found.items() if one["EndpointStatus"] == "ACTIVE"} == {"known", "mail", "c"}
    assert_forgotten(server, "address_update", app_id)


def test_who_wakes_at_an_address_that_an_import_claims_keeps_it(server, pinpoint, app_id, meanwhile):
    asleep = {"ChannelType": "CUSTOM", "Address": "same", "EndpointStatus": "INACTIVE"}
    update(pinpoint, app_id, "b", asleep)
    meanwhile({"a": {"ChannelType": "CUSTOM", "Address": "same"}}, lambda: update(pinpoint, app_id, "b", SEEN))
    found = endpoints(server, pinpoint, app_id)

    assert {name for name, one in found.items() if one["EndpointStatus"] == "ACTIVE"} == {"known", "b"}


def test_a_request_older_than_the_import_is_seen_by_it(server, pinpoint, app_id):
    update(pinpoint, app_id, "zz", {"ChannelType": "CUSTOM", "Address": "last in the statement"})
    with holding(server) as holder, others(holder) as pool:
        holder.hold_endpoint(app_id, "zz")
        batch = {"b": endpoint_of("u", 2, City="Graz"), "zz": SEEN}
        request = stopped_request(holder, pool, pinpoint, app_id, batch)
        job_id = begin(server, pinpoint, app_id, {"a": endpoint_of("u", 1, Plan="gold")})
        go_on(holder, request, pinpoint, app_id, job_id)

    assert of_user(pinpoint, app_id, "u") == {"a": SAID_BY_BOTH, "b": SAID_BY_BOTH}


def test_an_import_ends_after_the_requests_that_have_not_seen_it(server, pinpoint, app_id):
    update(pinpoint, app_id, "zz", endpoint_of("v", 3))
    with holding(server) as holder, holding(server) as piece, others(holder) as pool:
        job_id = stop_before_commit(server, pinpoint, app_id, piece, {"a": endpoint_of("u", 1, Plan="gold")})
        holder.hold_endpoint(app_id, "zz")
        batch = {"b": endpoint_of("u", 2, City="Graz"), "zz": endpoint_of("v", 3, City="Wien")}
        request = stopped_request(holder, pool, pinpoint, app_id, batch)
        piece.release()
        go_on(holder, request, pinpoint, app_id, job_id)

    assert of_user(pinpoint, app_id, "u") == {"a": SAID_BY_BOTH, "b": SAID_BY_BOTH}


def test_a_chunk_that_failed_once_waits_for_those_who_write(server, pinpoint, app_id):
    """It may have lost a deadlock to them: beside enough of them it would lose each time."""
    for name in ("known", "zz"):
        update(pinpoint, app_id, name, {"ChannelType": "CUSTOM", "Address": name})
    with holding(server) as row, holding(server) as holder, others(holder) as pool:
        row.hold_endpoint(app_id, "known")
        job_id = begin(server, pinpoint, app_id, {"a": endpoint_of("u", 1), "known": SEEN})
        chunk = row.wait_for_waiting()
        holder.hold_endpoint(app_id, "zz")
        request = stopped_request(holder, pool, pinpoint, app_id, {"zz": SEEN})
        row.disconnect(chunk)
        eventually(holder.is_somebody_queued)
        holder.release()
        row.wait_for_waiting()
        row.release()
        statuses = request.result()

    assert statuses == {"zz": 202}
    assert summary(finished(pinpoint, app_id, job_id)) == ("COMPLETED", 2, 0)


def has_ended(client, app_id, job_id):
    return "CompletionDate" in client.get_import_job(ApplicationId=app_id, JobId=job_id)["ImportJobResponse"]
