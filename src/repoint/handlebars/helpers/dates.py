"""Dates, in Java's patterns (SimpleDateFormat) and its four styles for en_US."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from repoint.handlebars.errors import RenderError
from repoint.handlebars.helpers.options import Options, subject, text_at
from repoint.handlebars.values import first_of

TIME_STYLES = {"medium": "h:mm:ss a", "short": "h:mm a"}
STYLES = {"full": "EEEE, MMMM d, y", "long": "MMMM d, y", "medium": "MMM d, y", "short": "M/d/yy"}
FIELD = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")
HALF_DAY = 12
NAME_LETTERS = 4


DAYS = 7


def _sunday(moment: datetime) -> int:
    """Days since the week's Sunday, with which weeks begin in en_US."""
    return moment.isoweekday() % DAYS


def _week(moment: datetime) -> tuple[int, int]:
    """The week's year and number in en_US: the first week is the one that has January 1."""
    saturday = moment + timedelta(days=DAYS - 1 - _sunday(moment))
    if saturday.year > moment.year:
        return saturday.year, 1
    first = moment.replace(month=1, day=1)
    return moment.year, (moment.timetuple().tm_yday - 1 + _sunday(first)) // DAYS + 1


def _year(year: int, size: int) -> str:
    return f"{year % 100:02d}" if size == 2 else f"{year:0{size}d}"  # noqa: PLR2004 - yy is the one that is cut


def _month_text(moment: datetime, size: int) -> str:
    if size > 2:  # noqa: PLR2004 - numbers have no more letters
        return moment.strftime("%B" if size >= NAME_LETTERS else "%b")
    return f"{moment.month:0{size}d}"


def _zone(moment: datetime, size: int) -> str:
    if size >= NAME_LETTERS:
        raise RenderError("time zones have no long names here: write z")
    return moment.strftime("%Z")


def _iso_zone(moment: datetime, size: int) -> str:
    text = moment.strftime("%z")
    if text in ("+0000", ""):
        return "Z"
    return {1: text[:3], 2: text}.get(size, f"{text[:3]}:{text[3:]}")


FIELDS: dict[str, Callable[[datetime, int], str]] = {
    "G": lambda _, __: "AD",
    "y": lambda moment, size: _year(moment.year, size),
    "Y": lambda moment, size: _year(_week(moment)[0], size),
    "M": _month_text,
    "L": _month_text,
    "d": lambda moment, size: f"{moment.day:0{size}d}",
    "D": lambda moment, size: f"{moment.timetuple().tm_yday:0{size}d}",
    "E": lambda moment, size: moment.strftime("%A" if size >= NAME_LETTERS else "%a"),
    "u": lambda moment, size: f"{moment.isoweekday():0{size}d}",
    "w": lambda moment, size: f"{_week(moment)[1]:0{size}d}",
    "W": lambda moment, size: f"{(moment.day - 1 + _sunday(moment.replace(day=1))) // DAYS + 1:0{size}d}",
    "F": lambda moment, size: f"{(moment.day - 1) // DAYS + 1:0{size}d}",
    "H": lambda moment, size: f"{moment.hour:0{size}d}",
    "k": lambda moment, size: f"{moment.hour or 24:0{size}d}",
    "K": lambda moment, size: f"{moment.hour % HALF_DAY:0{size}d}",
    "h": lambda moment, size: f"{moment.hour % HALF_DAY or HALF_DAY:0{size}d}",
    "m": lambda moment, size: f"{moment.minute:0{size}d}",
    "s": lambda moment, size: f"{moment.second:0{size}d}",
    "S": lambda moment, size: f"{moment.microsecond // 1000:0{size}d}",
    "a": lambda moment, _: "AM" if moment.hour < HALF_DAY else "PM",
    "z": _zone,
    "Z": lambda moment, _: moment.strftime("%z"),
    "X": _iso_zone,
}
INPUTS = {
    "y": r"(?P<y>\d{1,4})",
    "M": r"(?P<M>\d{1,2}|[A-Za-z]+)",
    "d": r"(?P<d>\d{1,2})",
    "H": r"(?P<H>\d{1,2})",
    "h": r"(?P<h>\d{1,2})",
    "m": r"(?P<m>\d{1,2})",
    "s": r"(?P<s>\d{1,2})",
    "S": r"(?P<S>\d{1,6})",
    "a": r"(?P<a>[AaPp][Mm])",
    "E": r"[A-Za-z]+",
    "Z": r"(?P<Z>[+-]\d{4})",
    "X": r"(?P<X>Z|[+-]\d{2}:?\d{0,2})",
    "z": r"[A-Za-z/_+-]+",
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def _pieces(pattern: str) -> list[tuple[str, int, str]]:
    """A pattern as (letter, how often, literal) pieces.

    Raises:
        RenderError: for a letter that means nothing, or a quote that is not closed.
    """
    pieces: list[tuple[str, int, str]] = []
    at = 0
    while at < len(pattern):
        match = FIELD.match(pattern, at)
        if match is None:
            raise RenderError(f"not a date pattern: {pattern[:60]!r}")
        if match[2]:
            pieces.append((match[2], len(match[0]), ""))
        else:
            pieces.append(("", 0, (match[1].replace("''", "'") or "'") if match[1] is not None else match[0]))
        at = match.end()
    return pieces


def format_date(moment: datetime, pattern: str) -> str:
    """A moment by a Java pattern."""
    text = []
    for letter, size, literal in _pieces(pattern):
        if letter and (letter not in FIELDS or size > 9):  # noqa: PLR2004 - no field is wider
            raise RenderError(f"not a date pattern: {letter * min(size, 12)!r}")
        text.append(FIELDS[letter](moment, size) if letter else literal)
    return "".join(text)


def _month(text: str) -> int:
    return int(text) if text.isdigit() else MONTHS.index(text[:3].lower()) + 1


def parse_date(text: str, pattern: str) -> datetime:
    """A moment from text by a Java pattern; without one, by ISO 8601 or as milliseconds since 1970.

    Raises:
        RenderError: when it is none.
    """
    try:
        if not pattern:
            if text.lstrip("-").isdigit() and len(text) > NAME_LETTERS:
                return datetime.fromtimestamp(int(text) / 1000, UTC)
            return _aware(datetime.fromisoformat(text))
        expression = "".join(
            INPUTS.get(letter, r"\S+") if letter else re.escape(literal)
            for letter, _, literal in _pieces(STYLES.get(pattern, pattern))
        )
        match = re.fullmatch(expression, text.strip())
        if match is None:
            raise RenderError(f"{text[:40]!r} is not a date of the form {pattern!r}")
        return _assembled(match.groupdict())
    except (ValueError, OverflowError, OSError, re.error):
        raise RenderError(f"not a date: {text[:40]!r}") from None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _assembled(found: dict[str, str | None]) -> datetime:
    def number(name: str, default: int) -> int:
        text = found.get(name)
        return int(text) if text else default

    year = number("y", 1970)
    hour = number("H", 0)
    if found.get("h"):
        is_afternoon = (found.get("a") or "am").lower() == "pm"
        hour = number("h", 0) % HALF_DAY + (HALF_DAY if is_afternoon else 0)
    zone: tzinfo | None = UTC
    offset = found.get("Z") or found.get("X")
    if offset and offset != "Z":
        zone = datetime.strptime(offset.replace(":", "").ljust(5, "0"), "%z").tzinfo
    return datetime(
        year + 2000 if year < 100 else year,  # noqa: PLR2004 - two digits are of this century
        _month(found.get("M") or "1"),
        number("d", 1),
        hour,
        number("m", 0),
        number("s", 0),
        int((found.get("S") or "0").ljust(6, "0")),
        zone,
    )


def _zoned(moment: datetime, options: Options) -> datetime:
    name = options.text("tz", "")
    if not name:
        return moment
    try:
        return moment.astimezone(ZoneInfo(name))
    except (KeyError, ValueError, OSError, OverflowError):
        raise RenderError(f"no such time zone: {name[:40]!r}") from None


def _styled(pattern: str, options: Options) -> str:
    """The pattern, with `time=` the time behind the date; names are English, as Pinpoint's are."""
    if options.text("locale", "en_US") not in ("", "en", "en_US"):
        raise RenderError("the only locale is en_US")
    time = options.text("time", "")
    if not time or pattern not in STYLES:
        return STYLES.get(pattern, pattern)
    if time not in TIME_STYLES:
        raise RenderError("time= must be medium or short")
    return f"{STYLES[pattern]}, {TIME_STYLES[time]}"


def _now(arguments: list[Any], options: Options) -> Any:
    pattern = text_at(arguments, 0, options.text("format", "medium"))
    return format_date(_zoned(options.now(), options), _styled(pattern, options))


def _date_format(arguments: list[Any], options: Options) -> Any:
    if not arguments or first_of(arguments[0]) in (None, "", []):
        return ""
    moment = parse_date(subject(arguments), options.text("inputFormat", ""))
    pattern = text_at(arguments, 1, options.text("outputFormat", options.text("format", "medium")))
    return format_date(_zoned(moment, options), _styled(pattern, options))


DATES = {"dateFormat": _date_format, "now": _now}
