"""What comes back of a campaign's mail: it names the campaign, and the mail as its recipient got it."""

import pytest

from tests.conftest import eventually
from tests.returns.mails import HTML, fetch, put_endpoint

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def sent(post, pinpoint, app_id):
    """A campaign and one of the mails it has sent."""
    pinpoint.update_email_channel(
        ApplicationId=app_id,
        EmailChannelRequest={"FromAddress": "shop@example.com", "Identity": "arn:aws:ses:us-east-1:1:identity/x"},
    )
    addresses = {name: post.address() for name in ("ep-1", "ep-2")}
    for name, address in addresses.items():
        put_endpoint(pinpoint, app_id, name, address, User={"UserAttributes": {"FirstName": [f"Zoë {name}"]}})
    segment = pinpoint.create_segment(ApplicationId=app_id, WriteSegmentRequest={"Name": "All", "Dimensions": {}})
    message = {"Title": "Hi {{User.UserAttributes.FirstName}}", "HtmlBody": HTML, "FromAddress": "shop@example.com"}
    campaign = pinpoint.create_campaign(
        ApplicationId=app_id,
        WriteCampaignRequest={
            "Name": "News",
            "SegmentId": segment["SegmentResponse"]["Id"],
            "MessageConfiguration": {"EmailMessage": message},
            "Schedule": {"StartTime": "IMMEDIATE"},
        },
    )
    return campaign["CampaignResponse"]["Id"], post.sink.mail_to(addresses["ep-1"])


def test_one_click_opts_out_who_got_a_campaign_s_mail(sent, pinpoint, app_id):
    _, mail = sent

    assert fetch(mail.one_click, b"List-Unsubscribe=One-Click", FORM)[0] == 200
    answers = [pinpoint.get_endpoint(ApplicationId=app_id, EndpointId=name) for name in ("ep-1", "ep-2")]
    assert [answer["EndpointResponse"]["OptOut"] for answer in answers] == ["ALL", "NONE"]


def test_an_open_tells_of_the_campaign_and_of_the_mail_as_it_was_read(sent, post, app_id):
    campaign_id, mail = sent
    eventually(lambda: len(post.events(app_id, "_email.delivered")) == 2)
    fetch(mail.pixel)
    eventually(lambda: post.events(app_id, "_email.open"))

    [(endpoint_id, _, document)] = post.events(app_id, "_email.open")
    facts = document["facets"]["email_channel"]["mail_event"]["mail"]
    assert endpoint_id == "ep-1"
    assert document["attributes"]["campaign_id"] == campaign_id
    assert facts["common_headers"]["subject"] == mail.message["Subject"] == "Hi Zoë ep-1"
    assert facts["message_id"] == mail.message_id
