"""The helpers of Pinpoint's dialect, by name: conditions, strings, numbers, dates, digests."""

from collections.abc import Callable
from typing import Any

from repoint.handlebars.helpers.conditions import CONDITIONS
from repoint.handlebars.helpers.dates import DATES
from repoint.handlebars.helpers.digests import DIGESTS
from repoint.handlebars.helpers.numbers import NUMBERS
from repoint.handlebars.helpers.options import Options
from repoint.handlebars.helpers.strings import STRINGS

Helper = Callable[[list[Any], Options], Any]
BLOCK_CONDITIONS = frozenset(CONDITIONS)
HELPERS: dict[str, Helper] = {**CONDITIONS, **STRINGS, **NUMBERS, **DATES, **DIGESTS}

__all__ = ["BLOCK_CONDITIONS", "HELPERS", "Options"]
