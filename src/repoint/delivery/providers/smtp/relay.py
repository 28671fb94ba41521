"""A relay's settings, as a URL.

smtp[s]://user:password@host:port?connections_max=8&starttls=required
"""

import functools
import math
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

STARTTLS_CHOICES = ("optional", "required", "never")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
TRUTHS = {"true": True, "false": False}
NO_PACE = ("messages_per_second_max", 0)


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """One relay. Limits are per process."""

    host: str
    port: int
    is_tls: bool
    user: str = ""
    password: str = ""
    starttls: str = "optional"
    connections_max: int = 8
    messages_per_connection_max: int = 1000
    messages_per_second_max: float = 0
    weight: float = 1
    timeout_seconds: float = 30
    helo: str = "localhost"
    ca_file: str = ""
    verify: bool = True

    @classmethod
    def from_url(cls, url: str) -> "RelaySettings":
        """Read a URL.

        Raises:
            ValueError: naming what is wrong, never the password.
        """
        parts, port = _split(url)
        is_tls = parts.scheme == "smtps"
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        given = {name: _option(name, text) for name, text in options.items()}
        return cls(
            host=parts.hostname or "",
            port=port or (465 if is_tls else 587 if parts.username else 25),
            is_tls=is_tls,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            **given,  # type: ignore[arg-type]  # _option has given each its own type
        )

    @property
    def name(self) -> str:
        """What logs and outcomes call the relay: no credentials."""
        return f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent in clear stays on this machine."""
        return self.host in LOOPBACK

    def ssl_context(self) -> ssl.SSLContext:
        """Certificates are checked, unless the URL says verify=false."""
        return _ssl_context(self.ca_file, verify=self.verify)


@functools.lru_cache(16)
def _ssl_context(ca_file: str, *, verify: bool) -> ssl.SSLContext:
    """Made once: reading the system's certificates takes longer than opening a connection."""
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _split(url: str) -> tuple[SplitResult, int | None]:
    """The parts of a relay's URL, and its port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text may show a piece of the password
        parts, port = urlsplit(""), None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError("an SMTP relay is smtp://host:port or smtps://host:port, with user:password@ before host")
    return parts, port


def _option(name: str, text: str) -> object:
    kind = OPTIONS.get(name)
    if kind is None:
        raise ValueError(f"an SMTP relay has no option {name}; there are {', '.join(sorted(OPTIONS))}")
    if name == "starttls" and text not in STARTTLS_CHOICES:
        raise ValueError(f"starttls must be one of {', '.join(STARTTLS_CHOICES)}")
    try:
        value = TRUTHS[text.lower()] if kind is bool else kind(text)
        if kind in (int, float) and not 0 < value < math.inf and (name, value) != NO_PACE:
            raise ValueError
    except (ValueError, KeyError):
        raise ValueError(f"the SMTP relay's option {name} cannot be {text!r}") from None
    return value


OPTIONS: dict[str, type] = {
    "ca_file": str,
    "connections_max": int,
    "helo": str,
    "messages_per_connection_max": int,
    "messages_per_second_max": float,
    "starttls": str,
    "timeout_seconds": float,
    "verify": bool,
    "weight": float,
}
