"""A page's token continues its own list, and no other."""

import uuid

import pytest
from botocore.exceptions import ClientError

LISTS = [
    ("get_apps", "Token", {}),
    ("get_segments", "Token", {"ApplicationId": "app"}),
    ("get_segments", "Token", {"ApplicationId": "other_app"}),
    ("get_segment_versions", "Token", {"ApplicationId": "app", "SegmentId": "segment"}),
    ("get_segment_versions", "Token", {"ApplicationId": "app", "SegmentId": "other_segment"}),
    ("get_campaigns", "Token", {"ApplicationId": "app"}),
    ("get_campaigns", "Token", {"ApplicationId": "other_app"}),
    ("get_campaign_versions", "Token", {"ApplicationId": "app", "CampaignId": "campaign"}),
    ("get_campaign_versions", "Token", {"ApplicationId": "app", "CampaignId": "other_campaign"}),
    ("get_export_jobs", "Token", {"ApplicationId": "app"}),
    ("get_recommender_configurations", "Token", {}),
    ("list_templates", "NextToken", {}),
    ("list_template_versions", "NextToken", {"TemplateName": "template", "TemplateType": "SMS"}),
    ("list_template_versions", "NextToken", {"TemplateName": "other_template", "TemplateType": "SMS"}),
]


@pytest.fixture(scope="module")
def pages(server):
    """What each list answers a page of one for, and the operation's parameters with names made real."""
    client = server.client()
    names = _made(client)

    def ask(number, **more):
        operation, _, given = LISTS[number]
        return getattr(client, operation)(**{key: names.get(one, one) for key, one in given.items()}, **more)

    return ask


def _made(client):
    """Two of everything that is listed, and two versions of everything that has versions."""
    names = {}
    for prefix in ("", "other_"):
        app = client.create_app(CreateApplicationRequest={"Name": "Pages"})["ApplicationResponse"]["Id"]
        names[f"{prefix}app"] = app
        for _ in range(2):
            segment = client.create_segment(ApplicationId=app, WriteSegmentRequest={"Name": "All"})["SegmentResponse"]
            campaign = {
                "Name": "Later",
                "SegmentId": segment["Id"],
                "Schedule": {"StartTime": "2088-05-06T07:08:09Z"},
                "MessageConfiguration": {"SMSMessage": {"Body": "Hi"}},
            }
            made = client.create_campaign(ApplicationId=app, WriteCampaignRequest=campaign)["CampaignResponse"]
            job = {"RoleArn": "arn:aws:iam::123456789012:role/any", "S3UrlPrefix": "s3://pages/"}
            client.create_export_job(ApplicationId=app, ExportJobRequest=job)
            if not prefix:
                kind = "campaign" if "campaign" not in names else "other_campaign"
                names[kind], names[kind.replace("campaign", "segment")] = made["Id"], segment["Id"]
                for request in ({"Name": "Again"}, {"Name": "Once more"}):
                    client.update_campaign(ApplicationId=app, CampaignId=made["Id"], WriteCampaignRequest=request)
                    client.update_segment(ApplicationId=app, SegmentId=segment["Id"], WriteSegmentRequest=request)
        recommender = {
            "RecommendationProviderUri": "arn:aws:personalize:us-east-1:123456789012:campaign/films",
            "RecommendationProviderRoleArn": "arn:aws:iam::123456789012:role/any",
            "RecommendationsDisplayName": "Films",
        }
        client.create_recommender_configuration(CreateRecommenderConfiguration=recommender)
        name = names[f"{prefix}template"] = f"p-{uuid.uuid4().hex}"
        client.create_sms_template(TemplateName=name, SMSTemplateRequest={"Body": "one"})
        client.update_sms_template(TemplateName=name, SMSTemplateRequest={"Body": "two"}, CreateNewVersion=True)
    return names


def _token(answer):
    (document,) = (value for key, value in answer.items() if key != "ResponseMetadata")
    return document["NextToken"]


@pytest.mark.parametrize("number", range(len(LISTS)))
def test_a_token_of_another_list_is_refused_by_its_name(pages, number):
    parameter = LISTS[number][1]
    said = {"Token": "token", "NextToken": "next-token"}[parameter] + ": was not given out by a previous page"
    tokens = {other: _token(pages(other, PageSize="1")) for other in range(len(LISTS))}
    own = tokens.pop(number)

    assert pages(number, PageSize="1", **{parameter: own})
    for token in tokens.values():
        with pytest.raises(ClientError, match=f"BadRequestException.*: {said}$"):
            pages(number, **{parameter: token})
