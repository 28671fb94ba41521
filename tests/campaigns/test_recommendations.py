"""Recommenders: a model's items, and what a function makes of them, in messages of templates connected to one."""

import json

import pytest

from tests.campaigns.conftest import as_json, iso
from tests.campaigns.far_end import ACCOUNT, function_arn, sends
from tests.messages.sending import text
from tests.streams.conftest import bind

pytestmark = pytest.mark.usefixtures("calling")

PERSONALIZE = f"arn:aws:personalize:us-east-1:{ACCOUNT}:campaign/"
SENDER = {"MessageConfiguration": {"EmailMessage": {"FromAddress": "shop@example.com"}}}
# The handler of Pinpoint's developer guide, "Customizing recommendations with AWS Lambda", on its own data.
TITLES = {"1815": ("Fleabag", "Comedy"), "2009": ("Late Night", "Drama"), "1527": ("Catastrophe", "Comedy")}
TRANSFORMER = f"""TITLES = {TITLES!r}

def lambda_handler(event, context):
    endpoints = {{}}
    for name, endpoint in event["Endpoints"].items():
        found = [TITLES[item] for item in endpoint["RecommendationItems"]]
        endpoint["Recommendations"] = {{"Title": [title for title, _ in found], "Genre": [genre for _, genre in found]}}
        endpoints[name] = endpoint
    return endpoints
"""
ATTRIBUTES = {"Title": "Title", "Genre": "Genre"}


def items(**found):
    """A model that has these items for endpoints."""
    return lambda payload: {name: found.get(name, []) for name in payload["Endpoints"]}


@pytest.fixture(scope="module")
def model(calling, aws):
    """A model behind a function: gets what it answers to a payload, returns its ARN and the function's path."""
    uri, path = f"{PERSONALIZE}model", "/model"
    bind(calling[0], uri, aws.url + path)

    def serve(answer):
        aws.serve(path, lambda payload: (200, json.dumps(answer(payload)).encode()))
        return uri, path

    return serve


def recommender(app, uri, **given):
    wanted = {"RecommendationProviderUri": uri, "RecommendationProviderRoleArn": f"arn:aws:iam::{ACCOUNT}:role/x"}
    if "RecommendationTransformerUri" not in given:
        wanted["RecommendationsDisplayName"] = "Offers"
    made = app.client.create_recommender_configuration(CreateRecommenderConfiguration={**wanted, **given})
    return made["RecommenderConfigurationResponse"]["Id"]


def template(app, recommender_id, body, **given):
    """An email template; returns the members of a campaign with it."""
    request = {"Subject": "For you", "TextPart": body, "RecommenderId": recommender_id, **given}
    app.client.create_email_template(TemplateName=f"r{app.id}", EmailTemplateRequest=request)
    return {"TemplateConfiguration": {"EmailTemplate": {"Name": f"r{app.id}"}}, **SENDER}


def failures(app):
    """The ledger's words for each endpoint that failed."""
    query = (
        "SELECT endpoint_id, status_message FROM message WHERE app_id = %s AND state = 'FAILED' AND status_code = 424"
    )
    return dict(app.ask(query, [app.id]))


def test_a_models_items_are_in_the_mail(app, aws, model):
    uri, path = model(items(Ann=["tea", "milk", "rum"], bob=[7, "x"]))
    app.put("Ann", User={"UserId": "u1"})
    app.put("bob")
    body = "{{RecommendationItems.[0]}} {{RecommendationItems.[1]}} {{#each RecommendationItems}}<{{this}}>{{/each}}"
    campaign = app.campaign(**template(app, recommender(app, uri, RecommendationsPerMessage=2), body))
    [activity] = app.finished(campaign)
    [payload] = aws.called(path)

    assert (app.body_of("Ann"), app.body_of("bob")) == ("tea milk <tea><milk>", "7 x <7><x>")
    assert {name: value for name, value in payload.items() if name not in ("Endpoints", "ScheduledTime")} == {
        "RecommendationsPerMessage": 2,
        "ApplicationId": app.id,
        "CampaignId": campaign,
        "TreatmentId": "0",
        "ActivityId": activity["Id"],
    }
    assert payload["Endpoints"]["Ann"]["User"] == {"UserId": "u1", "UserAttributes": {}}


def test_a_function_makes_more_of_the_items(app, model, tmp_path):
    uri, _ = model(items(a=["1815", "2009", "1527", "1815"], b=["2009"]))
    (tmp_path / "titles.py").write_text(TRANSFORMER)
    bind(app.server, function_arn(f"titles-{app.id}"), f"python:{tmp_path}/titles.py")
    made = recommender(
        app,
        uri,
        RecommendationsPerMessage=3,
        RecommendationTransformerUri=f"titles-{app.id}",
        Attributes=ATTRIBUTES,
    )
    app.put(
        "a",
        Attributes={"Kind": ["x"]},
        Metrics={"m": 2.5},
        Location={"Latitude": 47.07, "Longitude": 15.4, "City": "Graz"},
    )
    app.put("b")
    body = "{{Recommendations.Title.[0]}} ({{Recommendations.Genre.[0]}}), {{Recommendations.Title}}"
    app.finished(app.campaign(**template(app, made, body)))

    assert app.body_of("a") == "Fleabag (Comedy), Fleabag,Late Night,Catastrophe"
    assert app.body_of("b") == "Late Night (Drama), Late Night"


def test_who_has_no_items_gets_the_templates_defaults(app, model):
    uri, _ = model(lambda payload: {"one": ["tea"]})
    app.put("none")
    app.put("one")
    defaults = json.dumps({"RecommendationItems.[0]": "our best", "RecommendationItems.[1]": "our second"})
    body = "{{RecommendationItems.[0]}} {{RecommendationItems.[1]}}"
    app.finished(app.campaign(**template(app, recommender(app, uri), body, DefaultSubstitutions=defaults)))

    assert (app.body_of("none"), app.body_of("one")) == ("our best our second", "tea our second")


def test_personalize_is_asked_user_by_user(app, aws):
    uri = f"{PERSONALIZE}p-{app.id}"
    bind(app.server, uri, "aws")

    def answer(payload):
        if payload["userId"] == "bad":
            return 400, b'{"message": "no such user"}'
        return 200, json.dumps({"itemList": [{"itemId": f"for {payload['userId']}"}, {"itemId": "2"}]}).encode()

    aws.serve("/recommendations", answer)
    made = recommender(app, uri, RecommendationProviderIdType="PINPOINT_USER_ID", RecommendationsPerMessage=1)
    app.put("a", User={"UserId": "u1"})
    app.put("b", User={"UserId": "bad"})
    app.put("c")
    app.finished(app.campaign(**template(app, made, "{{RecommendationItems.[0]}}")))
    failed = failures(app)

    assert app.body_of("a") == "for u1"
    assert {"campaignArn": uri, "userId": "u1", "numResults": 1} in aws.called("/recommendations")
    assert sorted(failed) == ["b", "c"]
    assert "no such user" in failed["b"]
    assert failed["c"] == "RECOMMENDATION_FAILURE: the endpoint has no UserId, by which the model knows its users"


def test_sms_and_push_have_recommendations_and_direct_messages_have_defaults(app, aws, model):
    uri, path = model(items(text=["tea"], push=["rum"]))
    made = recommender(app, uri)
    number, device = app.put_text_and_push()
    own = {"RecommenderId": made, "DefaultSubstitutions": json.dumps({"RecommendationItems.[0]": "ours"})}
    name, body = f"s{app.id}", "Try {{RecommendationItems.[0]}}"
    app.client.create_sms_template(TemplateName=name, SMSTemplateRequest={"Body": body, **own})
    push = {"Default": {"Title": "t", "Body": body}, **own}
    app.client.create_push_template(TemplateName=name, PushNotificationTemplateRequest=push)
    templates = {"SMSTemplate": {"Name": name}, "PushTemplate": {"Name": name}}
    app.finished(app.campaign(TemplateConfiguration=templates, MessageConfiguration={}))
    got = text(app.server, number)["body"], text(app.server, device)["body"]
    request = {"Endpoints": {"text": {}}, "TemplateConfiguration": {"SMSTemplate": {"Name": name}}}
    app.client.send_messages(ApplicationId=app.id, MessageRequest={**request, "MessageConfiguration": {}})
    direct = app.server.get(f"/inbox/api/wait?recipient=%2B{number[1:]}&count=2&timeout=20")["messages"]

    assert got == ("Try tea", "Try rum")
    assert len(direct) == 2
    assert app.server.get(f"/inbox/api/messages/{direct[0]['id']}")["message"]["body"] == "Try ours"
    assert len(aws.called(path)) == 1


def test_a_template_that_shows_no_items_asks_nobody(app, aws, model):
    uri, path = model(items())
    app.put("a")
    app.finished(app.campaign(**template(app, recommender(app, uri), "plain")))

    assert (app.body_of("a"), aws.called(path)) == ("plain", [])


def test_a_deleted_recommender_makes_messages_undeliverable(app, model):
    uri, _ = model(items())
    made = recommender(app, uri)
    app.put("a")
    members = template(app, made, "{{RecommendationItems.[0]}}")
    app.client.delete_recommender_configuration(RecommenderId=made)
    campaign = app.campaign(**members)
    app.finished(campaign)

    assert failures(app) == {"a": f"RECOMMENDATION_FAILURE: the template's recommender {made} was deleted"}
    assert {one["campaign_send_status"] for one in sends(app).values()} == {"RECOMMENDATION_FAILURE"}
    assert as_json(app, "why", campaign, "a")[1][0]["reason"] == "RECOMMENDATION_FAILURE"


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ([], "answered no map of endpoints"),
        ({"a": "tea"}, "must be a list of items"),
        ({"a": ["x" * 101]}, "items must be at most 100 characters"),
        ({"a": [None]}, "items must be text"),
    ],
)
def test_a_model_that_answers_otherwise_has_failed(app, model, answer, fault):
    uri, _ = model(lambda _: answer)
    app.put("a")
    app.finished(app.campaign(**template(app, recommender(app, uri), "{{RecommendationItems.[0]}}")))

    assert failures(app)["a"].startswith(f"RECOMMENDATION_FAILURE: {uri}: ")
    assert fault in failures(app)["a"]
    assert app.received() == []


def test_a_model_nobody_has_bound_has_failed(app):
    app.put("a")
    made = recommender(app, f"{PERSONALIZE}unbound")
    campaign = app.campaign(**template(app, made, "{{RecommendationItems.[0]}}"))
    app.finished(campaign)

    assert "nothing is bound to" in failures(app)["a"]


def test_preflight_calls_models_and_transformers_without_endpoints(app, aws, model):
    uri, path = model(items())
    arn = function_arn(f"t-{app.id}")
    aws.serve(arn, lambda payload: payload["Nobody"])
    bind(app.server, arn, "aws")
    made = recommender(app, uri, RecommendationTransformerUri=arn, Attributes=ATTRIBUTES)
    app.put("a")
    campaign = app.campaign(start=iso(hours=1), **template(app, made, "{{Recommendations.Title.[0]}}"))
    status, found = as_json(app, "campaigns", "preflight", campaign)

    assert [payload["Endpoints"] for payload in aws.called(path) + aws.called(arn)] == [{}, {}]
    assert (status, found["Messages"]) == (1, {})
    [fault] = found["Faults"]
    assert fault.startswith(arn)
    assert "Nobody" in fault
