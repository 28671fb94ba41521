"""How long a message may be on its channel (the developer guide's quotas page), and how many SMS a text takes."""

from collections.abc import Mapping

import msgspec

GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENDED = frozenset("^{}\\[~]|€\f")
SMS_GSM_CHARACTERS_MAX = 1_600
SMS_UNICODE_CHARACTERS_MAX = 630
VOICE_CHARACTERS_MAX = 6_000
VOICE_SPOKEN_CHARACTERS_MAX = 3_000
PUSH_BYTES_MAX = 4 * 1024
PUSH_BYTES_MAX_BY_TYPE = {"ADM": 6 * 1024}
EMAIL_BYTES_MAX = 10 * 1024 * 1024


def sms_length(text: str) -> tuple[int, bool]:
    """An SMS's length in the units it is sent in, and whether they are GSM-7 (whose extension characters are two)."""
    extended = sum(character in GSM_EXTENDED for character in text)
    if all(character in GSM or character in GSM_EXTENDED for character in text):
        return len(text) + extended, True
    return len(text.encode("utf-16-be")) // 2, False


def message_parts(text: str) -> int:
    """How many SMS a text takes: 160 GSM-7 or 70 UCS-2 characters, 153 or 67 each when split (3GPP TS 23.040)."""
    length, is_gsm = sms_length(text)
    whole, split = (160, 153) if is_gsm else (70, 67)
    return 1 if length <= whole else -(-length // split)


def spoken_length(text: str) -> int:
    """How many characters of a call's script are spoken: SSML's tags are not."""
    length, is_tag = 0, False
    for character in text:
        if character == "<":
            is_tag = True
        elif character == ">" and is_tag:
            is_tag = False
        elif not is_tag:
            length += 1
    return length


def fault_of(channel_type: str, parts: Mapping[str, str]) -> str | None:
    """Why rendered parts cannot be sent on a channel: too long, or no notification; None when they can."""
    if channel_type == "EMAIL":
        size = sum(map(len, parts.values()))
        return (
            f"The email has {size} characters; at most {EMAIL_BYTES_MAX} are allowed"
            if size > EMAIL_BYTES_MAX
            else None
        )
    if channel_type == "SMS":
        return _sms_excess(parts.get("Body", ""))
    if channel_type == "VOICE":
        return _voice_excess(parts.get("Body", ""))
    if parts.get("RawContent") and not _is_json_object(parts["RawContent"]):
        return "RawContent: must be a JSON object"
    maximum = PUSH_BYTES_MAX_BY_TYPE.get(channel_type, PUSH_BYTES_MAX)
    size = sum(len(part.encode()) for part in parts.values())
    return f"The notification has {size} bytes; at most {maximum} are allowed" if size > maximum else None


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False


def _sms_excess(text: str) -> str | None:
    if len(text) <= SMS_UNICODE_CHARACTERS_MAX // 2:
        return None
    length, is_gsm = sms_length(text)
    maximum = SMS_GSM_CHARACTERS_MAX if is_gsm else SMS_UNICODE_CHARACTERS_MAX
    alphabet = "GSM" if is_gsm else "Unicode"
    return f"The text has {length} {alphabet} characters; at most {maximum} are allowed" if length > maximum else None


def _voice_excess(text: str) -> str | None:
    if len(text) > VOICE_CHARACTERS_MAX:
        return f"The script has {len(text)} characters; at most {VOICE_CHARACTERS_MAX} are allowed"
    spoken = spoken_length(text) if len(text) > VOICE_SPOKEN_CHARACTERS_MAX else 0
    if spoken > VOICE_SPOKEN_CHARACTERS_MAX:
        return f"The script has {spoken} spoken characters; at most {VOICE_SPOKEN_CHARACTERS_MAX} are allowed"
    return None
