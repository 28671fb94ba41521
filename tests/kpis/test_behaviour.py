"""Conversions, funnels and active users, against a plain recount of the same events."""

import json
import random
import subprocess
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from repoint.db.embedded import dsn_of
from tests.conftest import REPOINT, eventually

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
COUNT = 3_000
WINDOW = timedelta(days=3)
STEPS = ["_session.start", "cart.add?sku=A", "cart.add", "_monetization.purchase"]
REPORTED = {"application": {"sdk": {}}, "metrics": {}}


def random_event(chance):
    """(arrival, event time, endpoint, user, type, attributes, metrics): clocks are late, and sometimes ahead."""
    arrival = NOW - timedelta(minutes=chance.randint(0, 60 * 24 * 20))
    moment = arrival + timedelta(minutes=chance.choice([0, 0, 0, 10, -7, -200]))
    endpoint = f"e{chance.randint(1, 60)}"
    user = chance.choice(["", f"u{int(endpoint[1:]) % 40}"])
    kind = chance.choice(["_campaign.send", "_inapp.message_displayed", "_session.start", "cart.add", PURCHASE])
    attributes, metrics = {}, {}
    if kind in ("_campaign.send", "_inapp.message_displayed"):
        attributes = {"campaign_id": f"c{chance.randint(1, 4)}", "treatment_id": chance.choice("01")}
        attributes["campaign_send_status"] = chance.choice(["SUCCESS", "SUCCESS", "DAILY_CAP"])
    elif kind == PURCHASE:
        attributes = chance.choice([{}, {"_currency": "EUR"}, {"_currency": "USD", "campaign_id": "c1"}])
        metrics = chance.choice([{"_item_price": 9.95}, {"_item_price": 3, "_quantity": 2}, {}])
    elif kind == "cart.add":
        attributes = {"sku": chance.choice("AB")}
    return arrival, moment, endpoint, user, kind, attributes, metrics


PURCHASE = "_monetization.purchase"


@pytest.fixture(scope="module")
def told(server):
    """An application, its events, and a function that asks `repoint metrics`."""
    client = server.client()
    app_id = client.create_app(CreateApplicationRequest={"Name": "Behaviour"})["ApplicationResponse"]["Id"]
    chance = random.Random(11)
    events = [random_event(chance) for _ in range(COUNT)]
    for number in range(3, 61, 3):
        request = {"ChannelType": "EMAIL", "Address": f"{number}@example.com", "User": {"UserId": f"u{number % 40}"}}
        client.update_endpoint(ApplicationId=app_id, EndpointId=f"e{number}", EndpointRequest=request)
    with psycopg.connect(dsn_of(server.data_dir)) as connection:
        connection.cursor().executemany(
            """INSERT INTO event (arrival_at, app_id, endpoint_id, event_type, event_at, document)
               VALUES (%s, %s, %s, %s, %s, %s)""",
            [(one[0], app_id, one[2], one[4], one[1], json.dumps(document(one))) for one in events],
        )
    eventually(lambda: counted(server, app_id) == sum(one[4] != "_campaign.send" for one in events))

    def ask(name, *arguments):
        flags = ["--data-dir", server.data_dir, "--app", app_id, "--json"]
        printed = subprocess.run([REPOINT, "metrics", name, *flags, *arguments], capture_output=True, text=True)
        assert printed.returncode == 0, printed.stderr
        return json.loads(printed.stdout)

    return events, ask


def counted(server, app_id):
    """How many of the events that clients reported the metrics know."""
    with psycopg.connect(dsn_of(server.data_dir)) as connection:
        query = "SELECT sum(cardinality(event_ids)) FROM metric_reported WHERE app_id = %s"
        return connection.execute(query, [app_id]).fetchone()[0]


def document(one):
    _, _, _, user, kind, attributes, metrics = one
    if kind == "_campaign.send":
        return {"attributes": attributes}
    return {**REPORTED, "attributes": attributes, "metrics": metrics, "endpoint": {"UserId": user} if user else {}}


def person_of(one):
    """The event's user, else the endpoint's (every third has one), else the endpoint."""
    number = int(one[2][1:])
    user = one[3] if one[4] != "_campaign.send" else ""
    return user or (f"u{number % 40}" if number % 3 == 0 else one[2])


def moment_of(one):
    return min(one[0], one[1])


def is_touch(one):
    return one[4] == "_inapp.message_displayed" or (
        one[4] == "_campaign.send" and one[5]["campaign_send_status"] == "SUCCESS"
    )


def recounted_conversions(events, start, by_treatment):
    found = defaultdict(lambda: {"reached": set(), "people": [], "named": 0, "revenue": defaultdict(Decimal)})
    touches = [one for one in enumerate(events) if is_touch(one[1]) and one[1][0] >= start - WINDOW]
    for _, touch in touches:
        found[key_of(touch[5], by_treatment)]["reached"].add(person_of(touch))
    for one in events:
        if one[4] != PURCHASE or one[0] < start:
            continue
        before = [
            (moment_of(touch), number, touch)
            for number, touch in touches
            if person_of(touch) == person_of(one) and timedelta() <= moment_of(one) - moment_of(touch) <= WINDOW
        ]
        is_named = "campaign_id" in one[5]
        entry = found[key_of(one[5] if is_named else max(before)[2][5] if before else {}, by_treatment)]
        entry["people"].append(person_of(one))
        entry["named"] += is_named
        if "_item_price" in one[6]:
            amount = Decimal(str(one[6]["_item_price"])) * Decimal(str(one[6].get("_quantity", 1)))
            entry["revenue"][one[5].get("_currency", "")] += amount
    return found


def key_of(attributes, by_treatment):
    return attributes.get("campaign_id", ""), attributes.get("treatment_id", "") if by_treatment else ""


@pytest.mark.parametrize("by_treatment", [False, True])
def test_conversions_are_what_a_recount_says(told, by_treatment):
    events, ask = told
    start = NOW - timedelta(days=12)
    flags = ["--window-days", "3", "--start", f"{start:%Y-%m-%dT%H:%M}", *(["--by-treatment"] if by_treatment else [])]
    rows = ask("conversions", *flags)
    expected = recounted_conversions(events, start, by_treatment)

    assert {(row["campaign_id"], row.get("treatment_id", "")) for row in rows} == set(expected)
    for row in rows:
        entry = expected[row["campaign_id"], row.get("treatment_id", "")]
        assert (row["reached"], row["conversions"]) == (len(entry["reached"]), len(entry["people"]))
        assert (row["converters"], row["named"]) == (len(set(entry["people"])), entry["named"])
        assert {name: Decimal(value) for name, value in row["revenue"].items()} == entry["revenue"]


def matches(one, step):
    kind, _, attribute = step.partition("?")
    return one[4] == kind and (not attribute or one[5].get("sku") == attribute.partition("=")[2])


def depth(events, steps, window):
    """As far as one person came, whichever of their first steps one begins with."""
    best = 0
    for start in range(len(events)):
        step, began = 0, moment_of(events[start])
        for one in events[start:]:
            if step < len(steps) and matches(one, steps[step]) and (not window or moment_of(one) - began <= window):
                step += 1
            elif step == 0:
                break
        best = max(best, step)
    return best


@pytest.mark.parametrize("hours", [None, 30])
def test_a_funnel_is_what_a_recount_says(told, hours):
    events, ask = told
    rows = ask("funnel", *STEPS, *(["--within-hours", str(hours)] if hours else []))
    people = defaultdict(list)
    for _, one in sorted(enumerate(events), key=lambda item: (moment_of(item[1]), item[0])):
        people[person_of(one)].append(one)
    depths = [depth(some, STEPS, hours and timedelta(hours=hours)) for some in people.values()]

    assert [row["people"] for row in rows] == [sum(one > at for one in depths) for at in range(len(STEPS))]
    assert 0 < rows[-1]["people"] <= rows[0]["people"]
    assert rows[1]["of_previous"] == rows[1]["people"] / rows[0]["people"]


@pytest.mark.parametrize("flag", [[], ["--endpoints"]])
def test_active_days_are_what_a_recount_says(told, flag):
    events, ask = told
    active = defaultdict(set)
    for one in events:
        who = one[2] if flag else one[3]
        if one[4] != "_campaign.send" and who:
            active[one[0].date()].add(who)
    first = (NOW - timedelta(days=15)).date()
    wanted = [first + timedelta(days=day) for day in range(16)]
    daily = [len(active[day]) for day in wanted]

    def counted():
        found = ask("users", "--start", str(first), "--end", str(NOW.date() + timedelta(days=1)), *flag)
        return [row["daily"] for row in found] == daily and found

    rows = eventually(counted)

    def around(day, before, after):
        return set().union(*(active[day + timedelta(days=days)] for days in range(before, after)))

    assert [row["day"] for row in rows] == [str(day) for day in wanted]
    assert [row["monthly"] for row in rows] == [len(around(day, -29, 1)) for day in wanted]
    assert [row["returned"] for row in rows] == [
        len(active[day] & around(day, 1, 8)) if day + timedelta(days=7) < datetime.now(UTC).date() else None
        for day in wanted
    ]
    assert rows[-1]["new"] == 20


def test_a_question_that_cannot_be_is_refused(server, app_id):
    def fails(*arguments, app=app_id):
        command = [REPOINT, "metrics", *arguments, "--app", app, "--data-dir", server.data_dir]
        return subprocess.run(command, capture_output=True, text=True).stderr

    assert "there is no application nobodys" in fails("users", app="nobodys")
    assert "a funnel has 1 to 10 steps" in fails("funnel", *["a"] * 11)
    assert "names no type" in fails("funnel", "?a=b")
    assert "'0001-01-01' is no moment such as" in fails("users", "--start", "0001-01-01")
    assert "'yesterday' is no moment such as" in fails("users", "--end", "yesterday")
    assert "'9999-12-31T23:59:59Z' is no moment such as" in fails("conversions", "--end", "9999-12-31T23:59:59Z")
    assert "'nan' is no number" in fails("conversions", "--window-days", "nan")
    assert "'nan' is no number" in fails("funnel", "a", "--within-hours", "nan")


def test_a_question_may_name_moments_as_kpis_do(told):
    _, ask = told
    zulu = ask("users", "--start", f"{NOW:%Y-%m-%dT%H:%M:%S}.000Z", "--end", f"{NOW + timedelta(days=1):%Y-%m-%d}")
    elsewhere = (NOW + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+02:00")

    assert zulu == ask("users", "--start", elsewhere, "--end", f"{NOW + timedelta(days=1):%Y-%m-%d}")
    assert [row["day"] for row in zulu] == [str(NOW.date())]
