"""Domain names in ASCII, as mail and browsers look them up (IDNA 2008, in the form of Unicode's UTS 46)."""

import idna

LABEL_OCTETS_MAX = 63


def ascii_domain(domain: str) -> str:
    """A domain in ASCII.

    Python's own codec is IDNA of 2003, for which straße.example is strasse.example: another domain, of somebody else.
    Like browsers, and unlike IDNA 2008 by the letter, this takes names with emoji and underscores.

    Raises:
        UnicodeError: when it cannot be written so, or is no domain.
    """
    if not domain.isascii():
        labels = idna.uts46_remap(domain, std3_rules=False).split(".")
        domain = ".".join(one if one.isascii() else f"xn--{one.encode('punycode').decode()}" for one in labels)
    if not all(0 < len(label) <= LABEL_OCTETS_MAX for label in domain.removesuffix(".").split(".")):
        raise UnicodeError("a label is empty or too long")
    return domain
