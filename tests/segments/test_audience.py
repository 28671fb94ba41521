"""Sizes of what is large, and what is left when a segment is gone."""

import psycopg
import pytest

from repoint.clock import system_clock
from repoint.resources.segments import audience, store
from repoint.work.periodic import keep_house
from tests.conftest import eventually
from tests.segments.population import NOW, create, dsn, import_segment, on_database

ENDPOINTS = 60_000


@pytest.fixture
def crowd(server, app_id):
    """So many endpoints that an estimate does not read them all; every third is gold, every sixth inactive gold."""
    with psycopg.connect(dsn(server), autocommit=True) as connection:
        connection.execute(
            """INSERT INTO endpoint (app_id, endpoint_id, given_id, revision, channel_type, address, is_active,
                   is_opted_out, cohort_id, created_at, effective_at, request_id, attributes, metrics, demographic,
                   location, user_attributes)
               SELECT %s, 'e' || n, 'e' || n, 1, 'SMS', n, n %% 6 <> 0, false, 0, now(), now(), 'test',
                   CASE WHEN n %% 3 = 0 THEN '{"Plan": ["gold"]}' ELSE '{}' END::jsonb, '{}', '{}', '{}', '{}'
               FROM generate_series(1, %s) n""",
            [app_id, ENDPOINTS],
        )
        connection.execute("ANALYZE endpoint")
        yield app_id
        connection.execute("DELETE FROM endpoint WHERE app_id = %s", [app_id])


def test_an_estimate_comes_near_and_says_that_it_is_one(server, pinpoint, crowd):
    segment_id = create(pinpoint, crowd, Dimensions={"Attributes": {"Plan": {"Values": ["gold"]}}})

    async def sizes(database):
        segment = await store.load_segment(database, (crowd, segment_id, None))
        return await audience.count(database, segment, NOW), await audience.estimate(database, segment, NOW)

    exact, estimated = on_database(server, sizes)

    assert (exact.total, exact.eligible, exact.is_exact) == (ENDPOINTS // 3, ENDPOINTS // 6, True)
    assert not estimated.is_exact
    assert abs(estimated.total - exact.total) < exact.total * 0.2
    assert abs(estimated.eligible - exact.eligible) < exact.eligible * 0.2


def members_of(server, app_id):
    with psycopg.connect(dsn(server)) as connection:
        query = """SELECT (SELECT count(*) FROM segment_member WHERE app_id = %s)
                        + (SELECT count(*) FROM segment_user WHERE app_id = %s)"""
        return connection.execute(query, [app_id, app_id]).fetchone()[0]


@pytest.mark.parametrize("what", ["segment", "app"])
def test_a_deleted_segments_members_are_removed_behind_the_reply(server, pinpoint, app_id, what):
    gone = import_segment(server, app_id, ["a", "b"], user_ids=["u"])
    import_segment(server, app_id, ["c"])
    left = 1 if what == "segment" else 0
    if what == "segment":
        pinpoint.delete_segment(ApplicationId=app_id, SegmentId=gone)
    else:
        pinpoint.delete_app(ApplicationId=app_id)

    def is_done():
        days = {"event_days": 9, "message_days": 9}
        on_database(server, lambda database: keep_house(database, system_clock(), **days, inbox_messages=9))
        return members_of(server, app_id) == left

    assert eventually(is_done)
