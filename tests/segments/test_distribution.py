"""What a cluster (Citus) asks of the tables that are distributed by endpoint_id, and of the joins between them."""

import re
from pathlib import Path

import psycopg
import pytest

import repoint
from repoint.db.cluster import DISTRIBUTED, REPLICATED
from repoint.resources.segments.compile import compile_segment
from tests.segments.population import NOW, dsn
from tests.segments.test_naive import imported_segment, stored

KEYS = """SELECT c.relname, i.relname, array_agg(a.attname::text)
          FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (x.indkey)
          WHERE x.indisunique AND c.relname = ANY (%s) GROUP BY 1, 2"""
REFERENCES = """SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
                WHERE contype = 'f' AND (conrelid::regclass::text = ANY (%s) OR confrelid::regclass::text = ANY (%s))"""
EVERYTHING = {
    "SegmentGroups": {
        "Include": "ANY",
        "Groups": [
            {"SourceSegments": [{"Id": "one"}], "SourceType": "NONE"},
            {"SourceSegments": [{"Id": "users"}], "Dimensions": [{"Attributes": {"a": {"Values": ["b"]}}}]},
            {
                "Dimensions": [
                    {"Attributes": {"a": {"AttributeType": "CONTAINS", "Values": ["[", "c"]}}},
                    {"UserAttributes": {"a": {"AttributeType": "ON", "Values": ["2026-01-01T00:00:00Z"]}}},
                ]
            },
        ],
    }
}


@pytest.fixture
def connection(server):
    with psycopg.connect(dsn(server)) as connection:
        yield connection


def test_every_unique_key_of_a_distributed_table_contains_the_endpoint(connection):
    keys = connection.execute(KEYS, [sorted(DISTRIBUTED)]).fetchall()

    assert {table for table, _, _ in keys} == set(DISTRIBUTED)
    assert set(DISTRIBUTED).isdisjoint(REPLICATED)
    assert [(table, index) for table, index, columns in keys if "endpoint_id" not in columns] == []


def test_no_foreign_key_leaves_or_reaches_a_distributed_table(connection):
    tables = sorted(DISTRIBUTED)

    assert connection.execute(REFERENCES, [tables, tables]).fetchall() == []


def test_a_condition_joins_distributed_tables_on_application_and_endpoint_alone(connection):
    sources = {(name, None): imported_segment(name, name == "users") for name in ("one", "users")}
    condition = compile_segment(stored("s", EVERYTHING), sources, NOW)
    text = re.sub(r"%\(\w+\)s(::\w+)?", "?", " ".join(condition.text.as_string(connection).split()))

    assert set(re.findall(r"\b(?:FROM|JOIN) (\w+)", text)) == {
        "segment_member",
        "segment_user",
        "jsonb_array_elements_text",
    }
    for table, alias, column in (("segment_member", "m", "endpoint_id"), ("segment_user", "u", "user_id")):
        key = f"{alias}.segment_id = ? AND {alias}.version = ?"
        join = f"{alias}.app_id = e.app_id AND {key} AND {alias}.{column} = e.{column}"
        assert text.count(f"FROM {table} AS {alias} WHERE {join})") == text.count(f"FROM {table}")


def test_no_statement_writes_a_distributed_table_inside_a_with():
    write = re.compile(rf"AS (?:MATERIALIZED )?\(\s*(?:INSERT INTO|UPDATE|DELETE FROM) (?:{'|'.join(DISTRIBUTED)})\b")
    files = sorted(Path(repoint.__file__).parent.rglob("*.py"))
    found = [file.name for file in files if write.search(file.read_text())]

    assert len(files) > 200
    assert found == []
