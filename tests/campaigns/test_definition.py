"""CreateCampaign to DeleteCampaign through boto3: what is stored, shown, refused."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.campaigns.conftest import EMAIL, iso
from tests.campaigns.test_events import filter_of

CALLERS = 24  # more than an API process has connections to PostgreSQL
FULL = {
    "Name": "spring",
    "Description": "all of it",
    "TreatmentName": "plain",
    "TreatmentDescription": "as ever",
    "HoldoutPercent": 5,
    "Priority": 3,
    "IsPaused": True,
    "Limits": {"Daily": 2, "MaximumDuration": 600, "MessagesPerSecond": 50, "Total": 4, "Session": 1},
    "MessageConfiguration": {
        "DefaultMessage": {"Body": "d", "Title": "t", "Action": "URL", "Url": "https://example.com"},
        "EmailMessage": {
            "Body": "text",
            "HtmlBody": "<p>html</p>",
            "Title": "subject",
            "FromAddress": "shop@example.com",
            "Headers": [{"Name": "X-A", "Value": "b"}],
        },
        "SMSMessage": {"Body": "sms", "MessageType": "PROMOTIONAL", "SenderId": "SHOP"},
        "GCMMessage": {"Body": "g", "SilentPush": False, "TimeToLive": 60},
    },
    "AdditionalTreatments": [
        {
            "SizePercent": 40,
            "TreatmentName": "B",
            "TreatmentDescription": "short",
            "MessageConfiguration": EMAIL,
            "Schedule": {"StartTime": iso(days=2), "Frequency": "DAILY", "EndTime": iso(days=9)},
        }
    ],
}


def waits_for(frequency="EVENT", **attribute):
    """A campaign that waits for an event with an attribute `day`."""
    event_filter = filter_of("ping", attributes={"day": attribute})
    return {"Schedule": {"StartTime": iso(days=1), "Frequency": frequency, "EventFilter": event_filter}}


def refusal(create, **given):
    with pytest.raises(ClientError) as caught:
        create(**given)
    assert caught.value.response["Error"]["Code"] == "BadRequestException"
    return caught.value.response["Error"]["Message"]


def test_a_plain_campaign_is_shown_with_pinpoints_defaults(create, app_id):
    campaign = create(Schedule={"StartTime": "2090-01-01T00:00:00Z"})

    assert campaign["Arn"].endswith(f":apps/{app_id}/campaigns/{campaign['Id']}")
    assert {name: campaign[name] for name in campaign if name not in ("Arn", "Id", "CreationDate")} == {
        "ApplicationId": app_id,
        "AdditionalTreatments": [],
        "HoldoutPercent": 0,
        "IsPaused": False,
        "LastModifiedDate": campaign["CreationDate"],
        "Limits": {},
        "MessageConfiguration": EMAIL,
        "Name": "news",
        "Schedule": {"StartTime": "2090-01-01T00:00:00Z", "IsLocalTime": False, "Timezone": "UTC"},
        "SegmentId": campaign["SegmentId"],
        "SegmentVersion": 1,
        "State": {"CampaignStatus": "SCHEDULED"},
        "Version": 1,
        "tags": {},
    }


def test_a_campaign_that_starts_at_once_is_scheduled_at_first(create):
    assert create(Schedule={"StartTime": "IMMEDIATE"})["State"] == {"CampaignStatus": "SCHEDULED"}


def test_every_member_comes_back_as_it_was_given(create, pinpoint, app_id):
    schedule = {
        "StartTime": iso(days=1),
        "EndTime": iso(days=30),
        "Frequency": "WEEKLY",
        "IsLocalTime": True,
        "Timezone": "UTC+05:30",
        "QuietTime": {"Start": "21:00", "End": "07:30"},
    }
    made = create(**FULL, Schedule=schedule, tags={"team": "crm"})
    shown = pinpoint.get_campaign(ApplicationId=app_id, CampaignId=made["Id"])["CampaignResponse"]

    assert shown == made
    assert {name: shown[name] for name in FULL if name != "AdditionalTreatments"} == {
        name: value for name, value in FULL.items() if name != "AdditionalTreatments"
    }
    assert (shown["Schedule"], shown["tags"]) == (schedule, {"team": "crm"})
    [treatment] = shown["AdditionalTreatments"]
    given = FULL["AdditionalTreatments"][0]
    assert (treatment["Id"], treatment["State"]) == ("1", {"CampaignStatus": "PAUSED"})
    assert {name: treatment[name] for name in given if name != "Schedule"} | {
        "Schedule": {name: treatment["Schedule"][name] for name in given["Schedule"]}
    } == given
    assert shown["DefaultState"] == {"CampaignStatus": "PAUSED"}


def test_an_update_changes_only_what_it_names_and_keeps_the_version_before(create, pinpoint, app_id):
    made = create(Description="first", tags={"team": "crm"})
    names = {"ApplicationId": app_id, "CampaignId": made["Id"]}
    paused = pinpoint.update_campaign(**names, WriteCampaignRequest={"IsPaused": True})["CampaignResponse"]
    pinpoint.update_campaign(**names, WriteCampaignRequest={"IsPaused": False, "Description": "third"})
    versions = pinpoint.get_campaign_versions(**names)["CampaignsResponse"]["Item"]

    assert (paused["Version"], paused["State"], paused["Description"]) == (2, {"CampaignStatus": "PAUSED"}, "first")
    assert [(one["Version"], one["Description"], one["IsPaused"]) for one in versions] == [
        (3, "third", False),
        (2, "first", True),
        (1, "first", False),
    ]
    assert versions[0]["State"] == {"CampaignStatus": "SCHEDULED"}
    assert versions[0]["tags"] == {"team": "crm"}
    assert versions[0]["Schedule"] == made["Schedule"]


def test_versions_are_found_by_number_and_unknown_ones_are_not(create, pinpoint, app_id):
    names = {"ApplicationId": app_id, "CampaignId": create()["Id"]}
    first = pinpoint.get_campaign_version(**names, Version="1")["CampaignResponse"]

    assert first["Version"] == 1
    for unknown in ("2", "0", "-1", "x", "99999999999999999999"):
        with pytest.raises(pinpoint.exceptions.NotFoundException):
            pinpoint.get_campaign_version(**names, Version=unknown)


def test_a_deleted_campaign_is_returned_once_more_and_gone(create, pinpoint, app_id):
    names = {"ApplicationId": app_id, "CampaignId": create()["Id"]}
    deleted = pinpoint.delete_campaign(**names)["CampaignResponse"]

    assert deleted["State"] == {"CampaignStatus": "DELETED"}
    for read in (pinpoint.get_campaign, pinpoint.delete_campaign, pinpoint.get_campaign_activities):
        with pytest.raises(pinpoint.exceptions.NotFoundException):
            read(**names)


def test_many_campaigns_are_deleted_at_once(create, pinpoint, app_id):
    """More than a process has connections: none of them waits for a second one."""
    ids = [create(tags={"n": str(number)})["Id"] for number in range(CALLERS)]

    def delete(campaign_id):
        return pinpoint.delete_campaign(ApplicationId=app_id, CampaignId=campaign_id)["CampaignResponse"]

    with ThreadPoolExecutor(CALLERS) as callers:
        deleted = list(callers.map(delete, ids))

    assert [(one["Id"], one["tags"]) for one in deleted] == [(name, {"n": str(n)}) for n, name in enumerate(ids)]


def test_campaigns_and_versions_come_in_pages(create, pinpoint, app_id):
    ids = sorted(create()["Id"] for _ in range(3))
    seen, token = [], {}
    while True:
        page = pinpoint.get_campaigns(ApplicationId=app_id, PageSize="2", **token)["CampaignsResponse"]
        seen += [campaign["Id"] for campaign in page["Item"]]
        if "NextToken" not in page:
            break
        token = {"Token": page["NextToken"]}

    assert seen == ids


def test_tags_of_a_campaign_can_be_changed(create, pinpoint, app_id):
    campaign = create(tags={"a": "1"})
    pinpoint.tag_resource(ResourceArn=campaign["Arn"], TagsModel={"tags": {"b": "2"}})
    shown = pinpoint.get_campaign(ApplicationId=app_id, CampaignId=campaign["Id"])["CampaignResponse"]

    assert shown["tags"] == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"SegmentId": None}, "SegmentId: is required"),
        ({"SegmentId": "none"}, "SegmentId: there is no segment none"),
        ({"SegmentVersion": 2}, "SegmentVersion: segment .* has no version 2"),
        ({"SegmentVersion": -1}, "SegmentVersion: segment .* has no version -1"),
        ({"Schedule": None}, "Schedule: is required"),
        ({"Schedule": {"StartTime": "soon"}}, "Schedule.StartTime: must be IMMEDIATE or an ISO 8601 time"),
        ({"Schedule": {"StartTime": "2020-01-01T00:00:00Z"}}, "Schedule.StartTime: 2020-01-01T00:00:00.000Z is past"),
        ({"Schedule": {"StartTime": iso(days=2), "EndTime": iso(days=1)}}, "Schedule.EndTime: must be after StartTime"),
        ({"Schedule": {"StartTime": iso(days=2), "EndTime": "never"}}, "Schedule.EndTime: must be an ISO 8601 time"),
        ({"Schedule": {"StartTime": "IMMEDIATE", "Timezone": "UTC-12"}}, "Schedule.Timezone: must be one of UTC, "),
        ({"Schedule": {"StartTime": iso(days=1), "QuietTime": {"Start": "9:00"}}}, "Schedule.QuietTime.Start: must be"),
        ({"Schedule": {"StartTime": iso(days=1), "QuietTime": {"Start": "09:00"}}}, "Schedule.QuietTime: Start and"),
        ({"Schedule": {"StartTime": iso(days=1), "Frequency": "EVENT"}}, "Schedule.EventFilter: is required when"),
        ({"Schedule": {"StartTime": "IMMEDIATE"}, "IsPaused": True}, "IsPaused: a campaign that starts IMMEDIATE"),
        ({"HoldoutPercent": 101}, "HoldoutPercent: must be at most 100"),
        ({"Priority": 6}, "Priority: must be at most 5"),
        ({"MessageConfiguration": None}, "MessageConfiguration: there is nothing to send"),
        (
            {"MessageConfiguration": {"EmailMessage": {"Body": "x"}}},
            "MessageConfiguration.EmailMessage.FromAddress: is",
        ),
        ({"MessageConfiguration": {"GCMMessage": {"Body": "x"}}}, "MessageConfiguration: none of GCM is enabled"),
        ({"MessageConfiguration": {"CustomMessage": {"Data": "x"}}}, "CustomDeliveryConfiguration: is required with"),
        (
            {
                "MessageConfiguration": {
                    "EmailMessage": {"Title": "a", "HtmlBody": "b\n{{#if", "FromAddress": "a@b.example"}
                }
            },
            "MessageConfiguration.EmailMessage.HtmlBody: .*line 2",
        ),
        (
            {
                "AdditionalTreatments": [
                    {"SizePercent": 1, "MessageConfiguration": {"SMSMessage": {"Body": "Hello {{Attributes.Name}"}}}
                ]
            },
            r"AdditionalTreatments\[0\].MessageConfiguration.SMSMessage.Body: .*line 1",
        ),
        (
            {"MessageConfiguration": {"EmailMessage": {"Title": "a", "Body": "b", "FromAddress": "the shop"}}},
            "MessageConfiguration.EmailMessage.FromAddress: must be an email address",
        ),
        (
            {"MessageConfiguration": {"EmailMessage": {**EMAIL["EmailMessage"], "Headers": [{"Name": "X Y"}]}}},
            r"MessageConfiguration.EmailMessage.Headers\[0\].Name: must be the name of a header",
        ),
        (waits_for(AttributeType="INCLUSIVE", Values=[]), "Attributes.day.Values: must have at least one value"),
        (waits_for(AttributeType="BEFORE", Values=["soon"]), "Attributes.day.Values: 'soon' is not a time in UTC"),
        (waits_for(AttributeType="BETWEEN", Values=["2031-05-06T07:00:00Z"]), "Values: BETWEEN takes exactly 2"),
        (
            waits_for("IN_APP_EVENT", AttributeType="INCLUSIVE", Values=["x"]),
            "^MessageConfiguration.InAppMessage: is required, or an InAppTemplate, when Schedule.Frequency is IN_APP",
        ),
        ({"TemplateConfiguration": {"EmailTemplate": {"Name": "no"}}}, "TemplateConfiguration.EmailTemplate: there is"),
        ({"TemplateConfiguration": {"SMSTemplate": {"Name": "no", "Version": "x"}}}, "TemplateConfiguration.SMSTempl"),
        ({"TemplateConfiguration": {"VoiceTemplate": {"Name": "v"}}}, "TemplateConfiguration.VoiceTemplate: is not"),
        ({"Hook": {"Mode": "DELIVERY", "LambdaFunctionName": "f"}}, "Hook.Mode: DELIVERY is not supported"),
        ({"Hook": {"LambdaFunctionName": "offers"}}, "Hook.LambdaFunctionName: nothing is bound to offers"),
        ({"Hook": {"LambdaFunctionName": "not a name"}}, "Hook.LambdaFunctionName: must be the name or ARN"),
        ({"Hook": {"LambdaFunctionName": "a", "WebUrl": "https://x"}}, "Hook: can have LambdaFunctionName or WebUrl"),
        ({"Hook": {"Mode": "FILTER"}}, "Hook: needs LambdaFunctionName or WebUrl"),
        (
            {"CustomDeliveryConfiguration": {"DeliveryUri": "offers"}},
            "CustomDeliveryConfiguration: needs a CustomMessage",
        ),
        ({"Hook": {"WebUrl": "ftp://x"}}, "Hook.WebUrl: must be an https"),
        ({"Limits": {"Daily": 101}}, "Limits.Daily: must be at most 100"),
        ({"Limits": {"Total": 101}}, "Limits.Total: must be at most 100"),
        ({"Limits": {"MessagesPerSecond": 0}}, "Limits.MessagesPerSecond: must be at least 1"),
        ({"Limits": {"MessagesPerSecond": 20_001}}, "Limits.MessagesPerSecond: must be at most 20000"),
        ({"Limits": {"MaximumDuration": 59}}, "Limits.MaximumDuration: must be at least 60"),
        ({"AdditionalTreatments": [{"SizePercent": 60}], "HoldoutPercent": 50}, "AdditionalTreatments: HoldoutPercent"),
        ({"AdditionalTreatments": [{"SizePercent": 1}] * 5}, "AdditionalTreatments: must be at most 4 items"),
        (
            {"AdditionalTreatments": [{"SizePercent": 1, "TemplateConfiguration": {"EmailTemplate": {"Name": "no"}}}]},
            r"AdditionalTreatments\[0\].TemplateConfiguration.EmailTemplate: there is no EMAIL template no",
        ),
        (
            {"MessageConfiguration": {"InAppMessage": {"Layout": "CAROUSEL", "Content": []}}},
            "Schedule.Frequency: must be IN_APP_EVENT for an in-app message",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_cannot_run_is_refused_by_the_members_name(create, given, text):
    message = refusal(create, **given)

    assert re.search(text, message), message


def test_an_update_is_checked_like_a_creation(create, pinpoint, app_id):
    names = {"ApplicationId": app_id, "CampaignId": create()["Id"]}
    with pytest.raises(pinpoint.exceptions.BadRequestException, match="HoldoutPercent"):
        pinpoint.update_campaign(
            **names, WriteCampaignRequest={"HoldoutPercent": 60, "AdditionalTreatments": [{"SizePercent": 50}]}
        )

    assert pinpoint.get_campaign(**names)["CampaignResponse"]["Version"] == 1


def test_a_disabled_channel_is_refused(create, pinpoint, app_id):
    request = {"FromAddress": "shop@example.com", "Identity": "arn:aws:ses:us-east-1:1:identity/x", "Enabled": False}
    pinpoint.update_email_channel(ApplicationId=app_id, EmailChannelRequest=request)

    assert "EMAIL channel is disabled" in refusal(create)


def test_a_campaign_can_be_paused_whatever_became_of_its_channel_but_not_resumed(create, pinpoint, app_id):
    names = {"ApplicationId": app_id, "CampaignId": create()["Id"]}
    request = {"FromAddress": "shop@example.com", "Identity": "arn:aws:ses:us-east-1:1:identity/x", "Enabled": False}
    pinpoint.update_email_channel(ApplicationId=app_id, EmailChannelRequest=request)

    paused = pinpoint.update_campaign(**names, WriteCampaignRequest={"IsPaused": True})["CampaignResponse"]

    assert (paused["IsPaused"], paused["State"]["CampaignStatus"]) == (True, "PAUSED")
    with pytest.raises(pinpoint.exceptions.BadRequestException, match="EMAIL channel is disabled"):
        pinpoint.update_campaign(**names, WriteCampaignRequest={"IsPaused": False})


def test_another_applications_campaign_is_not_found(create, pinpoint):
    other = pinpoint.create_app(CreateApplicationRequest={"Name": "other"})["ApplicationResponse"]["Id"]
    with pytest.raises(pinpoint.exceptions.NotFoundException):
        pinpoint.get_campaign(ApplicationId=other, CampaignId=create()["Id"])


def test_concurrent_updates_lose_nothing(create, pinpoint, app_id, server):
    names = {"ApplicationId": app_id, "CampaignId": create()["Id"]}

    def update(number):
        try:
            pinpoint.update_campaign(**names, WriteCampaignRequest={"Description": str(number)})
        except pinpoint.exceptions.BadRequestException:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        done = sum(pool.map(update, range(16)))

    assert done >= 1
    assert pinpoint.get_campaign(**names)["CampaignResponse"]["Version"] == 1 + done
