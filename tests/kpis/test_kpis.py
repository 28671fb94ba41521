"""Every KPI against a plain recount of the same events."""

import asyncio
import json
import random
import subprocess
import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from repoint.db.embedded import dsn_of
from repoint.resources.events.store import Event, append_lines, copy_alike, fill_line
from repoint.resources.kpis import definitions
from tests.conftest import REPOINT, eventually
from tests.events.conftest import event
from tests.kpis.asking import ask

COUNT = 1_500
CAMPAIGNS = ["c1", "c2"]
JOURNEYS = ["j1", "j2"]
EMAIL = [
    "send",
    "send",
    "send",
    "delivered",
    "delivered",
    "hardbounce",
    "softbounce",
    "rejected",
    "complaint",
    "open",
    "open",
    "click",
    "click",
    "unsubscribe",
]
STATUSES = ["BLOCKED", "INVALID", "UNREACHABLE"]


def random_events(chance, now):
    """Rows of the log as delivery, tracking and clients would leave them."""
    return [random_event(chance, now - timedelta(hours=chance.randint(1, 24 * 6), minutes=5)) for _ in range(COUNT)]


def random_event(chance, moment):
    attributes = chance.choice(
        [
            {},
            {"campaign_id": chance.choice(CAMPAIGNS), "campaign_activity_id": chance.choice("ab")},
            {"journey_id": chance.choice(JOURNEYS), "journey_activity_id": chance.choice("xy")},
        ]
    )
    document, message = {"attributes": dict(attributes)}, f"m{chance.randint(1, 120)}"
    kind = chance.random()
    if kind < 0.6:
        event_type = f"_email.{chance.choice(EMAIL)}"
        document["facets"] = {"email_channel": {"mail_event": {"mail": {"message_id": message}}}}
    elif kind < 0.85:
        event_type = f"_SMS.{chance.choice(['BUFFERED', 'SUCCESS', 'FAILURE'])}"
        message = str(uuid.UUID(int=chance.getrandbits(128)))
        document["attributes"] |= {
            "message_id": message,
            "iso_country_code": chance.choice(["AT", "US"]),
            "number_of_message_parts": str(chance.randint(1, 3)),
            "record_status": chance.choice(STATUSES),
        }
        document["metrics"] = {"price_in_millicents_usd": float(chance.randint(100, 900))}
    else:
        event_type = chance.choice(["_campaign.send", "_campaign.opened_notification"])
        document["attributes"] |= {
            "campaign_id": chance.choice(CAMPAIGNS),
            "campaign_activity_id": chance.choice("ab"),
            "delivery_type": chance.choice(["GCM", "EMAIL"]),
            "campaign_send_status": chance.choice(["SUCCESS", "FAILURE"]),
        }
        document["attributes"].pop("journey_id", None)
        document["attributes"].pop("journey_activity_id", None)
    return moment, f"e{chance.randint(1, 60)}", event_type, document, message


@pytest.fixture(scope="module")
def counted(server):
    """An application whose events have been counted, and the events."""
    client = server.client()
    app_id = client.create_app(CreateApplicationRequest={"Name": "KPIs"})["ApplicationResponse"]["Id"]
    events = random_events(random.Random(7), datetime.now(UTC))
    with psycopg.connect(dsn_of(server.data_dir)) as connection:
        connection.cursor().executemany(
            """INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
               VALUES (%s, %s, %s, %s, %s, %s)""",
            [
                (moment, app_id, endpoint, kind, moment, json.dumps(document))
                for moment, endpoint, kind, document, _ in events
            ],
        )
    eventually(lambda: ask(client, app_id, "txn-emails-sent"))
    return client, app_id, events


# The recount: lists of events, filtered and counted, one question at a time.


def once(events):
    """Opens and clicks of a message once in a clock hour."""
    seen, kept = set(), []
    for one in events:
        moment, _, kind, _, message = one
        key = (message, kind, moment.replace(minute=0, second=0, microsecond=0))
        if kind in ("_email.open", "_email.click"):
            if key in seen:
                continue
            seen.add(key)
        kept.append(one)
    return kept


def of(events, *kinds):
    return [one for one in events if one[2] in kinds]


def pushes(events, *, only_sent=False):
    found = [one for one in of(events, "_campaign.send") if one[3]["attributes"]["delivery_type"] == "GCM"]
    return [one for one in found if not only_sent or one[3]["attributes"]["campaign_send_status"] == "SUCCESS"]


def sms(events):
    return of(events, "_SMS.BUFFERED", "_SMS.SUCCESS", "_SMS.FAILURE")


def endpoints(events):
    return len({one[1] for one in events}) or None


def parts(events):
    return sum(int(one[3]["attributes"]["number_of_message_parts"]) for one in events) or None


def price(events):
    return sum(one[3]["metrics"]["price_in_millicents_usd"] for one in events) or None


def number(events):
    return len(events) or None


def delivered_emails(events):
    sent = len(of(events, "_email.send"))
    return max(0, sent - len(of(events, "_email.hardbounce", "_email.softbounce"))) if sent else None


def sent(events):
    return len(of(events, "_email.send")) + len(sms(events)) + len(pushes(events))


def delivered(events):
    return (delivered_emails(events) or 0) + len(of(events, "_SMS.SUCCESS")) + len(pushes(events, only_sent=True))


def share(part, whole):
    return (part or 0) / whole if whole else None


def email(kind):
    return lambda events: number(of(events, f"_email.{kind}"))


BASES = {
    "successful-delivery-rate": lambda e: share(delivered(e), sent(e)),
    "email-open-rate": lambda e: share(len(of(e, "_email.open")), delivered_emails(e)),
    "unique-deliveries": lambda e: endpoints(of(e, "_email.delivered", "_SMS.SUCCESS") + pushes(e, only_sent=True)),
    "successful-deliveries": lambda e: max(0, sent(e) - len(of(e, "_email.hardbounce"))) if sent(e) else None,
    "push-open-rate": lambda e: share(len(of(e, "_campaign.opened_notification")), len(pushes(e, only_sent=True))),
    "txn-emails-sent": email("send"),
    "txn-emails-delivered": delivered_emails,
    "txn-emails-delivery-rate": lambda e: share(delivered_emails(e), len(of(e, "_email.send"))),
    "txn-emails-opened": email("open"),
    "txn-emails-clicked": email("click"),
    "txn-emails-unique-opens": lambda e: endpoints(of(e, "_email.open")),
    "txn-emails-unique-clicks": lambda e: endpoints(of(e, "_email.click")),
    "txn-emails-hard-bounced": email("hardbounce"),
    "txn-emails-soft-bounced": email("softbounce"),
    "txn-emails-with-complaints": email("complaint"),
    "txn-emails-complaint-rate": lambda e: share(len(of(e, "_email.complaint")), len(of(e, "_email.send"))),
    "txn-sms-sent": lambda e: number(sms(e)),
    "txn-sms-delivered": lambda e: number(of(e, "_SMS.SUCCESS")),
    "txn-sms-delivery-rate": lambda e: share(len(of(e, "_SMS.SUCCESS")), len(sms(e))),
    "txn-sms-sent-by-parts": lambda e: parts(sms(e)),
    "txn-sms-delivered-by-parts": lambda e: parts(of(e, "_SMS.SUCCESS")),
    "txn-sms-average-price": lambda e: share(price(sms(e)), len(sms(e))),
    "txn-sms-average-price-by-parts": lambda e: share(price(sms(e)), parts(sms(e))),
    "txn-sms-total-price": lambda e: price(sms(e)),
    "txn-sms-error-distribution": lambda e: number(of(e, "_SMS.FAILURE")),
    "hard-bounce-rate": lambda e: share(len(of(e, "_email.hardbounce")), len(of(e, "_email.send"))),
    "attempted-deliveries": lambda e: sent(e) or None,
    "direct-email-opens": email("open"),
    "direct-push-opens": lambda e: number(of(e, "_campaign.opened_notification")),
    "clicks": email("click"),
    "sms-spend": lambda e: price(sms(e)),
    "emails-sent": email("send"),
    "emails-delivered": delivered_emails,
    "emails-opened": email("open"),
    "emails-clicked": email("click"),
    "emails-hardbounced": email("hardbounce"),
    "emails-softbounced": email("softbounce"),
    "emails-complained": email("complaint"),
    "emails-rejected": email("rejected"),
    "emails-unsubscribed": email("unsubscribe"),
}
GROUPS = {
    "": lambda _: "",
    "date": lambda one: one[0].strftime("%Y-%m-%d"),
    "campaign": lambda one: one[3]["attributes"]["campaign_id"],
    "campaign-activity": lambda one: one[3]["attributes"]["campaign_activity_id"],
    "journey-activity": lambda one: one[3]["attributes"]["journey_activity_id"],
    "country": lambda one: one[3]["attributes"].get("iso_country_code", ""),
}


def recount(events, name):
    base, _, group = name.removeprefix("journey-").partition("-grouped-by-")
    group_of = (lambda one: one[3]["attributes"].get("record_status", "")) if "error" in name else GROUPS[group]
    groups = defaultdict(list)
    for one in events:
        groups[group_of(one)].append(one)
    found = {group: BASES[base](some) for group, some in groups.items()}
    return {group: value for group, value in found.items() if value is not None}


def within(events, **wanted):
    """The events of a campaign, a journey, or of neither."""
    return [
        one for one in once(events) if all(one[3]["attributes"].get(key, "") == value for key, value in wanted.items())
    ]


def names(kpis):
    return sorted(kpis)


@pytest.mark.parametrize("name", names(definitions.APPLICATION_CAMPAIGNS))
def test_a_kpi_of_all_campaigns_is_what_a_recount_says(counted, name):
    client, app_id, events = counted
    campaigns = [one for one in once(events) if "campaign_id" in one[3]["attributes"]]

    assert ask(client, app_id, name) == pytest.approx(recount(campaigns, name))


@pytest.mark.parametrize("name", names(definitions.APPLICATION_TRANSACTIONAL))
def test_a_transactional_kpi_is_what_a_recount_says(counted, name):
    client, app_id, events = counted
    expected = recount(within(events, campaign_id="", journey_id=""), name)

    assert expected
    assert ask(client, app_id, name) == pytest.approx(expected)


@pytest.mark.parametrize("name", names(definitions.CAMPAIGN))
def test_a_campaigns_kpi_is_what_a_recount_says(counted, name):
    client, app_id, events = counted
    expected = recount(within(events, campaign_id="c1"), name)

    assert expected
    assert ask(client, app_id, name, CampaignId="c1") == pytest.approx(expected)


@pytest.mark.parametrize("name", names(definitions.JOURNEY))
def test_a_journeys_kpi_is_what_a_recount_says(counted, name):
    client, app_id, events = counted
    expected = recount(within(events, journey_id="j1"), name)

    assert expected
    assert ask(client, app_id, name, JourneyId="j1") == pytest.approx(expected)


def test_a_rebuild_counts_the_same(counted, server):
    client, app_id, _ = counted
    asked = ["txn-emails-opened-grouped-by-date", "txn-sms-sent-grouped-by-country", "unique-deliveries"]
    before = [ask(client, app_id, name) for name in asked]
    rebuilt = subprocess.run(
        [REPOINT, "metrics", "rebuild", "--data-dir", server.data_dir], capture_output=True, text=True
    )

    assert (rebuilt.returncode, rebuilt.stdout.startswith("counted ")) == (0, True)
    assert [ask(client, app_id, name) for name in asked] == before


def test_a_client_cannot_report_what_only_the_server_knows(pinpoint, app_id):
    events = {"a": event("_email.send"), "b": event("_campaign.opened_notification", Attributes={"campaign_id": "c"})}
    pinpoint.put_events(ApplicationId=app_id, EventsRequest={"BatchItem": {"e": {"Endpoint": {}, "Events": events}}})
    kpi = "direct-push-opens-grouped-by-campaign-activity"
    eventually(lambda: ask(pinpoint, app_id, kpi, CampaignId="c") == {"": 1.0})

    assert ask(pinpoint, app_id, "txn-emails-sent") == {}


def test_a_row_of_the_log_that_stands_for_many_counts_as_many(server, pinpoint, app_id):
    now = datetime.now(UTC)
    attributes = {"campaign_id": "c", "campaign_activity_id": "a"}
    fills = [fill_line((f"e\t{number % 4}", "m")) for number in range(7)]
    lines = b"".join(
        copy_alike(Event(app_id, "", kind, now, now, {"attributes": attributes, "said": "MARK"}), ("-", "MARK"), fills)
        for kind in ("_email.send", "_email.delivered")
    )

    async def write():
        async with await psycopg.AsyncConnection.connect(dsn_of(server.data_dir), autocommit=True) as connection:
            await append_lines(connection, lines)

    asyncio.run(write())
    eventually(lambda: ask(pinpoint, app_id, "attempted-deliveries-grouped-by-campaign-activity", CampaignId="c"))

    assert ask(pinpoint, app_id, "attempted-deliveries-grouped-by-campaign-activity", CampaignId="c") == {"a": 7.0}
    assert ask(pinpoint, app_id, "unique-deliveries", CampaignId="c") == {"": 4.0}
