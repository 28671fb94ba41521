"""Activities for an audience, as a campaign's start accepts them."""

import asyncio
import contextlib
import secrets
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from repoint.db import Connection
from repoint.db.embedded import dsn_of
from repoint.work import pacing
from repoint.work.pacing import Pace
from tests.conftest import start_server


@contextlib.contextmanager
def serving(data_dir, *arguments):
    """A server of one's own, and an application in it; stopped at the end, which has to succeed."""
    server = start_server(data_dir, *arguments, "--log-level", "error")
    client = server.client()
    try:
        yield server, client, client.create_app(CreateApplicationRequest={"Name": "Own"})["ApplicationResponse"]["Id"]
    finally:
        status = server.stop()
    assert status == 0


def dsn(server):
    return dsn_of(server.data_dir)


def query(server, statement, *parameters):
    """Rows of the server's database."""
    with psycopg.connect(dsn(server)) as connection:
        return connection.execute(statement, parameters).fetchall()


def email_content(subject="Hi {{User.UserAttributes.First}}", **message):
    parts = {"Subject": {"Data": subject}, "TextPart": {"Data": "For {{Address}}."}}
    email = {"FromAddress": "Shop <shop@example.com>", "SimpleEmail": parts | message}
    return {"Region": "us-east-1", "Message": {"EmailMessage": email}, "Templates": {}, "Context": {"run": "1"}}


def put_endpoints(pinpoint, app_id, count, *, domain="example.com", **members):
    """Endpoints e0000… with addresses p0@example.com…; at most 100 in a request."""
    items = [
        {
            "Id": f"e{number:04}",
            "ChannelType": "EMAIL",
            "Address": f"p{number}@{domain}",
            "User": {"UserId": f"u{number}", "UserAttributes": {"First": [f"Ann{number}"]}},
            **members,
        }
        for number in range(count)
    ]
    for start in range(0, count, 100):
        pinpoint.update_endpoints_batch(ApplicationId=app_id, EndpointBatchRequest={"Item": items[start : start + 100]})


def select(server, app_id, content, audience="true", *, between_seconds=(0, 3600)):
    """Write an activity down, to be sent between then and then; its id, and how many it is for."""
    start, end = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in between_seconds)
    activity_id = secrets.token_hex(8)
    pace = Pace(start=start, rate=None, seconds=(end - start).total_seconds(), end=None)
    messages = sql.SQL(
        """INSERT INTO message (app_id, activity_id, endpoint_id, message_id, channel_type, address, state, created_at,
               modified_at)
           SELECT app_id, %s, endpoint_id, %s || replace(gen_random_uuid()::text, '-', ''), channel_type, address,
               'ACCEPTED', %s, %s
           FROM endpoint WHERE app_id = %s AND ({})"""
    ).format(sql.SQL(audience))

    async def run():
        async with await Connection.connect(dsn(server), autocommit=True) as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO activity (activity_id, app_id, content, created_at) VALUES (%s, %s, %s, %s)",
                [activity_id, app_id, Jsonb(content), start],
            )
            await connection.execute(messages, [activity_id, f"{int(start.timestamp()):08x}", start, start, app_id])
            return await pacing.cut(connection, app_id, [activity_id], pace)

    return activity_id, asyncio.run(run())


def states(server, activity_id):
    """How many of an activity's messages are in which state."""
    return dict(query(server, "SELECT state, count(*) FROM message WHERE activity_id = %s GROUP BY 1", activity_id))


def is_done(server):
    """Whether nothing waits to be sent."""
    return query(server, "SELECT NOT EXISTS (TABLE outbox) AND NOT EXISTS (TABLE outbox_slice)") == [(True,)]
