"""Recommender configurations: which model a template's recommended items are asked of. Five operations."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from psycopg.types.json import Jsonb

from repoint.bindings.functions import LAMBDA
from repoint.clock import iso8601
from repoint.db import Database
from repoint.resources.call import Call, new_id, page_of
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException, NotFoundException
from repoint.wire.paging import split_page

MODEL = re.compile(r"arn:aws[a-z-]*:personalize:[a-z0-9-]+:\d{12}:campaign/[A-Za-z0-9_-]{1,63}\Z")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,127}\Z")
ATTRIBUTE = re.compile(r"[^\W_][\w-]{0,49}\Z")
ATTRIBUTE_SHOWN = re.compile(r"[^\W_][\w -]{0,24}\Z")
SHOWN = re.compile(r"[\w -]{0,25}\Z")
BY_USER = "PINPOINT_USER_ID"
ID_TYPES = ("PINPOINT_ENDPOINT_ID", BY_USER)
DESCRIPTION_CHARACTERS_MAX = 128
ATTRIBUTES_MAX = 10
PER_MESSAGE = 5
RECOMMENDERS_MAX = 100


@dataclass(frozen=True, slots=True)
class Recommender:
    """A configuration as delivery needs it.

    `model` is an ARN, asked for `number` items for each endpoint; `transformer` names the function that makes
    `attributes` of them, and is empty where there is none. `is_by_user`: the model knows UserIds, not endpoints' ids.
    """

    model: str
    is_by_user: bool
    number: int
    transformer: str
    attributes: frozenset[str]


async def load_recommender(db: Database, key: tuple[str, str]) -> Recommender | None:
    """A region's configuration, or None; for `Database.cached`."""
    row = await db.fetch_one("SELECT document FROM recommender WHERE region = %s AND recommender_id = %s", list(key))
    if row is None:
        return None
    document = row[0]
    return Recommender(
        model=document["RecommendationProviderUri"],
        is_by_user=document.get("RecommendationProviderIdType") == BY_USER,
        number=document.get("RecommendationsPerMessage") or PER_MESSAGE,
        transformer=document.get("RecommendationTransformerUri") or "",
        attributes=frozenset(document.get("Attributes") or ()),
    )


async def create_recommender_configuration(
    call: Call, request: shapes.CreateRecommenderConfigurationRequest
) -> shapes.RecommenderConfigurationResponse:
    """Keep a configuration; an account has at most 100 of them in a region."""
    document = cast("dict[str, Any]", request["CreateRecommenderConfiguration"])
    _check(document)
    row = (new_id(), document, call.now(), call.now())
    async with call.db.settings_change() as connection:
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
    page = page_of(request.get("PageSize"), request.get("Token"), f"recommenders/{call.region}")
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
    async with call.db.settings_change() as connection:
        changed = await connection.execute(
            """UPDATE recommender SET modified_at = %s,
                   document = jsonb_strip_nulls(jsonb_build_object('Name', document -> 'Name')) || %s
               WHERE region = %s AND recommender_id = %s
               RETURNING recommender_id, document, created_at, modified_at""",
            [call.now(), Jsonb(document), call.region, request["RecommenderId"]],
        )
        return _shown(await changed.fetchone())


async def delete_recommender_configuration(
    call: Call, request: shapes.DeleteRecommenderConfigurationRequest
) -> shapes.RecommenderConfigurationResponse:
    """Forget a configuration; it is returned once more."""
    async with call.db.settings_change() as connection:
        deleted = await connection.execute(
            """DELETE FROM recommender WHERE region = %s AND recommender_id = %s
               RETURNING recommender_id, document, created_at, modified_at""",
            [call.region, request["RecommenderId"]],
        )
        return _shown(await deleted.fetchone())


def _check(document: Mapping[str, Any]) -> None:
    """The rules of the model's prose: a transformer has Attributes, no transformer has a display name."""
    if "Name" in document and not NAME.match(document["Name"]):
        raise BadRequestException("Name: must have 1 to 128 letters, digits, spaces, - and _, a letter or digit first")
    if len(document.get("Description", "")) > DESCRIPTION_CHARACTERS_MAX:
        raise BadRequestException(f"Description: must be at most {DESCRIPTION_CHARACTERS_MAX} characters")
    if document.get("RecommendationProviderIdType", ID_TYPES[0]) not in ID_TYPES:
        raise BadRequestException(f"RecommendationProviderIdType: must be one of {', '.join(ID_TYPES)}")
    _check_far_ends(document)
    has_transformer = bool(document.get("RecommendationTransformerUri"))
    attributes, display = document.get("Attributes") or {}, document.get("RecommendationsDisplayName")
    if has_transformer != bool(attributes):
        raise BadRequestException("Attributes: are required with RecommendationTransformerUri, and only with it")
    if has_transformer == bool(display):
        raise BadRequestException(
            "RecommendationsDisplayName: is required without RecommendationTransformerUri, and only without it"
        )
    if not SHOWN.match(display or ""):
        raise BadRequestException("RecommendationsDisplayName: must have 1 to 25 letters, digits, spaces, - and _")
    if len(attributes) > ATTRIBUTES_MAX:
        raise BadRequestException(f"Attributes: must be at most {ATTRIBUTES_MAX}")
    for name, shown in attributes.items():
        _check_attribute(name, shown)


def _check_attribute(name: str, shown: str) -> None:
    """What is no word cannot be said in a template, where an attribute is `Recommendations.` and its name."""
    if not ATTRIBUTE.match(name):
        raise BadRequestException(
            f"Attributes: {name[:100]!r} must have 1 to 50 letters, digits, - and _, a letter or digit first"
        )
    if not ATTRIBUTE_SHOWN.match(shown):
        raise BadRequestException(
            f"Attributes.{name}: must have 1 to 25 letters, digits, spaces, - and _, a letter or digit first"
        )


def _check_far_ends(document: Mapping[str, Any]) -> None:
    if not MODEL.match(document["RecommendationProviderUri"]):
        raise BadRequestException("RecommendationProviderUri: must be the ARN of an Amazon Personalize campaign")
    transformer = document.get("RecommendationTransformerUri")
    if transformer and not LAMBDA.match(transformer):
        raise BadRequestException("RecommendationTransformerUri: must be the name or ARN of a Lambda function")


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
