"""Writers at work on one user at the same moment, one of them stopped in the middle: the user stays one."""

import pytest
from botocore.exceptions import ClientError


def endpoint_of(user_id, number, **attributes):
    made = {"ChannelType": "CUSTOM", "Address": f"address {number}", "User": {"UserId": user_id}}
    if attributes:
        made["User"]["UserAttributes"] = {name: [value] for name, value in attributes.items()}
    return made


def update(client, app_id, endpoint_id, document):
    client.update_endpoint(ApplicationId=app_id, EndpointId=endpoint_id, EndpointRequest=document)


def put_endpoints(client, app_id, endpoints):
    """Several endpoints by one PutEvents, which is one statement for all that touch only themselves."""
    batch = {name: {"Endpoint": document, "Events": {}} for name, document in endpoints.items()}
    answer = client.put_events(ApplicationId=app_id, EventsRequest={"BatchItem": batch})
    return {
        name: item["EndpointItemResponse"]["StatusCode"] for name, item in answer["EventsResponse"]["Results"].items()
    }


def of_user(client, app_id, user_id):
    found = client.get_user_endpoints(ApplicationId=app_id, UserId=user_id)["EndpointsResponse"]["Item"]
    return {one["Id"]: one["User"]["UserAttributes"] for one in found}


def test_two_that_add_a_new_users_first_endpoints_share_attributes(pinpoint, app_id, stopped):
    both = {"a": endpoint_of("u", 1, Plan="gold"), "zz": {"Attributes": {"seen": ["yes"]}}}
    statuses, other = stopped(
        lambda: put_endpoints(pinpoint, app_id, both),
        lambda: update(pinpoint, app_id, "b", endpoint_of("u", 2, City="Graz")),
    )
    other.result()
    both_say = {"Plan": ["gold"], "City": ["Graz"]}

    assert statuses == {"a": 202, "zz": 202}
    assert of_user(pinpoint, app_id, "u") == {"a": both_say, "b": both_say}


def test_who_joins_while_the_users_attributes_change_gets_the_new_ones(pinpoint, app_id, stopped):
    update(pinpoint, app_id, "a", endpoint_of("u", 1, Plan="silver"))
    both = {"a": {"User": {"UserAttributes": {"Plan": ["gold"]}}}, "zz": {"Attributes": {"seen": ["yes"]}}}
    _, other = stopped(
        lambda: put_endpoints(pinpoint, app_id, both),
        lambda: update(pinpoint, app_id, "b", endpoint_of("u", 2)),
    )
    other.result()

    assert of_user(pinpoint, app_id, "u") == {"a": {"Plan": ["gold"]}, "b": {"Plan": ["gold"]}}


def test_the_sixteenth_is_refused_when_fifteen_are_being_written(pinpoint, app_id, stopped):
    items = [{"Id": f"a{number:02}", **endpoint_of("u", number)} for number in range(14)]
    wanted = {"Item": [*items, {"Id": "zz", "User": {"UserId": "u"}}]}
    _, other = stopped(
        lambda: pinpoint.update_endpoints_batch(ApplicationId=app_id, EndpointBatchRequest=wanted),
        lambda: update(pinpoint, app_id, "b", endpoint_of("u", 16)),
    )

    with pytest.raises(ClientError, match="Exceeded maximum endpoint per user count: 15"):
        other.result()
    assert len(of_user(pinpoint, app_id, "u")) == 15


def test_an_attribute_that_is_removed_does_not_come_back_with_who_joins(pinpoint, app_id, stopped):
    update(pinpoint, app_id, "a", endpoint_of("u", 1, Plan="gold", City="Graz"))
    items = [{"Id": "b", **endpoint_of("u", 2)}, {"Id": "zz", "Attributes": {"seen": ["yes"]}}]
    removal = {"AttributeType": "endpoint-user-attributes", "UpdateAttributesRequest": {"Blacklist": ["Plan"]}}
    _, other = stopped(
        lambda: pinpoint.update_endpoints_batch(ApplicationId=app_id, EndpointBatchRequest={"Item": items}),
        lambda: pinpoint.remove_attributes(ApplicationId=app_id, **removal),
    )
    other.result()

    assert of_user(pinpoint, app_id, "u") == {"a": {"City": ["Graz"]}, "b": {"City": ["Graz"]}}
