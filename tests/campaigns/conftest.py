"""What campaigns need around them: a segment, a channel, templates."""

import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

EMAIL = {"EmailMessage": {"FromAddress": "shop@example.com", "Title": "Hi", "Body": "Hello {{Address}}"}}


@pytest.fixture
def database(server):
    """The server's own database."""
    with psycopg.connect(
        f"host={server.data_dir}/postgres user=postgres dbname=postgres", autocommit=True
    ) as connection:
        yield connection


@pytest.fixture
def segment_id(database, app_id):
    """A segment of everybody."""
    segment_id = uuid.uuid4().hex
    database.execute("INSERT INTO segment VALUES (%s, %s, 1, 0, now())", [app_id, segment_id])
    database.execute(
        "INSERT INTO segment_version VALUES (%s, %s, 1, 'all', %s, NULL, NULL, now())", [app_id, segment_id, Jsonb({})]
    )
    return segment_id


@pytest.fixture
def create(pinpoint, app_id, segment_id):
    """Create a campaign from what differs from a plain one, a day ahead."""

    def create_campaign(**given):
        request = {
            "Name": "news",
            "SegmentId": segment_id,
            "Schedule": {"StartTime": iso(days=1)},
            "MessageConfiguration": EMAIL,
            **given,
        }
        wanted = {name: value for name, value in request.items() if value is not None}
        return pinpoint.create_campaign(ApplicationId=app_id, WriteCampaignRequest=wanted)["CampaignResponse"]

    return create_campaign


def iso(**ahead):
    """A moment from now, as callers write it."""
    return (datetime.now(UTC) + timedelta(**ahead)).strftime("%Y-%m-%dT%H:%M:%SZ")
