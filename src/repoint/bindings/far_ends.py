"""Far ends, each with its breaker: what fails again and again is not called for a while; other far ends go on."""

import logging

from repoint.bindings.webhooks import shown
from repoint.breaker import Breaker
from repoint.metrics import Metrics

logger = logging.getLogger(__name__)

FAILURES_MAX = 5  # attempts in a row: more than one call makes, so that one payload alone cannot stop the others


class FarEnds:
    """Those one process calls, by the names their callers have for them."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        self._metrics = metrics
        self._breakers: dict[str, Breaker] = {}

    def ailing(self) -> set[str]:
        """Those that have failed again and again, and have not answered since."""
        return {name for name, breaker in self._breakers.items() if not breaker.is_closed}

    def rest_seconds(self, name: str) -> float:
        """For how long a far end is to be left alone; 0 when it may be called."""
        breaker = self._breakers.get(name)
        return breaker.rest_seconds() if breaker else 0.0

    def admit(self, name: str) -> float:
        """The same, for a call that is made if it is 0."""
        seconds = self._breakers.setdefault(name, Breaker(FAILURES_MAX)).admit()
        if seconds:
            self._count(name, "left_alone")
        return seconds

    def note_success(self, name: str) -> None:
        """It has answered."""
        breaker = self._breakers[name]
        if not breaker.is_closed:
            logger.info("%s answers again", shown(name))
            self._show(name, is_resting=False)
        breaker.note_success()
        self._count(name, "answered")

    def note_failure(self, name: str, why: str) -> None:
        """It has not, or not as it should."""
        breaker = self._breakers[name]
        breaker.note_failure()
        self._count(name, "failed")
        if not breaker.is_closed:
            logger.warning("%s is left alone for %.0f seconds: %s", shown(name), breaker.rest_seconds(), why)
            self._show(name, is_resting=True)

    def _count(self, name: str, outcome: str) -> None:
        if self._metrics is not None:
            self._metrics.far_end_calls.labels(shown(name), outcome).inc()

    def _show(self, name: str, *, is_resting: bool) -> None:
        if self._metrics is not None:
            self._metrics.far_end_resting.labels(shown(name)).set(is_resting)
