"""Writers at work on one address at the same moment, one of them stopped in the middle: one endpoint has it."""

import pytest

from tests.resources.test_users_at_once import put_endpoints, update

SEEN = {"Attributes": {"seen": ["yes"]}}


def at(address, **more):
    return {"ChannelType": "CUSTOM", "Address": address} | more


def statuses(client, app_id, *names):
    """Whether each endpoint is ACTIVE, in order."""
    found = [client.get_endpoint(ApplicationId=app_id, EndpointId=name)["EndpointResponse"] for name in names]
    return [one["EndpointStatus"] for one in found]


def test_of_two_new_endpoints_the_later_takes_the_address(pinpoint, app_id, stopped):
    _, other = stopped(
        lambda: put_endpoints(pinpoint, app_id, {"a": at("same"), "zz": SEEN}),
        lambda: update(pinpoint, app_id, "b", at("same")),
    )
    other.result()

    assert statuses(pinpoint, app_id, "a", "b") == ["INACTIVE", "ACTIVE"]


def test_of_two_with_users_the_later_takes_the_address(pinpoint, app_id, stopped):
    _, other = stopped(
        lambda: put_endpoints(pinpoint, app_id, {"a": at("same", User={"UserId": "u"}), "zz": SEEN}),
        lambda: update(pinpoint, app_id, "b", at("same", User={"UserId": "v"})),
    )
    other.result()

    assert statuses(pinpoint, app_id, "a", "b") == ["INACTIVE", "ACTIVE"]


def test_a_batch_takes_addresses_as_they_are_when_it_is_its_turn(pinpoint, app_id, stopped):
    wanted = {"Item": [{"Id": "b", **at("same")}]}
    _, other = stopped(
        lambda: put_endpoints(pinpoint, app_id, {"a": at("same"), "zz": SEEN}),
        lambda: pinpoint.update_endpoints_batch(ApplicationId=app_id, EndpointBatchRequest=wanted),
    )
    other.result()

    assert statuses(pinpoint, app_id, "a", "b") == ["INACTIVE", "ACTIVE"]


@pytest.mark.parametrize("wakes", [SEEN, {"ChannelType": "CUSTOM"}], ids=["asleep", "of another channel"])
def test_who_takes_its_own_address_without_a_word_waits_too(pinpoint, app_id, stopped, wakes):
    asleep = at("same", EndpointStatus="INACTIVE") if wakes is SEEN else {"ChannelType": "EMAIL", "Address": "same"}
    update(pinpoint, app_id, "b", asleep)
    wanted = {"Item": [{"Id": "a", **at("same")}, {"Id": "zz", **SEEN}]}
    _, other = stopped(
        lambda: pinpoint.update_endpoints_batch(ApplicationId=app_id, EndpointBatchRequest=wanted),
        lambda: update(pinpoint, app_id, "b", wakes),
    )
    other.result()

    assert statuses(pinpoint, app_id, "a", "b") == ["INACTIVE", "ACTIVE"]


def test_one_that_wakes_at_an_address_named_in_the_same_request_takes_it(pinpoint, app_id):
    update(pinpoint, app_id, "b", at("same", EndpointStatus="INACTIVE"))
    put_endpoints(pinpoint, app_id, {"a": at("same"), "b": SEEN})

    assert sorted(statuses(pinpoint, app_id, "a", "b")) == ["ACTIVE", "INACTIVE"]
