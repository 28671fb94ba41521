"""Recommender configurations: which model a template's recommended items are asked of. Five operations.

Configurations are kept and checked; nothing asks a model yet, and templates have their default values instead.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

from psycopg.types.json import Jsonb

from repoint.clock import iso8601
from repoint.resources.call import Call, new_id, page_of
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException, NotFoundException
from repoint.wire.paging import split_page

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,127}\Z")
ID_TYPES = ("PINPOINT_ENDPOINT_ID", "PINPOINT_USER_ID")
DESCRIPTION_CHARACTERS_MAX = 128
DISPLAY_CHARACTERS_MAX = 25
ATTRIBUTES_MAX = 10
ATTRIBUTE_CHARACTERS_MAX = 50
PER_MESSAGE = 5
RECOMMENDERS_MAX = 100


async def create_recommender_configuration(
    call: Call, request: shapes.CreateRecommenderConfigurationRequest
) -> shapes.RecommenderConfigurationResponse:
    """Keep a configuration; an account has at most 100 of them in a region."""
    document = cast("dict[str, Any]", request["CreateRecommenderConfiguration"])
    _check(document)
    row = (new_id(), document, call.now(), call.now())
    async with call.db.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))", [call.region])
        counted = await connection.execute("SELECT count(*) FROM recommender WHERE region = %s", [call.region])
        number = await counted.fetchone()
        if number is not None and number[0] >= RECOMMENDERS_MAX:
            raise BadRequestException(f"There are {RECOMMENDERS_MAX} recommenders, as many as there may be")
        await connection.execute(
            """INSERT INTO recommender (region, recommender_id, document, created_at, modified_at)
               VALUES (%s, %s, %s, %s, %s)""",
            [call.region, row[0], Jsonb(document), row[2], row[3]],
        )
    return _shown(row)


async def get_recommender_configuration(
    call: Call, request: shapes.GetRecommenderConfigurationRequest
) -> shapes.RecommenderConfigurationResponse:
    """One configuration."""
    row = await call.db.fetch_one(
        """SELECT recommender_id, document, created_at, modified_at FROM recommender
           WHERE region = %s AND recommender_id = %s""",
        [call.region, request["RecommenderId"]],
    )
    return _shown(row)


async def get_recommender_configurations(
    call: Call, request: shapes.GetRecommenderConfigurationsRequest
) -> shapes.ListRecommenderConfigurationsResponse:
    """The region's configurations, by id."""
    page = page_of(request.get("PageSize"), request.get("Token"))
    rows = await call.db.fetch_all(
        """SELECT recommender_id, document, created_at, modified_at FROM recommender
           WHERE region = %s AND recommender_id > %s ORDER BY recommender_id LIMIT %s""",
        [call.region, str(page.after[0]) if page.after else "", page.size + 1],
    )
    found, token = split_page(rows, page, lambda row: [row[0]])
    answer: shapes.ListRecommenderConfigurationsResponse = {"Item": [_shown(row) for row in found]}
    if token:
        answer["NextToken"] = token
    return answer


async def update_recommender_configuration(
    call: Call, request: shapes.UpdateRecommenderConfigurationRequest
) -> shapes.RecommenderConfigurationResponse:
    """Replace a configuration; a request without a name keeps the name."""
    document = cast("dict[str, Any]", request["UpdateRecommenderConfiguration"])
    _check(document)
    row = await call.db.fetch_one(
        """UPDATE recommender SET document = jsonb_strip_nulls(jsonb_build_object('Name', document -> 'Name')) || %s,
               modified_at = %s
           WHERE region = %s AND recommender_id = %s
           RETURNING recommender_id, document, created_at, modified_at""",
        [Jsonb(document), call.now(), call.region, request["RecommenderId"]],
    )
    return _shown(row)


async def delete_recommender_configuration(
    call: Call, request: shapes.DeleteRecommenderConfigurationRequest
) -> shapes.RecommenderConfigurationResponse:
    """Forget a configuration; it is returned once more."""
    row = await call.db.fetch_one(
        """DELETE FROM recommender WHERE region = %s AND recommender_id = %s
           RETURNING recommender_id, document, created_at, modified_at""",
        [call.region, request["RecommenderId"]],
    )
    return _shown(row)


def _check(document: Mapping[str, Any]) -> None:
    """The rules of the model's prose: a transformer has Attributes, no transformer has a display name."""
    if "Name" in document and not NAME.match(document["Name"]):
        raise BadRequestException("Name: must have 1 to 128 letters, digits, spaces, - and _, a letter or digit first")
    if len(document.get("Description", "")) > DESCRIPTION_CHARACTERS_MAX:
        raise BadRequestException(f"Description: must be at most {DESCRIPTION_CHARACTERS_MAX} characters")
    if document.get("RecommendationProviderIdType", ID_TYPES[0]) not in ID_TYPES:
        raise BadRequestException(f"RecommendationProviderIdType: must be one of {', '.join(ID_TYPES)}")
    has_transformer = bool(document.get("RecommendationTransformerUri"))
    attributes, display = document.get("Attributes") or {}, document.get("RecommendationsDisplayName")
    if has_transformer != bool(attributes):
        raise BadRequestException("Attributes: are required with RecommendationTransformerUri, and only with it")
    if has_transformer == bool(display):
        raise BadRequestException(
            "RecommendationsDisplayName: is required without RecommendationTransformerUri, and only without it"
        )
    if len(display or "") > DISPLAY_CHARACTERS_MAX:
        raise BadRequestException(f"RecommendationsDisplayName: must be at most {DISPLAY_CHARACTERS_MAX} characters")
    if len(attributes) > ATTRIBUTES_MAX:
        raise BadRequestException(f"Attributes: must be at most {ATTRIBUTES_MAX}")
    for name, shown in attributes.items():
        if not 1 <= len(name) <= ATTRIBUTE_CHARACTERS_MAX or len(shown) > DISPLAY_CHARACTERS_MAX:
            raise BadRequestException(
                f"Attributes: a name has 1 to {ATTRIBUTE_CHARACTERS_MAX} characters, what is shown for it at most "
                f"{DISPLAY_CHARACTERS_MAX}"
            )


def _shown(row: Any) -> shapes.RecommenderConfigurationResponse:
    if row is None:
        raise NotFoundException("Resource not found")
    recommender_id, document, created_at, modified_at = row
    shown = {
        "RecommendationProviderIdType": ID_TYPES[0],
        "RecommendationsPerMessage": PER_MESSAGE,
        **document,
        "Id": recommender_id,
        "CreationDate": iso8601(created_at),
        "LastModifiedDate": iso8601(modified_at),
    }
    return cast("shapes.RecommenderConfigurationResponse", shown)
