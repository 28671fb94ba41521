"""Tags: names and values on apps, campaigns, segments, journeys and templates, kept by the resource's ARN."""

import re
from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from repoint.db import Connection
from repoint.resources.call import Call
from repoint.wire import shapes
from repoint.wire.exceptions import BadRequestException, NotFoundException

TAGS_MAX = 50
KEY_CHARACTERS_MAX = 128
VALUE_CHARACTERS_MAX = 256
ALLOWED = re.compile(r"[\w\s_.:/=+\-@]*\Z")
ARN = re.compile(
    r"arn:aws:mobiletargeting:([a-z0-9-]+):(\d+):"
    r"(apps/[^/]+(?:/(?:campaigns|segments|journeys)/[^/]+)?|templates/[^/]+/[A-Z]+)\Z"
)


def check_tags(tags: Mapping[str, str]) -> None:
    """Refuse what AWS refuses.

    Raises:
        BadRequestException: naming the tag and the rule.
    """
    if len(tags) > TAGS_MAX:
        raise BadRequestException(f"tags: must be at most {TAGS_MAX} tags")
    for key, value in tags.items():
        if not 1 <= len(key) <= KEY_CHARACTERS_MAX:
            raise BadRequestException(f"tags: a key must have 1 to {KEY_CHARACTERS_MAX} characters")
        if len(value) > VALUE_CHARACTERS_MAX:
            raise BadRequestException(f"tags.{key}: must be at most {VALUE_CHARACTERS_MAX} characters")
        if key.lower().startswith("aws:"):
            raise BadRequestException(f"tags.{key}: the prefix aws: is reserved")
        if not ALLOWED.match(key) or not ALLOWED.match(value):
            raise BadRequestException(f"tags.{key}: letters, digits, space and _ . : / = + - @ are allowed")


async def replace_tags(connection: Connection, arn: str, tags: Mapping[str, str]) -> None:
    """What a create with tags does, within its transaction."""
    await connection.execute(
        """INSERT INTO tag (arn, tags) VALUES (%s, %s)
           ON CONFLICT (arn) DO UPDATE SET tags = excluded.tags""",
        [arn, Jsonb(dict(tags))],
    )


async def delete_tags(connection: Connection, arn: str) -> None:
    """Forget the tags of a deleted resource and of everything below it."""
    await connection.execute("DELETE FROM tag WHERE arn = %s OR starts_with(arn, %s)", [arn, f"{arn}/"])


async def tags_of(call: Call, arns: list[str]) -> dict[str, dict[str, str]]:
    """The tags of several resources, by ARN."""
    rows = await call.db.fetch_all("SELECT arn, tags FROM tag WHERE arn = ANY(%s)", [arns])
    return {arn: dict(tags) for arn, tags in rows}


async def list_tags_for_resource(call: Call, request: shapes.ListTagsForResourceRequest) -> shapes.TagsModel:
    """The tags of one resource."""
    arn = await _existing(call, request["ResourceArn"])
    return {"tags": (await tags_of(call, [arn])).get(arn, {})}


async def tag_resource(call: Call, request: shapes.TagResourceRequest) -> None:
    """Add tags; a key that is there gets the new value."""
    arn = await _existing(call, request["ResourceArn"])
    added = request["TagsModel"]["tags"]
    check_tags(added)
    async with call.db.settings_change() as connection:
        row = await (
            await connection.execute(
                """INSERT INTO tag AS t (arn, tags) VALUES (%s, %s)
                   ON CONFLICT (arn) DO UPDATE SET tags = t.tags || excluded.tags RETURNING tags""",
                [arn, Jsonb(added)],
            )
        ).fetchone()
        assert row is not None
        check_tags(row[0])


async def untag_resource(call: Call, request: shapes.UntagResourceRequest) -> None:
    """Remove tags by key; keys that are not there do no harm."""
    arn = await _existing(call, request["ResourceArn"])
    async with call.db.settings_change() as connection:
        await connection.execute("UPDATE tag SET tags = tags - %s::text[] WHERE arn = %s", [request["TagKeys"], arn])


async def _existing(call: Call, arn: str) -> str:
    """The ARN, if it is well-formed and names something of this account and region that exists."""
    match = ARN.match(arn)
    if match is None:
        raise BadRequestException(f"resource-arn: {arn[:200]} is not the ARN of a taggable resource")
    region, account, path = match.groups()
    if account != call.server.account_id or region != call.region or not await _exists(call, path):
        raise NotFoundException("Resource not found")
    return arn


async def _exists(call: Call, path: str) -> bool:
    """Whether the resource of this path is there."""
    kind, name, *rest = path.split("/")
    row: Any
    if kind == "templates":
        row = await call.db.fetch_one(
            "SELECT 1 FROM template WHERE region = %s AND template_type = %s AND name = %s",
            [call.region, rest[0], name],
        )
        return row is not None
    row = await call.db.fetch_one("SELECT 1 FROM app WHERE app_id = %s AND region = %s", [name, call.region])
    if row is not None and rest[:1] == ["campaigns"]:
        row = await call.db.fetch_one("SELECT 1 FROM campaign WHERE app_id = %s AND campaign_id = %s", [name, rest[1]])
        return row is not None
    if row is not None and rest[:1] == ["segments"]:
        row = await call.db.fetch_one("SELECT 1 FROM segment WHERE app_id = %s AND segment_id = %s", [name, rest[1]])
        return row is not None
    return row is not None and not rest
