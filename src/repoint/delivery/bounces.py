"""What a refusal means: whether the address is at fault, for good, and what events call it.

Sources: RFC 5321 (reply codes), RFC 3463 (enhanced status codes), and Amazon SES's bounce types, whose names the events
have. A refusal of the content, of its size, or of us as its sender says nothing against the address: it is soft.
"""

import re
from typing import NamedTuple

SUPPRESSED_CODE = 403  # of a message that was stopped because its address is on the list
ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
REPLY = re.compile(r"(?<![\d.])([45]\d\d)(?=[ -])")
# X.1.7 and X.1.8 speak of the sender's address, not of the recipient's.
SUBJECTS: dict[str, str] = {
    "2.2": "MailboxFull",
    "2.3": "MessageTooLarge",
    "3.4": "MessageTooLarge",
}
ADDRESS_FAULTS = frozenset({"0.0", "2.0", "2.1", "4.1", "4.4"})
# Codes that say little: the words beside them may speak of something else than the address, or of us.
VAGUE = frozenset({"0.0", "1.0", "2.0", "4.1"})
OTHER_FAULT = re.compile(
    r"relay|sender|spam|polic|block|denied|auth|dmarc|spf|dkim|listed|reputation|rate|limit|content|virus",
    re.IGNORECASE,
)
SENDER_FAULTS = frozenset({"1.7", "1.8"})
CODES_OF_ADDRESS = frozenset({521, 550, 551, 553, 554, 556})
CODES_OF_SIZE = {552: "MailboxFull"}


class BounceKind(NamedTuple):
    """A bounce as its event names it."""

    bounce_type: str
    bounce_sub_type: str

    @property
    def is_hard(self) -> bool:
        """Whether the address is not to be tried again."""
        return self.bounce_type == "Permanent"

    @property
    def feedback(self) -> str:
        """`hardbounce` or `softbounce`."""
        return "hardbounce" if self.is_hard else "softbounce"

    @property
    def event_type(self) -> str:
        """The event's type."""
        return f"_email.{self.feedback}"


HARD = BounceKind("Permanent", "General")
SOFT = BounceKind("Transient", "General")
UNDETERMINED = BounceKind("Undetermined", "Undetermined")
SUPPRESSED = BounceKind("Permanent", "OnAccountSuppressionList")
CONTENT = BounceKind("Transient", "ContentRejected")


def classify(status: str, diagnostic: str = "", code: int = 0) -> BounceKind:
    """What a refusal means, by its enhanced status; by the one in its text, or its reply code, where it has none."""
    found = ENHANCED.fullmatch(status.strip()) or ENHANCED.search(diagnostic)
    if found:
        detail = f"{int(found[2])}.{int(found[3])}"
        kind = _by_enhanced(found[1], detail)
        return CONTENT if kind.is_hard and detail in VAGUE and OTHER_FAULT.search(diagnostic) else kind
    reply = REPLY.search(diagnostic)
    code = code or (int(reply[1]) if reply else 0)
    if 400 <= code < 500:  # noqa: PLR2004 - RFC 5321's own
        return SOFT
    if code in CODES_OF_ADDRESS:
        return CONTENT if OTHER_FAULT.search(diagnostic) else HARD
    return BounceKind("Transient", CODES_OF_SIZE[code]) if code in CODES_OF_SIZE else UNDETERMINED


def _by_enhanced(class_: str, detail: str) -> BounceKind:
    if detail in SUBJECTS:
        return BounceKind("Transient", SUBJECTS[detail])
    if class_ != "5":
        return SOFT
    subject = detail.partition(".")[0]
    if detail in ADDRESS_FAULTS or (subject == "1" and detail not in SENDER_FAULTS):
        return HARD
    if subject in ("6", "7"):
        return CONTENT
    return SOFT if subject in ("3", "4") else UNDETERMINED
