"""`repoint doctor`: look at an installation's parts, one by one, and say what is wrong in words one can act on."""

import asyncio
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from repoint.clock import system_clock
from repoint.config import SettingError, Settings
from repoint.delivery.providers.smtp.relay import RelaySettings
from repoint.main import CannotOpenError, Installation
from repoint.main.checking import check
from repoint.main.serving import PortError, reserve_port
from repoint.resources import keys
from repoint.sealing import SealError

FREE_BYTES_MIN = 2 * 2**30
CONNECT_SECONDS = 5
CLOCK_SECONDS = 0.5  # less is what it takes to look
BYTEWISE = ("C", "POSIX")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    is_fine: bool
    subject: str
    text: str


def examine(settings: Settings) -> list[Finding]:
    """All findings; opens (and, if it was not running, starts and stops) the database, and makes none."""
    findings = [_data_dir(settings), _port(settings)]
    try:
        check(settings)
    except SettingError as error:
        return [*findings, Finding(is_fine=False, subject="settings", text=str(error))]
    findings += [_relay(RelaySettings.from_url(url)) for url in settings.smtp_url]
    if not Installation.exists(settings):
        return [*findings, Finding(is_fine=True, subject="database", text="none yet; `repoint serve` makes one")]
    try:
        installation = Installation.open(settings)
    except CannotOpenError as error:
        return [*findings, Finding(is_fine=False, subject="database", text=str(error))]
    try:
        findings += asyncio.run(_database(installation))
    finally:
        installation.close()
    return findings


def _data_dir(settings: Settings) -> Finding:
    folder = settings.data_dir
    if folder.exists() and not folder.is_dir():
        return Finding(is_fine=False, subject="data directory", text=f"{folder} is no folder")
    parent = folder if folder.exists() else folder.resolve().parent
    if not os.access(parent, os.W_OK):
        return Finding(is_fine=False, subject="data directory", text=f"{folder} cannot be written to")
    free = shutil.disk_usage(parent).free
    text = f"{folder}, {free / 2**30:.1f} GiB free"
    return Finding(is_fine=free >= FREE_BYTES_MIN, subject="data directory", text=text)


def _port(settings: Settings) -> Finding:
    subject = f"port {settings.port}"
    if settings.port and _answers(settings.host, settings.port):
        return Finding(is_fine=True, subject=subject, text="something answers there (a running server?)")
    try:
        with reserve_port(settings.host, settings.port):
            return Finding(is_fine=True, subject=subject, text="free")
    except PortError as error:
        return Finding(is_fine=False, subject=subject, text=str(error))


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _relay(relay: RelaySettings) -> Finding:
    name = f"relay {relay.host}"
    try:
        with socket.create_connection((relay.host, relay.port), timeout=CONNECT_SECONDS):
            return Finding(is_fine=True, subject=name, text=f"port {relay.port} answers")
    except OSError as error:
        return Finding(is_fine=False, subject=name, text=f"port {relay.port}: {error}")


async def _database(installation: Installation) -> list[Finding]:
    async with installation.server() as server:
        row = await server.db.fetch_one(
            """SELECT current_setting('server_version_num')::int, current_setting('fsync'),
                      pg_size_pretty(pg_database_size(current_database())), (SELECT count(*) FROM outbox),
                      (SELECT to_jsonb(one) FROM pg_database one WHERE datname = current_database())"""
        )
        assert row is not None
        version, fsync, size, waiting, database = row
        stored = await keys.list_keys(server.db)
        return [
            Finding(is_fine=True, subject="database", text=f"PostgreSQL {version // 10000}.{version % 100}, {size}"),
            Finding(fsync == "on", "durability", f"fsync is {fsync}"),
            _order(database),
            _time(server.clock() - system_clock()),
            Finding(is_fine=True, subject="outbox", text=f"{waiting} messages waiting"),
            await _secrets(installation, stored),
        ]


def _order(database: Mapping[str, Any]) -> Finding:
    """How text is compared: a row of pg_database. Its locale's column has another name in PostgreSQL 16."""
    is_libc = database["datlocprovider"] == "c"
    order = database["datcollate"] if is_libc else database.get("datlocale") or database.get("daticulocale") or ""
    is_bytewise = order in BYTEWISE or order.lower() in ("c.utf8", "c.utf-8")
    advice = "" if is_bytewise else ", which makes writing slow; see docs/howto/use-your-own-postgresql.md"
    return Finding(is_fine=True, subject="order of text", text=f"{order}{advice}")


def _time(ahead: timedelta) -> Finding:
    """How far ahead of this machine's clock that of the installation is: the database's, where the two differ."""
    seconds = ahead.total_seconds()
    if abs(seconds) < CLOCK_SECONDS:
        return Finding(is_fine=True, subject="clock", text="as the database's")
    side = "behind" if seconds > 0 else "ahead of"
    text = f"{abs(seconds):.0f} s {side} the database's, by which Repoint goes; set both machines' by NTP"
    return Finding(is_fine=False, subject="clock", text=text)


async def _secrets(installation: Installation, stored: list[keys.StoredKey]) -> Finding:
    async with installation.server() as server:
        for key in stored:
            found = await keys.find_key(server.db, key.access_key_id)
            try:
                if found:
                    server.seal.open(found[1], key.access_key_id)
            except SealError as error:
                return Finding(is_fine=False, subject="secret key", text=str(error))
    text = f"opens all {len(stored)} access keys" if stored else "there is no access key yet: see `repoint keys create`"
    return Finding(is_fine=bool(stored), subject="secret key", text=text)
