"""What a mail carries so that what comes back can be told: pixel and links, unsubscribe headers, an envelope sender.

All of it is decided once for an activity; a message adds one signature, and its endpoint's token where it is asked for.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from repoint.config import Settings
from repoint.delivery.tokens import Tokens
from repoint.delivery.tracking import Tracker, TrackingPlace
from repoint.resources.messages.content import Content
from repoint.resources.tracking import Tracking
from repoint.sealing import Seal
from repoint.work.outbox import Leased

TRACKING_HEADER = "x-repoint-tracking"
UNSUBSCRIBE_HEADER = "x-repoint-list-unsubscribe"
OWN_HEADERS = frozenset({TRACKING_HEADER, UNSUBSCRIBE_HEADER})
URL_NAMES = ("UnsubscribeUrl", "PreferencesUrl")
CONTENTS_MAX = 64


class Stamp(NamedTuple):
    """What is one message's own: the token of its pixel and links, its envelope sender (empty: the visible one).

    `stop_address` is where a mail unsubscribes its endpoint, if it is to have one.
    """

    token: str
    envelope_from: str
    stop_address: str = ""


@dataclass(frozen=True, slots=True)
class Returns:
    """The decisions for one activity."""

    tokens: Tokens
    tracker: Tracker
    app_id: str
    base_url: str
    place: TrackingPlace | None
    has_list_unsubscribe: bool
    bounce_domain: str
    takes_mail: bool

    def tracked(self, content: Content) -> Content:
        """The content with the HTML's links and pixel prepared, before it is rendered."""
        source = content.parts.get("HtmlPart")
        if self.place is None or source is None:
            return content
        return replace(content, parts={**content.parts, "HtmlPart": self.tracker.compile(source, self.place)})

    def urls(self, content: Content, row: Leased) -> dict[str, str]:
        """The recipient's own pages, as template variables, where the content names them."""
        if not self.base_url or not row.personal.get("IsEndpoint") or not names_urls(content):
            return {}
        return self.pages(self.subscriber_token(row))

    def pages(self, subscriber: str) -> dict[str, str]:
        """The pages that a subscriber's token opens, as template variables."""
        return {
            "UnsubscribeUrl": f"{self.base_url}/t/u/{subscriber}",
            "PreferencesUrl": f"{self.base_url}/t/p/{subscriber}",
        }

    def stamp(self, row: Leased) -> Stamp:
        """One message's own."""
        if not self.bounce_domain and self.place is None:
            return UNSTAMPED
        mac = self.tokens.message_mac(row.message_id)
        token = self.tokens.tracking_token(row.app_id, row.message_id, mac) if self.place is not None else ""
        envelope = self.tokens.bounce_address(row.message_id, mac, self.bounce_domain) if self.bounce_domain else ""
        stop = self.has_list_unsubscribe and self.takes_mail
        return Stamp(token, envelope, self.tokens.stop_address(row.message_id, mac, self.bounce_domain) if stop else "")

    def stamped(self, html: str, token: str) -> str:
        """A rendered HTML part with its message's token."""
        return self.tracker.fill(html, self.place, token) if self.place is not None and html else html

    def link(self, marked: str, token: str) -> str:
        """A link that was marked to be signed when it is rendered, with its message's token."""
        assert self.place is not None
        return self.tracker.rendered_link(marked, self.place).replace(self.tracker.mark, token)

    def unsubscribe_headers(self, row: Leased, stop_address: str) -> list[tuple[str, str]]:
        """What `unsubscribe_lines` makes, where it is wanted; a bare address has no endpoint to be opted out."""
        if not self.has_list_unsubscribe or not row.personal.get("IsEndpoint"):
            return []
        return self.unsubscribe_lines(self.subscriber_token(row), stop_address)

    def unsubscribe_lines(self, subscriber: str, stop_address: str) -> list[tuple[str, str]]:
        """RFC 8058's pair for a subscriber's token, and for those without the web an address to write to (RFC 2369)."""
        ways = [f"<{self.base_url}/t/u/{subscriber}>"] if self.base_url else []
        ways += [f"<mailto:{stop_address}>"] if stop_address else []
        post = [("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")] if self.base_url else []
        return [("List-Unsubscribe", ", ".join(ways)), *post]

    def subscriber_token(self, row: Leased) -> str:
        """What opens the recipient's own pages."""
        return self.tokens.subscriber_token(row.app_id, row.endpoint_id, row.message_id)


UNSTAMPED = Stamp("", "")


@functools.lru_cache(CONTENTS_MAX)
def names_urls(content: Content) -> bool:
    """Whether a template somewhere in the content shows a recipient's own page."""
    sources = [*content.parts.values(), *(value for _, value in content.headers)]
    return any(name in source for source in sources for name in URL_NAMES)


class ReturnPaths:
    """Makes the decisions; one for a process."""

    def __init__(self, tokens: Tokens, *, public_url: str, bounce_domain: str, takes_mail: bool = False) -> None:
        self.tokens = tokens
        self._tracker = Tracker(tokens)
        self._public_url = public_url.rstrip("/")
        self._bounce_domain = bounce_domain
        self._takes_mail = takes_mail and bool(bounce_domain)

    def plan(self, app_id: str, settings: Tracking, content: Content, shared: Mapping[str, Any]) -> Returns:
        """What an activity's mails carry; a header of the message's own beats the application's settings."""
        headers = {name.lower(): value.strip().lower() for name, value in content.headers}
        base_url = settings.domain or self._public_url
        opens, clicks = _tracked_kinds(headers, settings)
        has_place = bool(base_url) and content.raw is None and (opens or clicks)
        return Returns(
            tokens=self.tokens,
            tracker=self._tracker,
            app_id=app_id,
            base_url=base_url,
            place=TrackingPlace(app_id, base_url, opens, clicks) if has_place else None,
            has_list_unsubscribe=bool(base_url or self._takes_mail)
            and _has_list_unsubscribe(headers, settings, shared),
            bounce_domain=self._bounce_domain,
            takes_mail=self._takes_mail,
        )


def _tracked_kinds(headers: Mapping[str, str], settings: Tracking) -> tuple[bool, bool]:
    """Opens, clicks: `X-Repoint-Tracking: none`, or `opens`, `clicks` or both with a comma between."""
    given = headers.get(TRACKING_HEADER)
    if given is None:
        return settings.opens, settings.clicks
    kinds = {kind.strip() for kind in given.split(",")}
    return "opens" in kinds, "clicks" in kinds


def _has_list_unsubscribe(headers: Mapping[str, str], settings: Tracking, shared: Mapping[str, Any]) -> bool:
    """A header of the sender's own making is left alone; `X-Repoint-List-Unsubscribe: one-click` or `none` decides."""
    if "list-unsubscribe" in headers:
        return False
    given = headers.get(UNSUBSCRIBE_HEADER)
    if given is not None:
        return given == "one-click"
    return settings.list_unsubscribe == "always" or (settings.list_unsubscribe == "campaigns" and is_campaign(shared))


def is_campaign(shared: Mapping[str, Any]) -> bool:
    """Whether an activity is a campaign's or a journey's, and not sent directly."""
    return "CampaignId" in shared or "JourneyId" in shared


def return_paths(seal: Seal, settings: Settings) -> ReturnPaths:
    """As the settings have them."""
    return ReturnPaths(
        Tokens(seal),
        public_url=settings.public_url,
        bounce_domain=settings.bounce_domain,
        takes_mail=bool(settings.bounce_smtp_port),
    )
