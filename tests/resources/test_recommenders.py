"""Recommender configurations."""

import pytest

PLAIN = {
    "RecommendationProviderUri": "arn:aws:personalize:us-east-1:123456789012:campaign/x",
    "RecommendationProviderRoleArn": "arn:aws:iam::123456789012:role/x",
    "RecommendationsDisplayName": "Offers",
}
TRANSFORMED = {"RecommendationTransformerUri": "f", "RecommendationsDisplayName": ""}


def create(pinpoint, **given):
    made = pinpoint.create_recommender_configuration(CreateRecommenderConfiguration={**PLAIN, **given})
    return made["RecommenderConfigurationResponse"]


def test_a_configuration_is_kept_shown_changed_and_deleted(pinpoint):
    made = create(pinpoint, Name="first")
    known = {"RecommenderId": made["Id"]}

    assert {name: made[name] for name in PLAIN} == PLAIN
    assert (made["RecommendationProviderIdType"], made["RecommendationsPerMessage"]) == ("PINPOINT_ENDPOINT_ID", 5)
    assert pinpoint.get_recommender_configuration(**known)["RecommenderConfigurationResponse"] == made
    changed = pinpoint.update_recommender_configuration(
        **known, UpdateRecommenderConfiguration={**PLAIN, "RecommendationsPerMessage": 2}
    )["RecommenderConfigurationResponse"]
    assert (changed["Name"], changed["RecommendationsPerMessage"]) == ("first", 2)
    deleted = pinpoint.delete_recommender_configuration(**known)["RecommenderConfigurationResponse"]
    assert deleted == changed
    with pytest.raises(pinpoint.exceptions.NotFoundException):
        pinpoint.get_recommender_configuration(**known)


def test_configurations_are_a_regions_and_come_in_pages(server):
    there = server.client(region="eu-west-3")
    ids = sorted(create(there)["Id"] for _ in range(3))
    first = there.get_recommender_configurations(PageSize="2")["ListRecommenderConfigurationsResponse"]
    last = there.get_recommender_configurations(PageSize="2", Token=first["NextToken"])

    found = first["Item"] + last["ListRecommenderConfigurationsResponse"]["Item"]
    assert [one["Id"] for one in found] == ids


@pytest.mark.parametrize(
    ("given", "member"),
    [
        ({"Name": "-x"}, "Name"),
        ({"Description": "x" * 129}, "Description"),
        ({"RecommendationProviderIdType": "NAME"}, "RecommendationProviderIdType"),
        ({"RecommendationsPerMessage": 6}, "RecommendationsPerMessage"),
        ({"RecommendationTransformerUri": "f"}, "Attributes"),
        ({"Attributes": {"a": "b"}}, "Attributes"),
        ({"RecommendationTransformerUri": "f", "Attributes": {"a": "b"}}, "RecommendationsDisplayName"),
        ({"RecommendationsDisplayName": "x" * 26}, "RecommendationsDisplayName"),
        ({"RecommendationsDisplayName": "Offers!"}, "RecommendationsDisplayName"),
        ({**TRANSFORMED, "Attributes": {"a b": "b"}}, "Attributes: 'a b' must have 1 to 50 letters"),
        ({**TRANSFORMED, "Attributes": {"a.b": "b"}}, "Attributes: 'a.b' must have 1 to 50 letters"),
        ({**TRANSFORMED, "Attributes": {"_a": "b"}}, "Attributes: '_a' must have 1 to 50 letters"),
        ({**TRANSFORMED, "Attributes": {"x" * 51: "b"}}, "must have 1 to 50 letters"),
        ({**TRANSFORMED, "Attributes": {"Title": "x" * 26}}, "Attributes.Title: must have 1 to 25 letters"),
        ({**TRANSFORMED, "Attributes": {"Title": ""}}, "Attributes.Title: must have 1 to 25 letters"),
    ],
)
def test_what_does_not_fit_together_is_refused(pinpoint, given, member):
    with pytest.raises(pinpoint.exceptions.BadRequestException, match=member):
        create(pinpoint, **given)


def test_attributes_have_the_names_of_pinpoints_reference(pinpoint):
    attributes = {"Title": "Film title", "2nd-title_x": "2nd title", "x" * 50: "x" * 25}
    made = create(pinpoint, RecommendationTransformerUri="f", RecommendationsDisplayName="", Attributes=attributes)

    assert made["Attributes"] == attributes
