"""How far the log's own readers are behind is a metric."""

from tests.conftest import eventually
from tests.events.conftest import event


def test_the_metrics_reader_shows_its_lag(server, pinpoint, app_id):
    batch = {"e": {"Endpoint": {}, "Events": {"x": event()}}}
    pinpoint.put_events(ApplicationId=app_id, EventsRequest={"BatchItem": batch})

    assert eventually(lambda: 'repoint_event_reader_lag_seconds{reader="metrics"} 0.0' in server.get("/metrics"))
