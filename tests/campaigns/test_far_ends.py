"""Far ends are asked before a campaign names them, and in preflight: what cannot be reached is said at once."""

import re

import pytest
from botocore.exceptions import ClientError

from tests.campaigns.conftest import EMAIL, as_json, iso
from tests.campaigns.far_end import ACCOUNT, function_arn, through
from tests.conftest import free_port
from tests.streams.conftest import bind

pytestmark = pytest.mark.usefixtures("calling")


def refusal(app, **given):
    """What CreateCampaign says."""
    with pytest.raises(ClientError) as caught:
        app.campaign(start=iso(days=1), **given)
    assert caught.value.response["Error"]["Code"] == "BadRequestException"
    return caught.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Server": "x"}, "its answer to HEAD has no header X-Amz-Pinpoint-AccountId"),
        ({"X-Amz-Pinpoint-AccountId": "210987654321"}, "X-Amz-Pinpoint-AccountId is '210987654321', not 123456789012"),
        ({"X-Amz-Pinpoint-AccountId": ""}, "X-Amz-Pinpoint-AccountId is '', not"),
    ],
)
def test_a_url_has_to_know_the_account(app, far_end, headers, why):
    url = far_end.serve("/handshake", **headers)

    assert refusal(app, **through(url)).startswith(f"CustomDeliveryConfiguration.DeliveryUri: {url}: {why}")


def test_the_handshake_is_what_counts_not_its_status(app, far_end):
    url = far_end.serve("/strict", **{"x-amz-pinpoint-accountid": ACCOUNT})
    far_end.head_status["/strict"] = 405

    assert app.status(app.campaign(start=iso(days=1), **through(url))) == "SCHEDULED"


def test_a_url_that_cannot_be_reached_is_refused(app, aws):
    nobody = f"https://127.0.0.1:{free_port()}/x"
    plain = aws.url.replace("http:", "https:") + "/x"

    assert re.search(f"DeliveryUri: {nobody}: .*connect", refusal(app, **through(nobody)))
    assert f"DeliveryUri: {plain}: [SSL" in refusal(app, **through(plain))


def test_a_treatments_far_end_is_asked_too(app, far_end):
    good, bad = far_end.serve("/good"), far_end.serve("/bad", Server="x")
    treatments = [{"SizePercent": 10, **through(bad)}]
    message = refusal(app, AdditionalTreatments=treatments, **through(good))

    assert message.startswith(f"AdditionalTreatments[0].CustomDeliveryConfiguration.DeliveryUri: {bad}: its answer")


def test_a_lambda_function_has_to_exist(app, aws):
    arn = function_arn("missing")
    unbound = refusal(app, **through(arn))
    bind(app.server, arn, "aws")

    assert unbound.endswith(f"nothing is bound to {arn}: say `repoint bindings set {arn} TARGET`")
    assert "ResourceNotFoundException" in refusal(app, **through("missing"))
    aws.serve(arn, None)
    assert app.status(app.campaign(start=iso(days=1), **through("missing"))) == "SCHEDULED"
    assert aws.called(arn) == []


def test_an_update_asks_only_far_ends_that_are_new(app, far_end):
    campaign = app.campaign(start=iso(days=1), **through(far_end.serve("/stays")))
    far_end.headers["/stays"] = {}
    app.update(campaign, Description="of the same far end")
    with pytest.raises(ClientError, match="/moves: its answer to HEAD has no header"):
        app.update(campaign, **through(far_end.serve("/moves", Server="x")))

    assert app.get(campaign)["CustomDeliveryConfiguration"]["DeliveryUri"].endswith("/stays")


def test_a_campaign_that_turns_to_email_has_no_far_end_any_more(app, far_end):
    campaign = app.campaign(start=iso(days=1), **through(far_end.serve("/before")))
    app.update(campaign, MessageConfiguration=EMAIL)

    assert "CustomDeliveryConfiguration" not in app.get(campaign)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (through("http://example.com/x"), "DeliveryUri: must be the name or ARN of a Lambda function, or an https://"),
        (through("https://example.com/a b"), "DeliveryUri: must be"),
        (through("https://"), "DeliveryUri: must be"),
        (through("x", "EMAIL", "PUSH"), "EndpointTypes: PUSH is no type"),
        (through("x", "IN_APP"), "EndpointTypes: IN_APP is no type"),
        (through("x", data="é" * 2561), "CustomMessage.Data: must be at most 5120 bytes"),
        ({"MessageConfiguration": {"CustomMessage": {"Data": "x"}}}, "CustomDeliveryConfiguration: is required with"),
    ],
)
def test_what_cannot_be_a_custom_channel_is_refused_by_the_members_name(app, given, why):
    assert why in refusal(app, **given)


def test_preflight_asks_far_ends_and_delivers_nothing(app, far_end, tmp_path):
    url = far_end.serve("/preflight")
    bind(app.server, function_arn("broken"), f"python:{tmp_path}/broken.py")
    app.put_many(2, "CUSTOM")
    treatments = [{"SizePercent": 50, **through("broken")}]
    campaign = app.campaign(start=iso(days=1), AdditionalTreatments=treatments, **through(url))
    (tmp_path / "broken.py").write_text("import nothing_like_it")
    status, report = as_json(app, "campaigns", "preflight", campaign)

    assert (status, [fault.partition(": ")[0] for fault in report["Faults"]]) == (
        1,
        ["AdditionalTreatments[0].CustomDeliveryConfiguration.DeliveryUri"],
    )
    assert "No module named 'nothing_like_it'" in report["Faults"][0]
    (tmp_path / "broken.py").write_text("def lambda_handler(event, context): raise AssertionError")
    status, report = as_json(app, "campaigns", "preflight", campaign)
    assert (status, report["Faults"], far_end.called("/preflight")) == (0, [], [])
    assert sum(counts.get("ACCEPTED", 0) for counts in report["Counts"].values()) == 2
    far_end.headers["/preflight"] = {}
    assert as_json(app, "campaigns", "preflight", campaign)[1]["Faults"][0].startswith("CustomDelivery")
