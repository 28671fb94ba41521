"""CSV: PostgreSQL parses it, and one statement made from the header turns cells into endpoints' new values.

The statement is put together from `psycopg.sql` parts, because its columns are the file's. It takes the rows that are
certainly fine; what is left of a chunk goes the slow way (`rows`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from psycopg import sql

from repoint.resources.endpoints.checks import (
    ID_CHARACTERS_MAX,
    KEY_BYTES_MAX,
    NAME_CHARACTERS_MAX,
    VALUE_CHARACTERS_MAX,
    VALUES_MAX,
)
from repoint.resources.jobs.json_rows import DEMOGRAPHIC, MOMENT, PLACES
from repoint.resources.jobs.rows import FileError, RowError, split_csv_row
from repoint.wire import shapes
from repoint.wire.bounds import BOUNDS

PLAIN = ("Id", "Address", "ChannelType", "OptOut", "EffectiveDate", "User.UserId")
IGNORED = ("RequestId", "EndpointStatus", "ApplicationId", "CohortId", "CreationDate")
COORDINATES = ("Location.Latitude", "Location.Longitude")
LEAVES = (*(f"Demographic.{name}" for name in DEMOGRAPHIC), *(f"Location.{name}" for name in PLACES), *COORDINATES)
LISTS = {"Attributes.": "attributes", "User.UserAttributes.": "user_attributes"}
COLUMNS_MAX = 1500
MEMBERS_MAX = 90
ESCAPED = [b'""', b"\\", *(bytes([code]) for code in range(32) if code not in b"\r\n")]
Name = tuple[str, str]


def read_header(line: bytes) -> list[str]:
    """A file's columns.

    Raises:
        FileError: naming a column that is none, or is there twice and cannot be.
    """
    try:
        header = [column.strip() for column in split_csv_row(line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n"))]
    except RowError as error:
        raise FileError(f"line 1: {error}") from None
    if not header or len(header) > COLUMNS_MAX:
        raise FileError(f"line 1: must be a header of 1 to {COLUMNS_MAX} columns")
    for column in header:
        name = _name(column)
        if name is None and column not in (*PLAIN, *IGNORED, *LEAVES):
            raise FileError(f"line 1: there is no column {column[:80]!r}")
        if name is not None and not 1 <= len(name[1]) <= NAME_CHARACTERS_MAX:
            raise FileError(f"line 1: {column[:80]!r}: a name must have 1 to {NAME_CHARACTERS_MAX} characters")
        if header.count(column) > 1 and (name is None or name[0] == "metrics"):
            raise FileError(f"line 1: {column!r} is there twice; only attributes are lists")
    return header


def _name(column: str) -> Name | None:
    """The attribute a column holds, as (kind, name)."""
    for prefix, kind in (*LISTS.items(), ("Metrics.", "metrics")):
        if column.startswith(prefix):
            return kind, column[len(prefix) :]
    return None


@dataclass(frozen=True, slots=True)
class CsvTable:
    """The statements for files with this header."""

    header: list[str]

    @property
    def is_users(self) -> bool:
        """Whether the file names users, and nothing else."""
        return self.header == ["User.UserId"]

    def _cells(self, column: str) -> list[sql.Identifier]:
        return [cell(index) for index, found in enumerate(self.header) if found == column]

    def _cell(self, column: str) -> sql.Composable:
        return next(iter(self._cells(column)), sql.SQL("NULL::text"))

    def names(self, kind: str) -> list[str]:
        """The attributes of a kind this file has columns for."""
        found = {name[1] for name in map(_name, self.header) if name is not None and name[0] == kind}
        return sorted(found, key=lambda name: (len(name.encode()), name))  # as jsonb orders them: it has less to sort

    def all_names(self) -> list[Name]:
        """All attributes this file has columns for, as (kind, name)."""
        return [(kind, name) for kind in ("attributes", "metrics", "user_attributes") for name in self.names(kind)]

    def stage(self) -> sql.Composed:
        """The table COPY fills: a column of text for each of the file's."""
        columns = sql.SQL(", ").join(sql.SQL("{} text").format(cell(index)) for index in range(len(self.header)))
        return sql.SQL("CREATE TEMP TABLE import_stage ({}) ON COMMIT DROP").format(columns)

    def copy(self) -> sql.Composed:
        """COPY of the file's own bytes; an empty cell is absent, quoted or not."""
        columns = sql.SQL(", ").join(cell(index) for index in range(len(self.header)))
        return sql.SQL("COPY import_stage FROM STDIN (FORMAT csv, FORCE_NULL ({}))").format(columns)

    def used(self, names: Sequence[Name]) -> sql.Composed:
        """For each of these names, whether any row has it."""
        return sql.SQL("SELECT {} FROM import_stage").format(
            sql.SQL(", ").join(
                sql.SQL("coalesce(bool_or({}), false)").format(any_given(self._cells(_column(name)))) for name in names
            )
        )

    def items(self, blocked: Sequence[Name], *, is_plain: bool) -> sql.Composed:
        """The rows that are certainly fine, as import_item has them; parameter: the moment it is.

        Rows with a `blocked` name, for which the application has no room, are not. With `is_plain` (see
        `needs_no_escapes`), no cell has a character that JSON escapes.
        """
        return sql.SQL(
            """INSERT INTO import_item (line, endpoint_id, given_id, has_id, removes, channel_type, address,
                   is_opted_out, effective_at, user_id, attributes, metrics, demographic, location, user_attributes)
               SELECT line, lower(given_id), given_id, has_id, false, {channel}, {address}, {opt_out} = 'ALL',
                   coalesce({effective}::timestamptz, %s), {user}, {attributes}, {metrics}, {demographic}, {location},
                   {user_attributes}
               FROM (SELECT row_number() OVER () AS line, coalesce({id}, gen_random_uuid()::text) AS given_id,
                         {id} IS NOT NULL AS has_id, coalesce({fine}, false) AS is_fine, import_stage.*
                     FROM import_stage) AS row
               WHERE is_fine"""
        ).format(
            id=self._cell("Id"),
            channel=self._cell("ChannelType"),
            address=self._cell("Address"),
            opt_out=self._cell("OptOut"),
            effective=self._cell("EffectiveDate"),
            user=self._cell("User.UserId"),
            attributes=self._lists("Attributes.", is_plain=is_plain),
            user_attributes=self._lists("User.UserAttributes.", is_plain=is_plain),
            metrics=built([(name, number(self._cell(f"Metrics.{name}"))) for name in self.names("metrics")]),
            demographic=self._leaves("Demographic.", is_plain=is_plain),
            location=self._leaves("Location.", is_plain=is_plain),
            fine=sql.SQL(" AND ").join(self._conditions(blocked)),
        )

    def _lists(self, prefix: str, *, is_plain: bool) -> sql.Composable:
        return built(
            [(name, listed(self._cells(prefix + name), is_plain=is_plain)) for name in self.names(LISTS[prefix])]
        )

    def _leaves(self, prefix: str, *, is_plain: bool) -> sql.Composable:
        columns = [column for column in self.header if column.startswith(prefix) and column in LEAVES]
        return built(
            [
                (
                    column.removeprefix(prefix),
                    number(self._cell(column))
                    if column in COORDINATES
                    else text(self._cell(column), is_plain=is_plain),
                )
                for column in columns
            ]
        )

    def _conditions(self, blocked: Sequence[Name]) -> list[sql.Composable]:
        """What a row must fulfil to be certainly fine; a NULL condition counts as not fulfilled."""
        has = self.header.count
        conditions: list[sql.Composable] = [
            sql.SQL("({} IS NOT NULL OR ({} IS NOT NULL AND {} IS NOT NULL))").format(
                self._cell("Id"), self._cell("Address"), self._cell("ChannelType")
            )
        ]
        conditions += [is_id(self._cell(column)) for column in ("Id", "User.UserId") if has(column)]
        if has("Address"):
            conditions.append(
                sql.SQL("({0} IS NULL OR octet_length({0}) <= {1})").format(
                    self._cell("Address"), sql.Literal(KEY_BYTES_MAX)
                )
            )
        for column, allowed in (("ChannelType", get_args(shapes.ChannelType)), ("OptOut", ("ALL", "NONE"))):
            if has(column):
                conditions.append(is_one_of(self._cell(column), allowed))
        if has("EffectiveDate"):
            conditions.append(is_moment(self._cell("EffectiveDate")))
        conditions += self._leaf_conditions()
        conditions += self._attribute_conditions(blocked)
        return conditions

    def _leaf_conditions(self) -> list[sql.Composable]:
        conditions: list[sql.Composable] = []
        for column in set(self.header) & set(LEAVES):
            structure, _, member = column.partition(".")
            bound = BOUNDS.get((f"Endpoint{structure}", member))
            if column in COORDINATES:
                limit = 90 if member == "Latitude" else 180
                conditions.append(is_number(self._cell(column), limit=limit))
            elif bound is not None and bound.maximum is not None:
                conditions.append(at_most([self._cell(column)], int(bound.maximum)))
        if set(self.header) & set(COORDINATES):
            conditions.append(
                sql.SQL("(({}) IS NULL) = (({}) IS NULL)").format(*(self._cell(column) for column in COORDINATES))
            )
        return conditions

    def _attribute_conditions(self, blocked: Sequence[Name]) -> list[sql.Composable]:
        conditions: list[sql.Composable] = [is_number(self._cell(f"Metrics.{name}")) for name in self.names("metrics")]
        lists = [cell(index) for index, column in enumerate(self.header) if column.startswith(tuple(LISTS))]
        conditions += [
            at_most(lists[begin : begin + MEMBERS_MAX], VALUE_CHARACTERS_MAX)
            for begin in range(0, len(lists), MEMBERS_MAX)
        ]
        for prefix, kind in LISTS.items():
            for name in self.names(kind):
                cells = self._cells(prefix + name)
                if len(cells) > VALUES_MAX:
                    count = sql.SQL(", ").join(cells)
                    conditions.append(sql.SQL("num_nonnulls({}) <= {}").format(count, sql.Literal(VALUES_MAX)))
        conditions += [sql.SQL("NOT ({})").format(any_given(self._cells(_column(name)))) for name in blocked]
        return conditions


def _column(name: Name) -> str:
    prefixes = {"attributes": "Attributes.", "metrics": "Metrics.", "user_attributes": "User.UserAttributes."}
    return prefixes[name[0]] + name[1]


def cell(index: int) -> sql.Identifier:
    """The stage's column of this number."""
    return sql.Identifier(f"c{index}")


def any_given(cells: Sequence[sql.Composable]) -> sql.Composable:
    """Whether any of these cells is there."""
    return sql.SQL("({})").format(sql.SQL(" OR ").join(sql.SQL("{} IS NOT NULL").format(one) for one in cells))


def needs_no_escapes(content: bytes) -> bool:
    """Whether no cell of these bytes of CSV can have a character that JSON escapes; a handful of quick searches."""
    return not any(one in content for one in ESCAPED)


def listed(cells: Sequence[sql.Composable], *, is_plain: bool) -> sql.Composable:
    """A list attribute as JSON text: its cells that are there, or NULL if none is."""
    if len(cells) == 1:
        return sql.SQL("'[' || {} || ']'").format(text(cells[0], is_plain=is_plain))
    present = sql.SQL(", ").join(cells)
    return sql.SQL("nullif(array_to_json(array_remove(ARRAY[{}], NULL))::text, '[]')").format(present)


def text(one: sql.Composable, *, is_plain: bool) -> sql.Composable:
    """A cell as JSON text, or NULL."""
    return sql.SQL("'\"' || {} || '\"'" if is_plain else "to_json({})::text").format(one)


def number(one: sql.Composable) -> sql.Composable:
    """A cell that is known to be a number, as JSON text, or NULL."""
    return sql.SQL("to_json(({})::float8)::text").format(one)


def built(pairs: Sequence[tuple[str, sql.Composable]]) -> sql.Composable:
    """An object of those values that are there; NULL, not given, when the file has no such columns.

    Text put together and parsed once takes half the time of jsonb_build_object and jsonb_strip_nulls; concat() leaves
    out what is NULL, a member with its name.
    """
    if not pairs:
        return sql.SQL("NULL::jsonb")
    members = [
        sql.SQL("{} || {}").format(sql.Literal("," + json.dumps(name, ensure_ascii=False) + ":"), value)
        for name, value in pairs
    ]
    parts = [
        sql.SQL("concat({})").format(sql.SQL(", ").join(members[begin : begin + MEMBERS_MAX]))
        for begin in range(0, len(members), MEMBERS_MAX)
    ]
    return sql.SQL("('{{' || ltrim({}, ',') || '}}')::jsonb").format(sql.SQL(" || ").join(parts))


def at_most(cells: Sequence[sql.Composable], characters: int) -> sql.Composable:
    """Whether none of these cells is longer than that; counting bytes is quicker, and mostly enough."""
    octets = sql.SQL(", ").join(sql.SQL("octet_length({})").format(one) for one in cells)
    lengths = sql.SQL(", ").join(sql.SQL("length({})").format(one) for one in cells)
    return sql.SQL("(coalesce(greatest({0}), 0) <= {2} OR coalesce(greatest({1}), 0) <= {2})").format(
        octets, lengths, sql.Literal(characters)
    )


def is_id(one: sql.Composable) -> sql.Composable:
    """Whether a cell is an id of ASCII alone, for which PostgreSQL's lower() is Python's."""
    return sql.SQL(
        "({0} IS NULL OR (octet_length({0}) = length({0}) AND length({0}) <= {1} "
        "AND translate({0}, '${{}}', '') = {0}))"
    ).format(one, sql.Literal(ID_CHARACTERS_MAX))


def is_one_of(one: sql.Composable, allowed: Sequence[str]) -> sql.Composable:
    """Whether a cell is one of these."""
    words = sql.SQL(", ").join(sql.Literal(word) for word in allowed)
    return sql.SQL("({0} IS NULL OR {0} IN ({1}))").format(one, words)


def is_moment(one: sql.Composable) -> sql.Composable:
    """Whether a cell is a date both PostgreSQL and Python read alike."""
    return sql.SQL("({0} IS NULL OR ({0} ~ {1} AND pg_input_is_valid({0}, 'timestamptz')))").format(
        one, sql.Literal(MOMENT)
    )


def is_number(one: sql.Composable, *, limit: int | None = None) -> sql.Composable:
    """Whether a cell is a finite decimal number, within ± the limit."""
    within: sql.Composable = sql.SQL("true")
    if limit is not None:
        within = sql.SQL("abs(({})::float8) <= {}").format(one, sql.Literal(limit))
    return sql.SQL(
        "CASE WHEN {0} IS NULL THEN true WHEN translate({0}, '0123456789+-.eE', '') = '' "
        "AND pg_input_is_valid({0}, 'float8') THEN {1} ELSE false END"
    ).format(one, within)
