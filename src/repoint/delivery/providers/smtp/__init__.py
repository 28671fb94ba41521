"""Email by SMTP (RFC 5321), to one or several relays, pipelined (RFC 2920) over connections that are kept."""

from repoint.delivery.providers.smtp.provider import SmtpProvider
from repoint.delivery.providers.smtp.relay import RelaySettings

__all__ = ["RelaySettings", "SmtpProvider"]
