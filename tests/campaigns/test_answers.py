"""What functions may answer: anything, which is either understood or a fault with words, and nothing else."""

import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repoint.delivery.asking import AnswerFaultError, said_of
from repoint.delivery.hooks import changed_endpoint
from repoint.delivery.payloads import divide, endpoint_document
from repoint.delivery.recommending import recommendations_in
from repoint.resources.events.store import NUL
from repoint.resources.recommenders import Recommender
from tests.stored import stored_endpoint

ENDPOINT = stored_endpoint()
SENT = {**endpoint_document(ENDPOINT), "RecommendationItems": ["i1", "i2"]}
RECOMMENDER = Recommender("arn", is_by_user=False, number=5, transformer="t", attributes=frozenset({"Title", "Genre"}))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())  # surrogates, too
IDS = st.sampled_from(["a", "b", "c", "Endpoints"])
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
MEMBERS = st.sampled_from([*SENT, "Recommendations", "UserAttributes", "UserId", "Latitude", "BodyOverride", "Title"])
ENDPOINTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(MEMBERS, inner), max_leaves=12)

LEISURELY = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@LEISURELY
@given(ENDPOINTS | ANYTHING)
def test_a_hooks_answer_is_an_endpoint_that_can_be_written_or_a_fault(said):
    try:
        changed = changed_endpoint(ENDPOINT, said)
    except AnswerFaultError:
        return

    assert (changed.address, changed.channel_type, changed.endpoint_id) == ("a@example.com", "EMAIL", "e")
    assert not NUL.search(msgspec.json.encode(changed))


def test_a_hook_that_answers_what_it_was_told_changes_nothing():
    """Not even an attribute that has the name under which hooks are told the cohort."""
    endpoint = stored_endpoint(
        attributes={"A": ["1", "2"], "CohortId": ["own"]},
        demographic={"Make": "Acme"},
        location={"City": "Graz", "Latitude": 47.07},
        user_attributes={"Name": ["Ann"]},
    )

    assert changed_endpoint(endpoint, endpoint_document(endpoint)) == endpoint


@LEISURELY
@given(ENDPOINTS | ANYTHING)
def test_a_transformers_answer_has_the_attributes_configured_or_is_a_fault(said):
    try:
        found = recommendations_in(RECOMMENDER, SENT, said)
    except AnswerFaultError:
        return

    assert found.keys() <= RECOMMENDER.attributes
    assert found


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda one: one.pop("Recommendations"), "must have one Recommendations object"),
        (lambda one: one.update(Recommendations={}), "must have one Recommendations object"),
        (lambda one: one["User"].update(Recommendations={"Title": "x"}), "must have one Recommendations object"),
        (lambda one: one["Recommendations"].update(Other="x"), "Other: is not among the recommender's Attributes"),
        (lambda one: one["Recommendations"].update(Title=[1]), "Title: must be a string or a list of strings"),
        (lambda one: one["Attributes"].update(A=["2"]), "Attributes: cannot be changed"),
        (lambda one: one.update(Address="else@example.com"), "Address: cannot be changed"),
        (lambda one: one["RecommendationItems"].reverse(), "RecommendationItems: cannot be changed"),
    ],
)
def test_a_transformer_may_add_recommendations_and_nothing_else(change, fault):
    answer = json.loads(json.dumps({**SENT, "Recommendations": {"Title": ["Fleabag"]}}))
    assert recommendations_in(RECOMMENDER, SENT, answer) == {"Title": ["Fleabag"]}
    change(answer)

    with pytest.raises(AnswerFaultError, match=fault):
        recommendations_in(RECOMMENDER, SENT, answer)


def test_what_a_transformer_leaves_out_is_as_it_was():
    """Functions of typed languages answer null for members they know and were not told."""
    answer = {"Address": SENT["Address"], "Metrics": None, "RequestId": None, "Recommendations": {"Genre": "Comedy"}}

    assert recommendations_in(RECOMMENDER, SENT, answer) == {"Genre": "Comedy"}


def test_recommendations_are_found_wherever_they_are_put():
    answer = {**SENT, "User": {**SENT["User"], "Recommendations": {"Genre": "Comedy"}}}

    assert recommendations_in(RECOMMENDER, SENT, answer) == {"Genre": "Comedy"}


@LEISURELY
@given(st.dictionaries(IDS, SCALARS), st.dictionaries(IDS, SCALARS) | ANYTHING)
def test_a_reply_is_about_endpoints_that_were_asked_about_or_a_fault(endpoints, reply):
    try:
        said = said_of(endpoints, reply)
    except AnswerFaultError:
        assert not isinstance(reply, dict) or "Endpoints" in reply
    else:
        assert said == {one: reply[one] for one in endpoints if one in reply}


def test_calls_have_so_many_endpoints_and_bytes_as_a_function_takes():
    large = {"Attributes": {"A": ["x" * 2_000_000]}}
    endpoints = {f"l{number}": large for number in range(4)} | {f"s{number}": {} for number in range(60)}
    calls = [list(call) for call in divide({"CampaignId": "c"}, endpoints, 50)]

    assert [name for call in calls for name in call] == list(endpoints)
    assert [len(call) for call in calls] == [3, 50, 11]
