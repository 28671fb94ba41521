"""What the tests of events share: PutEvents in one line, and the log as the command line shows it."""

import json
import subprocess

import pytest

from repoint.db.embedded import dsn_of
from tests.conftest import REPOINT

NOW = "2031-05-06T07:08:09.120Z"


def event(event_type="cart.add", **members):
    return {"EventType": event_type, "Timestamp": NOW, **members}


@pytest.fixture(scope="session")
def dsn(server):
    """The database of the server."""
    return dsn_of(server.data_dir)


@pytest.fixture
def put(pinpoint, app_id):
    """PutEvents for one endpoint; its answer's two parts."""

    def put_one(endpoint_id="e1", endpoint=None, **events):
        batch = {endpoint_id: {"Endpoint": endpoint or {}, "Events": events}}
        answer = pinpoint.put_events(ApplicationId=app_id, EventsRequest={"BatchItem": batch})
        result = answer["EventsResponse"]["Results"][endpoint_id]
        return result["EndpointItemResponse"], result["EventsItemResponse"]

    return put_one


@pytest.fixture
def logged(server, app_id):
    """The application's records, oldest first."""

    def read(*arguments):
        command = [REPOINT, "events", "list", "--data-dir", server.data_dir, "--app", app_id, "--json", *arguments]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [json.loads(line) for line in printed.splitlines()]

    return read
