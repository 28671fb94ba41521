"""Endpoints to choose from, a way to ask who is in a segment, and the same answer worked out naively."""

import asyncio
import uuid
from datetime import UTC, datetime

import psycopg
from psycopg.types.json import Jsonb

from repoint.clock import system_clock
from repoint.db import Database
from repoint.db.embedded import dsn_of
from repoint.resources.segments import audience, store

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
COLUMNS = {
    "channel_type": "EMAIL",
    "address": "someone@example.com",
    "is_active": True,
    "is_opted_out": False,
    "effective_at": NOW,
    "user_id": None,
    "attributes": {},
    "metrics": {},
    "demographic": {},
    "location": {},
    "user_attributes": {},
}


def dsn(server):
    return dsn_of(server.data_dir)


def insert_endpoints(connection, app_id, endpoints):
    """Rows as they are stored, by id; what is not said of one is as in COLUMNS."""
    rows = [
        [app_id, name, name, NOW, "test"]
        + [Jsonb(value) if isinstance(value, dict) else value for value in (COLUMNS | given).values()]
        for name, given in endpoints.items()
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            f"""INSERT INTO endpoint (app_id, endpoint_id, given_id, created_at, request_id, {", ".join(COLUMNS)},
                                      revision, cohort_id)
                VALUES (%s, %s, %s, %s, %s, {", ".join(["%s"] * len(COLUMNS))}, 1, 0)""",
            rows,
        )


def insert_members(connection, app_id, segment_id, endpoint_ids, user_ids=(), version=1):
    for table, column, ids in (("segment_member", "endpoint_id", endpoint_ids), ("segment_user", "user_id", user_ids)):
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {table} (app_id, segment_id, version, {column}) VALUES (%s, %s, %s, %s)",
                [[app_id, segment_id, version, one] for one in ids],
            )


def on_database(server, action):
    """`await action(database)`, on the server's database."""

    async def run():
        database = Database(dsn(server))
        await database.open()
        try:
            return await action(database)
        finally:
            await database.close()

    return asyncio.run(run())


def import_segment(server, app_id, endpoint_ids, user_ids=(), size=None):
    """An imported segment, as an import job makes it; its id."""
    segment_id = uuid.uuid4().hex
    definition = {
        "Format": "CSV",
        "S3Url": "s3://bucket/key",
        "RoleArn": "arn:aws:iam::123456789012:role/r",
        "ExternalId": "",
        "Size": len(endpoint_ids) if size is None else size,
    }
    with psycopg.connect(dsn(server)) as connection:
        insert_members(connection, app_id, segment_id, endpoint_ids, user_ids)

    async def create(database):
        async with database.settings_change() as connection:
            await store.create_imported(
                connection, app_id, segment_id, name="Imported", definition=definition, now=system_clock()
            )

    on_database(server, create)
    return segment_id


def members(server, app_id, segment_id, version=None, now=NOW):
    """The ids of a segment's members."""

    async def find(database):
        segment = await store.load_segment(database, (app_id, segment_id, version))
        return {endpoint.given_id for endpoint in await audience.sample(database, segment, now, limit=1000)}

    return on_database(server, find)


def create(client, app_id, **request):
    """Create a segment; its id."""
    answer = client.create_segment(ApplicationId=app_id, WriteSegmentRequest={"Name": "Some", **request})
    return answer["SegmentResponse"]["Id"]
