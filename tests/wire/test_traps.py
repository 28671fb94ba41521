"""Where imitations of Pinpoint have gone wrong before: each trap is a test."""

import json
import uuid

import pytest

from tests.signed import send_raw

TEMPLATES = {
    "email": {"Subject": "Hi", "TextPart": "x"},
    "sms": {"Body": "Hi"},
    "voice": {"Body": "Hi"},
    "push": {"Default": {"Title": "Hi"}},
    "inapp": {"Layout": "TOP_BANNER"},
}


def each_template(test):
    return pytest.mark.parametrize("kind", TEMPLATES)(test)


@pytest.fixture
def raw(server):
    """Signed requests whose bodies are as the test wrote them: (status, error class, answer)."""

    def send(method, path, document=None):
        body = b"" if document is None else json.dumps(document).encode()
        return send_raw(server, method, f"/v1{path}", body)

    return send


@pytest.fixture
def name():
    return f"t-{uuid.uuid4().hex}"


def test_bodies_are_flat_both_ways(raw):
    status, _, app = raw("POST", "/apps", {"Name": "Flat"})
    endpoint = {"ChannelType": "SMS", "Address": "+14255550100"}
    put = raw("PUT", f"/apps/{app['Id']}/endpoints/e", endpoint)
    _, _, got = raw("GET", f"/apps/{app['Id']}/endpoints/e")
    message = {"Endpoints": {"e": {}}, "MessageConfiguration": {"SMSMessage": {"Body": "Hi"}}}
    _, _, sent = raw("POST", f"/apps/{app['Id']}/messages", message)

    assert (status, put[0]) == (201, 202)
    assert put[2].keys() == {"Message", "RequestID"}
    assert got["Address"] == endpoint["Address"]
    assert sent.keys() == {"ApplicationId", "RequestId", "EndpointResult"}


@pytest.mark.parametrize(
    ("path", "wrapper", "payload"),
    [
        ("/apps", "CreateApplicationRequest", {"Name": "Wrapped"}),
        ("/apps/x/messages", "MessageRequest", {"Addresses": {"a": {}}, "MessageConfiguration": {}}),
        ("/apps/x/users-messages", "SendUsersMessageRequest", {"Users": {"u": {}}, "MessageConfiguration": {}}),
        ("/apps/x/events", "EventsRequest", {"BatchItem": {}}),
        ("/phone/number/validate", "NumberValidateRequest", {"PhoneNumber": "+14255550100"}),
    ],
)
def test_a_wrapped_body_is_not_taken_for_its_payload(raw, path, wrapper, payload):
    status, _, answer = raw("POST", path, {wrapper: payload})

    assert status in (400, 404, 405)
    assert "Id" not in answer


def test_default_substitutions_are_json_in_a_string(raw, name):
    path = f"/templates/{name}/sms"
    refused = raw("POST", path, {"Body": "Hi {{name}}", "DefaultSubstitutions": {"name": "friend"}})
    taken = raw("POST", path, {"Body": "Hi {{name}}", "DefaultSubstitutions": '{"name": "friend"}'})

    assert (refused[0], taken[0]) == (400, 201)
    assert raw("GET", path)[2]["DefaultSubstitutions"] == '{"name": "friend"}'


@each_template
def test_every_answer_about_a_template_has_its_type(raw, name, kind):
    raw("POST", f"/templates/{name}/{kind}", TEMPLATES[kind])
    (listed,) = raw("GET", f"/templates?prefix={name}")[2]["Item"]
    (version,) = raw("GET", f"/templates/{name}/{kind}/versions")[2]["Item"]
    got = raw("GET", f"/templates/{name}/{kind}")[2]

    assert {one["TemplateType"] for one in (listed, version, got)} == {kind.upper()}


def test_a_push_template_has_no_title_or_body_of_its_own(raw, name):
    raw("POST", f"/templates/{name}/push", {"Title": "no", "Body": "no", "Default": {"Body": "yes"}})
    got = raw("GET", f"/templates/{name}/push")[2]

    assert not {"Title", "Body"} & got.keys()
    assert got["Default"] == {"Body": "yes"}


def test_an_sms_template_has_no_sender(raw, name):
    raw("POST", f"/templates/{name}/sms", {"Body": "Hi", "SenderId": "SHOP"})

    assert "SenderId" not in raw("GET", f"/templates/{name}/sms")[2]


@each_template
def test_tags_are_the_one_lower_case_member(raw, name, kind):
    _, _, app = raw("POST", "/apps", {"Name": "Tags", "tags": {"Team": "crm"}, "Tags": {"no": "no"}})
    raw("POST", f"/templates/{name}/{kind}", {**TEMPLATES[kind], "tags": {"Team": "crm"}, "Tags": {"no": "no"}})
    template = raw("GET", f"/templates/{name}/{kind}")[2]

    assert app["tags"] == template["tags"] == {"Team": "crm"}
    assert "Tags" not in app.keys() | template.keys()


@each_template
def test_an_unknown_version_is_not_answered_by_the_current_one(raw, name, kind):
    raw("POST", f"/templates/{name}/{kind}", TEMPLATES[kind])

    assert raw("GET", f"/templates/{name}/{kind}?version=2")[:2] == (404, "NotFoundException")
    assert raw("DELETE", f"/templates/{name}/{kind}?version=2")[:2] == (404, "NotFoundException")
    assert raw("GET", f"/templates/{name}/{kind}?version=1")[0] == 200


def test_deleting_a_users_endpoints_answers_them(raw):
    _, _, app = raw("POST", "/apps", {"Name": "Users"})
    raw("PUT", f"/apps/{app['Id']}/endpoints/e", {"User": {"UserId": "u"}})
    status, _, answer = raw("DELETE", f"/apps/{app['Id']}/users/u")

    assert (status, [one["Id"] for one in answer["Item"]]) == (202, ["e"])


@pytest.mark.parametrize(
    ("channel", "given", "shown"),
    [
        ("gcm", {"ApiKey": "secret-1"}, {"Credential": "secret-1", "HasCredential": True}),
        (
            "gcm",
            {"ServiceJson": '{"key": "secret-2"}', "DefaultAuthenticationMethod": "TOKEN"},
            {"HasFcmServiceCredentials": True},
        ),
        ("baidu", {"ApiKey": "secret-3", "SecretKey": "secret-4"}, {"Credential": "secret-3"}),
        ("adm", {"ClientId": "secret-5", "ClientSecret": "secret-6"}, {"HasCredential": True}),
        ("apns", {"Certificate": "secret-7", "PrivateKey": "secret-8"}, {"HasCredential": True, "HasTokenKey": False}),
        (
            "apns_sandbox",
            {"BundleId": "b", "TeamId": "t", "TokenKey": "secret-9", "TokenKeyId": "k"},
            {"HasCredential": True, "HasTokenKey": True},
        ),
    ],
)
def test_channels_never_show_credentials_but_as_credential(raw, channel, given, shown):
    _, _, app = raw("POST", "/apps", {"Name": "Secrets"})
    put = raw("PUT", f"/apps/{app['Id']}/channels/{channel}", given)[2]
    got = raw("GET", f"/apps/{app['Id']}/channels/{channel}")[2]
    listed = raw("GET", f"/apps/{app['Id']}/channels")[2]
    hidden = {name: value for name, value in got.items() if name != "Credential"}

    assert put == got
    assert {name: got[name] for name in shown} == shown
    assert not given.keys() - {"DefaultAuthenticationMethod"} & got.keys()
    assert "secret-" not in json.dumps([hidden, listed])


def test_an_sms_channels_throughput_is_only_answered(raw):
    _, _, app = raw("POST", "/apps", {"Name": "Throughput"})
    path = f"/apps/{app['Id']}/channels/sms"
    first = raw("PUT", path, {"Enabled": True})[2]
    second = raw("PUT", path, {"TransactionalMessagesPerSecond": 9_999, "PromotionalMessagesPerSecond": 9_999})[2]

    for member in ("TransactionalMessagesPerSecond", "PromotionalMessagesPerSecond"):
        assert first[member] == second[member] != 9_999


@pytest.mark.parametrize("called", ["email", "sms", "versions", "active-version"])
def test_typed_routes_and_those_of_versions_are_told_apart(raw, called):
    path = f"/templates/{called}/sms"
    raw("DELETE", path)
    made = raw("POST", path, {"Body": called})
    activated = raw("PUT", f"{path}/active-version", {"Version": "1"})
    versions = raw("GET", f"{path}/versions")[2]
    got = raw("GET", path)[2]
    raw("DELETE", path)

    assert (made[0], activated[0]) == (201, 200)
    assert [one["Version"] for one in versions["Item"]] == ["1"]
    assert got["Body"] == called
    assert raw("GET", f"{path}/versions")[:2] == (404, "NotFoundException")


def test_a_body_over_seven_megabytes_is_too_large(raw, name):
    status, code, answer = raw("POST", f"/templates/{name}/email", {"HtmlPart": "x" * (7 * 1024 * 1024)})

    assert (status, code) == (413, "PayloadTooLargeException")
    assert answer.keys() == {"RequestID", "Message"}


def test_request_ids_are_spelled_as_each_answer_spells_them(raw, name):
    _, _, app = raw("POST", "/apps", {"Name": "Ids"})
    accepted = raw("PUT", f"/apps/{app['Id']}/endpoints/e", {})[2]
    created = raw("POST", f"/templates/{name}/sms", {"Body": "x"})[2]
    refused = raw("GET", f"/apps/{app['Id']}/endpoints/none")[2]
    got = raw("GET", f"/apps/{app['Id']}/endpoints/e")[2]

    assert [document.keys() & {"RequestID", "RequestId"} for document in (accepted, created, refused, got)] == [
        {"RequestID"},
        {"RequestID"},
        {"RequestID"},
        {"RequestId"},
    ]


def test_templates_page_by_next_token_and_applications_by_token(raw, name):
    for number in range(3):
        raw("POST", f"/templates/{name}-{number}/sms", {"Body": "x"})
    first = raw("GET", f"/templates?prefix={name}&page-size=2")[2]
    second = raw("GET", f"/templates?prefix={name}&page-size=2&next-token={first['NextToken']}")[2]
    ignored = raw("GET", f"/templates?prefix={name}&page-size=2&token={first['NextToken']}")[2]

    assert [one["TemplateName"][-1] for one in first["Item"] + second["Item"]] == ["0", "1", "2"]
    assert "NextToken" not in second
    assert ignored["Item"] == first["Item"]


def test_what_is_unset_is_left_out_and_maps_are_kept(raw):
    _, _, app = raw("POST", "/apps", {"Name": "Unset"})
    raw("PUT", f"/apps/{app['Id']}/endpoints/e", {"User": None, "Attributes": {}})
    got = raw("GET", f"/apps/{app['Id']}/endpoints/e")[2]

    assert app["tags"] == got["Attributes"] == got["Metrics"] == {}
    assert not {"Address", "ChannelType"} & got.keys()
    assert None not in got.values()


def test_a_create_and_an_update_answer_as_the_model_counts(raw, name):
    codes = [
        raw("POST", "/apps", {"Name": "Codes"})[0],
        raw("POST", f"/templates/{name}/sms", {"Body": "x"})[0],
        raw("PUT", f"/templates/{name}/sms", {"Body": "y"})[0],
        raw("POST", f"/templates/{name}/sms", {"Body": "x"})[0],
        raw("DELETE", f"/templates/{name}/sms")[0],
    ]

    assert codes == [201, 201, 202, 409, 202]


@pytest.fixture
def app_path(raw):
    return f"/apps/{raw('POST', '/apps', {'Name': 'Traps'})[2]['Id']}"


SEGMENT = {"Name": "All", "Dimensions": {}}


def test_a_segment_cannot_be_given_an_import(raw, app_path):
    imported = {"Format": "CSV", "S3Url": "s3://b/k", "RoleArn": "arn:aws:iam::1:role/r", "ExternalId": "", "Size": 7}
    status, _, segment = raw("POST", f"{app_path}/segments", {**SEGMENT, "ImportDefinition": imported})

    assert status == 201
    assert "ImportDefinition" not in segment
    assert segment["SegmentType"] == "DIMENSIONAL"


def test_an_unknown_version_of_a_segment_or_campaign_is_not_the_current_one(raw, app_path):
    segment = raw("POST", f"{app_path}/segments", SEGMENT)[2]["Id"]
    content = {
        "MessageConfiguration": {"SMSMessage": {"Body": "Hi"}},
        "Schedule": {"StartTime": "2031-01-01T00:00:00Z"},
    }
    campaign = raw("POST", f"{app_path}/campaigns", {"Name": "C", "SegmentId": segment, **content})[2]["Id"]

    for path in (f"{app_path}/segments/{segment}", f"{app_path}/campaigns/{campaign}"):
        assert raw("GET", f"{path}/versions/1")[0] == 200
        assert raw("GET", f"{path}/versions/2")[:2] == (404, "NotFoundException")


def test_events_have_a_limit_of_their_own(raw, app_path):
    event = {"EventType": "e", "Timestamp": "2031-05-06T07:08:09Z", "Attributes": {"a": "x" * (4 * 1024 * 1024)}}
    status, code, _ = raw("POST", f"{app_path}/events", {"BatchItem": {"e": {"Endpoint": {}, "Events": {"1": event}}}})

    assert (status, code) == (413, "PayloadTooLargeException")
