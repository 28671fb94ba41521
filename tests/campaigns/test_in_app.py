"""GetInAppMessages: what an app may show to an endpoint."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.campaigns.conftest import iso
from tests.campaigns.test_events import report, waiting
from tests.conftest import eventually

MESSAGE = {
    "Layout": "MIDDLE_BANNER",
    "Content": [{"BodyConfig": {"Alignment": "LEFT", "Body": "Hello", "TextColor": "#000000"}}],
}
FILTER = {
    "FilterType": "ENDPOINT",
    "Dimensions": {"EventType": {"DimensionType": "INCLUSIVE", "Values": ["app.opened"]}},
}
SHOWN_FILTER = {**FILTER, "Dimensions": {**FILTER["Dimensions"], "Attributes": {}, "Metrics": {}}}  # as in the guide
CLIENTS = 48


def in_app(app, segment=None, **given):
    """An in-app campaign that is open."""
    content = {"MessageConfiguration": {"InAppMessage": MESSAGE}} | given
    schedule = {"Frequency": "IN_APP_EVENT", "EventFilter": FILTER, "EndTime": "2090-01-01T00:00:00Z"}
    campaign = app.campaign(segment, schedule=schedule, **content)
    eventually(lambda: app.status(campaign) == "EXECUTING")
    return campaign


def messages(app, endpoint_id):
    answer = app.client.get_in_app_messages(ApplicationId=app.id, EndpointId=endpoint_id)
    return answer["InAppMessagesResponse"]["InAppMessageCampaigns"]


def test_an_open_campaign_is_shown_to_its_segment_with_all_a_client_needs(app):
    app.put("a", ChannelType="IN_APP", User={"UserAttributes": {"Plan": ["gold"]}})
    app.put("b", ChannelType="IN_APP")
    segment = app.segment(UserAttributes={"Plan": {"AttributeType": "INCLUSIVE", "Values": ["gold"]}})
    campaign = in_app(app, segment, Priority=2, Limits={"Daily": 3, "Session": 1, "Total": 9})

    assert messages(app, "b") == []
    assert messages(app, "a") == [
        {
            "CampaignId": campaign,
            "DailyCap": 3,
            "InAppMessage": MESSAGE,
            "Priority": 2,
            "Schedule": {"EndDate": "2090-01-01T00:00:00.000Z", "EventFilter": SHOWN_FILTER},
            "SessionCap": 1,
            "TotalCap": 9,
            "TreatmentId": "0",
        }
    ]


def test_nothing_is_sent_when_the_event_comes(app):
    app.put("shown", ChannelType="IN_APP")
    app.put("mail")
    silent = in_app(app)
    waiting(app, FILTER)
    for name in ("shown", "mail"):
        report(app, name, "app.opened")
    eventually(app.received)

    assert app.received() == ["mail"]  # by the other campaign, which has read the same events
    assert app.activities(silent)[0]["TotalEndpointCount"] == 0
    assert app.ask("SELECT endpoint_id FROM message WHERE app_id = %s", [app.id]) == [("mail",)]


def test_a_template_gives_the_content_and_urgent_ones_come_first(app):
    app.put("a", ChannelType="IN_APP")
    name = f"t{app.id}"
    request = {**MESSAGE, "Layout": "CAROUSEL", "CustomConfig": {"k": "v"}}
    app.client.create_in_app_template(TemplateName=name, InAppTemplateRequest=request)
    in_app(app, Priority=4)
    templated = {"MessageConfiguration": {}, "TemplateConfiguration": {"InAppTemplate": {"Name": name}}}
    in_app(app, Priority=1, **templated)
    found = messages(app, "a")

    assert [one["Priority"] for one in found] == [1, 4]
    assert found[0]["InAppMessage"] == request
    app.client.delete_in_app_template(TemplateName=name)
    assert messages(app, "a") == found


def test_nothing_is_shown_to_the_held_out_the_opted_out_or_while_paused(app):
    app.put("a", ChannelType="IN_APP")
    in_app(app, HoldoutPercent=100)
    assert messages(app, "a") == []
    campaign = in_app(app)
    assert len(messages(app, "a")) == 1
    app.update(campaign, IsPaused=True)
    assert messages(app, "a") == []
    app.update(campaign, IsPaused=False)
    app.put("a", ChannelType="IN_APP", OptOut="ALL")

    assert messages(app, "a") == []


def test_a_campaign_that_is_over_is_not_shown(app):
    app.put("a", ChannelType="IN_APP")
    campaign = in_app(app)
    schedule = {"StartTime": "IMMEDIATE", "Frequency": "IN_APP_EVENT", "EventFilter": FILTER, "EndTime": iso(seconds=1)}
    app.update(campaign, Schedule=schedule)
    app.finished(campaign)

    assert messages(app, "a") == []


def test_an_unknown_endpoint_is_not_found(app):
    with pytest.raises(app.client.exceptions.NotFoundException):
        messages(app, "nobody")


def test_only_endpoints_of_the_in_app_type_are_shown_messages(app):
    """So it says in Pinpoint's user guide, "Amazon Pinpoint in-app messaging channel"."""
    app.put("a", ChannelType="IN_APP")
    app.put("mail")
    app.put("push", ChannelType="GCM")
    in_app(app)

    assert [len(messages(app, name)) for name in ("a", "mail", "push")] == [1, 0, 0]


def test_a_client_without_an_address_has_not_opted_out_by_that(app):
    """AWS Amplify's make endpoints of a ChannelType and no more; those of other types are opted out until they say."""
    for name, given in {"new": {}, "out": {"OptOut": "ALL"}, "in": {"OptOut": "NONE"}}.items():
        app.put(name, ChannelType="IN_APP", Address=None, **given)
    app.put("push", ChannelType="GCM", Address=None)
    in_app(app)
    found = {name: app.client.get_endpoint(ApplicationId=app.id, EndpointId=name) for name in ("new", "push")}

    assert [len(messages(app, name)) for name in ("new", "out", "in")] == [1, 0, 1]
    assert [one["EndpointResponse"]["OptOut"] for one in found.values()] == ["NONE", "ALL"]


def test_many_clients_ask_at_once_when_nothing_is_cached(app):
    """A change of any setting empties the caches: who then waits for a connection must not hold one."""
    app.put("a", ChannelType="IN_APP")
    campaign = in_app(app)
    with ThreadPoolExecutor(CLIENTS) as clients:
        for hour in ("08:00", "09:00", "10:00"):
            quiet = {"QuietTime": {"Start": "01:00", "End": hour}}
            app.client.update_application_settings(ApplicationId=app.id, WriteApplicationSettingsRequest=quiet)
            found = list(clients.map(messages, [app] * CLIENTS, ["a"] * CLIENTS))

            assert [[one["CampaignId"] for one in shown] for shown in found] == [[campaign]] * CLIENTS


def test_what_no_client_could_show_is_refused(app):
    with pytest.raises(app.client.exceptions.BadRequestException, match="InAppMessage: has nothing to show"):
        in_app(app, MessageConfiguration={"InAppMessage": {"Body": "Hello"}})
