"""Who gets which treatment."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from repoint.resources.campaigns.treatments import HOLDOUT, cohort_treatments, treatments_of
from tests.conftest import eventually
from tests.kpis.asking import ask


def document(holdout, *sizes):
    return {"HoldoutPercent": holdout, "AdditionalTreatments": [{"SizePercent": size} for size in sizes]}


@given(
    campaign_id=st.text("0123456789abcdef", min_size=32, max_size=32),
    holdout=st.integers(0, 20),
    sizes=st.lists(st.integers(0, 20), max_size=4),
)
def test_every_cohort_has_its_place_and_shares_are_exact(campaign_id, holdout, sizes):
    counted = Counter(cohort_treatments(campaign_id, document(holdout, *sizes)))

    assert counted.total() == 100
    assert counted[HOLDOUT] == holdout
    assert [counted[str(index)] for index in range(1, len(sizes) + 1)] == sizes
    assert counted["0"] == 100 - holdout - sum(sizes)


def test_the_same_campaign_always_asks_the_same_people():
    assert cohort_treatments("a" * 32, document(10, 40)) == cohort_treatments("a" * 32, document(10, 40))


def test_different_campaigns_hold_out_different_people():
    held = {
        cohort
        for number in range(200)
        for cohort, treatment in enumerate(cohort_treatments(f"{number:032x}", document(5)))
        if treatment == HOLDOUT
    }

    assert len(held) == 100


def test_a_treatment_without_content_has_the_campaigns_and_its_own_schedule():
    given_ = {
        "Schedule": {"StartTime": "IMMEDIATE"},
        "MessageConfiguration": {"SMSMessage": {"Body": "x"}},
        "AdditionalTreatments": [{"SizePercent": 50, "Schedule": {"StartTime": "2030-01-01T00:00:00Z"}}],
    }
    _, second = treatments_of(given_)

    assert second.message == given_["MessageConfiguration"]
    assert second.schedule == {"StartTime": "2030-01-01T00:00:00Z"}


CAMPAIGN = ("campaign_id", "campaign_activity_id", "treatment_id")


def test_every_event_of_a_message_names_its_campaign_and_treatment(app):
    """As AWS's samples have it: of email and text messages, and what KPIs count goes by it."""
    app.put_many(12)
    app.put_text_and_push()
    message = {
        "EmailMessage": {"FromAddress": "shop@example.org", "Title": "Hi", "Body": "Hello"},
        "SMSMessage": {"Body": "Hello"},
    }
    campaign = app.campaign(MessageConfiguration=message, AdditionalTreatments=[{"SizePercent": 50}])
    activities = {one["TreatmentId"]: one["Id"] for one in app.finished(campaign)}
    rows = app.ask(
        "SELECT endpoint_id, event_type, document -> 'attributes' FROM logged_event WHERE app_id = %s", [app.id]
    )
    named = {(endpoint, kind): tuple(given.get(name) for name in CAMPAIGN) for endpoint, kind, given in rows}
    sent = {endpoint: names for (endpoint, kind), names in named.items() if kind == "_campaign.send"}
    [text] = [given for _, kind, given in rows if kind == "_SMS.SUCCESS"]

    assert {names[2] for names in sent.values()} == {"0", "1"}
    assert {kind for _, kind in named} == {"_campaign.send", "_email.send", "_email.delivered", "_SMS.SUCCESS"}
    for (endpoint, _), names in named.items():
        assert names == (campaign, activities[names[2]], names[2]) == sent[endpoint]
    assert "customer_context" not in text
    attempted = "attempted-deliveries-grouped-by-campaign-activity"
    eventually(lambda: sum(ask(app.client, app.id, attempted, CampaignId=campaign).values()) == 13)
    assert ask(app.client, app.id, "txn-sms-sent") == {}
