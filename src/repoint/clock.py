"""Time, as an argument: whoever needs the hour is handed a clock, so that tests and simulations can move it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
EPOCH_FORM = re.compile(r"\d{9,13}(?:\.\d{1,9})?\Z", re.ASCII)
SECONDS_FROM = 10**8  # fewer are of 1970 to 1973, and not meant as seconds: 20310506 is a day
MILLISECONDS_FROM = 10**11  # in seconds that is the year 5138, in milliseconds March 1973
MILLISECONDS_BEFORE = 10**13  # the year 2286; what is longer is a date without its punctuation
MOMENT_RULE = "must be an ISO 8601 timestamp, or seconds or milliseconds since 1970"


def system_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def iso8601(moment: datetime) -> str:
    """A timestamp as Pinpoint writes it in bodies: milliseconds and a Z."""
    text = moment.isoformat(timespec="milliseconds")
    if not text.endswith("+00:00"):
        text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text[: -len("+00:00")] + "Z"


def read_moment(text: str) -> datetime:
    """A moment in any form AWS's SDKs and their users send, in UTC.

    ISO 8601 with a Z, an offset or no zone (then UTC); or seconds or milliseconds since 1970.

    Raises:
        ValueError: for any other text; MOMENT_RULE says it in words.
    """
    text = text.strip()
    if EPOCH_FORM.match(text):
        number = float(text)
        return datetime.fromtimestamp(number / 1000 if number >= MILLISECONDS_FROM else number, UTC)
    moment = datetime.fromisoformat(text)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError as error:  # in the year 1 or 9999, and in UTC not any more
        raise ValueError(str(error)) from None


def epoch_milliseconds(moment: datetime) -> int:
    """A timestamp as the event stream writes it."""
    return (moment - EPOCH) // MILLISECOND
