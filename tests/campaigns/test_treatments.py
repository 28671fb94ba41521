"""Who gets which treatment."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from repoint.resources.campaigns.treatments import HOLDOUT, cohort_treatments, treatments_of


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
