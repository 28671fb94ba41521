"""Time, as an argument: whoever needs the hour is handed a clock, so that tests and simulations can move it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def system_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def iso8601(moment: datetime) -> str:
    """A timestamp as Pinpoint writes it in bodies: milliseconds and a Z."""
    text = moment.isoformat(timespec="milliseconds")
    if not text.endswith("+00:00"):
        text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text[: -len("+00:00")] + "Z"


def epoch_milliseconds(moment: datetime) -> int:
    """A timestamp as the event stream writes it."""
    return (moment - EPOCH) // MILLISECOND
