"""The seven operations, as an SDK's caller sees them."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.segments.population import create, import_segment, members

GOLD = {"Attributes": {"Plan": {"AttributeType": "INCLUSIVE", "Values": ["gold"]}}}
FRANCE = {"Location": {"Country": {"DimensionType": "INCLUSIVE", "Values": ["FR"]}}}


def refusal(function, **parameters):
    """The status, the error class and the message of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        function(**parameters)
    response = caught.value.response
    return (
        response["ResponseMetadata"]["HTTPStatusCode"],
        response["Error"]["Code"],
        response["Error"]["Message"],
    )


def write(client, app_id, segment_id, **request):
    return client.update_segment(ApplicationId=app_id, SegmentId=segment_id, WriteSegmentRequest=request)[
        "SegmentResponse"
    ]


def get(client, app_id, segment_id):
    return client.get_segment(ApplicationId=app_id, SegmentId=segment_id)["SegmentResponse"]


def refused(client, app_id, **request):
    """The message of a document that must be refused, with 400."""
    status, code, message = refusal(client.create_segment, ApplicationId=app_id, WriteSegmentRequest=request)
    assert (status, code) == (400, "BadRequestException")
    return message


def over(*references, **more):
    """A document that rests on other segments."""
    sources = [one if isinstance(one, dict) else {"Id": one} for one in references]
    return {"SegmentGroups": {"Groups": [{"SourceSegments": sources, **more}]}}


def test_what_is_created_is_returned(pinpoint, app_id):
    answer = pinpoint.create_segment(
        ApplicationId=app_id, WriteSegmentRequest={"Name": "Gold", "Dimensions": GOLD, "tags": {"team": "growth"}}
    )
    created = answer["SegmentResponse"]

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert created == get(pinpoint, app_id, created["Id"])
    assert created["Arn"].endswith(f":apps/{app_id}/segments/{created['Id']}")
    assert created["CreationDate"] == created["LastModifiedDate"]
    assert {name: created[name] for name in ("Name", "Version", "SegmentType", "Dimensions", "tags")} == {
        "Name": "Gold",
        "Version": 1,
        "SegmentType": "DIMENSIONAL",
        "Dimensions": GOLD,
        "tags": {"team": "growth"},
    }


def test_every_version_stays_readable(pinpoint, app_id):
    segment_id = create(pinpoint, app_id, Name="One", Dimensions=GOLD)
    write(pinpoint, app_id, segment_id, Name="Two")
    write(pinpoint, app_id, segment_id, Dimensions=FRANCE)
    read = [
        pinpoint.get_segment_version(ApplicationId=app_id, SegmentId=segment_id, Version=str(number))["SegmentResponse"]
        for number in (1, 2, 3)
    ]

    assert [(one["Version"], one["Name"], one["Dimensions"]) for one in read] == [
        (1, "One", GOLD),
        (2, "Two", GOLD),
        (3, "Two", FRANCE),
    ]
    assert get(pinpoint, app_id, segment_id) == read[-1]


def test_dimensions_and_groups_take_each_others_place(pinpoint, app_id):
    segment_id = create(pinpoint, app_id, Dimensions=GOLD)
    groups = {"Groups": [{"Dimensions": [FRANCE], "Type": "ANY"}], "Include": "ALL"}
    second = write(pinpoint, app_id, segment_id, SegmentGroups=groups)
    third = write(pinpoint, app_id, segment_id, Dimensions=GOLD)

    assert second["SegmentGroups"] == groups
    assert "Dimensions" not in second
    assert third["Dimensions"] == GOLD
    assert "SegmentGroups" not in third


def test_versions_come_newest_first_page_by_page(pinpoint, app_id):
    segment_id = create(pinpoint, app_id)
    for number in range(4):
        write(pinpoint, app_id, segment_id, Name=f"v{number}")
    pages, token = [], {}
    while True:
        answer = pinpoint.get_segment_versions(ApplicationId=app_id, SegmentId=segment_id, PageSize="2", **token)
        pages.append([one["Version"] for one in answer["SegmentsResponse"]["Item"]])
        if "NextToken" not in answer["SegmentsResponse"]:
            break
        token = {"Token": answer["SegmentsResponse"]["NextToken"]}

    assert pages == [[5, 4], [3, 2], [1]]


def test_segments_are_listed_page_by_page_in_their_latest_version(pinpoint, app_id):
    ids = sorted(create(pinpoint, app_id, Name=f"n{number}") for number in range(5))
    write(pinpoint, app_id, ids[0], Name="renamed")
    first = pinpoint.get_segments(ApplicationId=app_id, PageSize="3")["SegmentsResponse"]
    second = pinpoint.get_segments(ApplicationId=app_id, PageSize="3", Token=first["NextToken"])["SegmentsResponse"]

    assert [one["Id"] for one in first["Item"] + second["Item"]] == ids
    assert (first["Item"][0]["Name"], first["Item"][0]["Version"]) == ("renamed", 2)
    assert "NextToken" not in second


def test_tags_are_taken_at_create_and_ignored_at_update(pinpoint, app_id):
    segment_id = create(pinpoint, app_id, tags={"a": "1"})
    updated = write(pinpoint, app_id, segment_id, tags={"b": "2"})
    pinpoint.tag_resource(ResourceArn=updated["Arn"], TagsModel={"tags": {"c": "3"}})

    assert updated["tags"] == {"a": "1"}
    assert get(pinpoint, app_id, segment_id)["tags"] == {"a": "1", "c": "3"}


def test_a_deleted_segment_is_gone_with_all_its_versions(pinpoint, app_id):
    segment_id = create(pinpoint, app_id, Dimensions=GOLD)
    last = write(pinpoint, app_id, segment_id, Name="Last")
    deleted = pinpoint.delete_segment(ApplicationId=app_id, SegmentId=segment_id)["SegmentResponse"]
    named = {"ApplicationId": app_id, "SegmentId": segment_id}

    assert deleted == last
    for function, more in [
        (pinpoint.get_segment, {}),
        (pinpoint.get_segment_version, {"Version": "1"}),
        (pinpoint.get_segment_versions, {}),
        (pinpoint.delete_segment, {}),
        (pinpoint.update_segment, {"WriteSegmentRequest": {}}),
    ]:
        assert refusal(function, **named, **more)[:2] == (404, "NotFoundException")


@pytest.mark.parametrize(
    ("version", "status"), [("0", 404), ("2", 404), ("99999999999", 404), ("one", 400), ("-1", 400)]
)
def test_a_version_that_is_not_there_is_not_found(pinpoint, app_id, version, status):
    segment_id = create(pinpoint, app_id)

    found = refusal(pinpoint.get_segment_version, ApplicationId=app_id, SegmentId=segment_id, Version=version)
    assert found[0] == status


def test_a_segment_of_another_application_is_not_found(pinpoint, app_id):
    other = pinpoint.create_app(CreateApplicationRequest={"Name": "Other"})["ApplicationResponse"]["Id"]
    segment_id = create(pinpoint, other)

    assert refusal(pinpoint.get_segment, ApplicationId=app_id, SegmentId=segment_id)[0] == 404
    assert "no segment" in refused(pinpoint, app_id, **over(segment_id))


def test_concurrent_updates_each_make_a_version(pinpoint, app_id):
    segment_id = create(pinpoint, app_id)
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda n: write(pinpoint, app_id, segment_id, Name=f"n{n}")["Version"], range(16)))

    assert sorted(versions) == list(range(2, 18))


def values(kind, *given):
    return {"Dimensions": {"Attributes": {"A": {"AttributeType": kind, "Values": list(given)}}}}


REFUSED = {
    "both forms": ({"Dimensions": GOLD, "SegmentGroups": {"Groups": []}}, "cannot be given together"),
    "no values": (values("INCLUSIVE"), "at least one value"),
    "a date that is none": (values("BEFORE", "yesterday"), "2026-12-31T00:00:00Z"),
    "a date without a zone": (values("AFTER", "2026-01-01T00:00:00"), "2026-12-31T00:00:00Z"),
    "a day that does not exist": (values("ON", "2026-02-30T00:00:00Z"), "2026-12-31T00:00:00Z"),
    "two dates where one is meant": (values("ON", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), "exactly 1"),
    "one date where two are meant": (values("BETWEEN", "2026-01-01T00:00:00Z"), "exactly 2"),
    "an operator of another kind": (
        {"Dimensions": {"Metrics": {"M": {"ComparisonOperator": "NOT_EQUAL", "Value": 1}}}},
        "ComparisonOperator: must be one of GREATER_THAN",
    ),
    "a channel that is none": (
        {"Dimensions": {"Demographic": {"Channel": {"Values": ["FAX"]}}}},
        "'FAX' is not a channel type",
    ),
    "a point without a range": (
        {"Dimensions": {"Location": {"GPSPoint": {"Coordinates": {"Latitude": 1, "Longitude": 1}}}}},
        "RangeInKilometers",
    ),
    "a point off the globe": (
        {
            "Dimensions": {
                "Location": {"GPSPoint": {"Coordinates": {"Latitude": 91, "Longitude": 1}, "RangeInKilometers": 1}}
            }
        },
        "Latitude is from -90 to 90",
    ),
    "a source that is not there": (over(uuid.uuid4().hex), "there is no segment"),
    "a source's version below one": (over({"Id": "x", "Version": 0}), "at least 1"),
    "a name without end": ({"Name": "n" * 257}, "at most 256"),
    "more than a hundred dimensions": (
        {"Dimensions": {"Metrics": {f"m{n}": {"ComparisonOperator": "EQUAL", "Value": 1} for n in range(101)}}},
        "at most 100 dimensions",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_meant_is_refused_by_name(pinpoint, app_id, fault):
    request, words = REFUSED[fault]

    assert words in refused(pinpoint, app_id, **request)
    assert pinpoint.get_segments(ApplicationId=app_id)["SegmentsResponse"]["Item"] == []


def test_a_hundred_dimensions_are_allowed(pinpoint, app_id):
    metrics = {f"m{n}": {"ComparisonOperator": "EQUAL", "Value": 1} for n in range(100)}

    assert create(pinpoint, app_id, Dimensions={"Metrics": metrics})


def test_a_circle_of_sources_is_refused(pinpoint, app_id):
    first = create(pinpoint, app_id)
    second = create(pinpoint, app_id, **over(first))
    third = create(pinpoint, app_id, **over(second))

    for reference in (third, {"Id": third, "Version": 1}, first):
        status, _, message = refusal(
            pinpoint.update_segment, ApplicationId=app_id, SegmentId=first, WriteSegmentRequest=over(reference)
        )
        assert (status, message) == (400, "SourceSegments: the segment would rest on itself")
    assert get(pinpoint, app_id, first)["Version"] == 1


def test_of_two_halves_of_a_circle_at_once_one_is_refused(pinpoint, app_id):
    def half(pair):
        try:
            write(pinpoint, app_id, pair[0], **over(pair[1]))
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "written"

    for _ in range(5):
        first, second = create(pinpoint, app_id), create(pinpoint, app_id)
        with ThreadPoolExecutor(2) as pool:
            outcomes = sorted(pool.map(half, [(first, second), (second, first)]))

        assert outcomes == ["BadRequestException", "written"]


def test_sources_that_multiply_are_refused_and_not_expanded(pinpoint, app_id):
    segment_id = create(pinpoint, app_id, Dimensions=GOLD)
    for _ in range(5):
        segment_id = create(pinpoint, app_id, **over(segment_id, segment_id))

    assert "at most 100 others" in refused(pinpoint, app_id, **over(segment_id, segment_id))


def test_what_rests_on_a_deleted_segment_says_so(server, pinpoint, app_id):
    source = create(pinpoint, app_id, Dimensions=GOLD)
    segment_id = create(pinpoint, app_id, **over(source))
    pinpoint.delete_segment(ApplicationId=app_id, SegmentId=source)

    assert get(pinpoint, app_id, segment_id)["Version"] == 1
    with pytest.raises(Exception, match=f"there is no segment {source}"):
        members(server, app_id, segment_id)


@pytest.mark.parametrize("count", [101, 5000])
def test_documents_of_any_size_are_answered(pinpoint, app_id, count):
    dimensions = {
        "Attributes": {f"a{n}": {"Values": [f"{n}-{m}" for m in range(count // 100 * 10)]} for n in range(100)}
    }

    assert create(pinpoint, app_id, Dimensions=dimensions)


class TestImported:
    def test_it_is_described_by_its_import(self, server, pinpoint, app_id):
        segment = get(pinpoint, app_id, import_segment(server, app_id, ["a", "b"]))

        assert (segment["SegmentType"], segment["Version"]) == ("IMPORT", 1)
        assert segment["ImportDefinition"]["Size"] == 2
        assert not {"Dimensions", "SegmentGroups"} & set(segment)

    def test_it_can_be_renamed_and_keeps_its_members(self, server, pinpoint, app_id):
        pinpoint.update_endpoint(ApplicationId=app_id, EndpointId="a", EndpointRequest={})
        segment_id = import_segment(server, app_id, ["a"])
        renamed = write(pinpoint, app_id, segment_id, Name="New")

        assert (renamed["Name"], renamed["Version"], renamed["ImportDefinition"]["Size"]) == ("New", 2, 1)
        assert members(server, app_id, segment_id) == {"a"}

    def test_it_takes_no_criteria(self, server, pinpoint, app_id):
        found = refusal(
            pinpoint.update_segment,
            ApplicationId=app_id,
            SegmentId=import_segment(server, app_id, []),
            WriteSegmentRequest={"Dimensions": GOLD},
        )

        assert found[0] == 400
        assert "imported segment" in found[2]

    def test_users_named_by_id_bring_the_endpoints_they_have_now(self, server, pinpoint, app_id):
        segment_id = import_segment(server, app_id, ["c"], user_ids=["u"])
        for name, user in [("a", "u"), ("b", "u"), ("c", "v"), ("d", "v")]:
            pinpoint.update_endpoint(ApplicationId=app_id, EndpointId=name, EndpointRequest={"User": {"UserId": user}})

        assert members(server, app_id, segment_id) == {"a", "b", "c"}

    def test_it_is_narrowed_and_taken_away_by_other_segments(self, server, pinpoint, app_id):
        for name, plan in [("a", "gold"), ("b", "gold"), ("c", "free")]:
            pinpoint.update_endpoint(
                ApplicationId=app_id, EndpointId=name, EndpointRequest={"Attributes": {"Plan": [plan]}}
            )
        imported = import_segment(server, app_id, ["a", "c"])
        narrowed = create(pinpoint, app_id, **over(imported, Dimensions=[GOLD]))
        without = create(pinpoint, app_id, **over(imported, SourceType="NONE", Dimensions=[GOLD]))

        assert members(server, app_id, narrowed) == {"a"}
        assert members(server, app_id, without) == {"b"}

    def test_it_must_be_a_groups_only_source(self, server, pinpoint, app_id):
        imported, other = import_segment(server, app_id, []), create(pinpoint, app_id)

        assert "only source" in refused(pinpoint, app_id, **over(imported, other))
