"""Limits on requests per second, as token buckets: rate and burst are the same number (AWS's quotas page)."""

import math
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

DEFAULT_OPERATION: Final = "*"
AWS_QUOTAS: Final[Mapping[str, float]] = {
    "CreateCampaign": 25,
    "UpdateCampaign": 25,
    "DeleteCampaign": 25,
    "CreateSegment": 25,
    "UpdateSegment": 25,
    "DeleteSegment": 25,
    "PhoneNumberValidate": 20,
    "DeleteEndpoint": 1_000,
    "SendMessages": 4_000,
    "UpdateEndpoint": 5_000,
    "UpdateEndpointsBatch": 5_000,
    "GetInAppMessages": 5_000,
    "SendUsersMessages": 6_000,
    "GetEndpoint": 7_000,
    "PutEvents": 7_000,
    DEFAULT_OPERATION: 300,
}


@dataclass(frozen=True, slots=True)
class RateDecision:
    """Whether a request may pass, and what to tell its sender."""

    is_allowed: bool
    limit: float
    remaining: int
    retry_after_seconds: float
    reset_seconds: float


def parse_limits(entries: Iterable[str], operations: Container[str]) -> dict[str, float]:
    """Limits per second by operation, as an operator writes them: `SendMessages=500`, or `*=500` for what has no other.

    Raises:
        ValueError: for an entry that names no operation, or no number above 0.
    """
    limits = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        try:
            limits[name] = float(text)
        except ValueError:
            limits[name] = 0
        if not 0 < limits[name] < math.inf or (name != DEFAULT_OPERATION and name not in operations):
            raise ValueError(
                f"must be an operation's name, = and a number above 0, such as SendMessages=500: {entry!r}"
            )
    return limits


class RateLimiter:
    """One bucket an operation; `share` is this process's part of each limit."""

    def __init__(self, limits: Mapping[str, float], *, monotonic: Callable[[], float], share: float = 1.0) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._share = share
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, operation: str) -> RateDecision | None:
        """Take one request's token; None when the operation has no limit."""
        limit = self._limits.get(operation, self._limits.get(DEFAULT_OPERATION))
        if limit is None:
            return None
        rate = limit * self._share
        capacity = max(1.0, rate)
        now = self._monotonic()
        tokens, at = self._buckets.get(operation, (capacity, now))
        tokens = min(capacity, tokens + (now - at) * rate)
        is_allowed = tokens >= 1
        tokens -= is_allowed
        self._buckets[operation] = (tokens, now)
        return RateDecision(
            is_allowed=is_allowed,
            limit=limit,
            remaining=int(tokens),
            retry_after_seconds=0.0 if is_allowed else (1 - tokens) / rate,
            reset_seconds=(capacity - tokens) / rate,
        )


def rate_headers(decision: RateDecision) -> list[tuple[str, str]]:
    """The widely understood three headers, and Retry-After (RFC 9110, whole seconds) with a refusal."""
    headers = [
        ("ratelimit-limit", f"{decision.limit:g}"),
        ("ratelimit-remaining", str(decision.remaining)),
        ("ratelimit-reset", str(-int(-decision.reset_seconds // 1))),
    ]
    if not decision.is_allowed:
        headers.append(("retry-after", str(max(1, -int(-decision.retry_after_seconds // 1)))))
    return headers
