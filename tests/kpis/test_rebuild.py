"""`repoint metrics rebuild`, killed in its midst and beside events that keep arriving: each event counts once."""

import subprocess
import threading

import psycopg
import pytest

from repoint.db.embedded import dsn_of
from tests.conftest import REPOINT, eventually, start_server
from tests.events.conftest import event
from tests.killing import kill_all
from tests.kpis.asking import ask

LOGGED = 120_000  # more than a rebuild counts at a time, several times over
OPENED = "_campaign.opened_notification"
EMAILS = """
INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
SELECT now() - n %% 2000 * interval '1 minute', %(app)s, 'e' || n %% 5000,
    (ARRAY['_email.send', '_email.delivered', '_email.open'])[n %% 3 + 1], now(), jsonb_build_object(
        'attributes', jsonb_build_object('campaign_id', 'c' || n %% 4, 'campaign_activity_id', 'a' || n %% 2),
        'facets', jsonb_build_object('email_channel', jsonb_build_object('mail_event', jsonb_build_object(
            'mail', jsonb_build_object('message_id', 'm' || n %% 9000)))))
FROM generate_series(1, %(count)s) AS n
"""
# The same questions put to the log itself.
RECOUNT = """
SELECT count(*) FILTER (WHERE event_type = '_email.send'),
    count(DISTINCT endpoint_id) FILTER (WHERE event_type = '_email.delivered'),
    count(DISTINCT (date_trunc('hour', arrival_at, 'UTC'), document #> '{facets,email_channel}'))
        FILTER (WHERE event_type = '_email.open'),
    count(*) FILTER (WHERE event_type = '_campaign.opened_notification')
FROM logged_event WHERE app_id = %s AND document #>> '{attributes,campaign_id}' = 'c1'
"""
KPIS = (
    "attempted-deliveries-grouped-by-campaign-activity",
    "unique-deliveries",
    "direct-email-opens-grouped-by-campaign-activity",
    "direct-push-opens-grouped-by-campaign-activity",
)


class Logged:
    """A server with a long log of one application."""

    def __init__(self, data_dir, *arguments):
        self.data_dir, self.arguments = data_dir, arguments
        self.server = start_server(data_dir, *arguments)
        client = self.server.client()
        self.app_id = client.create_app(CreateApplicationRequest={"Name": "Log"})["ApplicationResponse"]["Id"]
        self.query(EMAILS, {"app": self.app_id, "count": LOGGED})

    def query(self, statement, parameters=()):
        with psycopg.connect(dsn_of(self.data_dir), autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchone() if cursor.description else None

    def counted(self):
        """How many emails the metrics have as sent so far."""
        return self.query("SELECT coalesce(sum(count), 0) FROM metric_hour WHERE measure = 'email.sent'")[0]

    def rebuild(self):
        command = [REPOINT, "metrics", "rebuild", "--data-dir", self.data_dir, "--log-level", "warning"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def rebuild_killed(self):
        """A rebuild that has counted some of the log, and is no more."""
        rebuilding = self.rebuild()
        eventually(lambda: 0 < self.counted() < LOGGED // 3)
        rebuilding.kill()
        rebuilding.communicate()

    def start_again(self):
        keys = self.server.access_key_id, self.server.secret_access_key
        self.server = start_server(self.data_dir, *self.arguments, keys=keys)

    def are_kpis_those_of_a_recount(self):
        client = self.server.client()
        told = tuple(sum(ask(client, self.app_id, name, CampaignId="c1").values()) for name in KPIS)
        return told == self.query(RECOUNT, [self.app_id]) and told


@pytest.fixture
def logged(tmp_path, request):
    made = Logged(tmp_path / "data", "--workers", request.param, "--log-level", "error")
    yield made
    made.server.stop()


@pytest.mark.parametrize("logged", ["0"], indirect=True)
def test_a_rebuild_that_was_killed_is_done_again_from_the_beginning(logged):
    logged.rebuild_killed()
    left = logged.counted()
    said, _ = logged.rebuild().communicate()

    assert 0 < left < LOGGED // 3
    assert said == f"counted {LOGGED} events\n"
    assert logged.are_kpis_those_of_a_recount()


@pytest.mark.parametrize("logged", ["1"], indirect=True)
@pytest.mark.parametrize("with_database", [False, True])
def test_a_worker_finishes_what_a_killed_rebuild_has_begun(logged, with_database):
    eventually(logged.are_kpis_those_of_a_recount, seconds=60)
    rebuilding = logged.rebuild()
    eventually(lambda: 0 < logged.counted() < LOGGED // 3)
    rebuilding.kill()
    kill_all(logged.server, with_database=with_database)
    rebuilding.communicate()
    logged.start_again()

    assert eventually(logged.are_kpis_those_of_a_recount, seconds=60)


@pytest.mark.parametrize("logged", ["1"], indirect=True)
def test_events_that_arrive_during_a_rebuild_count_once(logged):
    client, is_over = logged.server.client(), threading.Event()

    def report():
        while not is_over.is_set():
            events = {str(n): event(OPENED, Attributes={"campaign_id": "c1"}) for n in range(20)}
            batch = {"e": {"Endpoint": {}, "Events": events}}
            client.put_events(ApplicationId=logged.app_id, EventsRequest={"BatchItem": batch})

    reporting = threading.Thread(target=report)
    reporting.start()
    logged.rebuild_killed()
    said, _ = logged.rebuild().communicate()
    is_over.set()
    reporting.join()
    told = eventually(logged.are_kpis_those_of_a_recount, seconds=60)

    assert told[-1] > 0
    assert LOGGED < int(said.removeprefix("counted ").removesuffix(" events\n")) <= LOGGED + told[-1]
