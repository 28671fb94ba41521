"""Where a request came from, as the proxies say that one trusts; anybody could write their headers."""

from dataclasses import dataclass

import falcon.asgi

ADDRESS_CHARACTERS_MAX = 100


@dataclass(frozen=True, slots=True)
class Proxies:
    """So many of them stand in front of the server, each of which adds to X-Forwarded-For what it saw."""

    count: int = 0

    def address(self, request: falcon.asgi.Request) -> str:
        """The address that the outermost of them saw."""
        given = (request.get_header("X-Forwarded-For") or "").split(",")
        if 0 < self.count <= len(given) and given[-self.count].strip():
            return given[-self.count].strip()[:ADDRESS_CHARACTERS_MAX].replace("\x00", "")
        return request.remote_addr

    def is_secure(self, request: falcon.asgi.Request) -> bool:
        """Whether it came by TLS to the outermost of them: by X-Forwarded-Proto, which they replace or add to."""
        given = (request.get_header("X-Forwarded-Proto") or "").split(",") if self.count else []
        scheme = given[-min(self.count, len(given))].strip() if given else request.scheme
        return scheme.lower() == "https"
