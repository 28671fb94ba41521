"""Reports as they arrive by mail: delivery status notifications (RFC 3464) and abuse reports (ARF, RFC 5965).

The input is anybody's. What cannot be read is None, never an exception, and no text is taken at any length.
"""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from hashlib import sha256

from repoint.delivery.bounces import ENHANCED

PARSED_BYTES_MAX = 128 * 1024  # what matters stands before the returned message
TEXT_CHARACTERS_MAX = 1000
PARTS_MAX = 50
FAILURES = frozenset({"failed", "delayed"})
ADDRESS = re.compile(r"[^\s<>,;:\"]{1,64}@[^\s<>,;:\"]{1,255}")
CLASSES = {"2": "delivered", "4": "delayed", "5": "failed"}


@dataclass(frozen=True, slots=True)
class BounceReport:
    """One recipient's part of a delivery status notification, or what could be read of a bounce without one."""

    action: str
    status: str
    diagnostic: str
    reporting_mta: str
    feedback_id: str


@dataclass(frozen=True, slots=True)
class AbuseReport:
    """A complaint; `senders` are the addresses it names as the mail's envelope sender."""

    feedback_type: str
    user_agent: str
    feedback_id: str
    senders: tuple[str, ...]


def read_report(content: bytes) -> BounceReport | AbuseReport | None:
    """What a mail reports, or None when it is no report, or one of success."""
    try:
        message = BytesParser(policy=compat32).parsebytes(content[:PARSED_BYTES_MAX])
        parts = _parts(message)
        kinds = {_kind(part): part for part in reversed(parts)}
        if "message/feedback-report" in kinds:
            return _abuse(kinds["message/feedback-report"], parts)
        if "message/delivery-status" in kinds:
            return _delivery_status(kinds["message/delivery-status"])
        return None if _is_automatic_reply(message) else _plain_bounce(message, parts)
    except (RecursionError, ValueError, LookupError, TypeError, AttributeError):
        return None  # the parser stumbles over some of what is sent to hurt it


def _parts(message: Message) -> list[Message]:
    parts = []
    for part in message.walk():
        parts.append(part)
        if len(parts) == PARTS_MAX:
            break
    return parts


def _kind(part: Message) -> str:
    return part.get_content_type()


def _text(part: Message, name: str) -> str:
    """A header's or field's value, on one line, of limited length, as PostgreSQL can keep it."""
    value = str(part.get(name, ""))
    return clean(value)


def clean(value: str) -> str:
    """Text that can be kept."""
    return " ".join(value.encode("utf-8", "replace").decode().replace("\x00", "").split())[:TEXT_CHARACTERS_MAX]


def _groups(part: Message) -> Iterator[Message]:
    """The groups of fields in a status part: the message's first, then one for each recipient."""
    payload = part.get_payload()
    if isinstance(payload, list):
        yield from (group for group in payload if isinstance(group, Message))


def _delivery_status(part: Message) -> BounceReport | None:
    first, *recipients = _groups(part)
    for group in recipients or [first]:
        status = _text(group, "Status").partition(" ")[0]
        action = _text(group, "Action").lower() or CLASSES.get(status[:1], "")
        if action not in FAILURES:
            continue
        diagnostic = _text(group, "Diagnostic-Code")
        kind, semicolon, text = diagnostic.partition(";")
        return BounceReport(
            action=action,
            status=status,
            diagnostic=text.strip() if semicolon and " " not in kind else diagnostic,
            reporting_mta=_text(first, "Reporting-MTA"),
            feedback_id=_id_of(first.as_bytes() + group.as_bytes()),
        )
    return None


def _plain_bounce(message: Message, parts: list[Message]) -> BounceReport | None:
    """Some mail systems write to people instead: a status code in the first text will do."""
    for part in parts:
        if _kind(part) != "text/plain":
            continue
        payload = part.get_payload(decode=True)
        text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
        found = ENHANCED.search(text)
        if found is None or found[1] == "2":
            return None
        line = text[text.rfind("\n", 0, found.start()) + 1 :].partition("\n")[0]
        return BounceReport(
            action=CLASSES[found[1]],
            status=found[0],
            diagnostic=clean(line),
            reporting_mta="",
            feedback_id=_id_of((_text(message, "Message-ID") + text).encode("utf-8", "replace")),
        )
    return None


def _is_automatic_reply(message: Message) -> bool:
    """An out-of-office notice (RFC 3834) comes to the same address, and is no bounce."""
    return "auto-replied" in _text(message, "Auto-Submitted").lower() or bool(
        message.get("X-Autoreply") or message.get("X-Autorespond")
    )


def _abuse(part: Message, parts: list[Message]) -> AbuseReport | None:
    report = next(_groups(part), None)
    if report is None or not _text(report, "Feedback-Type"):
        return None
    named = [_text(report, "Original-Mail-From"), *(_text(one, "Return-Path") for one in parts)]
    return AbuseReport(
        feedback_type=_text(report, "Feedback-Type").lower(),
        user_agent=_text(report, "User-Agent"),
        feedback_id=_id_of(report.as_bytes()),
        senders=tuple(found[0] for text in named for found in [ADDRESS.search(text)] if found),
    )


def _id_of(content: bytes) -> str:
    """The same id for the same report, however often it is delivered."""
    return str(uuid.UUID(bytes=sha256(content).digest()[:16], version=4))
