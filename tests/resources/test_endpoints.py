"""Endpoints and users: merging, addresses, users' limits, removal."""

import json
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from botocore.exceptions import ClientError

from repoint.db.embedded import dsn_of
from tests.conftest import eventually
from tests.signed import send_raw

PUSH = {"ChannelType": "GCM"}


def put(client, app_id, endpoint_id, **request):
    return client.update_endpoint(ApplicationId=app_id, EndpointId=endpoint_id, EndpointRequest=request)


def get(client, app_id, endpoint_id):
    return client.get_endpoint(ApplicationId=app_id, EndpointId=endpoint_id)["EndpointResponse"]


def user_of(client, app_id, user_id):
    answer = client.get_user_endpoints(ApplicationId=app_id, UserId=user_id)
    return answer["EndpointsResponse"]["Item"]


def test_it_works(pinpoint, app_id):
    answer = put(pinpoint, app_id, "e1", ChannelType="EMAIL", Address="a@example.com", Metrics={"visits": 2})
    shown = get(pinpoint, app_id, "e1")

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["MessageBody"]["Message"] == "Accepted"
    assert (shown["Address"], shown["OptOut"], shown["EndpointStatus"]) == ("a@example.com", "NONE", "ACTIVE")
    assert shown["Metrics"] == {"visits": 2.0}
    assert 0 <= int(shown["CohortId"]) <= 99


def test_what_is_left_out_keeps_its_value(pinpoint, app_id):
    put(pinpoint, app_id, "e1", ChannelType="SMS", Address="+1425", Attributes={"a": ["1"], "b": ["2"]})
    before = get(pinpoint, app_id, "e1")
    put(pinpoint, app_id, "e1", Attributes={"b": ["3"]}, Demographic={"Make": "Acme"})
    put(pinpoint, app_id, "e1", Demographic={"Model": "X"})
    after = get(pinpoint, app_id, "e1")

    assert after["Attributes"] == {"a": ["1"], "b": ["3"]}
    assert after["Demographic"] == {"Make": "Acme", "Model": "X"}
    assert (after["Address"], after["CohortId"], after["CreationDate"]) == (
        before["Address"],
        before["CohortId"],
        before["CreationDate"],
    )


@pytest.mark.parametrize("nothing", [None, []], ids=["null", "an empty list"])
def test_nothing_removes_a_name(server, pinpoint, app_id, nothing):
    put(pinpoint, app_id, "e1", Attributes={"a": ["1"], "b": ["2"]})
    body = json.dumps({"Attributes": {"a": nothing}}).encode()
    status, _, _ = send_raw(server, "PUT", f"/v1/apps/{app_id}/endpoints/e1", body)

    assert status == 202
    assert get(pinpoint, app_id, "e1")["Attributes"] == {"b": ["2"]}


def test_user_attributes_may_be_bare_strings(server, pinpoint, app_id):
    body = json.dumps({"User": {"UserId": "u", "UserAttributes": {"Plan": "gold"}}}).encode()
    send_raw(server, "PUT", f"/v1/apps/{app_id}/endpoints/e1", body)

    assert get(pinpoint, app_id, "e1")["User"]["UserAttributes"] == {"Plan": ["gold"]}


def test_ids_are_found_in_any_case_and_shown_as_first_given(pinpoint, app_id):
    put(pinpoint, app_id, "Phone/Ä 1", ChannelType="SMS", Address="+1425")
    put(pinpoint, app_id, "PHONE/ä 1", Attributes={"a": ["1"]})

    assert get(pinpoint, app_id, "phone/ä 1")["Id"] == "Phone/Ä 1"
    assert get(pinpoint, app_id, "phone/ä 1")["Attributes"] == {"a": ["1"]}


def test_an_address_belongs_to_who_claimed_it_last_on_its_channel(pinpoint, app_id):
    put(pinpoint, app_id, "old", ChannelType="SMS", Address="+14255550100")
    put(pinpoint, app_id, "voice", ChannelType="VOICE", Address="+14255550100")
    put(pinpoint, app_id, "new", ChannelType="SMS", Address="+14255550100")
    statuses = {name: get(pinpoint, app_id, name)["EndpointStatus"] for name in ("old", "voice", "new")}

    assert statuses == {"old": "INACTIVE", "voice": "ACTIVE", "new": "ACTIVE"}


def test_concurrent_claims_leave_one_active_endpoint(server, app_id):
    client = server.client()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: put(client, app_id, f"e{n}", ChannelType="SMS", Address="+14255550111"), range(24)))
    active = [n for n in range(24) if get(client, app_id, f"e{n}")["EndpointStatus"] == "ACTIVE"]

    assert len(active) == 1


def test_a_new_endpoint_with_an_address_needs_a_channel(pinpoint, app_id):
    with pytest.raises(ClientError, match="Missing ChannelType"):
        put(pinpoint, app_id, "e1", Address="a@example.com")


def test_an_endpoint_without_an_address_is_opted_out_until_told_otherwise(pinpoint, app_id):
    put(pinpoint, app_id, "e1", ChannelType="EMAIL")
    put(pinpoint, app_id, "e1", Address="a@example.com")
    opted_out = get(pinpoint, app_id, "e1")["OptOut"]
    put(pinpoint, app_id, "e1", OptOut="NONE")

    assert opted_out == "ALL"
    assert get(pinpoint, app_id, "e1")["OptOut"] == "NONE"


def test_an_update_makes_active_unless_it_says_inactive(pinpoint, app_id):
    put(pinpoint, app_id, "e1", EndpointStatus="INACTIVE")
    inactive = get(pinpoint, app_id, "e1")["EndpointStatus"]
    put(pinpoint, app_id, "e1", Attributes={"a": ["1"]})

    assert (inactive, get(pinpoint, app_id, "e1")["EndpointStatus"]) == ("INACTIVE", "ACTIVE")


def test_coordinates_come_in_pairs_and_are_shown_to_one_decimal(pinpoint, app_id):
    put(pinpoint, app_id, "e1", Location={"Latitude": 47.0707, "Longitude": 15.4395, "Country": "AT"})
    with pytest.raises(ClientError, match="Latitude and Longitude belong together"):
        put(pinpoint, app_id, "e1", Location={"Latitude": 1.0})

    assert get(pinpoint, app_id, "e1")["Location"] == {"Latitude": 47.1, "Longitude": 15.4, "Country": "AT"}


@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        ({"Attributes": {"x" * 51: ["1"]}}, "a name must have 1 to 50 characters"),
        ({"Attributes": {"x": ["1" * 101]}}, "Attributes.x: a value must be at most 100 characters"),
        ({"Attributes": {"x": ["1"] * 51}}, "Attributes.x: must be at most 50 values"),
        ({"Demographic": {"Model": "x" * 101}}, "Demographic.Model: must be at most 100 characters"),
        ({"OptOut": "MAYBE"}, "OptOut: must be one of ALL, NONE"),
        ({"EndpointStatus": "ASLEEP"}, "EndpointStatus: must be one of ACTIVE, INACTIVE"),
        ({"EffectiveDate": "yesterday"}, "EffectiveDate: must be an ISO 8601 timestamp"),
        ({"User": {"UserId": "a${b}"}}, "User.UserId: must not contain"),
        ({"Location": {"Latitude": 91.0, "Longitude": 0.0}}, "Location.Latitude: must be at most 90"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_breaks_a_rule_is_refused_by_name(pinpoint, app_id, request_, rule):
    with pytest.raises(ClientError) as caught:
        put(pinpoint, app_id, "e1", **request_)

    assert caught.value.response["Error"]["Code"] == "BadRequestException"
    assert rule in caught.value.response["Error"]["Message"]


def test_an_endpoint_over_15_kb_is_refused(pinpoint, app_id):
    with pytest.raises(ClientError, match="larger than 15360 bytes"):
        put(pinpoint, app_id, "e1", Attributes={f"a{n}": ["x" * 100] * 40 for n in range(4)})


def test_users_share_their_attributes(pinpoint, app_id):
    put(pinpoint, app_id, "e1", User={"UserId": "u", "UserAttributes": {"a": ["1"]}})
    put(pinpoint, app_id, "e2", User={"UserId": "u"})
    joined = get(pinpoint, app_id, "e2")["User"]["UserAttributes"]
    put(pinpoint, app_id, "e2", User={"UserAttributes": {"b": ["2"]}})

    assert joined == {"a": ["1"]}
    assert get(pinpoint, app_id, "e1")["User"]["UserAttributes"] == {"a": ["1"], "b": ["2"]}
    assert [one["Id"] for one in user_of(pinpoint, app_id, "u")] == ["e1", "e2"]


def test_a_sixteenth_endpoint_of_a_user_is_refused(pinpoint, app_id):
    for number in range(15):
        put(pinpoint, app_id, f"e{number}", ChannelType="EMAIL", Address=f"{number}@x.y", User={"UserId": "u"})
    with pytest.raises(ClientError, match="Exceeded maximum endpoint per user count: 15"):
        put(pinpoint, app_id, "e15", ChannelType="EMAIL", Address="15@x.y", User={"UserId": "u"})

    assert len(user_of(pinpoint, app_id, "u")) == 15


def test_a_sixteenth_push_endpoint_takes_the_place_of_the_oldest(pinpoint, app_id):
    for number in range(16):
        date = f"2031-01-01T00:00:{number:02}Z"
        put(pinpoint, app_id, f"e{number}", **PUSH, Address=f"t{number}", EffectiveDate=date, User={"UserId": "u"})
    first = get(pinpoint, app_id, "e0")

    assert first["EndpointStatus"] == "INACTIVE"
    assert "UserId" not in first["User"]
    assert {one["Id"] for one in user_of(pinpoint, app_id, "u")} == {f"e{number}" for number in range(1, 16)}


def test_the_limit_of_a_user_holds_for_concurrent_requests(server, app_id):
    client = server.client()

    def join(number):
        try:
            put(client, app_id, f"e{number}", ChannelType="SMS", Address=f"+1425{number}", User={"UserId": "u"})
        except ClientError as error:
            return error.response["Error"]["Message"]
        return "joined"

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(join, range(30)))

    assert answers.count("joined") == 15
    assert len(user_of(client, app_id, "u")) == 15


def test_a_batch_is_taken_whole_or_not_at_all(pinpoint, app_id):
    good = {"Id": "good", "ChannelType": "EMAIL", "Address": "a@x.y"}
    with pytest.raises(ClientError, match=r"Item\[1\]: Missing ChannelType"):
        pinpoint.update_endpoints_batch(
            ApplicationId=app_id, EndpointBatchRequest={"Item": [good, {"Id": "bad", "Address": "b@x.y"}]}
        )
    with pytest.raises(ClientError, match="Resource not found"):
        get(pinpoint, app_id, "good")


def test_a_batch_of_100_is_taken_and_of_101_is_not(pinpoint, app_id):
    items = [{"Id": f"e{n}", "ChannelType": "SMS", "Address": f"+1425{n}"} for n in range(101)]
    pinpoint.update_endpoints_batch(ApplicationId=app_id, EndpointBatchRequest={"Item": items[:100]})
    with pytest.raises(ClientError, match="must be at most 100 items"):
        pinpoint.update_endpoints_batch(ApplicationId=app_id, EndpointBatchRequest={"Item": items})

    assert get(pinpoint, app_id, "e99")["Address"] == "+142599"


def test_later_items_of_a_batch_see_earlier_ones(pinpoint, app_id):
    items = [
        {"Id": "e", "ChannelType": "SMS", "Address": "+1425", "Attributes": {"a": ["1"]}},
        {"Id": "E", "Attributes": {"b": ["2"]}},
        {"Id": "f", "ChannelType": "SMS", "Address": "+1425"},
    ]
    pinpoint.update_endpoints_batch(ApplicationId=app_id, EndpointBatchRequest={"Item": items})
    first = get(pinpoint, app_id, "e")

    assert (first["Attributes"], first["EndpointStatus"]) == ({"a": ["1"], "b": ["2"]}, "INACTIVE")


def test_an_application_has_at_most_250_attribute_names(pinpoint, app_id):
    for start in range(0, 250, 50):
        put(pinpoint, app_id, "e", Metrics={f"m{n}": 1.0 for n in range(start, start + 50)})
    with pytest.raises(ClientError, match="maximum of 250 attribute names"):
        put(pinpoint, app_id, "e", Attributes={"one-more": ["x"]})
    put(pinpoint, app_id, "e", Metrics={"m1": 2.0})

    assert get(pinpoint, app_id, "e")["Metrics"]["m1"] == 2.0


def test_attributes_are_removed_by_name_and_by_pattern(pinpoint, app_id):
    put(pinpoint, app_id, "e", Attributes={"favouriteA": ["1"], "favouriteB": ["2"], "plan": ["3"], "kept": ["4"]})
    answer = pinpoint.remove_attributes(
        ApplicationId=app_id,
        AttributeType="endpoint-custom-attributes",
        UpdateAttributesRequest={"Blacklist": ["fav*", "plan"]},
    )["AttributesResource"]

    assert answer["Attributes"] == ["favouriteA", "favouriteB", "plan"]
    assert get(pinpoint, app_id, "e")["Attributes"] == {"kept": ["4"]}


def test_deleting_answers_what_was_there(pinpoint, app_id):
    put(pinpoint, app_id, "e1", User={"UserId": "u"})
    put(pinpoint, app_id, "e2", User={"UserId": "u"})
    one = pinpoint.delete_endpoint(ApplicationId=app_id, EndpointId="e1")
    rest = pinpoint.delete_user_endpoints(ApplicationId=app_id, UserId="u")

    assert (one["ResponseMetadata"]["HTTPStatusCode"], one["EndpointResponse"]["Id"]) == (202, "e1")
    assert [endpoint["Id"] for endpoint in rest["EndpointsResponse"]["Item"]] == ["e2"]
    for call in (pinpoint.get_user_endpoints, pinpoint.delete_user_endpoints):
        with pytest.raises(pinpoint.exceptions.NotFoundException):
            call(ApplicationId=app_id, UserId="u")


def test_an_unknown_application_is_not_found(pinpoint):
    with pytest.raises(pinpoint.exceptions.NotFoundException, match="Application not found"):
        put(pinpoint, "none", "e")


def test_a_new_endpoint_is_found_its_place_by_index(server, pinpoint, app_id):
    """Creating endpoints must not read those that are there: with ten million of them it would take seconds."""
    items = [{"Id": f"e{n}", "Attributes": {"a": ["1"]}, "User": {"UserId": f"u{n}"}} for n in range(100)]
    pinpoint.update_endpoints_batch(ApplicationId=app_id, EndpointBatchRequest={"Item": items})
    with psycopg.connect(dsn_of(server.data_dir), autocommit=True) as connection:

        def reads():
            return connection.execute(
                "SELECT seq_tup_read, n_tup_ins FROM pg_stat_user_tables WHERE relname = 'endpoint'"
            ).fetchone()

        before = eventually(lambda: (found := reads())[1] >= 100 and found)
        for number in range(100, 110):
            put(pinpoint, app_id, f"e{number}", User={"UserId": f"u{number}"})
        after = eventually(lambda: (found := reads())[1] >= before[1] + 10 and found)

    assert after[0] == before[0]


def test_updates_that_do_not_name_the_user_leave_all_endpoints_of_the_user_alike(pinpoint, app_id):
    ids = [f"e{number}" for number in range(4)]
    for one in ids:
        pinpoint.update_endpoint(ApplicationId=app_id, EndpointId=one, EndpointRequest={"User": {"UserId": "u"}})

    def write(thread):
        for number in range(20):
            attributes = {f"k{thread}": [str(number)], "last": [f"{thread}/{number}"]}
            pinpoint.update_endpoint(
                ApplicationId=app_id,
                EndpointId=ids[(thread + number) % 4],
                EndpointRequest={"User": {"UserAttributes": attributes}},
            )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    found = pinpoint.get_user_endpoints(ApplicationId=app_id, UserId="u")["EndpointsResponse"]["Item"]
    alike = [one["User"]["UserAttributes"] for one in found]

    assert alike == [alike[0]] * 4
    assert {name: value for name, value in alike[0].items() if name != "last"} == {f"k{n}": ["19"] for n in range(8)}
