"""Applications, their settings, and tags."""

import pytest
from botocore.exceptions import ClientError


def create(client, name="Shop", **more):
    return client.create_app(CreateApplicationRequest={"Name": name, **more})["ApplicationResponse"]


def test_it_works(pinpoint):
    made = create(pinpoint, tags={"team": "crm"})

    assert len(made["Id"]) == 32
    assert made["Arn"] == f"arn:aws:mobiletargeting:us-east-1:123456789012:apps/{made['Id']}"
    assert pinpoint.get_app(ApplicationId=made["Id"])["ApplicationResponse"] == made


def test_a_deleted_application_is_gone_for_the_next_read(pinpoint):
    made = create(pinpoint)
    deleted = pinpoint.delete_app(ApplicationId=made["Id"])["ApplicationResponse"]

    assert deleted == made
    with pytest.raises(pinpoint.exceptions.NotFoundException, match="Application not found"):
        pinpoint.get_app(ApplicationId=made["Id"])


def test_pages_show_each_application_once(server):
    client = server.client("eu-north-1")
    made = {create(client)["Id"] for _ in range(7)}
    seen, token = [], None
    while True:
        page = client.get_apps(PageSize="3", **({"Token": token} if token else {}))["ApplicationsResponse"]
        seen += [app["Id"] for app in page["Item"]]
        token = page.get("NextToken")
        if not token:
            break

    assert len(seen) == len(set(seen))
    assert made <= set(seen)


@pytest.mark.parametrize("parameters", [{"PageSize": "none"}, {"PageSize": "0"}, {"Token": "made-up"}])
def test_a_page_nobody_gave_out_is_refused(pinpoint, parameters):
    with pytest.raises(pinpoint.exceptions.BadRequestException):
        pinpoint.get_apps(**parameters)


def test_regions_do_not_see_each_other(server):
    here, there = server.client("us-east-1"), server.client("eu-west-1")
    made = create(there)

    assert ":eu-west-1:" in made["Arn"]
    with pytest.raises(here.exceptions.NotFoundException):
        here.get_app(ApplicationId=made["Id"])


def test_settings_merge_and_unshown_ones_are_not_shown(pinpoint, app_id):
    def update(**given):
        return pinpoint.update_application_settings(ApplicationId=app_id, WriteApplicationSettingsRequest=given)

    update(Limits={"Daily": 3}, CloudWatchMetricsEnabled=True)
    update(QuietTime={"Start": "22:00", "End": "06:00"})
    shown = pinpoint.get_application_settings(ApplicationId=app_id)["ApplicationSettingsResource"]

    assert shown["Limits"] == {"Daily": 3}
    assert shown["QuietTime"] == {"Start": "22:00", "End": "06:00"}
    assert "CloudWatchMetricsEnabled" not in shown


@pytest.mark.parametrize(
    "given",
    [{"QuietTime": {"Start": "9:00", "End": "10:00"}}, {"QuietTime": {"Start": "09:00"}}, {"Limits": {"Daily": 101}}],
)
def test_settings_out_of_bounds_are_refused(pinpoint, app_id, given):
    with pytest.raises(pinpoint.exceptions.BadRequestException):
        pinpoint.update_application_settings(ApplicationId=app_id, WriteApplicationSettingsRequest=given)


def test_tags_are_added_replaced_and_removed(pinpoint):
    arn = create(pinpoint, tags={"a": "1", "b": "2"})["Arn"]
    pinpoint.tag_resource(ResourceArn=arn, TagsModel={"tags": {"b": "3", "c d": "4"}})
    pinpoint.untag_resource(ResourceArn=arn, TagKeys=["a", "none"])

    assert pinpoint.list_tags_for_resource(ResourceArn=arn)["TagsModel"]["tags"] == {"b": "3", "c d": "4"}


@pytest.mark.parametrize(
    "tags", [{"aws:x": "1"}, {"k" * 129: "1"}, {"k": "v" * 257}, {"k": "<"}, {f"k{n}": "" for n in range(51)}]
)
def test_tags_aws_would_refuse_are_refused(pinpoint, tags):
    with pytest.raises(pinpoint.exceptions.BadRequestException):
        create(pinpoint, tags=tags)


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        ("arn:aws:mobiletargeting:us-east-1:123456789012:apps/none", "NotFoundException"),
        ("arn:aws:mobiletargeting:eu-west-1:123456789012:apps/none", "NotFoundException"),
        ("arn:aws:s3:::bucket", "BadRequestException"),
        ("nonsense", "BadRequestException"),
    ],
)
def test_what_cannot_be_tagged_is_refused(pinpoint, arn, code):
    with pytest.raises(ClientError) as caught:
        pinpoint.list_tags_for_resource(ResourceArn=arn)

    assert caught.value.response["Error"]["Code"] == code
