"""Schedules: from a Schedule document and a clock to the times a campaign runs. Pure.

A *slot* is a time the schedule names: StartTime, or StartTime plus whole periods. What Pinpoint's guide leaves open is
settled here and in docs/decisions: a month without the start's day runs on its last day, EndTime itself is still
inside, and `Timezone` says how to read a StartTime that names no zone, and where the wall clock of a recipient-local
schedule is read.
"""

import calendar
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

IMMEDIATE = "IMMEDIATE"
RECURRING = {
    "HOURLY": timedelta(hours=1),
    "DAILY": timedelta(days=1),
    "WEEKLY": timedelta(weeks=1),
}
WINDOWED = frozenset({"EVENT", "IN_APP_EVENT"})
MONTHS_PER_YEAR = 12
# The first place on earth where any wall clock shows a given time is UTC+14.
EARLIEST_OFFSET = timedelta(hours=14)
LATEST_OFFSET = timedelta(hours=-12)  # and the last one
YEAR_MAX = 9990
# Pinpoint's 31; there is no UTC-01, UTC-12 or UTC+14.
EAST = "01 02 03 03:30 04 04:30 05 05:30 05:45 06 06:30 07 08 09 09:30 10 10:30 11 12 13"
TIMEZONES = (
    "UTC",
    *(f"UTC+{hours}" for hours in EAST.split(" ")),
    *(f"UTC-{hours:02}" for hours in range(2, 12)),
)


class ScheduleError(ValueError):
    """A schedule that cannot be; `member` is the one at fault, within Schedule."""

    def __init__(self, member: str, rule: str) -> None:
        super().__init__(f"{member}: {rule}")
        self.member = member
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Timetable:
    """A schedule, read. `start` is None for IMMEDIATE; moments are in UTC."""

    start: datetime | None
    end: datetime | None
    frequency: str
    offset: tzinfo
    is_local: bool

    @property
    def is_windowed(self) -> bool:
        """Whether it opens a window in which events are answered, instead of running at times."""
        return self.frequency in WINDOWED


def read_schedule(document: Mapping[str, Any]) -> Timetable:
    """A Schedule as the model has it.

    Raises:
        ScheduleError: naming the member and the rule it breaks.
    """
    offset = read_offset(document.get("Timezone", "UTC"))
    start = None if document["StartTime"] == IMMEDIATE else read_time("StartTime", document["StartTime"], offset)
    end = read_time("EndTime", document["EndTime"], offset) if document.get("EndTime") else None
    frequency = document.get("Frequency", "ONCE")
    if start is not None and end is not None and end <= start:
        raise ScheduleError("EndTime", "must be after StartTime")
    if frequency in WINDOWED and not document.get("EventFilter"):
        raise ScheduleError("EventFilter", f"is required when Frequency is {frequency}")
    is_local = bool(document.get("IsLocalTime")) and start is not None and frequency not in WINDOWED
    return Timetable(start, end, frequency, offset, is_local)


def read_offset(name: str) -> timezone:
    """A Timezone: UTC, or UTC with hours and maybe minutes, of the 31 that Pinpoint knows.

    Raises:
        ScheduleError: for any other.
    """
    if name not in TIMEZONES:
        raise ScheduleError("Timezone", f"must be one of {', '.join(TIMEZONES)}")
    if name == "UTC":
        return UTC
    hours, _, minutes = name[4:].partition(":")
    offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
    return timezone(offset if name[3] == "+" else -offset)


def read_time(member: str, text: str, offset: tzinfo) -> datetime:
    """An ISO 8601 moment, in UTC; without a zone of its own it is a wall clock's in `offset`.

    Raises:
        ScheduleError: when it is not one.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=offset)).astimezone(UTC)
    except (ValueError, OverflowError):
        kinds = f"{IMMEDIATE} or an ISO 8601 time" if member == "StartTime" else "an ISO 8601 time"
        raise ScheduleError(member, f"must be {kinds}, such as 2031-05-06T07:00:00Z") from None
    if not 1970 <= moment.year <= YEAR_MAX:  # noqa: PLR2004 - where the epoch begins
        raise ScheduleError(member, f"must be in the years 1970 to {YEAR_MAX}")
    return moment


def next_slot(timetable: Timetable, after: datetime | None, created_at: datetime) -> datetime | None:
    """The first slot later than `after` (None: the very first), or None when the schedule is over."""
    start = timetable.start or created_at
    if after is None or after < start:
        slot: datetime | None = start
    elif timetable.frequency in RECURRING:
        period = RECURRING[timetable.frequency]
        slot = start + ((after - start) // period + 1) * period
    elif timetable.frequency == "MONTHLY":
        slot = _next_month(start.astimezone(timetable.offset), after)
    else:
        slot = None
    if slot is None or slot.year > YEAR_MAX or (timetable.end is not None and slot > timetable.end):
        return None
    return slot


def _next_month(start: datetime, after: datetime) -> datetime:
    """The start's day of the month at its hour, later than `after`; each month is counted from the start itself."""
    local = after.astimezone(start.tzinfo)
    months = (local.year - start.year) * MONTHS_PER_YEAR + local.month - start.month
    slot = _add_months(start, months)
    return (slot if slot > after else _add_months(start, months + 1)).astimezone(UTC)


def _add_months(start: datetime, months: int) -> datetime:
    year, month = divmod(start.year * MONTHS_PER_YEAR + start.month - 1 + months, MONTHS_PER_YEAR)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return start.replace(year=year, month=month + 1, day=day)


def slots(timetable: Timetable, after: datetime | None, created_at: datetime) -> Iterator[datetime]:
    """All slots later than `after`, without end for a recurring schedule that has none."""
    slot = next_slot(timetable, after, created_at)
    while slot is not None:
        yield slot
        slot = next_slot(timetable, slot, created_at)


def opens_at(timetable: Timetable, slot: datetime) -> datetime:
    """When work on a slot begins: at once, or for a recipient-local one when its hour strikes first on earth."""
    return _wall(timetable, slot).replace(tzinfo=timezone(EARLIEST_OFFSET)) if timetable.is_local else slot


def closes_at(timetable: Timetable, slot: datetime) -> datetime:
    """When a slot's hour has struck everywhere: at once, or for a recipient-local one at the other end of the earth."""
    return _wall(timetable, slot).replace(tzinfo=timezone(LATEST_OFFSET)) if timetable.is_local else slot


def local_time(timetable: Timetable, slot: datetime, zone: str) -> datetime:
    """When a recipient's clock shows the slot's wall clock time, in UTC.

    An hour that a zone skips in spring comes an hour later; one it repeats in autumn counts the first time.
    """
    return _wall(timetable, slot).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def waves(timetable: Timetable, slot: datetime, zones: Iterable[str]) -> dict[datetime, list[str]]:
    """The moments at which a recipient-local slot comes, in order, each with the zones whose hour it is."""
    found: dict[datetime, list[str]] = {}
    for zone in zones:
        found.setdefault(local_time(timetable, slot, zone), []).append(zone)
    return {moment: sorted(found[moment]) for moment in sorted(found)}


@cache
def known_zones() -> frozenset[str]:
    """The zones of the tz database; reading their names from the disk takes milliseconds, so it is done once."""
    return frozenset(available_timezones())


def _wall(timetable: Timetable, slot: datetime) -> datetime:
    return slot.astimezone(timetable.offset).replace(tzinfo=None)


def is_quiet(quiet_time: Mapping[str, str], clock: time) -> bool:
    """Whether a recipient's clock is inside quiet time: both ends belong to it, and it may pass midnight."""
    start, end = quiet_time.get("Start"), quiet_time.get("End")
    if not start or not end:
        return False
    now = f"{clock:%H:%M}"
    return start <= now <= end if start <= end else now >= start or now <= end


def quiet_zones(quiet_time: Mapping[str, str], now: datetime, zones: Collection[str]) -> list[str]:
    """Those of these zones in which it is quiet time now."""
    if not quiet_time.get("Start") or not quiet_time.get("End"):
        return []
    return [zone for zone in zones if is_quiet(quiet_time, now.astimezone(ZoneInfo(zone)).time())]
