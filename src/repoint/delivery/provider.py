"""What the pipeline and its providers agree on: a batch in, an outcome for each out, and never an exception."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

RESTING_CODE = 451


class DeliveryStatus(StrEnum):
    """Pinpoint's seven."""

    SUCCESSFUL = "SUCCESSFUL"
    THROTTLED = "THROTTLED"
    TEMPORARY_FAILURE = "TEMPORARY_FAILURE"
    PERMANENT_FAILURE = "PERMANENT_FAILURE"
    UNKNOWN_FAILURE = "UNKNOWN_FAILURE"
    OPT_OUT = "OPT_OUT"
    DUPLICATE = "DUPLICATE"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message at the far end."""

    status: DeliveryStatus
    status_code: int
    status_message: str
    provider_message_id: str = ""
    is_stopped: bool = False  # on purpose, by a rule of ours or of the recipient's: no failure
    send_status: str = ""  # a campaign's event's campaign_send_status, where it does not follow from the status
    is_told_later: bool = False  # taken; the far end reports by itself when the recipient's server has it
    is_unknown: bool = False  # it may have been sent: whoever took it had no time to say so

    @property
    def is_retryable(self) -> bool:
        """Whether trying again later may help."""
        return self.status in (DeliveryStatus.THROTTLED, DeliveryStatus.TEMPORARY_FAILURE)


@dataclass(frozen=True, slots=True)
class CalledOutcome(Outcome):
    """What a function or webhook said of one endpoint: attributes for its event, and nothing to try again."""

    event_attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_retryable(self) -> bool:
        """The calls have been tried again already."""
        return False


@dataclass(frozen=True, slots=True)
class RestingOutcome(CalledOutcome):
    """A far end is left alone for a while, and was not called: to be tried again, until the message's deadline."""

    @property
    def is_retryable(self) -> bool:
        """Nothing has been tried yet."""
        return True


def left_alone(text: str, send_status: str) -> RestingOutcome:
    """The outcome of a message whose far end is left alone; `text` says which."""
    return RestingOutcome(DeliveryStatus.TEMPORARY_FAILURE, RESTING_CODE, text, send_status=send_status)


@dataclass(slots=True)
class Email:
    """A finished email: RFC 5322 bytes with CRLF line ends, not dot-stuffed, and its envelope.

    `sender` is the mailbox in From, `identity` and `configuration_set` are the email channel's; SES wants to know.
    `may_have_dots` is False when it is known that no line begins with a dot: SMTP then has none to double.
    """

    message_id: str
    envelope_from: str
    recipient: str
    content: bytes
    sender: str = ""
    identity: str = ""
    configuration_set: str = ""
    may_have_dots: bool = True


@dataclass(frozen=True, slots=True)
class TextMessage:
    """An SMS, a push notification or a call: what its provider needs to know."""

    message_id: str
    channel_type: str
    address: str
    body: str
    origination: str = ""
    sender_id: str = ""
    message_type: str = "TRANSACTIONAL"
    title: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CustomMessage:
    """One endpoint's part in a call: `uri` names the function or webhook, `head` is the payload less its Endpoints.

    Messages of one call have the same head, the very object.
    """

    message_id: str
    uri: str
    head: Mapping[str, Any]
    endpoint_id: str
    endpoint: Mapping[str, Any]


class CustomProvider(Protocol):
    """Has functions and webhooks deliver."""

    async def send(self, messages: Sequence[CustomMessage]) -> list[Outcome]:
        """An outcome for each, in order; faults of the far end are outcomes, not exceptions."""
        ...


class EmailProvider(Protocol):
    """Carries email."""

    async def send(self, emails: Sequence[Email]) -> list[Outcome]:
        """An outcome for each, in order; faults of the far end are outcomes, not exceptions.

        The content of what was sent may be gone afterwards.
        """
        ...

    async def close(self) -> None:
        """Give connections back."""


class TextProvider(Protocol):
    """Carries SMS, push notifications or calls."""

    async def send(self, messages: Sequence[TextMessage]) -> list[Outcome]:
        """An outcome for each, in order; faults of the far end are outcomes, not exceptions."""
        ...

    async def close(self) -> None:
        """Give connections back."""
