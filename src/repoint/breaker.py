"""A breaker: whoever fails again and again is left alone for a while, and for longer each time."""

import time
from collections.abc import Callable

REST_SECONDS_FIRST = 2.0
REST_SECONDS_MAX = 120.0
DOUBLINGS_MAX = 10


class Breaker:
    """Opens after so many failures in a row. When the rest is over it lets a trial through; a success closes it."""

    def __init__(self, failures_max: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures_max = failures_max
        self._clock = clock
        self._failures = 0
        self._openings = 0
        self._open_until = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether all is well, as far as is known."""
        return self._failures < self._failures_max

    def rest_seconds(self) -> float:
        """For how long nobody is to be let through; 0 when somebody is."""
        return max(0.0, self._open_until - self._clock())

    def admit(self) -> float:
        """The same, for one who goes through if it is 0: if that is a trial, the others rest until its end is known."""
        seconds = self.rest_seconds()
        if not seconds and not self.is_closed:
            self._open()
        return seconds

    def note_success(self) -> None:
        """It is well again."""
        self._failures, self._openings, self._open_until = 0, 0, 0.0

    def note_failure(self) -> None:
        """It has failed once more; what was under way when it opened makes no rest longer."""
        self._failures += 1
        if not self.is_closed and not self.rest_seconds():
            self._open()

    def _open(self) -> None:
        doubled = REST_SECONDS_FIRST * 2 ** min(DOUBLINGS_MAX, self._openings)
        self._openings += 1
        self._open_until = self._clock() + min(REST_SECONDS_MAX, doubled)
