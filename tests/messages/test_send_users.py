"""SendUsersMessages: to all endpoints of a user for whose channels there is content."""

import json

import pytest

from tests.conftest import create_key
from tests.messages.sending import arrived, enable, mailbox, phone, put, send_users, statuses, text, token

SMS = {"SMSMessage": {"Body": "Hello {{name}}{{User.UserAttributes.Name}}"}}


def user(name="u", **attributes):
    return {"User": {"UserId": name, **({"UserAttributes": attributes} if attributes else {})}}


def test_all_endpoints_of_a_user_with_content_get_it(server, pinpoint, app_id):
    enable(pinpoint, app_id, "GCM")
    number, device = phone(), token()
    put(pinpoint, app_id, "sms", "SMS", number, **user(Name=["Ann"]))
    put(pinpoint, app_id, "push", "GCM", device, **user())
    put(pinpoint, app_id, "mail", "EMAIL", mailbox(), **user())
    put(pinpoint, app_id, "other", "SMS", phone(), **user("v"))
    content = {**SMS, "GCMMessage": {"Title": "Hi", "Body": "Pushed"}}
    results = send_users(pinpoint, app_id, {"u": {}}, MessageConfiguration=content)

    assert results.keys() == {"u"}
    assert statuses(results["u"]) == {"sms": "SUCCESSFUL", "push": "SUCCESSFUL"}
    assert (results["u"]["sms"]["Address"], results["u"]["push"]["Address"]) == (number, device)
    assert text(server, number)["body"] == "Hello Ann"
    assert text(server, device)["title"] == "Hi"


def test_a_default_message_is_content_for_every_channel(pinpoint, app_id):
    enable(pinpoint, app_id, "VOICE", "APNS")
    number = phone()
    for channel_type, address in {"SMS": number, "VOICE": number, "APNS": token(), "CUSTOM": "x"}.items():
        put(pinpoint, app_id, channel_type.title(), channel_type, address, **user())
    results = send_users(pinpoint, app_id, {"u": {}}, MessageConfiguration={"DefaultMessage": {"Body": "Hello"}})

    assert statuses(results["u"]) == {"Sms": "SUCCESSFUL", "Voice": "SUCCESSFUL", "Apns": "SUCCESSFUL"}


def test_who_opted_out_is_not_written_to(pinpoint, app_id):
    put(pinpoint, app_id, "out", "SMS", phone(), OptOut="ALL", **user())
    put(pinpoint, app_id, "in", "SMS", phone(), **user())
    results = send_users(pinpoint, app_id, {"u": {}}, MessageConfiguration=SMS)

    assert statuses(results["u"]) == {"out": "OPT_OUT", "in": "SUCCESSFUL"}
    assert results["u"]["out"]["StatusMessage"] == "The endpoint has opted out: its OptOut is ALL"


def test_an_inactive_endpoint_is_not_written_to(pinpoint, app_id):
    put(pinpoint, app_id, "asleep", "SMS", phone(), EndpointStatus="INACTIVE", **user())
    results = send_users(pinpoint, app_id, {"u": {}}, MessageConfiguration=SMS)

    assert results["u"]["asleep"]["DeliveryStatus"] == "PERMANENT_FAILURE"
    assert results["u"]["asleep"]["StatusMessage"] == "The endpoint is inactive: its EndpointStatus is INACTIVE"


def test_an_address_that_two_users_share_is_written_to_once(server, pinpoint, app_id):
    number = phone()
    for name in ("a", "b"):
        put(pinpoint, app_id, name, "SMS", number, **user(name))
    pinpoint.update_endpoint(ApplicationId=app_id, EndpointId="a", EndpointRequest={"EndpointStatus": "ACTIVE"})
    pinpoint.update_endpoint(ApplicationId=app_id, EndpointId="b", EndpointRequest={"ChannelType": "VOICE"})
    pinpoint.update_endpoint(
        ApplicationId=app_id, EndpointId="b", EndpointRequest={"Address": number[:2] + " " + number[2:]}
    )
    pinpoint.update_endpoint(ApplicationId=app_id, EndpointId="b", EndpointRequest={"ChannelType": "SMS"})
    results = send_users(pinpoint, app_id, {"a": {}, "b": {}}, MessageConfiguration=SMS)

    assert (results["a"]["a"]["DeliveryStatus"], results["b"]["b"]["DeliveryStatus"]) == ("SUCCESSFUL", "DUPLICATE")
    assert len(arrived(server, number)) == 1


def test_each_user_has_their_own_overrides(server, pinpoint, app_id):
    numbers = {name: phone() for name in ("a", "b", "c")}
    for name, number in numbers.items():
        put(pinpoint, app_id, name, "SMS", number, **user(name))
    users = {"a": {"Substitutions": {"name": ["Ann"]}}, "b": {"BodyOverride": "Only Bea"}, "c": {}}
    content = {"SMSMessage": {**SMS["SMSMessage"], "Substitutions": {"name": ["all"]}}}
    send_users(pinpoint, app_id, users, MessageConfiguration=content)
    bodies = {name: text(server, number)["body"] for name, number in numbers.items()}

    assert bodies == {"a": "Hello Ann", "b": "Only Bea", "c": "Hello all"}


def test_a_user_nobody_knows_has_an_empty_result(pinpoint, app_id):
    put(pinpoint, app_id, "e", "SMS", phone(), **user())
    results = send_users(pinpoint, app_id, {"u": {}, "nobody": {}}, MessageConfiguration=SMS)

    assert statuses(results["u"]) == {"e": "SUCCESSFUL"}
    assert results["nobody"] == {}


def test_100_users_are_taken_and_101_or_none_are_not(pinpoint, app_id):
    users = {f"u{number}": {} for number in range(101)}
    with pytest.raises(pinpoint.exceptions.BadRequestException, match="Users: must be at most 100"):
        send_users(pinpoint, app_id, users, MessageConfiguration=SMS)
    users.popitem()
    with pytest.raises(pinpoint.exceptions.BadRequestException, match="1 to 100 Users"):
        send_users(pinpoint, app_id, {}, MessageConfiguration=SMS)

    assert len(send_users(pinpoint, app_id, users, MessageConfiguration=SMS)) == 100


def test_users_of_all_endpoints_they_may_have_are_answered_whole(pinpoint, app_id):
    items = [
        {"Id": f"{name}-{number}", "ChannelType": "SMS", "Address": phone(), **user(name)}
        for name in ("a", "b", "c", "d", "e", "f")
        for number in range(15)
    ]
    pinpoint.update_endpoints_batch(ApplicationId=app_id, EndpointBatchRequest={"Item": items})
    results = send_users(pinpoint, app_id, {name: {} for name in "abcdef"}, MessageConfiguration=SMS)

    assert {name: len(endpoints) for name, endpoints in results.items()} == dict.fromkeys("abcdef", 15)
    assert {result["DeliveryStatus"] for one in results.values() for result in one.values()} == {"SUCCESSFUL"}


def test_a_policy_for_messages_is_one_for_users_messages(server, pinpoint, app_id, tmp_path):
    actions = ["mobiletargeting:SendMessages", "mobiletargeting:SendUsersMessages"]
    resource = f"arn:aws:mobiletargeting:*:*:apps/{app_id}/messages"
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resource}]}
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    key_id, secret = create_key(server.data_dir, "sender", "--policy", str(tmp_path / "policy.json"))
    sender = server.client(aws_access_key_id=key_id, aws_secret_access_key=secret)
    put(pinpoint, app_id, "e", "SMS", phone(), **user())
    other = pinpoint.create_app(CreateApplicationRequest={"Name": "Other"})["ApplicationResponse"]["Id"]

    assert statuses(send_users(sender, app_id, {"u": {}}, MessageConfiguration=SMS)["u"]) == {"e": "SUCCESSFUL"}
    with pytest.raises(pinpoint.exceptions.ForbiddenException):
        send_users(sender, other, {"u": {}}, MessageConfiguration=SMS)
