"""Counting segments over a million endpoints, against the best hand-written SQL on the same table.

`BENCH_ENDPOINTS` sets another number of endpoints; they are kept in build/bench-segments for the next run.
"""

import asyncio
import functools
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

from psycopg import sql

from repoint.db import Connection, Database, allow_scans
from repoint.db.embedded import EmbeddedPostgres
from repoint.db.migrate import load_migrations, migrate
from repoint.resources.segments import audience
from repoint.resources.segments.store import StoredSegment, create_dimensional, create_imported

ENDPOINTS = int(os.environ.get("BENCH_ENDPOINTS", "1000000"))
MEMBERS = 10_000
ROUNDS_MIN, ROUNDS_MAX = 7, 101
SECONDS = 3.0
"""A shape takes its turns for about so long, within these bounds."""
Statement = tuple[sql.Composed, dict[str, Any] | None]
NOW = datetime(2026, 11, 24, tzinfo=UTC)

FILL: LiteralString = """
INSERT INTO endpoint (app_id, endpoint_id, given_id, revision, channel_type, address, is_active, is_opted_out,
    cohort_id, created_at, effective_at, request_id, user_id, attributes, metrics, demographic, location,
    user_attributes)
SELECT 'bench', md5('e' || n), md5('e' || n), 1, (ARRAY['EMAIL', 'EMAIL', 'EMAIL', 'SMS', 'GCM', 'APNS'])[1 + n %% 6],
    'user' || n || '@example.com', n %% 50 <> 0, n %% 20 = 0, n %% 100, %(now)s,
    %(now)s::timestamptz - (n %% 3650) * interval '1 hour', 'fill', 'u' || n,
    jsonb_build_object(
        'Plan', jsonb_build_array((ARRAY['free', 'silver', 'gold', 'platinum'])
            [CASE WHEN h %% 100 < 70 THEN 1 WHEN h %% 100 < 90 THEN 2 WHEN h %% 100 < 99 THEN 3 ELSE 4 END]),
        'City', jsonb_build_array('city-' || (h / 7 %% 2000)),
        'Interests', jsonb_build_array('i' || (h %% 50), 'i' || (h / 50 %% 50), 'i' || (h / 2500 %% 50)),
        'SignedUp', jsonb_build_array(to_char(timestamp '2020-01-01' + (h %% 2000) * interval '1 day',
            'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
        'Language', jsonb_build_array((ARRAY['en', 'fr', 'de', 'es', 'it', 'pt'])[1 + h %% 6]),
        'Store', jsonb_build_array('store-' || (h / 11 %% 400)),
        'Referrer', jsonb_build_array('https://example.com/' || (h / 3 %% 10000)),
        'Cart', jsonb_build_array('sku-' || (h / 13 %% 5000))),
    jsonb_build_object('Balance', (h / 17 %% 1000000) / 100.0, 'Visits', h / 19 %% 1000),
    jsonb_build_object('Platform', (ARRAY['ios', 'android', 'web'])[1 + h %% 3], 'Model', 'm' || (h / 23 %% 300),
        'Make', (ARRAY['Apple', 'Samsung', 'Acme', 'Sony', 'LG'])[1 + h / 3 %% 5],
        'AppVersion', '1.' || (h / 29 %% 40)),
    jsonb_build_object('Country', (ARRAY['US', 'GB', 'FR', 'DE', 'ES', 'IT', 'PT', 'NL', 'BE', 'AT', 'CH', 'SE', 'NO',
            'DK', 'FI', 'PL', 'CZ', 'HU', 'RO', 'BG'])[1 + h / 31 %% 20], 'PostalCode', (h / 37 %% 90000)::text,
        'City', 'c' || (h / 7 %% 2000),
        'Latitude', (h / 41 %% 18000) / 100.0 - 90, 'Longitude', (h / 43 %% 36000) / 100.0 - 180),
    jsonb_build_object('FirstName', jsonb_build_array('first' || (h / 47 %% 3000)),
        'LastName', jsonb_build_array('last' || (h / 53 %% 20000)),
        'Tier', jsonb_build_array((ARRAY['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'])[1 + h / 59 %% 10]),
        'Group', jsonb_build_array('g' || (h / 61 %% 500)))
FROM (SELECT n, abs(hashint8(n)::bigint) AS h FROM generate_series(%(first)s::bigint, %(last)s) n) g
"""


def value(*values: str, kind: str = "INCLUSIVE") -> dict[str, Any]:
    return {"AttributeType": kind, "Values": list(values)}


def one_of(*values: str) -> dict[str, Any]:
    return {"DimensionType": "INCLUSIVE", "Values": list(values)}


BALANCE = {"Balance": {"ComparisonOperator": "GREATER_THAN", "Value": 9000}}
COUNT: LiteralString = (
    "SELECT count(*), count(*) FILTER (WHERE is_active AND NOT is_opted_out AND address IS NOT NULL) "
    "FROM endpoint e WHERE app_id = 'bench' AND "
)
# Each shape: its document, whether it is selective, and hand-written conditions, of which the quickest counts.
SHAPES: dict[str, tuple[dict[str, Any], bool, list[LiteralString]]] = {
    "attribute, metric, demographic": (
        {
            "Dimensions": {
                "Attributes": {"City": value("city-77", "city-78")},
                "Metrics": BALANCE,
                "Demographic": {"Platform": one_of("ios")},
            }
        },
        True,
        [
            """(attributes @> '{"City": ["city-77"]}' OR attributes @> '{"City": ["city-78"]}')
               AND (metrics ->> 'Balance')::float8 > 9000 AND demographic ->> 'Platform' = 'ios'""",
            """attributes -> 'City' ?| '{city-77,city-78}' AND (metrics ->> 'Balance')::float8 > 9000
               AND demographic ->> 'Platform' = 'ios'""",
        ],
    ),
    "user attribute, country, exclusion": (
        {
            "Dimensions": {
                "UserAttributes": {"Group": value("g7")},
                "Attributes": {"Plan": value("free", kind="EXCLUSIVE")},
                "Location": {"Country": one_of("FR", "DE")},
            }
        },
        True,
        [
            """user_attributes @> '{"Group": ["g7"]}' AND NOT attributes -> 'Plan' ? 'free'
               AND location ->> 'Country' IN ('FR', 'DE')""",
        ],
    ),
    "import less a segment": (
        {
            "SegmentGroups": {
                "Groups": [
                    {"SourceSegments": [{"Id": "import"}]},
                    {"SourceSegments": [{"Id": "gold"}], "SourceType": "NONE"},
                ]
            }
        },
        True,
        [
            """endpoint_id IN (SELECT endpoint_id FROM segment_member WHERE app_id = 'bench' AND segment_id = 'import'
               AND version = 1) AND NOT attributes -> 'Plan' ? 'gold'""",
            """NOT attributes @> '{"Plan": ["gold"]}' AND EXISTS (SELECT FROM segment_member m WHERE m.app_id = e.app_id
               AND segment_id = 'import' AND version = 1 AND m.endpoint_id = e.endpoint_id)""",
        ],
    ),
    "common attribute, metric, demographic": (
        {
            "Dimensions": {
                "Attributes": {"Plan": value("gold", "platinum")},
                "Metrics": BALANCE,
                "Demographic": {"Platform": one_of("ios")},
            }
        },
        False,
        [
            """attributes -> 'Plan' ?| '{gold,platinum}' AND (metrics ->> 'Balance')::float8 > 9000
               AND demographic ->> 'Platform' = 'ios'""",
            """(attributes @> '{"Plan": ["gold"]}' OR attributes @> '{"Plan": ["platinum"]}')
               AND (metrics -> 'Balance')::float8 > 9000 AND demographic ->> 'Platform' = 'ios'""",
        ],
    ),
    "recency, channel, any of two": (
        {
            "SegmentGroups": {
                "Include": "ANY",
                "Groups": [
                    {
                        "Dimensions": [
                            {
                                "Behavior": {"Recency": {"Duration": "DAY_7", "RecencyType": "ACTIVE"}},
                                "Demographic": {"Channel": one_of("EMAIL")},
                            }
                        ]
                    },
                    {"Dimensions": [{"Demographic": {"Make": one_of("Sony"), "AppVersion": one_of("1.7")}}]},
                ],
            }
        },
        False,
        [
            """((effective_at >= '2026-11-17Z' AND channel_type = 'EMAIL')
               OR (demographic ->> 'Make' = 'Sony' AND demographic ->> 'AppVersion' = '1.7'))""",
        ],
    ),
    "time, text, distance": (
        {
            "Dimensions": {
                "Attributes": {
                    "SignedUp": value("2024-01-01T00:00:00Z", kind="BEFORE"),
                    "City": value("ty-1", kind="CONTAINS"),
                },
                "Location": {
                    "GPSPoint": {"Coordinates": {"Latitude": 45.8, "Longitude": 4.8}, "RangeInKilometers": 2000}
                },
            }
        },
        False,
        [
            """(location ->> 'Latitude')::float8 BETWEEN 27 AND 64 AND attributes -> 'City' ->> 0 LIKE '%ty-1%'
               AND (attributes -> 'SignedUp' ->> 0)::timestamptz < '2024-01-01Z'
               AND 12742 * asin(sqrt(sin(radians(((location ->> 'Latitude')::float8 - 45.8) / 2)) ^ 2
                   + cos(radians(45.8)) * cos(radians((location ->> 'Latitude')::float8))
                   * sin(radians(((location ->> 'Longitude')::float8 - 4.8) / 2)) ^ 2)) <= 2000""",
        ],
    ),
}


async def fill(dsn: str) -> None:
    """The endpoints, an imported segment of some of them, and a segment others rest on; once."""
    await migrate(dsn, load_migrations())
    db = Database(dsn)
    await db.open()
    row = await db.fetch_one("SELECT count(*) FROM endpoint")
    if row is None or row[0] != ENDPOINTS:
        async with db.transaction() as connection:
            await connection.execute("TRUNCATE endpoint, segment_member, app CASCADE")
            await connection.execute(
                """INSERT INTO app (app_id, region, name, created_at, settings_modified_at)
                   VALUES ('bench', 'us-east-1', 'bench', now(), now())"""
            )
            await connection.execute(FILL, {"now": NOW, "first": 1, "last": ENDPOINTS})
            await connection.execute(
                """INSERT INTO segment_member (app_id, segment_id, version, endpoint_id)
                   SELECT 'bench', 'import', 1, md5('e' || n * 13) FROM generate_series(1, %s) n""",
                [MEMBERS],
            )
            await create_imported(connection, "bench", "import", name="import", definition={"Size": MEMBERS}, now=NOW)
            gold = {"Dimensions": {"Attributes": {"Plan": value("gold")}}}
            await create_dimensional(connection, "bench", "gold", name="gold", criteria=gold, now=NOW)
        await db.execute("VACUUM (ANALYZE) endpoint")
        await db.execute("ANALYZE segment_member")
    await db.close()


async def seconds_of(connection: Connection, statement: Statement) -> tuple[float, int]:
    """How long one statement takes, and how many it counts."""
    async with connection.transaction():
        await allow_scans(connection)
        started = time.perf_counter()
        row = await (await connection.execute(*statement, prepare=False)).fetchone()
        assert row is not None
        return time.perf_counter() - started, row[0]


async def measure(
    connection: Connection, segment: StoredSegment, conditions: list[LiteralString]
) -> tuple[float, float]:
    """Median seconds: of our statement, and of the quickest hand-written one.

    They take turns, and each goes first as often as second: whoever goes second finds the rows in the processor's
    cache, which halves the time of a statement that reads few.
    """
    condition = await audience.load_condition(connection, segment, NOW)
    ours: Statement = (sql.SQL(COUNT + "{}").format(condition.text), condition.parameters)
    hand_written: list[Statement] = [(sql.Composed([sql.SQL(COUNT + one)]), None) for one in conditions]
    trials = [[await seconds_of(connection, one) for one in hand_written] for _ in range(3)][1:]
    best = [min(tries)[0] for tries in zip(*trials, strict=True)]
    theirs = hand_written[best.index(min(best))]
    sizes = {size for trial in trials for _, size in trial} | {(await seconds_of(connection, ours))[1]}
    assert max(sizes) - min(sizes) <= max(sizes) * 0.02, f"sizes differ: {sizes}"  # rounded coordinates move a few
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(max(ROUNDS_MIN, min(ROUNDS_MAX, int(SECONDS / min(best) / 2)))):
        for which in (turn % 2, 1 - turn % 2):
            taken[which].append((await seconds_of(connection, (ours, theirs)[which]))[0])
    return statistics.median(taken[0]), statistics.median(taken[1])


async def median_seconds(work: Callable[[], Awaitable[object]]) -> float:
    taken = []
    for _ in range(ROUNDS_MIN):
        started = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


async def all_shapes(dsn: str) -> list[dict[str, Any]]:
    await fill(dsn)
    db = Database(dsn)
    await db.open()
    results = []
    for name, (criteria, is_selective, conditions) in SHAPES.items():
        segment = StoredSegment("bench", "x", 1, 1, "x", criteria, None, None, NOW, NOW)
        async with db.connection() as connection:
            ours, theirs = await measure(connection, segment, conditions)
        count = await median_seconds(functools.partial(audience.count, db, segment, NOW))
        estimate = await median_seconds(functools.partial(audience.estimate, db, segment, NOW))
        results.append(
            {
                "name": f"segment: {name}",
                "value": ours * 1000,
                "unit": "ms",
                "reference": f"hand-written SQL, {'selective' if is_selective else 'a scan'}; "
                f"count as a whole {count * 1000:.1f} ms, estimate {estimate * 1000:.0f} ms; {ENDPOINTS:,} endpoints",
                "reference_value": theirs * 1000,
                "ratio": ours / theirs,
                "goal": 1.1,
            }
        )
    await db.close()
    return results


def run() -> list[dict[str, Any]]:
    folder = Path("build") / "bench-segments"
    folder.mkdir(parents=True, exist_ok=True)
    postgres = EmbeddedPostgres(folder.resolve())
    try:
        return asyncio.run(all_shapes(postgres.start()))
    finally:
        postgres.stop()
