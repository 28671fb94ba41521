import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

KINDS = {
    "email": ("EMAIL", "EmailTemplateRequest", {"Subject": "Hi {{name}}", "HtmlPart": "<b>Hi</b>", "TextPart": "Hi"}),
    "sms": ("SMS", "SMSTemplateRequest", {"Body": "Hi {{name}}"}),
    "voice": ("VOICE", "VoiceTemplateRequest", {"Body": "Hi {{name}}", "LanguageCode": "en-GB", "VoiceId": "Amy"}),
    "push": (
        "PUSH",
        "PushNotificationTemplateRequest",
        {"Default": {"Title": "Hi", "Body": "{{name}}"}},
    ),
    "in_app": ("INAPP", "InAppTemplateRequest", {"Layout": "BOTTOM_BANNER", "CustomConfig": {"key": "value"}}),
}


@pytest.fixture
def name():
    return f"t-{uuid.uuid4().hex}"


def each_kind(test):
    return pytest.mark.parametrize("kind", KINDS)(test)


def run(client, verb, kind, name, content=None, **parameters):
    """`<verb>_<kind>_template`, with content in the member of its kind; the answer's one document."""
    member = {KINDS[kind][1]: content} if content is not None else {}
    answer = getattr(client, f"{verb}_{kind}_template")(TemplateName=name, **member, **parameters)
    return next(value for key, value in answer.items() if key != "ResponseMetadata")


def create_sms(client, name, *bodies, **content):
    """An SMS template with one version for each body; the first is active."""
    run(client, "create", "sms", name, {"Body": bodies[0], **content})
    for body in bodies[1:]:
        run(client, "update", "sms", name, {"Body": body}, CreateNewVersion=True)


def body_of(client, name, **parameters):
    return run(client, "get", "sms", name, **parameters)["Body"]


def versions_of(client, name, **parameters):
    answer = client.list_template_versions(TemplateName=name, TemplateType="SMS", **parameters)
    return [item["Version"] for item in answer["TemplateVersionsResponse"]["Item"]]


def listed(client, **parameters):
    items = client.list_templates(**parameters)["TemplatesResponse"]["Item"]
    return [(item["TemplateName"], item["TemplateType"], item["Version"]) for item in items]


def refusal(function, *arguments, **parameters):
    """The status and the message of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        function(*arguments, **parameters)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]


@each_kind
def test_what_is_created_is_returned(pinpoint, name, kind):
    template_type, _, content = KINDS[kind]
    created = run(pinpoint, "create", kind, name, content)
    found = run(pinpoint, "get", kind, name)

    assert created["Message"] == "Created"
    assert created["RequestID"]
    assert found["Arn"] == created["Arn"]
    assert created["Arn"].endswith(f":templates/{name}/{template_type}")
    assert (found["TemplateName"], found["TemplateType"], found["Version"]) == (name, template_type, "1")
    assert {member: found[member] for member in content} == content
    assert found["tags"] == {}


@each_kind
def test_the_status_codes_are_those_of_the_model(pinpoint, name, kind):
    content = KINDS[kind][2]
    answers = [
        getattr(pinpoint, f"{verb}_{kind}_template")(TemplateName=name, **member)
        for verb, member in (
            ("create", {KINDS[kind][1]: content}),
            ("get", {}),
            ("update", {KINDS[kind][1]: content}),
            ("delete", {}),
        )
    ]

    assert [answer["ResponseMetadata"]["HTTPStatusCode"] for answer in answers] == [201, 200, 202, 202]


@each_kind
def test_an_update_replaces_the_whole_content(pinpoint, name, kind):
    run(pinpoint, "create", kind, name, KINDS[kind][2])
    answer = run(pinpoint, "update", kind, name, {"TemplateDescription": "now empty"})
    found = run(pinpoint, "get", kind, name)

    assert answer["Message"] == "Accepted"
    assert found["TemplateDescription"] == "now empty"
    assert not KINDS[kind][2].keys() & found.keys()


@each_kind
def test_a_deleted_template_is_gone(pinpoint, name, kind):
    run(pinpoint, "create", kind, name, KINDS[kind][2])
    run(pinpoint, "delete", kind, name)

    assert refusal(run, pinpoint, "get", kind, name) == (404, "Resource not found")
    assert refusal(run, pinpoint, "delete", kind, name) == (404, "Resource not found")
    assert refusal(run, pinpoint, "update", kind, name, KINDS[kind][2]) == (404, "Resource not found")


def test_a_name_may_exist_once_for_each_kind(pinpoint, name):
    for kind, (_, _, content) in KINDS.items():
        run(pinpoint, "create", kind, name, content)

    assert {kind for _, kind, _ in listed(pinpoint, Prefix=name)} == {"EMAIL", "SMS", "VOICE", "PUSH", "INAPP"}


def test_a_name_that_is_taken_is_a_conflict(pinpoint, name):
    create_sms(pinpoint, name, "first")
    status, message = refusal(create_sms, pinpoint, name, "second")

    assert status == 409
    assert name in message
    assert body_of(pinpoint, name) == "first"


def test_names_are_case_sensitive(pinpoint, name):
    create_sms(pinpoint, name, "lower")
    create_sms(pinpoint, name.upper(), "upper")

    assert (body_of(pinpoint, name), body_of(pinpoint, name.upper())) == ("lower", "upper")


@pytest.mark.parametrize("bad", ["-begins", "_begins", "sp ace", "dot.ted", "ümlaut", "x" * 129, "line\n"])
def test_a_name_outside_the_rules_is_refused(pinpoint, bad):
    status, message = refusal(create_sms, pinpoint, bad, "text")

    assert status == 400
    assert "template-name" in message


def test_templates_belong_to_their_region(server, pinpoint, name):
    create_sms(pinpoint, name, "here")
    elsewhere = server.client(region="eu-west-1")

    assert refusal(run, elsewhere, "get", "sms", name)[0] == 404
    assert listed(elsewhere, Prefix=name) == []
    create_sms(elsewhere, name, "there")
    assert (body_of(pinpoint, name), body_of(elsewhere, name)) == ("here", "there")


def test_of_two_creates_at_once_one_wins(server, name):
    def create(number):
        try:
            create_sms(server.client(), name, f"text {number}")
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"]
        return 201

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(create, range(8)))

    assert statuses == [201] + [409] * 7


def test_new_versions_made_at_once_all_stay(server, pinpoint, name):
    create_sms(pinpoint, name, "0")

    def add(number):
        run(server.client(), "update", "sms", name, {"Body": str(number)}, CreateNewVersion=True)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(1, 9)))

    assert versions_of(pinpoint, name) == [str(number) for number in range(9, 0, -1)]
    assert sorted(body_of(pinpoint, name, Version=str(number)) for number in range(1, 10)) == list("012345678")


def test_a_new_version_does_not_become_active(pinpoint, name):
    create_sms(pinpoint, name, "one", "two")

    assert body_of(pinpoint, name) == "one"
    assert body_of(pinpoint, name, Version="2") == "two"
    assert body_of(pinpoint, name, Version="latest") == "two"


def test_an_update_overwrites_the_latest_version_not_the_active(pinpoint, name):
    create_sms(pinpoint, name, "one", "two")
    run(pinpoint, "update", "sms", name, {"Body": "two again"})

    assert versions_of(pinpoint, name) == ["2", "1"]
    assert [body_of(pinpoint, name, Version=number) for number in "12"] == ["one", "two again"]


def test_an_update_that_names_the_latest_version_is_taken(pinpoint, name):
    create_sms(pinpoint, name, "one", "two")
    run(pinpoint, "update", "sms", name, {"Body": "changed"}, Version="2", CreateNewVersion=False)

    assert body_of(pinpoint, name, Version="2") == "changed"


@pytest.mark.parametrize("version", ["1", "3", "x", "-1", "1.0"])
def test_an_update_that_names_another_version_is_refused(pinpoint, name, version):
    create_sms(pinpoint, name, "one", "two")
    status, _ = refusal(run, pinpoint, "update", "sms", name, {"Body": "changed"}, Version=version)

    assert status == 400
    assert [body_of(pinpoint, name, Version=number) for number in "12"] == ["one", "two"]


def test_a_new_version_cannot_have_a_number_of_its_own(pinpoint, name):
    create_sms(pinpoint, name, "one")
    status, message = refusal(run, pinpoint, "update", "sms", name, {}, Version="1", CreateNewVersion=True)

    assert status == 400
    assert "create-new-version" in message


@pytest.mark.parametrize(("version", "status"), [("3", 404), ("999999999", 404), ("0", 400), ("two", 400)])
def test_a_version_that_is_not_there_is_not_answered_by_another(pinpoint, name, version, status):
    create_sms(pinpoint, name, "one", "two")

    assert refusal(run, pinpoint, "get", "sms", name, Version=version)[0] == status


@pytest.mark.parametrize(("version", "body"), [("2", "two"), ("latest", "three")])
def test_a_version_can_be_made_active(pinpoint, name, version, body):
    create_sms(pinpoint, name, "one", "two", "three")
    wanted = {"Version": version}
    answer = pinpoint.update_template_active_version(
        TemplateName=name, TemplateType="SMS", TemplateActiveVersionRequest=wanted
    )

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert body_of(pinpoint, name) == body


def test_the_latest_that_was_made_active_stays_when_there_is_a_later_one(pinpoint, name):
    create_sms(pinpoint, name, "one", "two")
    pinpoint.update_template_active_version(
        TemplateName=name, TemplateType="SMS", TemplateActiveVersionRequest={"Version": "latest"}
    )
    run(pinpoint, "update", "sms", name, {"Body": "three"}, CreateNewVersion=True)

    assert body_of(pinpoint, name) == "two"


@pytest.mark.parametrize(("wanted", "status"), [({"Version": "3"}, 404), ({"Version": "x"}, 400), ({}, 400)])
def test_what_is_no_version_cannot_be_made_active(pinpoint, name, wanted, status):
    create_sms(pinpoint, name, "one", "two")
    parameters = {"TemplateName": name, "TemplateType": "SMS", "TemplateActiveVersionRequest": wanted}

    assert refusal(pinpoint.update_template_active_version, **parameters)[0] == status
    assert body_of(pinpoint, name) == "one"


def test_the_template_type_in_a_path_may_be_lower_case_but_must_be_one(pinpoint, name):
    create_sms(pinpoint, name, "one")
    answer = pinpoint.list_template_versions(TemplateName=name, TemplateType="sms")
    status, message = refusal(pinpoint.list_template_versions, TemplateName=name, TemplateType="FAX")

    assert len(answer["TemplateVersionsResponse"]["Item"]) == 1
    assert status == 400
    assert "template-type" in message


def test_one_version_can_be_deleted(pinpoint, name):
    create_sms(pinpoint, name, "one", "two", "three")
    run(pinpoint, "delete", "sms", name, Version="2")

    assert versions_of(pinpoint, name) == ["3", "1"]
    assert refusal(run, pinpoint, "delete", "sms", name, Version="2")[0] == 404


def test_after_the_active_version_is_deleted_the_highest_is_active(pinpoint, name):
    create_sms(pinpoint, name, "one", "two", "three")
    run(pinpoint, "delete", "sms", name, Version="1")

    assert body_of(pinpoint, name) == "three"


def test_a_deleted_number_is_never_given_again(pinpoint, name):
    create_sms(pinpoint, name, "one", "two")
    run(pinpoint, "delete", "sms", name, Version="2")
    run(pinpoint, "update", "sms", name, {"Body": "three"}, CreateNewVersion=True)

    assert versions_of(pinpoint, name) == ["3", "1"]


def test_after_the_latest_version_is_deleted_the_highest_left_is_the_latest(pinpoint, name):
    create_sms(pinpoint, name, "one", "two")
    run(pinpoint, "delete", "sms", name, Version="2")
    run(pinpoint, "update", "sms", name, {"Body": "changed"})

    assert body_of(pinpoint, name, Version="latest") == "changed"
    assert body_of(pinpoint, name, Version="1") == "changed"


def test_latest_can_be_made_active_after_the_highest_number_is_deleted(pinpoint, name):
    create_sms(pinpoint, name, "one", "two", "three")
    run(pinpoint, "delete", "sms", name, Version="3")
    pinpoint.update_template_active_version(
        TemplateName=name, TemplateType="SMS", TemplateActiveVersionRequest={"Version": "latest"}
    )

    assert body_of(pinpoint, name) == "two"


def test_deleting_the_last_version_deletes_the_template(pinpoint, name):
    create_sms(pinpoint, name, "one", tags={"team": "a"})
    run(pinpoint, "delete", "sms", name, Version="1")

    assert refusal(run, pinpoint, "get", "sms", name)[0] == 404
    create_sms(pinpoint, name, "again")
    assert run(pinpoint, "get", "sms", name)["tags"] == {}


def test_versions_are_listed_newest_first_page_by_page(pinpoint, name):
    create_sms(pinpoint, name, *"abcde")
    pages, token = [], {}
    while token is not None:
        answer = pinpoint.list_template_versions(TemplateName=name, TemplateType="SMS", PageSize="2", **token)
        pages.append([item["Version"] for item in answer["TemplateVersionsResponse"]["Item"]])
        following = answer["TemplateVersionsResponse"].get("NextToken")
        token = {"NextToken": following} if following else None

    assert pages == [["5", "4"], ["3", "2"], ["1"]]


def test_a_listed_version_says_what_it_is(pinpoint, name):
    create_sms(pinpoint, name, "one", DefaultSubstitutions='{"name":"friend"}', TemplateDescription="greets")
    answer = pinpoint.list_template_versions(TemplateName=name, TemplateType="SMS")["TemplateVersionsResponse"]
    (item,) = answer["Item"]

    assert answer["RequestID"]
    assert (item["TemplateName"], item["TemplateType"], item["Version"]) == (name, "SMS", "1")
    assert (item["DefaultSubstitutions"], item["TemplateDescription"]) == ('{"name":"friend"}', "greets")


def test_versions_of_an_unknown_template_are_not_found(pinpoint, name):
    assert refusal(pinpoint.list_template_versions, TemplateName=name, TemplateType="SMS")[0] == 404


def test_templates_are_listed_by_prefix_and_type(pinpoint, name):
    create_sms(pinpoint, f"{name}-a", "text", "newer")
    create_sms(pinpoint, f"{name}-b", "text")
    run(pinpoint, "create", "email", f"{name}-a", {"Subject": "Hi"})

    assert listed(pinpoint, Prefix=name, TemplateType="SMS") == [(f"{name}-a", "SMS", "1"), (f"{name}-b", "SMS", "1")]
    assert listed(pinpoint, Prefix=f"{name}-a", TemplateType="EMAIL") == [(f"{name}-a", "EMAIL", "1")]
    assert len(listed(pinpoint, Prefix=name)) == 3
    assert refusal(pinpoint.list_templates, TemplateType="FAX")[0] == 400


def test_a_prefix_is_text_and_not_a_pattern(pinpoint, name):
    create_sms(pinpoint, f"{name}_a", "text")

    assert listed(pinpoint, Prefix=f"{name[:-1]}_") == []
    assert listed(pinpoint, Prefix="%") == []


def test_templates_are_listed_page_by_page_each_once(pinpoint, name):
    made = sorted(f"{name}-{number}" for number in range(5))
    for one in made:
        create_sms(pinpoint, one, "text")
    seen, token = [], {}
    while token is not None:
        answer = pinpoint.list_templates(Prefix=name, PageSize="2", **token)["TemplatesResponse"]
        seen += [item["TemplateName"] for item in answer["Item"]]
        token = {"NextToken": answer["NextToken"]} if "NextToken" in answer else None

    assert seen == made


@pytest.mark.parametrize("fault", [{"PageSize": "0"}, {"PageSize": "many"}, {"NextToken": "made-up"}])
def test_a_page_that_cannot_be_is_refused(pinpoint, name, fault):
    create_sms(pinpoint, name, "one")

    assert refusal(pinpoint.list_templates, **fault)[0] == 400
    assert refusal(pinpoint.list_template_versions, TemplateName=name, TemplateType="SMS", **fault)[0] == 400


def test_a_token_of_one_list_does_not_fit_another(pinpoint, name):
    create_sms(pinpoint, name, "one", "two")
    create_sms(pinpoint, f"{name}-2", "one")
    token = pinpoint.list_templates(Prefix=name, PageSize="1")["TemplatesResponse"]["NextToken"]
    parameters = {"TemplateName": name, "TemplateType": "SMS", "NextToken": token}

    assert refusal(pinpoint.list_template_versions, **parameters)[0] == 400


def test_tags_are_taken_at_creation_and_ignored_in_updates(pinpoint, name):
    create_sms(pinpoint, name, "one", tags={"team": "a"})
    run(pinpoint, "update", "sms", name, {"Body": "two", "tags": {"team": "b"}})
    arn = run(pinpoint, "get", "sms", name)["Arn"]

    assert run(pinpoint, "get", "sms", name)["tags"] == {"team": "a"}
    assert pinpoint.list_tags_for_resource(ResourceArn=arn)["TagsModel"]["tags"] == {"team": "a"}


def test_tags_do_not_survive_their_template(pinpoint, name):
    create_sms(pinpoint, name, "one", tags={"team": "a"})
    run(pinpoint, "delete", "sms", name)
    create_sms(pinpoint, name, "one")

    assert run(pinpoint, "get", "sms", name)["tags"] == {}


@pytest.mark.parametrize(
    "text", ["", "name=friend", '["friend"]', '"friend"', '{"name":1}', '{"name":null}', '{"user":{"name":"friend"}}']
)
def test_default_substitutions_must_be_a_flat_object_of_strings(pinpoint, name, text):
    status, message = refusal(create_sms, pinpoint, name, "Hi {{name}}", DefaultSubstitutions=text)

    assert status == 400
    assert "DefaultSubstitutions" in message


def test_default_substitutions_come_back_as_the_text_they_were(pinpoint, name):
    text = '{ "User.UserAttributes.FirstName" : "friend" }'
    create_sms(pinpoint, name, "Hi", DefaultSubstitutions=text)

    assert run(pinpoint, "get", "sms", name)["DefaultSubstitutions"] == text


@pytest.mark.parametrize(
    ("kind", "content", "place"),
    [
        ("email", {"Subject": "{{#if}"}, "EmailTemplateRequest.Subject"),
        ("email", {"HtmlPart": "<p>\n{{#if name}}"}, "EmailTemplateRequest.HtmlPart"),
        ("email", {"TextPart": "{{name"}, "EmailTemplateRequest.TextPart"),
        ("sms", {"Body": "{{name"}, "SMSTemplateRequest.Body"),
        ("voice", {"Body": "{{name"}, "VoiceTemplateRequest.Body"),
        ("push", {"Default": {"Body": "{{name"}}, "PushNotificationTemplateRequest.Default.Body"),
        ("push", {"GCM": {"RawContent": "{{name"}}, "PushNotificationTemplateRequest.GCM.RawContent"),
    ],
)
def test_a_text_that_is_not_handlebars_is_refused_with_its_place(pinpoint, name, kind, content, place):
    status, message = refusal(run, pinpoint, "create", kind, name, content)

    assert status == 400
    assert place in message
    assert "line" in message
    assert "column" in message


@pytest.mark.parametrize(
    ("kind", "content", "place"),
    [
        ("push", {"APNS": {"MediaUrl": "https://example.com/{{name"}}, "APNS.MediaUrl"),
        ("push", {"Default": {"Sound": "{{name"}}, "Default.Sound"),
        ("email", {"Headers": [{"Name": "X-A", "Value": "a"}, {"Name": "X-B", "Value": "{{name"}]}, "Headers[1].Value"),
    ],
)
def test_all_that_is_rendered_is_compiled(pinpoint, name, kind, content, place):
    status, message = refusal(run, pinpoint, "create", kind, name, content)

    assert status == 400
    assert place in message


@pytest.mark.parametrize(
    "header", [{"Value": "x"}, {"Name": "X Y", "Value": "x"}, {"Name": "X:", "Value": "x"}, {"Name": "Ü"}]
)
def test_a_header_whose_name_cannot_be_sent_is_refused(pinpoint, name, header):
    status, message = refusal(run, pinpoint, "create", "email", name, {"Headers": [header]})

    assert status == 400
    assert "Headers[0].Name" in message


def test_a_refused_update_changes_nothing(pinpoint, name):
    create_sms(pinpoint, name, "one")

    assert refusal(run, pinpoint, "update", "sms", name, {"Body": "{{name"})[0] == 400
    assert body_of(pinpoint, name) == "one"


def test_in_app_text_may_hold_braces(pinpoint, name):
    content = {"Layout": "OVERLAYS", "Content": [{"BackgroundColor": "{{not a variable"}]}
    run(pinpoint, "create", "in_app", name, content)

    assert run(pinpoint, "get", "in_app", name)["Content"] == content["Content"]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("email", {"HtmlPart": "x" * 600_001}),
        ("email", {"Headers": [{"Name": "X-A", "Value": "a"}] * 16}),
        ("sms", {"Body": "x" * 1_601}),
        ("voice", {"Body": "x" * 10_001}),
        ("push", {"Default": {"Body": "x" * 4_001}}),
        ("push", {"ADM": {"Body": "x" * 6_001}}),
        ("in_app", {"Content": [{}] * 6}),
    ],
)
def test_content_beyond_its_documented_limit_is_refused(pinpoint, name, kind, content):
    assert refusal(run, pinpoint, "create", kind, name, content)[0] == 400


def test_the_template_keeps_its_date_while_versions_get_their_own(pinpoint, name):
    create_sms(pinpoint, name, "one", "two")
    first, second = (run(pinpoint, "get", "sms", name, Version=number) for number in "12")

    assert first["CreationDate"] == second["CreationDate"]
    assert first["LastModifiedDate"] < second["LastModifiedDate"]


@each_kind
def test_the_same_update_twice_changes_nothing(pinpoint, name, kind):
    run(pinpoint, "create", kind, name, KINDS[kind][2])
    updates = [run(pinpoint, "update", kind, name, KINDS[kind][2])["Message"] for _ in range(2)]
    found = run(pinpoint, "get", kind, name)

    assert updates == ["Accepted", "Accepted"]
    assert found["Version"] == "1"
    assert found["LastModifiedDate"] == found["CreationDate"]


@pytest.mark.parametrize("kind", ["email", "sms", "push"])
def test_a_recommender_is_named_by_all_kinds_but_voice_and_in_app(pinpoint, name, kind):
    run(pinpoint, "create", kind, name, {**KINDS[kind][2], "RecommenderId": "r" * 32})

    assert run(pinpoint, "get", kind, name)["RecommenderId"] == "r" * 32


def test_headers_are_kept_in_their_order(pinpoint, name):
    headers = [{"Name": "X-B", "Value": "{{b}}"}, {"Name": "X-A", "Value": "a"}]
    run(pinpoint, "create", "email", name, {"Headers": headers})

    assert run(pinpoint, "get", "email", name)["Headers"] == headers


def test_in_app_content_comes_back_whole(pinpoint, name):
    button = {
        "Text": "Go",
        "ButtonAction": "LINK",
        "Link": "https://example.com",
        "TextColor": "#fff",
        "BorderRadius": 4,
    }
    override = {"ButtonAction": "DEEP_LINK", "Link": "app://go"}
    message = {
        "BackgroundColor": "#000",
        "ImageUrl": "https://example.com/a.png",
        "HeaderConfig": {"Alignment": "CENTER", "Header": "{{kept as it is}}", "TextColor": "#fff"},
        "BodyConfig": {"Alignment": "LEFT", "Body": "Text", "TextColor": "#fff"},
        "PrimaryBtn": {"DefaultConfig": button, "Android": override, "IOS": override, "Web": override},
        "SecondaryBtn": {"DefaultConfig": {"Text": "No", "ButtonAction": "CLOSE"}},
    }
    content = {"Layout": "CAROUSEL", "Content": [message] * 5, "CustomConfig": {"k": "v"}}
    run(pinpoint, "create", "in_app", name, content)
    found = run(pinpoint, "get", "in_app", name)

    assert {member: found[member] for member in content} == content
