"""Batches of email over pools of connections to several relays: shared by weight, moved on when one fails."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence

from repoint.breaker import Breaker
from repoint.delivery.provider import DeliveryStatus, Email, Outcome
from repoint.delivery.providers.smtp.connection import SmtpConnection, SmtpError
from repoint.delivery.providers.smtp.relay import RelaySettings
from repoint.delivery.providers.smtp.transfer import transfer

logger = logging.getLogger(__name__)

CHUNK_MESSAGES_MIN = 10
PACE_SECONDS = 0.25
IDLE_SECONDS_MAX = 15.0
FAILURES_MAX = 3
ATTEMPTS_PER_RELAY = 2


class Relay:
    """One relay: its idle connections, its pace, and a breaker that leaves it alone for a while when it is down."""

    def __init__(self, settings: RelaySettings) -> None:
        self.settings = settings
        self._idle: list[SmtpConnection] = []
        self._slots = asyncio.Semaphore(settings.connections_max)
        self._breaker = Breaker(FAILURES_MAX)
        self._next_at = 0.0
        self.last_error = ""

    def is_available(self) -> bool:
        """Whether the breaker lets anything through."""
        return not self._breaker.rest_seconds()

    async def send(self, emails: Sequence[Email], outcomes: list[Outcome | None], work: deque[int]) -> None:
        """Send what `work` points to, over several connections; what is still in it afterwards was not begun."""
        before = len(work)
        count = min(self.settings.connections_max, -(-before // CHUNK_MESSAGES_MIN))
        errors = await asyncio.gather(*(self._run(emails, outcomes, work) for _ in range(count)))
        error = next((one for one in errors if one is not None), None)
        if error is None or len(work) < before:
            self._breaker.note_success()
        if error is not None:
            self._note_failure(error)

    async def _run(self, emails: Sequence[Email], outcomes: list[Outcome | None], work: deque[int]) -> SmtpError | None:
        """One connection's part of the work, and another connection's when that one has had its share."""
        async with self._slots:
            while work:
                try:
                    connection = await self._connection()
                except SmtpError as refusal:
                    return refusal
                room = self.settings.messages_per_connection_max - connection.messages_sent
                error = await transfer(connection, emails, outcomes, work, await self._keep_pace(room, len(work)))
                await self._give_back(connection)
                if error is not None:
                    return error
        return None

    async def _connection(self) -> SmtpConnection:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.reader.error is None and now - connection.used_at < IDLE_SECONDS_MAX:
                return connection
            connection.abort()
        return await SmtpConnection.open(self.settings)

    async def _give_back(self, connection: SmtpConnection) -> None:
        if connection.reader.error is not None:
            connection.abort()
        elif connection.messages_sent >= self.settings.messages_per_connection_max:
            await connection.close()
        else:
            connection.used_at = asyncio.get_running_loop().time()
            self._idle.append(connection)

    async def _keep_pace(self, room: int, waiting: int) -> int:
        """How many messages may go now; where the relay has a rate, after waiting for their turn."""
        rate = self.settings.messages_per_second_max
        if not rate:
            return room
        messages = max(1, min(room, waiting, int(rate * PACE_SECONDS)))
        now = asyncio.get_running_loop().time()
        start = max(now, self._next_at)
        self._next_at = start + messages / rate
        await asyncio.sleep(start - now)
        return messages

    def _note_failure(self, error: SmtpError) -> None:
        """After several failures in a row, longer and longer pauses."""
        self.last_error = str(error)
        self._breaker.note_failure()
        logger.warning("SMTP relay %s: %s", self.settings.name, error)

    async def close(self) -> None:
        """Say goodbye on all idle connections."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.close() for connection in idle))


class SmtpProvider:
    """The email provider: every message is tried at each relay that is up, until one has begun to take it."""

    def __init__(self, relays: Sequence[RelaySettings], *, draw: Callable[[], float] = random.random) -> None:
        self._relays = [Relay(settings) for settings in relays]
        self._draw = draw

    @classmethod
    def from_urls(cls, urls: Sequence[str]) -> "SmtpProvider":
        """The provider for these relays.

        Raises:
            ValueError: for a URL that does not describe one.
        """
        return cls([RelaySettings.from_url(url) for url in urls])

    async def send(self, emails: Sequence[Email]) -> list[Outcome]:
        """An outcome for each, in order."""
        outcomes: list[Outcome | None] = [None] * len(emails)
        work = deque(range(len(emails)))
        for relay in self._order():
            for _ in range(ATTEMPTS_PER_RELAY):
                if work and relay.is_available():
                    await relay.send(emails, outcomes, work)
        reason = "; ".join(f"{relay.settings.name}: {relay.last_error or 'not available'}" for relay in self._relays)
        nobody = Outcome(DeliveryStatus.TEMPORARY_FAILURE, 451, f"451 no relay took the message: {reason}"[:500])
        return [outcome or nobody for outcome in outcomes]

    def _order(self) -> list[Relay]:
        """All relays, drawn by weight: the first gets the batch, the others are there if it fails."""
        left, order = list(self._relays), []
        while left:
            point = self._draw() * sum(relay.settings.weight for relay in left)
            for relay in left:
                point -= relay.settings.weight
                if point <= 0 or relay is left[-1]:
                    order.append(relay)
                    left.remove(relay)
                    break
        return order

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(relay.close() for relay in self._relays))
