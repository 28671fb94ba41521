"""What must be true of campaigns whatever has happened: on the wire, in the ledger, in the log, in the numbers."""

from collections import Counter
from datetime import timedelta

from repoint.resources.kpis.rollup import rebuild
from tests.campaigns.world import START

DAY = timedelta(hours=24)
SILENT = {"CANCELLED", "ENDPOINT_OPT_OUT"}  # stopped, and Pinpoint's log does not tell
TOLD = {"HOLDOUT", "DUPLICATE_ADDRESS", "CAMPAIGN_CAP", "DAILY_CAP", "QUIET_TIME", "EXPIRED"}
DELIVERIES = "unique-deliveries-grouped-by-campaign-activity"


async def check_wire(world):
    """What has been sent has arrived, and nothing has arrived more often than workers died with it."""
    rows = await world.ask("SELECT message_id, state FROM message")
    states = dict(rows)
    times = world.relay.times

    assert times.keys() <= states.keys()
    assert [one for one, state in states.items() if state == "SENT" and not times[one]] == []
    assert [one for one, state in states.items() if state in ("FAILED", "STOPPED") and times[one]] == []
    assert {one: count for one, count in times.items() if count > 1 + world.excused[one]} == {}


async def check_ledger(world):
    """Everybody is in a run once; each run's numbers are the ledger's."""
    rows = await world.ask(
        """SELECT activity_id, endpoint_id FROM campaign_drop UNION ALL
           SELECT l.activity_id, m.endpoint_id FROM campaign_ledger l JOIN message m ON m.activity_id = l.ledger_id
           JOIN campaign_activity a ON a.activity_id = l.activity_id WHERE a.frequency <> 'EVENT'"""
    )
    assert [one for one, count in Counter(rows).items() if count > 1] == []
    for activity_id, frequency, metrics, counts in await world.ask(
        "SELECT activity_id, frequency, metrics, counts FROM campaign_activity"
    ):
        states = dict(
            await world.ask(
                """SELECT m.state, count(*) FROM campaign_ledger l JOIN message m ON m.activity_id = l.ledger_id
                   WHERE l.activity_id = %s GROUP BY 1""",
                activity_id,
            )
        )
        drops = dict(
            await world.ask("SELECT reason, count(*) FROM campaign_drop WHERE activity_id = %s GROUP BY 1", activity_id)
        )
        reasons = {
            name: count for name, count in metrics.items() if name not in ("ENDPOINT_PRODUCED", "TREATMENT_HOLDOUT")
        }
        produced = metrics.get("TREATMENT_HOLDOUT", 0) + sum(reasons.values()) + sum(states.values())
        assert counts is None or counts == states, activity_id
        assert metrics.get("ENDPOINT_PRODUCED", 0) == produced, activity_id
        assert frequency == "EVENT" or reasons == drops, activity_id


async def check_caps(world):
    """No limit is passed, counted by what has arrived."""
    limits = await world.ask(
        """SELECT c.campaign_id, max(coalesce((v.document -> 'Limits' ->> 'Total')::int, 0)),
                  min(coalesce((v.document -> 'Limits' ->> 'Total')::int, 0)),
                  max(coalesce((v.document -> 'Limits' ->> 'Daily')::int, 0)),
                  min(coalesce((v.document -> 'Limits' ->> 'Daily')::int, 0))
           FROM campaign c JOIN campaign_version v USING (app_id, campaign_id) GROUP BY 1"""
    )
    for campaign_id, total, total_least, daily, daily_least in limits:
        rows = await world.ask(
            """SELECT m.endpoint_id, CASE a.frequency WHEN 'EVENT' THEN m.created_at ELSE l.created_at END,
                      m.message_id FROM campaign_activity a
               JOIN campaign_ledger l USING (activity_id) JOIN message m ON m.activity_id = l.ledger_id
               WHERE a.campaign_id = %s ORDER BY 1, 2""",
            campaign_id,
        )
        arrived = [row for row in rows if world.relay.times[row[2]]]
        if total_least:
            assert max(Counter(row[0] for row in arrived).values(), default=0) <= total
        if daily_least:
            for endpoint_id, moment, _ in arrived:
                near = [row for row in arrived if row[0] == endpoint_id and moment - DAY < row[1] <= moment]
                assert len(near) <= daily, (campaign_id, endpoint_id)


async def check_log(world):
    """One `_campaign.send` for each that was sent, failed or was told off; and the email's own events."""
    rows = await world.ask(
        """SELECT document -> 'attributes' ->> 'campaign_activity_id', endpoint_id,
                  document -> 'attributes' ->> 'campaign_send_status', count(*)
           FROM logged_event WHERE event_type = '_campaign.send' GROUP BY 1, 2, 3"""
    )
    logged = Counter({(activity, endpoint, status): count for activity, endpoint, status, count in rows})
    ledger = await world.ask(
        """SELECT l.activity_id, m.endpoint_id, m.state, m.status_message, m.status_code
           FROM campaign_ledger l JOIN message m ON m.activity_id = l.ledger_id"""
    )
    wanted = Counter()
    for activity_id, endpoint_id, state, text, code in ledger:
        if status := status_of(state, text, code):
            wanted[activity_id, endpoint_id, status] += 1
    answering = dict(await world.ask("SELECT activity_id, metrics FROM campaign_activity WHERE frequency = 'EVENT'"))
    for activity_id, endpoint_id, reason in await world.ask(
        "SELECT activity_id, endpoint_id, reason FROM campaign_drop"
    ):
        if reason in TOLD and activity_id not in answering:
            wanted[activity_id, endpoint_id, reason] += 1
    logged, wanted = without_endpoints(logged, answering), without_endpoints(wanted, answering)
    for activity_id, metrics in answering.items():  # who is dropped at each of several events is told so each time
        wanted += Counter({(activity_id, None, reason): metrics.get(reason, 0) for reason in TOLD})

    assert wanted - logged == Counter(), wanted - logged
    assert logged - wanted == Counter(), logged - wanted
    sent = await world.ask("SELECT count(*) FROM logged_event WHERE event_type = '_email.delivered'")
    assert sent[0][0] == sum(row[2] == "SENT" for row in ledger)


def without_endpoints(counts, activity_ids):
    """The counts, but of these activities' drops together for all endpoints."""
    found = Counter()
    for (activity_id, endpoint_id, status), count in counts.items():
        is_together = activity_id in activity_ids and status in TOLD
        found[activity_id, None if is_together else endpoint_id, status] += count
    return found


def status_of(state, text, code):
    """The campaign_send_status a ledger's row should have in the log; None for silence."""
    if state == "SENT":
        return "SUCCESS"
    if state == "UNKNOWN":
        return "UNKNOWN"
    if state == "FAILED":
        return "FAILURE_PERMANENT" if code >= 500 or code in (400, 404) else "TRANSIENT_FAILURE"
    if state == "STOPPED" and text in SILENT:
        return None
    return text if text in TOLD else "FAILURE_PERMANENT"


async def check_numbers(world):
    """GetCampaignActivities and the KPIs say what the ledger says; counting the log again changes nothing."""
    await world.count()
    before = await world.ask("SELECT * FROM metric_hour ORDER BY 1, 2, 3, 4, 5")
    await rebuild(world.server.db)
    assert await world.ask("SELECT * FROM metric_hour ORDER BY 1, 2, 3, 4, 5") == before
    ledger = await world.ask(
        """SELECT l.activity_id, count(*), count(DISTINCT m.endpoint_id) FROM campaign_ledger l
           JOIN message m ON m.activity_id = l.ledger_id WHERE m.state = 'SENT' GROUP BY 1"""
    )
    sent = {activity_id: (messages, people) for activity_id, messages, people in ledger}
    for (campaign_id,) in await world.ask("SELECT campaign_id FROM campaign"):
        answer = await world.call("GetCampaignActivities", CampaignId=campaign_id)
        kpi = await world.call(
            "GetCampaignDateRangeKpi", CampaignId=campaign_id, KpiName=DELIVERIES, StartTime=START, EndTime=world.now
        )
        rows = kpi["KpiResult"]["Rows"]
        counted = {row["GroupedBys"][0]["Value"]: float(row["Values"][0]["Value"]) for row in rows}
        for one in answer["Item"]:
            messages, people = sent.get(one["Id"], (0, 0))
            assert one["SuccessfulEndpointCount"] == messages
            assert counted.get(one["Id"], 0) == people
