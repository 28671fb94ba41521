"""Imports merge as UpdateEndpoint does: files full of collisions against the same rows through the API, one by one."""

import csv
import io
import json
import random

import pytest
from botocore.exceptions import ClientError

from tests.jobs.running import endpoints, put, run_import, summary

UNLIKE = ("ApplicationId", "CohortId", "CreationDate", "EffectiveDate", "RequestId")
COLUMNS = [
    "Id",
    "ChannelType",
    "Address",
    "OptOut",
    "User.UserId",
    "User.UserAttributes.Plan",
    "User.UserAttributes.Plan",
    "User.UserAttributes.City",
    "Attributes.a",
    "Attributes.b",
    "Metrics.m",
    "Demographic.Make",
    "Location.Country",
]


def random_rows(chance, count):
    """Few ids, addresses and users, so that rows get in each other's way."""
    for _ in range(count):
        whole = chance.random() < 0.8
        yield {
            "Id": f"e{chance.randrange(40)}",
            "ChannelType": chance.choice(["EMAIL", "SMS"]) if whole else None,
            "Address": f"addr{chance.randrange(30)}" if whole else None,
            "OptOut": chance.choice([None, None, "ALL", "NONE"]),
            "UserId": chance.choice([None, *(f"u{n}" for n in range(6))]),
            "Plan": chance.sample(["gold", "silver", "trial"], chance.randrange(3)),
            "City": chance.choice([None, "Graz", "Wien"]),
            "a": chance.choice([None, "1", "2"]),
            "b": chance.choice([None, "x"]),
            "m": chance.choice([None, 1.0, 2.5]),
            "Make": chance.choice([None, "Acme"]),
            "Country": chance.choice([None, "AT", "USA"]),
        }


def document(row):
    """The row as UpdateEndpoint takes it, and as a line of JSON."""
    user_attributes = {"Plan": row["Plan"], "City": [row["City"]] if row["City"] else []}
    made = {
        "ChannelType": row["ChannelType"],
        "Address": row["Address"],
        "OptOut": row["OptOut"],
        "Attributes": {name: [row[name]] for name in "ab" if row[name]},
        "Metrics": {"m": row["m"]} if row["m"] else {},
        "Demographic": {"Make": row["Make"]} if row["Make"] else {},
        "Location": {"Country": row["Country"]} if row["Country"] else {},
        "User": {"UserId": row["UserId"], "UserAttributes": {n: v for n, v in user_attributes.items() if v}},
    }
    made["User"] = {name: value for name, value in made["User"].items() if value}
    return {name: value for name, value in made.items() if value}


def as_csv(rows):
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        plan = [*row["Plan"], None, None][:2]
        writer.writerow(
            [row[name] for name in ("Id", "ChannelType", "Address", "OptOut", "UserId")]
            + plan
            + [row[name] for name in ("City", "a", "b", "m", "Make", "Country")]
        )
    return file.getvalue()


def as_json(rows):
    return "".join(json.dumps({"Id": row["Id"]} | document(row)) + "\n" for row in rows)


def comparable(found):
    return {name: {key: value for key, value in one.items() if key not in UNLIKE} for name, one in found.items()}


def by_the_api(client, app_id, rows, known):
    """The same rows one by one; returns how many the API refuses, or imports do: half an endpoint that is new."""
    refused = 0
    for row in rows:
        if not row["Address"] and row["Id"] not in known:
            refused += 1
            continue
        try:
            client.update_endpoint(ApplicationId=app_id, EndpointId=row["Id"], EndpointRequest=document(row))
            known.add(row["Id"])
        except ClientError:
            refused += 1
    return refused


@pytest.mark.parametrize("seed", [1, 2, 10])
@pytest.mark.parametrize("form", ["CSV", "JSON"])
def test_an_import_is_its_rows_one_after_the_other(server, pinpoint, form, seed):
    chance = random.Random(seed)
    batches = [list(random_rows(chance, 12 if seed % 2 else 60)) for _ in range(3)]
    apps = [pinpoint.create_app(CreateApplicationRequest={"Name": "M"})["ApplicationResponse"]["Id"] for _ in range(2)]
    write, name = (as_csv, "f.csv") if form == "CSV" else (as_json, "f.json")
    for number, rows in enumerate(batches):
        job = run_import(pinpoint, apps[0], put(server, f"{apps[0]}/{number}/{name}", write(rows)), form)
        refused = by_the_api(pinpoint, apps[1], rows, set(endpoints(server, pinpoint, apps[1])))
        imported = comparable(endpoints(server, pinpoint, apps[0]))

        assert imported == comparable(endpoints(server, pinpoint, apps[1]))
        assert summary(job) == ("COMPLETED", len(rows), refused)


@pytest.fixture
def load(server, pinpoint, app_id):
    def run(rows, name="f.json"):
        content = "".join(json.dumps(row) + "\n" for row in rows)
        return run_import(pinpoint, app_id, put(server, f"{app_id}/{name}", content), "JSON")

    return run


def email(number, **more):
    return {"Id": f"e{number}", "ChannelType": "EMAIL", "Address": f"e{number}@example.com"} | more


def test_the_sixteenth_endpoint_of_a_user_is_refused(server, pinpoint, app_id, load):
    job = load([email(number, User={"UserId": "u"}) for number in range(18)])

    assert summary(job) == ("COMPLETED", 18, 3)
    assert "Exceeded maximum endpoint per user count: 15" in job["Failures"][0]
    assert len(pinpoint.get_user_endpoints(ApplicationId=app_id, UserId="u")["EndpointsResponse"]["Item"]) == 15


def test_a_push_endpoint_pushes_the_oldest_out(pinpoint, app_id, load):
    load([email(number, ChannelType="GCM", User={"UserId": "u"}) for number in range(16)])
    one = pinpoint.get_endpoint(ApplicationId=app_id, EndpointId="e0")["EndpointResponse"]

    assert (one["EndpointStatus"], one["User"]) == ("INACTIVE", {"UserAttributes": {}})


def test_the_last_to_claim_an_address_holds_it(server, pinpoint, app_id, load):
    load([{"ChannelType": "EMAIL", "Address": "one@example.com"} for _ in range(5)])
    load([{"ChannelType": "EMAIL", "Address": "one@example.com"} for _ in range(5)], "g.json")
    statuses = [one["EndpointStatus"] for one in endpoints(server, pinpoint, app_id).values()]

    assert sorted(statuses) == ["ACTIVE", *["INACTIVE"] * 9]


def test_an_empty_list_and_null_remove_a_name(pinpoint, app_id, load):
    load([email(1, Attributes={"a": ["1"], "b": ["2"], "c": ["3"]}, Metrics={"m": 1})])
    load([{"Id": "e1", "Attributes": {"a": [], "b": None}, "Metrics": {"m": None}}], "g.json")
    one = pinpoint.get_endpoint(ApplicationId=app_id, EndpointId="e1")["EndpointResponse"]

    assert (one["Attributes"], one["Metrics"]) == ({"c": ["3"]}, {})


def test_an_endpoint_too_large_is_refused(pinpoint, app_id, load):
    lists = {f"name{number}": ["v" * 100] * 50 for number in range(3)}
    job = load([email(1, Attributes=lists), email(2), email(3, Attributes={"name0": ["v" * 100] * 50})])

    assert summary(job) == ("COMPLETED", 3, 1)
    assert "line 1: The endpoint would be larger than 15360 bytes" in job["Failures"][0]


def test_what_grows_too_large_by_an_update_stays_as_it_was(pinpoint, app_id, load):
    load([email(1, Attributes={f"name{n}": ["v" * 100] * 50 for n in range(2)})])
    job = load([email(1, Attributes={"more": ["w" * 100] * 50})], "g.json")
    one = pinpoint.get_endpoint(ApplicationId=app_id, EndpointId="e1")["EndpointResponse"]

    assert (summary(job), sorted(one["Attributes"])) == (("COMPLETED", 1, 1), ["name0", "name1"])


def test_names_beyond_250_are_refused_row_by_row(server, pinpoint, app_id, load):
    job = load([email(number, Attributes={f"name{number}": ["x"]}) for number in range(255)])

    assert summary(job) == ("COMPLETED", 255, 5)
    assert "250 attribute names" in job["Failures"][0]
    assert len(endpoints(server, pinpoint, app_id)) == 250


def test_names_beyond_250_in_a_csv_spare_rows_without_them(server, pinpoint, app_id):
    header = "Id,ChannelType,Address," + ",".join(f"Attributes.n{n}" for n in range(255))
    rows = [f"e{n},EMAIL,e{n}@example.com," + "," * n + "x" + "," * (254 - n) for n in range(255)]
    job = run_import(pinpoint, app_id, put(server, f"{app_id}/f.csv", "\n".join([header, *rows])))

    assert summary(job) == ("COMPLETED", 255, 5)


def test_ids_differ_by_more_than_case(pinpoint, app_id, load):
    job = load([email(1, Id="Ärger"), email(2, Id="äRGER"), email(3, Id="ABC"), email(4, Id="abc")])
    one = pinpoint.get_endpoint(ApplicationId=app_id, EndpointId="aBc")["EndpointResponse"]

    assert summary(job) == ("COMPLETED", 4, 0)
    assert (one["Id"], one["Address"]) == ("ABC", "e4@example.com")
    umlaut = pinpoint.get_endpoint(ApplicationId=app_id, EndpointId="ÄRGER")["EndpointResponse"]
    assert (umlaut["Id"], umlaut["Address"]) == ("Ärger", "e2@example.com")


def test_attributes_of_a_user_reach_the_endpoints_they_had(pinpoint, app_id, load):
    load([email(1, User={"UserId": "u", "UserAttributes": {"Plan": ["gold"], "City": ["Graz"]}})])
    load([email(2, User={"UserId": "u", "UserAttributes": {"Plan": ["trial"]}})], "g.json")
    found = pinpoint.get_user_endpoints(ApplicationId=app_id, UserId="u")["EndpointsResponse"]["Item"]

    assert [one["User"]["UserAttributes"] for one in found] == [{"Plan": ["trial"], "City": ["Graz"]}] * 2


def test_a_date_that_is_given_is_kept(pinpoint, app_id, load):
    load([email(1, EffectiveDate="2030-01-02T03:04:05.678Z"), email(2, EffectiveDate="2030-01-02T03:04:05+02:00")])
    dates = [
        pinpoint.get_endpoint(ApplicationId=app_id, EndpointId=f"e{n}")["EndpointResponse"]["EffectiveDate"]
        for n in (1, 2)
    ]

    assert dates == ["2030-01-02T03:04:05.678Z", "2030-01-02T01:04:05.000Z"]
