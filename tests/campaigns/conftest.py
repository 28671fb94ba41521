"""What campaigns need around them: a server that mails to a sink, endpoints, segments, and the campaign itself."""

import asyncio
import json
import os
import subprocess
import zlib
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from repoint.db.embedded import EmbeddedPostgres, dsn_of
from repoint.db.migrate import load_migrations, migrate
from tests.campaigns.far_end import FarEnd, make_certificate
from tests.campaigns.sink import Sink
from tests.campaigns.world import EMAIL, fresh_database, world_of
from tests.conftest import REPOINT, eventually, start_server
from tests.messages.sending import enable, phone, token


@pytest.fixture(scope="session")
def mailing(tmp_path_factory):
    """A server whose relay is a sink."""
    with Sink() as sink:
        server = start_server(
            tmp_path_factory.mktemp("campaigns") / "data", "--log-level", "warning", "--smtp-url", sink.url
        )
        yield server, sink
        server.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls") / "far-end.pem")


@pytest.fixture(scope="session")
def far_end(certificate):
    """A webhook's server."""
    with FarEnd(certificate) as running:
        yield running


@pytest.fixture(scope="session")
def aws():
    """Lambda's stand-in."""
    with FarEnd() as running:
        yield running


@pytest.fixture(scope="session")
def calling(certificate, aws, tmp_path_factory):
    """A server that trusts the webhook's certificate, finds AWS's services at their stand-in, and mails to a sink."""
    environment = {
        "AWS_ENDPOINT_URL_LAMBDA": aws.url,
        "AWS_ENDPOINT_URL_PERSONALIZE_RUNTIME": aws.url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "SSL_CERT_FILE": str(certificate),
    }
    with Sink() as sink:
        data = tmp_path_factory.mktemp("calling") / "data"
        server = start_server(data, "--log-level", "warning", "--smtp-url", sink.url, environment=environment)
        yield server, sink
        server.stop()


@pytest.fixture
def app(request):
    """A fresh application: on the server that calls, in modules that use it, or on the one that only mails."""
    return App(*request.getfixturevalue("calling" if "calling" in request.fixturenames else "mailing"))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """A PostgreSQL whose database `migrated` is there to be copied: each simulation has a copy of its own."""
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("simulation") / "data")
    dsn = postgres.start()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_commit = off")  # only our own processes die here
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CREATE DATABASE migrated")
    asyncio.run(migrate(dsn.replace("dbname=postgres", "dbname=migrated"), load_migrations()))
    yield dsn
    postgres.stop()


@pytest.fixture
def run_story(migrated, request):
    """Run a story: a coroutine function of a simulated world, fresh for each test."""

    def run(story):
        async def in_a_world():
            name = f"story_{zlib.crc32(request.node.nodeid.encode())}"
            async with world_of(1, fresh_database(migrated, name)) as world:
                return await story(world)

        return asyncio.run(in_a_world())

    return run


@pytest.fixture
def create(pinpoint, app_id):
    """Create a campaign from what differs from a plain one, a day ahead; nothing is sent."""
    segment = pinpoint.create_segment(ApplicationId=app_id, WriteSegmentRequest={"Name": "all"})["SegmentResponse"]

    def create_campaign(**given):
        wanted = plain(segment["Id"], StartTime=iso(days=1)) | given
        wanted = {name: value for name, value in wanted.items() if value is not None}
        return pinpoint.create_campaign(ApplicationId=app_id, WriteCampaignRequest=wanted)["CampaignResponse"]

    return create_campaign


class App:
    """An application, and the few things tests of campaigns do with one."""

    def __init__(self, server, sink):
        self.server, self.sink, self.client = server, sink, server.client()
        self.id = self.client.create_app(CreateApplicationRequest={"Name": "Test"})["ApplicationResponse"]["Id"]

    def put(self, endpoint_id, **given):
        """An email endpoint of its own address, less what is given."""
        request = {"ChannelType": "EMAIL", "Address": self.address(endpoint_id)} | given
        self.client.update_endpoint(
            ApplicationId=self.id,
            EndpointId=endpoint_id,
            EndpointRequest={name: value for name, value in request.items() if value is not None},
        )

    def put_many(self, count, channel_type="EMAIL"):
        """Plain endpoints, a hundred to a request; their ids."""
        ids = [f"e{number:05}" for number in range(count)]
        for start in range(0, count, 100):
            items = [
                {"Id": one, "ChannelType": channel_type, "Address": self.address(one)}
                for one in ids[start : start + 100]
            ]
            self.client.update_endpoints_batch(ApplicationId=self.id, EndpointBatchRequest={"Item": items})
        return ids

    def put_text_and_push(self):
        """The endpoints `text`, of SMS, and `push`, of GCM, which is set up; their addresses."""
        enable(self.client, self.id, "GCM")
        found = {"text": phone(), "push": token()}
        self.put("text", ChannelType="SMS", Address=found["text"])
        self.put("push", ChannelType="GCM", Address=found["push"])
        return found["text"], found["push"]

    def address(self, endpoint_id):
        return f"{endpoint_id}@{self.id}.example.com"

    def segment(self, **dimensions):
        given = {"Name": "s", "Dimensions": dimensions} if dimensions else {"Name": "all"}
        return self.client.create_segment(ApplicationId=self.id, WriteSegmentRequest=given)["SegmentResponse"]["Id"]

    def campaign(self, segment_id=None, *, start="IMMEDIATE", schedule=None, **given):
        wanted = plain(segment_id or self.segment(), StartTime=start, **(schedule or {})) | given
        wanted = {name: value for name, value in wanted.items() if value is not None}
        made = self.client.create_campaign(ApplicationId=self.id, WriteCampaignRequest=wanted)
        return made["CampaignResponse"]["Id"]

    def get(self, campaign_id):
        return self.client.get_campaign(ApplicationId=self.id, CampaignId=campaign_id)["CampaignResponse"]

    def update(self, campaign_id, **given):
        self.client.update_campaign(ApplicationId=self.id, CampaignId=campaign_id, WriteCampaignRequest=given)

    def status(self, campaign_id):
        return self.get(campaign_id)["State"]["CampaignStatus"]

    def activities(self, campaign_id):
        answer = self.client.get_campaign_activities(ApplicationId=self.id, CampaignId=campaign_id)
        return answer["ActivitiesResponse"]["Item"]

    def finished(self, campaign_id, *, seconds=20):
        """The campaign's activities once all it had to do is done."""
        eventually(lambda: self.status(campaign_id) in ("COMPLETED", "INVALID", "DELETED"), seconds=seconds)
        return self.activities(campaign_id)

    def body_of(self, endpoint_id):
        """The text of the one mail an endpoint has got."""
        [mail] = self.sink.to(self.address(endpoint_id))
        return mail.get_body("plain").get_content().strip()

    def received(self):
        """The ids of endpoints mails have arrived for, as often as they did."""
        suffix = f"@{self.id}.example.com"
        return sorted(one.removesuffix(suffix) for one in self.sink.recipients() if one.endswith(suffix))

    def ask(self, query, parameters=()):
        """Look into the database."""
        dsn = dsn_of(self.server.data_dir)
        with psycopg.connect(dsn, autocommit=True) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []


def plain(segment_id, **schedule):
    return {"Name": "news", "SegmentId": segment_id, "Schedule": schedule, "MessageConfiguration": EMAIL}


def iso(**ahead):
    """A moment from now, as callers write it."""
    return (datetime.now(UTC) + timedelta(**ahead)).strftime("%Y-%m-%dT%H:%M:%SZ")


def repoint(app, *arguments):
    """A command's exit status and what it printed."""
    command = [REPOINT, *arguments, "--data-dir", app.server.data_dir, "--log-level", "error"]
    environment = os.environ | app.server.own_environment
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout or done.stderr


def as_json(app, *arguments):
    """A command's exit status and the document it printed."""
    status, text = repoint(app, *arguments, "--json")
    return status, json.loads(text)
