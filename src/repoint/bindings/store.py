"""The registry: which target an ARN is bound to.

A target is a short text:

aws                         the service the ARN names, by boto3 (AWS_ENDPOINT_URL_* are honoured)
https://host/path           an HTTP endpoint; `secret` signs what it is sent
python:/path/handler.py     a local function, `lambda_handler(event, context)`; another name by `#name`
file:/path/events.jsonl     a file of JSON lines
kafka[s]://host:port/topic  a Kafka topic, with an s over TLS
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httpx
import msgspec

from repoint.bindings.webhooks import shown
from repoint.db import Connection, Database
from repoint.sealing import Seal

KINDS: Final = {
    "lambda": ("aws", "http", "python"),
    "kinesis": ("aws", "http", "python", "file", "kafka"),
    "firehose": ("aws", "http", "python", "file", "kafka"),
    "sns": ("aws", "http", "python"),
    "personalize": ("aws", "http", "python"),
}
ARN = re.compile(
    r"arn:(aws[a-z-]*):(lambda|kinesis|firehose|sns|personalize):([a-z0-9-]*):([0-9]*):([^\s\x00-\x1f]{1,300})\Z"
)

BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+)(:\d{1,5})?\Z", re.ASCII)
MECHANISM = re.compile(r"mechanism=(PLAIN|SCRAM-SHA-256|SCRAM-SHA-512)\Z")


class BindingError(Exception):
    """A binding that cannot be: its text says why."""


@dataclass(frozen=True, slots=True)
class Binding:
    """An ARN and its target; `secret` signs webhooks.

    `written_target` and `written_secret` are what a file says that names variables of the environment for them.
    """

    arn: str
    kind: str
    target: str
    secret: str = ""
    written_target: str = ""
    written_secret: str = ""

    @property
    def shown_target(self) -> str:
        """The target without its password."""
        return shown(self.target)


@dataclass(frozen=True, slots=True)
class Changes:
    """The ARNs that were bound, bound anew, and unbound."""

    added: Sequence[str]
    changed: Sequence[str]
    removed: Sequence[str]


def service_of(arn: str) -> str:
    """The service an ARN names: lambda, kinesis, firehose, sns or personalize.

    Raises:
        BindingError: for what is not such an ARN.
    """
    match = ARN.match(arn)
    if match is None:
        raise BindingError(f"{arn[:200]!r} is not the ARN of a function, a stream, a topic or a recommender model")
    return match[2]


def name_of(arn: str) -> str:
    """The resource's own name: the last part of its ARN."""
    return re.split(r"[:/]", arn)[-1]


def region_of(arn: str) -> str:
    """The region an ARN names."""
    match = ARN.match(arn)
    return match[3] if match else ""


def check(arn: str, target: str, secret: str = "") -> Binding:
    """A binding that can be.

    Raises:
        BindingError: saying what is wrong with the ARN or the target.
    """
    service = service_of(arn)
    scheme = target.partition(":")[0].lower()
    kind = {"https": "http", "kafkas": "kafka"}.get(scheme, scheme)
    if kind not in KINDS[service]:
        raise BindingError(f"{target!r}: a {service} ARN can be bound to {', '.join(KINDS[service])}")
    parts = _parts(kind, target)
    if kind in ("http", "kafka") and not parts.hostname:
        raise BindingError(f"{target!r}: names no host")
    if kind == "kafka":
        _check_kafka(target, parts)
    if kind in ("python", "file") and not parts.path.startswith("/"):
        raise BindingError(f"{target!r}: needs an absolute path")
    return Binding(arn, kind, target, secret)


def _check_kafka(target: str, parts: SplitResult) -> None:
    if not parts.path.strip("/"):
        raise BindingError(f"{target!r}: names no topic")
    for broker in parts.netloc.rpartition("@")[2].split(","):
        if not BROKER.match(broker):
            raise BindingError(f"{target!r}: {broker!r} is no broker's host:port")
    if parts.query and not MECHANISM.match(parts.query):
        raise BindingError(f"{target!r}: after the question mark there may be mechanism=PLAIN, SCRAM-SHA-256 or -512")


def _parts(kind: str, target: str) -> SplitResult:
    """A target's parts, if it is the URL it looks like."""
    if not target.isprintable():
        raise BindingError(f"{target!r}: has characters that cannot be printed")
    try:
        parts = urlsplit(target)
        if kind == "http":
            httpx.URL(target, port=parts.port)
    except (ValueError, httpx.InvalidURL) as error:
        raise BindingError(f"{target!r}: {error}") from None
    return parts


async def put(db: Database, seal: Seal, binding: Binding, now: datetime) -> None:
    """Bind, or bind anew."""
    async with db.settings_change() as connection:
        await _write(connection, seal, [binding], now)


async def apply(db: Database, seal: Seal, bindings: Sequence[Binding], now: datetime, *, prune: bool) -> Changes:
    """Bind all, in one transaction; what is bound so already is left alone. `prune` unbinds what is not among them."""
    wanted = {one.arn: one for one in bindings}
    async with db.settings_change() as connection:
        await connection.execute("LOCK TABLE binding IN SHARE ROW EXCLUSIVE MODE")
        rows = await (await connection.execute("SELECT arn, kind, sealed FROM binding ORDER BY arn")).fetchall()
        before = {arn: _opened(seal, arn, kind, sealed) for arn, kind, sealed in rows}
        changes = Changes(
            added=[arn for arn in wanted if arn not in before],
            changed=[arn for arn in wanted if arn in before and before[arn] != wanted[arn]],
            removed=[arn for arn in before if prune and arn not in wanted],
        )
        await _write(connection, seal, [wanted[arn] for arn in (*changes.added, *changes.changed)], now)
        await connection.execute("DELETE FROM binding WHERE arn = ANY(%s)", [changes.removed])
    return changes


async def _write(connection: Connection, seal: Seal, bindings: Sequence[Binding], now: datetime) -> None:
    sealed = []
    for one in bindings:
        content = {"target": one.target, "secret": one.secret}
        if one.written_target or one.written_secret:
            content |= {"written_target": one.written_target, "written_secret": one.written_secret}
        sealed.append(seal.seal(msgspec.json.encode(content).decode(), one.arn))
    await connection.execute(
        """INSERT INTO binding (arn, kind, sealed, modified_at)
           SELECT arn, kind, sealed, %s FROM unnest(%s::text[], %s::text[], %s::bytea[]) AS given (arn, kind, sealed)
           ON CONFLICT (arn) DO UPDATE SET kind = excluded.kind, sealed = excluded.sealed,
               modified_at = excluded.modified_at""",
        [now, [one.arn for one in bindings], [one.kind for one in bindings], sealed],
    )


async def delete(db: Database, arn: str) -> bool:
    """Unbind; False when nothing was bound."""
    async with db.settings_change() as connection:
        return (await connection.execute("DELETE FROM binding WHERE arn = %s", [arn])).rowcount > 0


async def list_all(db: Database, seal: Seal) -> list[Binding]:
    """All bindings, by ARN."""
    rows = await db.fetch_all("SELECT arn, kind, sealed FROM binding ORDER BY arn")
    return [_opened(seal, *row) for row in rows]


async def load_all(db: Database, seal: Seal) -> dict[str, Binding]:
    """All bindings, by ARN; for `Database.cached`."""
    return {one.arn: one for one in await list_all(db, seal)}


async def load(db: Database, key: tuple[Seal, str]) -> Binding | None:
    """The binding of an ARN, or of a bare function name; for `Database.cached`."""
    seal, arn = key
    row = await db.fetch_one(
        """SELECT arn, kind, sealed FROM binding
           WHERE arn = %s OR (%s NOT LIKE 'arn:%%' AND split_part(arn, ':function:', 2) = %s)
           ORDER BY arn LIMIT 1""",
        [arn, arn, arn],
    )
    return _opened(seal, *row) if row else None


def _opened(seal: Seal, arn: str, kind: str, sealed: bytes) -> Binding:
    content = msgspec.json.decode(seal.open(sealed, arn))
    return Binding(arn, kind, **content)
