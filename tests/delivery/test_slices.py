"""Activities for many: the audience is written down at once, and delivered slice by slice."""

from tests.conftest import eventually
from tests.delivery.hostile_smtp import HostileRelay, in_thread
from tests.delivery.selecting import email_content, is_done, put_endpoints, query, select, serving, states

EVENTS = "SELECT endpoint_id, event_type, document FROM logged_event WHERE app_id = %s ORDER BY 1, 2"


def test_an_audience_is_written_down_and_sent(server, pinpoint, app_id):
    put_endpoints(pinpoint, app_id, 30)
    activity_id, targeted = select(server, app_id, email_content(), "address <> 'p7@example.com'")
    eventually(lambda: is_done(server))

    assert targeted == 29
    assert states(server, activity_id) == {"SENT": 29}
    found = server.get("/inbox/api/messages?limit=1&recipient=p3@example.com")["messages"][0]
    assert found["subject"] == "Hi Ann3"


def test_events_of_a_slice_are_those_of_direct_messages(server, pinpoint, app_id):
    put_endpoints(pinpoint, app_id, 2, User={"UserAttributes": {"First": ['Zoë "\\" \t\x01']}})
    select(server, app_id, email_content())
    eventually(lambda: is_done(server))
    sliced = query(server, EVENTS, app_id)
    pinpoint.send_messages(
        ApplicationId=app_id,
        MessageRequest={
            "Endpoints": {"e0000": {}, "e0001": {}},
            "Context": {"run": "1"},
            "MessageConfiguration": email_content()["Message"],
        },
    )
    eventually(lambda: is_done(server))
    direct = query(server, EVENTS, app_id)

    assert len(direct) == len(sliced) * 2 == 8
    assert {comparable(row) for row in sliced} == {comparable(row) for row in direct}


MOMENTARY = {"Date", "date", "Message-ID", "message_id"}


def comparable(row):
    """An event without what is a matter of the moment."""
    endpoint_id, event_type, document = row
    mail = document["facets"]["email_channel"]["mail_event"]["mail"]
    assert len(mail.pop("message_id")) == 40
    assert mail.pop("message_send_timestamp")
    mail["headers"] = [header for header in mail["headers"] if header["name"] not in MOMENTARY]
    mail["common_headers"] = {name: value for name, value in mail["common_headers"].items() if name not in MOMENTARY}
    detail = document["facets"]["email_channel"]["mail_event"].get("delivery", {})
    detail.pop("processing_time_millis", None)
    return endpoint_id, event_type, repr(document)


def test_who_was_deleted_since_gets_nothing(server, pinpoint, app_id):
    put_endpoints(pinpoint, app_id, 3)
    activity_id, _ = select(server, app_id, email_content(), between_seconds=(1, 60))
    pinpoint.delete_endpoint(ApplicationId=app_id, EndpointId="e0001")
    eventually(lambda: is_done(server))

    assert states(server, activity_id) == {"SENT": 2, "STOPPED": 1}


def test_what_is_accepted_for_later_waits(server, pinpoint, app_id):
    put_endpoints(pinpoint, app_id, 1)
    activity_id, _ = select(server, app_id, email_content(), between_seconds=(1, 60))

    assert states(server, activity_id) == {"ACCEPTED": 1}
    assert eventually(lambda: states(server, activity_id) == {"SENT": 1})


def test_content_nobody_can_make_sense_of_fails_each_and_blocks_nothing(server, pinpoint, app_id):
    put_endpoints(pinpoint, app_id, 3)
    activity_id, _ = select(server, app_id, email_content() | {"Message": {"EmailMessage": "none"}})
    eventually(lambda: is_done(server))

    assert states(server, activity_id) == {"FAILED": 3}


def test_soft_refusals_are_tried_until_the_deadline_and_hard_ones_once(tmp_path):
    script = {"RCPT": lambda session: "550 no" if session.recipient.startswith("p1@") else "450 full"}
    with (
        in_thread(HostileRelay(script)) as relay,
        serving(tmp_path / "data", "--smtp-url", relay.url("starttls=never")) as (server, client, app_id),
    ):
        put_endpoints(client, app_id, 2)
        activity_id, _ = select(server, app_id, email_content(), between_seconds=(0, 5))
        eventually(lambda: is_done(server), seconds=30)
        ledger = query(
            server,
            "SELECT endpoint_id, state, status_code / 100, attempts > 1 FROM message WHERE activity_id = %s ORDER BY 1",
            activity_id,
        )
        types = query(
            server, "SELECT endpoint_id, event_type FROM logged_event WHERE app_id = %s ORDER BY 1, 2", app_id
        )

    assert ledger == [("e0000", "FAILED", 4, True), ("e0001", "FAILED", 5, False)]
    assert [event_type for _, event_type in types if "bounce" in event_type] == [
        "_email.softbounce",
        "_email.hardbounce",
    ]
