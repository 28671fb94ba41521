import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

CERTIFICATE = {"Certificate": "certificate text", "PrivateKey": "private key text"}
TOKEN = {"BundleId": "com.example.shop", "TeamId": "TEAM123456", "TokenKey": "token key text", "TokenKeyId": "KEY1"}
SERVICE_JSON = json.dumps({"project_id": "shop", "client_email": "a@example.com", "private_key": "service key text"})
MAIL = {"FromAddress": "shop@example.com", "Identity": "arn:aws:ses:us-east-1:123456789012:identity/example.com"}
CHANNELS = {
    "adm": ("ADM", "ADMChannelRequest", {"ClientId": "client id", "ClientSecret": "client secret"}),
    "apns": ("APNS", "APNSChannelRequest", CERTIFICATE),
    "apns_sandbox": ("APNS_SANDBOX", "APNSSandboxChannelRequest", CERTIFICATE),
    "apns_voip": ("APNS_VOIP", "APNSVoipChannelRequest", TOKEN),
    "apns_voip_sandbox": ("APNS_VOIP_SANDBOX", "APNSVoipSandboxChannelRequest", TOKEN),
    "baidu": ("BAIDU", "BaiduChannelRequest", {"ApiKey": "api key", "SecretKey": "secret key"}),
    "email": ("EMAIL", "EmailChannelRequest", MAIL),
    "gcm": ("GCM", "GCMChannelRequest", {"ApiKey": "api key"}),
    "sms": ("SMS", "SMSChannelRequest", {"SenderId": "SHOP", "ShortCode": "12345"}),
    "voice": ("VOICE", "VoiceChannelRequest", {}),
}
HAVE_CREDENTIALS = {"adm", "apns", "apns_sandbox", "apns_voip", "apns_voip_sandbox", "baidu", "gcm"}


def each_channel(test):
    return pytest.mark.parametrize("kind", CHANNELS)(test)


def put(client, app_id, kind, given=None):
    """The channel after `update_<kind>_channel`; without settings, those of the table above."""
    member = {CHANNELS[kind][1]: CHANNELS[kind][2] if given is None else given}
    return document(getattr(client, f"update_{kind}_channel")(ApplicationId=app_id, **member))


def get(client, app_id, kind):
    return document(getattr(client, f"get_{kind}_channel")(ApplicationId=app_id))


def delete(client, app_id, kind):
    return document(getattr(client, f"delete_{kind}_channel")(ApplicationId=app_id))


def document(answer):
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    return next(value for key, value in answer.items() if key != "ResponseMetadata")


def refusal(function, *arguments, **parameters):
    """The status and the message of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        function(*arguments, **parameters)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]


@each_channel
def test_a_put_answers_the_channel_and_a_get_the_same(pinpoint, app_id, kind):
    channel = put(pinpoint, app_id, kind)

    assert channel["ApplicationId"] == app_id
    assert (channel["Id"], channel["Platform"]) == (kind, CHANNELS[kind][0])
    assert (channel["Enabled"], channel["IsArchived"], channel["Version"]) == (True, False, 1)
    assert channel["LastModifiedBy"] == "tests"
    assert channel["CreationDate"] == channel["LastModifiedDate"]
    assert get(pinpoint, app_id, kind) == channel


@each_channel
def test_each_put_raises_the_version_and_keeps_the_creation_date(pinpoint, app_id, kind):
    first, second = put(pinpoint, app_id, kind), put(pinpoint, app_id, kind)

    assert (first["Version"], second["Version"]) == (1, 2)
    assert second["CreationDate"] == first["CreationDate"]
    assert second["LastModifiedDate"] > first["LastModifiedDate"]


@each_channel
def test_a_channel_can_be_turned_off(pinpoint, app_id, kind):
    put(pinpoint, app_id, kind, {**CHANNELS[kind][2], "Enabled": False})

    assert get(pinpoint, app_id, kind)["Enabled"] is False
    assert put(pinpoint, app_id, kind)["Enabled"] is False


@each_channel
def test_a_deleted_channel_is_gone_and_starts_afresh(pinpoint, app_id, kind):
    put(pinpoint, app_id, kind)
    put(pinpoint, app_id, kind)
    deleted = delete(pinpoint, app_id, kind)

    assert (deleted["Id"], deleted["Version"]) == (kind, 2)
    assert refusal(get, pinpoint, app_id, kind) == (404, "Resource not found")
    assert refusal(delete, pinpoint, app_id, kind) == (404, "Resource not found")
    assert put(pinpoint, app_id, kind)["Version"] == 1


@each_channel
def test_channels_of_an_unknown_application_are_not_found(pinpoint, kind):
    for function in (get, put, delete):
        assert refusal(function, pinpoint, "0" * 32, kind) == (404, "Application not found")


@each_channel
def test_secrets_are_never_returned(pinpoint, app_id, kind):
    secret = {"certificate text", "private key text", "token key text", "client id", "client secret", "secret key"}
    shown = [put(pinpoint, app_id, kind), get(pinpoint, app_id, kind)]
    shown += [document(pinpoint.get_channels(ApplicationId=app_id)), delete(pinpoint, app_id, kind)]

    assert not [text for text in secret if text in json.dumps(shown)]


@each_channel
def test_a_channel_says_whether_it_has_credentials_if_it_takes_any(pinpoint, app_id, kind):
    channel = put(pinpoint, app_id, kind)

    assert channel.get("HasCredential") == (True if kind in HAVE_CREDENTIALS else None)


@pytest.mark.parametrize("kind", ["gcm", "baidu"])
def test_api_keys_are_shown_as_credential(pinpoint, app_id, kind):
    assert put(pinpoint, app_id, kind)["Credential"] == "api key"
    assert get(pinpoint, app_id, kind)["Credential"] == "api key"


def test_all_configured_channels_are_listed_with_in_app(pinpoint, app_id):
    put(pinpoint, app_id, "sms")
    put(pinpoint, app_id, "email", {**MAIL, "Enabled": False})
    channels = pinpoint.get_channels(ApplicationId=app_id)["ChannelsResponse"]["Channels"]

    assert sorted(channels) == ["EMAIL", "IN_APP", "SMS"]
    assert (channels["SMS"]["Enabled"], channels["EMAIL"]["Enabled"]) == (True, False)
    assert (channels["SMS"]["Id"], channels["SMS"]["Version"]) == ("sms", 1)
    assert channels["IN_APP"] == {"Enabled": True, "IsArchived": False, "Version": 0}
    assert refusal(pinpoint.get_channels, ApplicationId="0" * 32) == (404, "Application not found")


def test_channels_belong_to_their_application(pinpoint, app_id):
    other = pinpoint.create_app(CreateApplicationRequest={"Name": "Other"})["ApplicationResponse"]["Id"]
    put(pinpoint, app_id, "sms")

    assert refusal(get, pinpoint, other, "sms")[0] == 404


def test_puts_at_once_are_all_counted(server, app_id):
    with ThreadPoolExecutor(8) as pool:
        versions = sorted(pool.map(lambda _: put(server.client(), app_id, "sms")["Version"], range(8)))

    assert versions == [1, 2, 3, 4, 5, 6, 7, 8]


def test_what_a_put_leaves_out_keeps_its_value(pinpoint, app_id):
    put(pinpoint, app_id, "sms")
    put(pinpoint, app_id, "sms", {"SenderId": "STORE"})
    channel = put(pinpoint, app_id, "sms", {"Enabled": False})

    assert (channel["SenderId"], channel["ShortCode"], channel["Enabled"]) == ("STORE", "12345", False)


def test_an_empty_text_forgets_the_value(pinpoint, app_id):
    put(pinpoint, app_id, "sms")

    assert "SenderId" not in put(pinpoint, app_id, "sms", {"SenderId": ""})


def test_throughput_is_answered_and_cannot_be_set(pinpoint, app_id):
    sms, mail = put(pinpoint, app_id, "sms"), put(pinpoint, app_id, "email")

    assert sms["PromotionalMessagesPerSecond"] > 0
    assert sms["TransactionalMessagesPerSecond"] > 0
    assert mail["MessagesPerSecond"] > 0


def test_the_email_channel_shows_its_settings(pinpoint, app_id):
    given = {**MAIL, "ConfigurationSet": "set", "RoleArn": "arn:role", "OrchestrationSendingRoleArn": "arn:other"}
    channel = put(pinpoint, app_id, "email", given)

    assert {name: channel[name] for name in given} == given


@pytest.mark.parametrize(
    "address",
    [
        "shop@example.com",
        "Shop <shop@example.com>",
        '"Shop, Inc." <shop@example.com>',
        "Shop, Inc. <shop@example.com>",
        "Café <shop@example.com>",
        "a.b+c@mail.example.org",
    ],
)
def test_a_sender_may_be_an_address_or_a_name_and_an_address(pinpoint, app_id, address):
    assert put(pinpoint, app_id, "email", {**MAIL, "FromAddress": address})["FromAddress"] == address


@pytest.mark.parametrize(
    "address",
    [
        "shop",
        "shop@",
        "@example.com",
        "a b@example.com",
        "Shop <shop>",
        "Shop\r\nBcc: all@example.com <shop@example.com>",
    ],
)
def test_a_sender_that_is_no_mailbox_is_refused(pinpoint, app_id, address):
    status, message = refusal(put, pinpoint, app_id, "email", {**MAIL, "FromAddress": address})

    assert status == 400
    assert "FromAddress" in message


@pytest.mark.parametrize(
    "address",
    [
        "shop@example.com>",
        "Shop <shop@example.com",
        "a@b.example,c@d.example",
        "a@b..c",
    ],
)
def test_a_sender_that_is_almost_a_mailbox_is_refused(pinpoint, app_id, address):
    status, message = refusal(put, pinpoint, app_id, "email", {**MAIL, "FromAddress": address})

    assert status == 400
    assert "FromAddress" in message


def test_apns_by_certificate(pinpoint, app_id):
    channel = put(pinpoint, app_id, "apns", CERTIFICATE)

    assert (channel["DefaultAuthenticationMethod"], channel["HasTokenKey"]) == ("CERTIFICATE", False)


def test_apns_by_token(pinpoint, app_id):
    channel = put(pinpoint, app_id, "apns", {**TOKEN, "DefaultAuthenticationMethod": "key"})

    assert (channel["DefaultAuthenticationMethod"], channel["HasTokenKey"]) == ("KEY", True)


def test_apns_without_a_method_takes_the_one_it_has_credentials_for(pinpoint, app_id):
    assert put(pinpoint, app_id, "apns", TOKEN)["DefaultAuthenticationMethod"] == "KEY"


@pytest.mark.parametrize("missing", ["Certificate", "PrivateKey"])
def test_half_a_certificate_is_refused(pinpoint, app_id, missing):
    given = {name: text for name, text in CERTIFICATE.items() if name != missing}
    status, message = refusal(put, pinpoint, app_id, "apns", given)

    assert status == 400
    assert missing in message


@pytest.mark.parametrize("missing", list(TOKEN))
def test_a_token_that_lacks_something_is_refused(pinpoint, app_id, missing):
    given = {name: text for name, text in TOKEN.items() if name != missing}
    status, message = refusal(put, pinpoint, app_id, "apns", given)

    assert status == 400
    assert missing in message


@pytest.mark.parametrize(("method", "given"), [("CERTIFICATE", TOKEN), ("KEY", CERTIFICATE), ("magic", CERTIFICATE)])
def test_a_method_without_its_credentials_is_refused(pinpoint, app_id, method, given):
    assert refusal(put, pinpoint, app_id, "apns", {**given, "DefaultAuthenticationMethod": method})[0] == 400


def test_apns_credentials_survive_a_put_that_only_enables(pinpoint, app_id):
    put(pinpoint, app_id, "apns", {**TOKEN, "Enabled": False})
    channel = put(pinpoint, app_id, "apns", {"Enabled": True})

    assert (channel["Enabled"], channel["HasTokenKey"], channel["HasCredential"]) == (True, True, True)
    assert channel["DefaultAuthenticationMethod"] == "KEY"


def test_apns_may_have_both_and_choose(pinpoint, app_id):
    put(pinpoint, app_id, "apns", CERTIFICATE)
    channel = put(pinpoint, app_id, "apns", {**TOKEN, "DefaultAuthenticationMethod": "KEY"})
    back = put(pinpoint, app_id, "apns", {"DefaultAuthenticationMethod": "CERTIFICATE"})

    assert (channel["DefaultAuthenticationMethod"], channel["HasTokenKey"]) == ("KEY", True)
    assert (back["DefaultAuthenticationMethod"], back["HasTokenKey"]) == ("CERTIFICATE", True)


@pytest.mark.parametrize("kind", ["apns", "gcm"])
def test_a_push_channel_cannot_be_enabled_without_credentials(pinpoint, app_id, kind):
    assert refusal(put, pinpoint, app_id, kind, {"Enabled": True})[0] == 400
    assert put(pinpoint, app_id, kind, {"Enabled": False})["HasCredential"] is False


def test_fcm_by_service_account_hides_it(pinpoint, app_id):
    given = {"ServiceJson": SERVICE_JSON, "DefaultAuthenticationMethod": "TOKEN"}
    channel = put(pinpoint, app_id, "gcm", given)

    assert (channel["DefaultAuthenticationMethod"], channel["HasFcmServiceCredentials"]) == ("TOKEN", True)
    assert "service key text" not in json.dumps(channel)
    assert "Credential" not in channel


def test_fcm_by_key_is_the_default(pinpoint, app_id):
    channel = put(pinpoint, app_id, "gcm")

    assert (channel["DefaultAuthenticationMethod"], channel["HasFcmServiceCredentials"]) == ("KEY", False)


@pytest.mark.parametrize("text", ["not JSON", "[]", '"text"'])
def test_a_service_account_must_be_a_json_object(pinpoint, app_id, text):
    status, message = refusal(put, pinpoint, app_id, "gcm", {"ServiceJson": text})

    assert status == 400
    assert "ServiceJson" in message


@pytest.mark.parametrize(
    "given",
    [
        {"ApiKey": "api key", "DefaultAuthenticationMethod": "TOKEN"},
        {"ServiceJson": SERVICE_JSON, "DefaultAuthenticationMethod": "KEY"},
        {"ApiKey": "api key", "DefaultAuthenticationMethod": "magic"},
    ],
)
def test_an_fcm_method_without_its_credentials_is_refused(pinpoint, app_id, given):
    status, message = refusal(put, pinpoint, app_id, "gcm", given)

    assert status == 400
    assert "GCMChannelRequest" in message


def test_a_change_of_one_process_is_seen_by_all(server, app_id):
    clients = [server.client() for _ in range(4)]
    put(clients[0], app_id, "sms")
    for number, client in enumerate(clients):
        put(client, app_id, "sms", {"SenderId": f"S{number}"})

        assert {get(other, app_id, "sms")["SenderId"] for other in clients} == {f"S{number}"}
