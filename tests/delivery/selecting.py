"""Activities for an audience, as a campaign's start accepts them."""

import asyncio
import contextlib
import secrets
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from repoint.db.embedded import dsn_of
from repoint.resources.messages.store import SelectedActivity, insert_selected
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


def put_endpoints(pinpoint, app_id, count, **members):
    """Endpoints e0000… with addresses p0@example.com…; at most 100 in a request."""
    items = [
        {
            "Id": f"e{number:04}",
            "ChannelType": "EMAIL",
            "Address": f"p{number}@example.com",
            "User": {"UserId": f"u{number}", "UserAttributes": {"First": [f"Ann{number}"]}},
            **members,
        }
        for number in range(count)
    ]
    for start in range(0, count, 100):
        pinpoint.update_endpoints_batch(ApplicationId=app_id, EndpointBatchRequest={"Item": items[start : start + 100]})


def select(server, app_id, content, audience="true", *, activity_id="", between_seconds=(0, 3600)):
    """Accept an activity, to be sent between then and then; its id, and how many it is for."""
    start, end = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in between_seconds)
    activity_id = activity_id or secrets.token_hex(8)
    activity = SelectedActivity(activity_id, app_id, content, sql.SQL(audience), start, end)

    async def run():
        async with await psycopg.AsyncConnection.connect(dsn(server), autocommit=True) as connection:
            return await insert_selected(connection, activity)

    return activity_id, asyncio.run(run())


def states(server, activity_id):
    """How many of an activity's messages are in which state."""
    return dict(query(server, "SELECT state, count(*) FROM message WHERE activity_id = %s GROUP BY 1", activity_id))


def is_done(server):
    """Whether nothing waits to be sent."""
    return query(server, "SELECT NOT EXISTS (TABLE outbox) AND NOT EXISTS (TABLE outbox_slice)") == [(True,)]
