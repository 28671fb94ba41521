"""Times that schedules name, with a clock that is an argument."""

from datetime import UTC, datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoint.resources.campaigns.schedule import (
    RECURRING,
    TIMEZONES,
    ScheduleError,
    is_quiet,
    local_time,
    next_slot,
    opens_at,
    quiet_zones,
    read_schedule,
    slots,
    waves,
)

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = 54 * 365 * 86_400
MOMENTS = st.integers(0, SECONDS).map(lambda seconds: CREATED + timedelta(seconds=seconds))
ZONES = ["America/New_York", "Asia/Kathmandu", "Europe/Vienna", "Pacific/Apia", "Pacific/Kiritimati", "UTC"]
MINUTES = st.times().map(lambda moment: f"{moment:%H:%M}")


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def first(count, **schedule):
    timetable = read_schedule(schedule)
    return [f"{slot:%Y-%m-%dT%H:%M}" for slot in islice(slots(timetable, None, CREATED), count)]


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        (None, ["2026-01-31T09:00"]),
        ("ONCE", ["2026-01-31T09:00"]),
        ("HOURLY", ["2026-01-31T09:00", "2026-01-31T10:00", "2026-01-31T11:00"]),
        ("DAILY", ["2026-01-31T09:00", "2026-02-01T09:00", "2026-02-02T09:00"]),
        ("WEEKLY", ["2026-01-31T09:00", "2026-02-07T09:00", "2026-02-14T09:00"]),
        ("MONTHLY", ["2026-01-31T09:00", "2026-02-28T09:00", "2026-03-31T09:00"]),
    ],
)
def test_each_frequency_has_its_period(frequency, expected):
    schedule = {"StartTime": "2026-01-31T09:00:00Z"} | ({"Frequency": frequency} if frequency else {})

    assert first(3, **schedule) == expected


def test_months_are_counted_where_the_schedule_is_read():
    """The 31st at 23:00 in UTC-05 is the 1st in UTC; it stays the end of the month."""
    assert first(3, StartTime="2026-01-31T23:00:00", Timezone="UTC-05", Frequency="MONTHLY") == [
        "2026-02-01T04:00",
        "2026-03-01T04:00",
        "2026-04-01T04:00",
    ]


def test_the_end_itself_is_still_inside():
    schedule = {"StartTime": "2026-02-01T00:00:00Z", "EndTime": "2026-02-03T00:00:00Z", "Frequency": "DAILY"}

    assert len(first(9, **schedule)) == 3


def test_immediate_is_now_and_once():
    assert first(2, StartTime="IMMEDIATE") == ["2026-01-01T00:00"]


def test_a_time_without_a_zone_is_read_in_the_schedules_own():
    assert first(1, StartTime="2026-02-01T09:00:00", Timezone="UTC+05:30") == ["2026-02-01T03:30"]
    assert first(1, StartTime="2026-02-01T09:00:00+02:00", Timezone="UTC+05:30") == ["2026-02-01T07:00"]


def test_there_are_31_zones_and_no_others():
    assert len(set(TIMEZONES)) == 31
    for wrong in ("UTC-01", "UTC+14", "CET", "utc", "UTC+5"):
        with pytest.raises(ScheduleError, match="Timezone"):
            read_schedule({"StartTime": "IMMEDIATE", "Timezone": wrong})


@given(
    start=MOMENTS, after=MOMENTS, frequency=st.sampled_from([*RECURRING, "MONTHLY"]), zone=st.sampled_from(TIMEZONES)
)
def test_the_next_slot_is_the_first_one_later(start, after, frequency, zone):
    """Against counting from the start, slot by slot, around the place where it must be."""
    schedule = {"StartTime": start.isoformat(), "Frequency": frequency, "Timezone": zone}
    timetable = read_schedule(schedule)
    found = next_slot(timetable, after, CREATED)

    assert found > after or found == start
    longest = timedelta(days=31) if frequency == "MONTHLY" else RECURRING[frequency]
    assert found == start or found - after <= longest
    assert next_slot(timetable, found - timedelta(microseconds=1), CREATED) == found


@given(start=MOMENTS, count=st.integers(1, 60))
def test_every_month_has_one_run(start, count):
    timetable = read_schedule({"StartTime": start.isoformat(), "Frequency": "MONTHLY"})
    found = list(islice(slots(timetable, None, CREATED), count))
    months = [slot.year * 12 + slot.month for slot in found]

    assert months == list(range(months[0], months[0] + count))
    assert all(slot.day == start.day or (slot + timedelta(days=1)).day == 1 for slot in found)


@pytest.mark.parametrize(
    ("day", "zone", "expected"),
    [
        ("2026-03-07", "America/New_York", "2026-03-07T14:00"),
        ("2026-03-08", "America/New_York", "2026-03-08T13:00"),  # summer time has begun
        ("2026-11-01", "America/New_York", "2026-11-01T14:00"),  # and ended
        ("2026-07-01", "Asia/Kathmandu", "2026-07-01T03:15"),
        ("2026-07-01", "Pacific/Kiritimati", "2026-06-30T19:00"),
    ],
)
def test_recipients_get_it_at_their_own_nine_o_clock(day, zone, expected):
    timetable = read_schedule({"StartTime": "2026-01-01T09:00:00Z", "IsLocalTime": True, "Frequency": "DAILY"})

    assert f"{local_time(timetable, at(f'{day}T09:00:00'), zone):%Y-%m-%dT%H:%M}" == expected


def test_an_hour_that_spring_skips_comes_once():
    """02:30 on 29 March 2026 does not exist in Vienna; 02:30 on 25 October is there twice."""
    timetable = read_schedule({"StartTime": "2026-01-01T02:30:00Z", "IsLocalTime": True, "Frequency": "DAILY"})

    assert local_time(timetable, at("2026-03-29T02:30:00"), "Europe/Vienna") == at("2026-03-29T01:30:00")
    assert local_time(timetable, at("2026-10-25T02:30:00"), "Europe/Vienna") == at("2026-10-25T00:30:00")


@given(start=MOMENTS, frequency=st.sampled_from(["DAILY", "HOURLY", "MONTHLY"]), zone=st.sampled_from(ZONES))
def test_each_zones_wall_clock_shows_the_slots_time(start, frequency, zone):
    schedule = {"StartTime": start.isoformat(), "IsLocalTime": True, "Frequency": frequency, "Timezone": "UTC+05:45"}
    timetable = read_schedule(schedule)
    moment = local_time(timetable, start, zone)
    shown = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    wanted = (start + timedelta(hours=5, minutes=45)).replace(tzinfo=None)

    assert timedelta(0) <= shown - wanted <= timedelta(hours=24)  # Apia once skipped a day
    assert opens_at(timetable, start) <= moment


def test_zones_of_one_hour_are_one_wave():
    timetable = read_schedule({"StartTime": "2026-06-01T09:00:00Z", "IsLocalTime": True})
    found = waves(timetable, at("2026-06-01T09:00:00"), ["Europe/Vienna", "Europe/Paris", "UTC", "Africa/Abidjan"])

    assert [(f"{moment:%H:%M}", zones) for moment, zones in found.items()] == [
        ("07:00", ["Europe/Paris", "Europe/Vienna"]),
        ("09:00", ["Africa/Abidjan", "UTC"]),
    ]


@pytest.mark.parametrize(
    ("start", "end", "clock", "quiet"),
    [
        ("20:00", "22:00", "20:00", True),
        ("20:00", "22:00", "22:00", True),
        ("20:00", "22:00", "22:01", False),
        ("20:00", "22:00", "19:59", False),
        ("20:00", "08:00", "23:30", True),
        ("20:00", "08:00", "00:00", True),
        ("20:00", "08:00", "08:00", True),
        ("20:00", "08:00", "12:00", False),
        ("09:00", "09:00", "09:00", True),
    ],
)
def test_quiet_time_has_both_its_ends_and_passes_midnight(start, end, clock, quiet):
    assert is_quiet({"Start": start, "End": end}, time.fromisoformat(clock)) is quiet


@given(start=MINUTES, end=MINUTES, clock=st.times())
def test_a_clock_is_in_a_window_or_in_what_it_leaves(start, end, clock):
    inside = is_quiet({"Start": start, "End": end}, clock)
    minute = f"{clock:%H:%M}"

    assert inside == (minute in {start, end} or (minute > start) + (minute < end) + (start > end) == 2)


def test_quiet_zones_are_those_whose_people_sleep():
    night = {"Start": "22:00", "End": "07:00"}

    assert quiet_zones(night, at("2026-06-01T12:00:00"), ZONES) == ["Pacific/Apia", "Pacific/Kiritimati"]
    assert quiet_zones({}, at("2026-06-01T12:00:00"), ZONES) == []
