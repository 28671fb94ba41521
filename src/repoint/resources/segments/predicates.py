"""From one condition of a segment to SQL.

The SQL speaks of `endpoint AS e`. It is there to be used by indexes: equality of attributes is jsonb containment, of
the country the indexed expression, membership a lookup by key. Values never stand in the text; they are parameters. It
may be NULL, which is not a match.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, Final, LiteralString

from psycopg import sql
from psycopg.types.json import Jsonb

from repoint.resources.segments.conditions import (
    HasDate,
    HasText,
    HasValue,
    IsActiveSince,
    IsMember,
    IsNear,
    Leaf,
    MetricIs,
    ScalarIs,
)
from repoint.wire.exceptions import BadRequestException

EARTH_KILOMETERS = 6371.0088
KILOMETERS_PER_DEGREE = math.pi * EARTH_KILOMETERS / 180
ROUNDING_DEGREES = 0.06
CONTAINMENTS_MAX = 100
"""Up to so many of a segment's values are looked for one by one, by index if that is quicker; others in one pass."""
SEARCHES_MAX = 4
PARAMETERS_MAX = 30_000
"""PostgreSQL's protocol has room for 65,535, and the statement around the condition has some of its own."""
LIKE_SPECIAL = re.compile(r"[\\%_]")
ESCAPED = r"\\\g<0>"
# What an array of strings is made of in jsonb's text besides the strings themselves.
STRUCTURE = frozenset('[]",\\')

Part = sql.Composable
COLUMNS: Final[dict[str, LiteralString]] = {"attributes": "e.attributes", "user_attributes": "e.user_attributes"}
SCALARS: Final[dict[str, LiteralString]] = {
    "Channel": "e.channel_type",
    "AppVersion": "e.demographic ->> 'AppVersion'",
    "DeviceType": "e.demographic ->> 'DeviceType'",
    "Make": "e.demographic ->> 'Make'",
    "Model": "e.demographic ->> 'Model'",
    "Platform": "e.demographic ->> 'Platform'",
    "Country": "e.location ->> 'Country'",
}
COMPARISONS: Final[dict[str, LiteralString]] = {
    "GREATER_THAN": ">",
    "LESS_THAN": "<",
    "GREATER_THAN_OR_EQUAL": ">=",
    "LESS_THAN_OR_EQUAL": "<=",
    "EQUAL": "=",
}
# A look at the digits comes first: most values fail it, and never reach what costs more.
DATES: Final[dict[str, tuple[LiteralString, LiteralString]]] = {
    "BEFORE": ('left(v, 19) <= left({0}, 19) COLLATE "C"', "v::timestamptz < {0}::timestamptz"),
    "AFTER": ('left(v, 19) >= left({0}, 19) COLLATE "C"', "v::timestamptz > {0}::timestamptz"),
    "ON": ("left(v, 10) = left({0}, 10)", "true"),
    "BETWEEN": (
        '(left(v, 19) COLLATE "C") BETWEEN left({0}, 19) AND left({1}, 19)',
        "v::timestamptz BETWEEN {0}::timestamptz AND {1}::timestamptz",
    ),
}
# ISO instants whose day exists, in a form that jsonpath understands.
_DAYS = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])"
_LEAP_YEARS = "[0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00"
INSTANT = f"^([0-9]{{4}}-({_DAYS})|({_LEAP_YEARS})-02-29)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{{1,9}})?Z$"
# What costs least to ask comes first; what no index answers; and what of that is slow.
RANKS: Final[tuple[type[Leaf], ...]] = (ScalarIs, IsActiveSince, IsMember, HasValue, MetricIs, IsNear, HasText, HasDate)
SCANNED: Final = (IsActiveSince, MetricIs, IsNear, HasText, HasDate)
SLOW: Final = (IsNear, HasText, HasDate)


class Predicates:
    """Turns conditions into SQL, and gathers their parameters, which are named segment_1, segment_2 …."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}
        self.containments_left = CONTAINMENTS_MAX

    def parameter(self, value: Any, cast: LiteralString) -> Part:
        """A placeholder for a value, with its type."""
        if len(self.parameters) >= PARAMETERS_MAX:
            raise BadRequestException(f"The segment, with those it rests on, has more than {PARAMETERS_MAX} values")
        name = f"segment_{len(self.parameters) + 1}"
        self.parameters[name] = value
        return sql.SQL("{}::" + cast).format(sql.Placeholder(name))

    def leaf(self, node: Leaf) -> Part:
        """One condition."""
        match node:
            case HasValue():
                return self.has_value(node)
            case HasText():
                return self.has_text(node)
            case HasDate():
                return self.has_date(node)
            case MetricIs():
                return sql.SQL("(e.metrics ->> {})::float8 {} {}").format(
                    self.parameter(node.name, "text"),
                    sql.SQL(COMPARISONS[node.operator]),
                    self.parameter(node.value, "float8"),
                )
            case ScalarIs():
                return self.scalar_is(node)
            case IsNear():
                return self.is_near(node)
            case IsActiveSince():
                return sql.SQL("e.effective_at >= {}").format(self.parameter(node.moment, "timestamptz"))
            case IsMember():
                return self.is_member(node)

    def scalar_is(self, node: ScalarIs) -> Part:
        """Equality with one of several values; of a single one PostgreSQL need not make an array for each row."""
        scalar = sql.SQL(SCALARS[node.member])
        if len(node.values) == 1:
            return sql.SQL("{} = {}").format(scalar, self.parameter(node.values[0], "text"))
        return sql.SQL("{} = ANY ({})").format(scalar, self.parameter(list(node.values), "text[]"))

    def values_of(self, node: HasValue | HasText | HasDate, condition: Part) -> Part:
        """Whether some value `v` of the attribute meets a condition."""
        return sql.SQL("EXISTS (SELECT FROM jsonb_array_elements_text({} -> {}) AS v WHERE {})").format(
            sql.SQL(COLUMNS[node.column]), self.parameter(node.name, "text"), condition
        )

    def has_value(self, node: HasValue) -> Part:
        """Equality with one of several values."""
        if len(node.values) > self.containments_left:
            return self.has_value_of_many(node)
        self.containments_left -= len(node.values)
        column = sql.SQL(COLUMNS[node.column])
        parts = [
            sql.SQL("{} @> {}").format(column, self.parameter(Jsonb({node.name: [value]}), "jsonb"))
            for value in node.values
        ]
        return joined(" OR ", parts, "false")

    def has_value_of_many(self, node: HasValue) -> Part:
        """The same in one look at the attribute: mostly it has one value, which PostgreSQL finds by its hash.

        Several of its values are compared with all that are wanted, without a subquery, which would keep other
        processes from sharing the scan.
        """
        return sql.SQL(
            "CASE WHEN jsonb_array_length({column} -> {name}) = 1 THEN {column} -> {name} ->> 0 = ANY ({values}) "
            "ELSE {column} -> {name} ?| {values} END"
        ).format(
            column=sql.SQL(COLUMNS[node.column]),
            name=self.parameter(node.name, "text"),
            values=self.parameter(list(node.values), "text[]"),
        )

    def has_text(self, node: HasText) -> Part:
        """Substrings; searched for in the whole array's text where that cannot mistake its structure for content."""
        name = self.parameter(node.name, "text")
        whole = sql.SQL("({} -> {})::text").format(sql.SQL(COLUMNS[node.column]), name)
        plain = [text for text in node.texts if _is_plain(text)]
        parts: list[Part]
        if len(plain) > SEARCHES_MAX:
            patterns = [f"%{LIKE_SPECIAL.sub(ESCAPED, text)}%" for text in plain]
            parts = [sql.SQL("{} LIKE ANY ({})").format(whole, self.parameter(patterns, "text[]"))]
        else:
            parts = [sql.SQL("strpos({}, {}) > 0").format(whole, self.parameter(text, "text")) for text in plain]
        others = [self.parameter(text, "text") for text in node.texts if not _is_plain(text)]
        parts += [self.values_of(node, sql.SQL("strpos(v, {}) > 0").format(text)) for text in others]
        return joined(" OR ", parts, "false")

    def has_date(self, node: HasDate) -> Part:
        """Instants; what is not one is told by its form and by PostgreSQL, before it is read as one.

        Whole seconds, which is what people ask for, are compared as text: without a subquery, so by several processes.
        """
        path = _path_of_dates(node)
        if path is not None:
            return sql.SQL("({} -> {}) @? {}").format(
                sql.SQL(COLUMNS[node.column]), self.parameter(node.name, "text"), self.parameter(path, "jsonpath")
            )
        instants = [self.parameter(instant, "text") for instant in node.instants]
        likely, exactly = DATES[node.comparison]
        condition = sql.SQL(
            "CASE WHEN {} AND v ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T([01][0-9]|2[0-3])(:[0-5][0-9]){{2}}"
            "(\\.[0-9]{{1,9}})?Z$' AND pg_input_is_valid(v, 'timestamptz') THEN {} ELSE false END"
        ).format(sql.SQL(likely).format(*instants), sql.SQL(exactly).format(*instants))
        return self.values_of(node, condition)

    def is_near(self, node: IsNear) -> Part:
        """The haversine formula, after a look at how far north or south a place is, and then how far east or west."""
        reach = node.kilometers / KILOMETERS_PER_DEGREE + ROUNDING_DEGREES
        return sql.SQL(
            """(abs((e.location ->> 'Latitude')::float8 - {latitude}) <= {reach}
                AND cos(radians((e.location ->> 'Longitude')::float8 - {longitude})) >= {least_cosine}
                AND {diameter} * asin(least(1, sqrt(
                power(sin(radians(round((e.location -> 'Latitude')::numeric, 1)::float8 - {latitude}) / 2), 2)
                + cos(radians({latitude})) * cos(radians(round((e.location -> 'Latitude')::numeric, 1)::float8))
                * power(sin(radians(round((e.location -> 'Longitude')::numeric, 1)::float8 - {longitude}) / 2), 2)
                ))) <= {kilometers})"""
        ).format(
            latitude=self.parameter(node.latitude, "float8"),
            longitude=self.parameter(node.longitude, "float8"),
            reach=self.parameter(reach, "float8"),
            least_cosine=self.parameter(math.cos(_longitude_reach(node.latitude, reach)), "float8"),
            diameter=self.parameter(2 * EARTH_KILOMETERS, "float8"),
            kilometers=self.parameter(node.kilometers, "float8"),
        )

    def is_member(self, node: IsMember) -> Part:
        """Membership by endpoint and, where the import named users, by user."""
        by_endpoint = sql.SQL(
            """EXISTS (SELECT FROM segment_member AS m WHERE m.app_id = e.app_id AND m.segment_id = {segment}
               AND m.version = {version} AND m.endpoint_id = e.endpoint_id)"""
        ).format(**self.member_key(node))
        return joined(" OR ", [by_endpoint, self.names_user(node)], "false") if node.has_users else by_endpoint

    def names_user(self, node: IsMember) -> Part:
        """Whether an import names the endpoint's user."""
        return sql.SQL(
            """EXISTS (SELECT FROM segment_user AS u WHERE u.app_id = e.app_id AND u.segment_id = {segment}
               AND u.version = {version} AND u.user_id = e.user_id)"""
        ).format(**self.member_key(node))

    def member_key(self, node: IsMember) -> dict[str, Part]:
        """Under which numbers a segment's members are."""
        return {
            "segment": self.parameter(node.segment_id, "text"),
            "version": self.parameter(node.member_version, "int"),
        }


def _longitude_reach(latitude: float, reach: float) -> float:
    """How far east and west, in radians, places within `reach` degrees of one at this latitude are at most.

    The meridians there touch the circle; a circle with a pole in it meets all of them.
    """
    if abs(latitude) + reach >= 90:  # noqa: PLR2004 - degrees
        return math.pi
    return math.asin(math.sin(math.radians(reach)) / math.cos(math.radians(latitude)))


def _is_plain(text: str) -> bool:
    """Whether a text, found in the text of an array of strings, can only have been found inside one of them."""
    return STRUCTURE.isdisjoint(text) and not any(character < " " for character in text) and bool(text.strip(" "))


def _path_of_dates(node: HasDate) -> str | None:
    """The jsonpath that finds such a time among an attribute's values; None where fractions of a second matter.

    An instant's first 19 characters are its second. Of the same second are those that go on with a fraction or a Z,
    which are after the 19 characters, and before these with a tilde.
    """
    if node.comparison != "ON" and any(instant[19:].strip(".0Z") for instant in node.instants):
        return None
    first, last = node.instants[0][:19], node.instants[-1][:19]
    test = {
        "BEFORE": f'@ < "{first}"',
        "AFTER": f'(@ > "{first}~" || @ like_regex "^{first}[.]0*[1-9]")',
        "ON": f'@ starts with "{first[:10]}"',
        "BETWEEN": f'@ >= "{first}" && (@ < "{last}" || @ like_regex "^{last}([.]0+)?Z$")',
    }[node.comparison]
    return f'$[*] ? ({test} && @ >= "0001" && @ like_regex "{INSTANT}")'


def joined(operator: LiteralString, parts: Sequence[Part], empty: LiteralString) -> Part:
    """Parts with an operator between them; `empty` where there are none."""
    if len(parts) <= 1:
        return parts[0] if parts else sql.SQL(empty)
    return sql.SQL("({})").format(sql.SQL(operator).join(parts))
