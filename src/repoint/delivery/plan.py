"""A plan: what all messages of one activity on one channel share, worked out once.

Content without anyone's overrides, its templates' document, the application and the channel, the sender, the shared
bytes of the email. What is left to do for each recipient is in `pipeline`.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from repoint.db import Database
from repoint.delivery.letter import Letter, compile_letter
from repoint.delivery.mime import CompiledEmail, EmailParts, HeaderError, compile_email, domain_of, mailbox_of
from repoint.delivery.payloads import custom_head
from repoint.delivery.returns import OWN_HEADERS, ReturnPaths, Returns
from repoint.resources.apps import App, load_app
from repoint.resources.channels.store import Channel, load_channels
from repoint.resources.dkim import SigningKey, load_signing_keys
from repoint.resources.messages.charsets import asked_charsets
from repoint.resources.messages.content import Content, resolve, whole
from repoint.resources.messages.recipients import TEMPLATE_TYPES
from repoint.resources.recommenders import Recommender, load_recommender
from repoint.resources.templates.store import load_scheduled_template
from repoint.resources.tracking import Tracking, load_tracking
from repoint.sealing import Seal

PLANS_MAX = 1_000
EMAILS_BEFORE_LETTER = 20  # made from their parts; a letter takes as long as fifty of these
NO_KEYS: Sequence[SigningKey] = ()
CUSTOM = "CUSTOM"
RECOMMENDED = "Recommendation"  # how the names of all recommended variables begin
HEADERS_RESERVED = OWN_HEADERS | {
    *("from", "to", "subject", "date", "message-id", "bcc", "cc", "sender", "return-path"),
    *("mime-version", "content-type", "content-transfer-encoding"),
}


@dataclass(slots=True)
class Plan:
    """What the messages of one activity to endpoints of one channel share.

    `channel_type` is the channel that carries them: the endpoints' own, or CUSTOM where a function or webhook does.
    """

    channel_type: str
    shared: Mapping[str, Any]
    app: App | None
    channel: Channel | None
    template: Mapping[str, Any] | None
    content: Content
    sender: str
    mailbox: str
    bounces_to: str
    identity: str
    configuration_set: str
    attributes: dict[str, str]
    headers: list[tuple[str, str]]
    dkim_keys: Sequence[SigningKey]
    tracking: Tracking | None = None
    returns: Returns | None = None
    emails: dict[tuple[bool, bool], CompiledEmail] = field(default_factory=dict)
    head: tuple[datetime, Mapping[str, Any]] | None = None
    recommender_id: str = ""
    recommender: Recommender | None = None
    emails_made: int = 0
    compiled_letter: Letter | None = None

    @property
    def made_from(self) -> tuple[object, ...]:
        """What may change under a plan, and makes it void."""
        return (self.app, self.channel, self.template, self.dkim_keys, self.tracking, self.recommender)

    @property
    def hook(self) -> str:
        """The function or webhook that looks over the endpoints first; empty when there is none."""
        return str(self.shared.get("Hook", ""))

    @property
    def asks(self) -> bool:
        """Whether a hook or a recommender has to be asked before messages are made."""
        return bool(self.hook or self.recommender_id)

    def content_for(self, personal: Mapping[str, Any]) -> Content:
        """The shared content, or one of their own for recipients who have overrides."""
        if personal.keys() <= SHARED_MEMBERS:
            return self.content
        content = resolve(self.channel_type, self.shared, personal, self.template)
        return self.returns.tracked(content) if self.returns else content

    def attributes_for(self, personal: Mapping[str, Any]) -> dict[str, str]:
        """What the caller wants to see again in the message's events."""
        context = personal.get("Context")
        return {**self.attributes, **context} if context else self.attributes

    def email(self, *, has_text: bool, has_html: bool) -> CompiledEmail:
        """The shared bytes of an email with these parts.

        Raises:
            HeaderError: when the sender or a header cannot be sent.
        """
        compiled = self.emails.get((has_text, has_html))
        if compiled is None:
            parts = EmailParts(
                from_address=self.sender,
                reply_to=tuple(self.content.message.get("ReplyToAddresses", ())),
                has_text=has_text,
                has_html=has_html,
                headers=[(name, value) for name, value in self.headers if "{{" not in value],
                charsets=asked_charsets(self.content.message.get("SimpleEmail", {})),
            )
            compiled = self.emails[has_text, has_html] = compile_email(parts)
        return compiled

    def letter(self) -> Letter | None:
        """The letter its emails are filled into, if they can be; made when there have been enough to expect more."""
        self.emails_made += 1
        if self.emails_made == EMAILS_BEFORE_LETTER:
            with contextlib.suppress(HeaderError):
                self.compiled_letter = self._compile_letter()
        return self.compiled_letter

    def _compile_letter(self) -> Letter | None:
        if self.returns is None or not self.sender or self._has_own_headers():
            return None
        parts = self.content.parts
        email = self.email(has_text="TextPart" in parts, has_html="HtmlPart" in parts)
        return compile_letter(self.content, email, self.returns)

    def _has_own_headers(self) -> bool:
        """Whether each recipient has headers with values of their own."""
        return any("{{" in value for _, value in self.headers)

    def call_head(self, app_id: str, now: datetime) -> Mapping[str, Any]:
        """What all endpoints of a custom channel's call share; the same object for all that are prepared at once."""
        if self.head is None or self.head[0] != now:
            self.head = now, custom_head(self.shared, app_id, now)
        return self.head[1]


# What a recipient may have of their own without needing content of their own.
SHARED_MEMBERS = frozenset({"IsEndpoint", "Context"})


def make_plan(
    channel_type: str,
    shared: Mapping[str, Any],
    app: App | None,
    channel: Channel | None,
    template: Mapping[str, Any] | None,
    *,
    dkim_keys: Sequence[SigningKey] = (),
) -> Plan:
    """Work out what is shared."""
    if channel_type == CUSTOM:
        content = whole(shared.get("CustomDelivery", {}).get("Data", ""))
    else:
        content = resolve(channel_type, shared, {}, template)
    sender = sender_of(shared, channel) if channel_type == "EMAIL" else ""
    settings = channel.settings if channel else {}
    trace = {"trace_id": shared["TraceId"]} if shared.get("TraceId") else {}
    return Plan(
        channel_type=channel_type,
        shared=shared,
        app=app,
        channel=channel,
        template=template,
        content=content,
        sender=sender,
        mailbox=mailbox_of(sender),
        bounces_to=mailbox_of(content.message.get("FeedbackForwardingAddress") or sender),
        identity=str(settings.get("Identity") or ""),
        configuration_set=str(settings.get("ConfigurationSet") or ""),
        attributes={**shared.get("Context", {}), **trace},
        headers=[pair for pair in content.headers if pair[0].lower() not in HEADERS_RESERVED],
        dkim_keys=dkim_keys,
        recommender_id=_recommender_id(shared, template or {}, content),
    )


def _recommender_id(shared: Mapping[str, Any], template: Mapping[str, Any], content: Content) -> str:
    """The template's recommender, if its items are wanted: direct messages do without (Pinpoint's user guide)."""
    texts = [*content.parts.values(), *(value for _, value in content.headers)]
    if "CampaignId" in shared and any(RECOMMENDED in text for text in texts):
        return str(template.get("RecommenderId") or "")
    return ""


def carrier_of(channel_type: str, shared: Mapping[str, Any]) -> str:
    """The channel that carries an activity's messages to endpoints of a type: their own, or CUSTOM."""
    return CUSTOM if channel_type in shared.get("CustomDelivery", {}).get("EndpointTypes", ()) else channel_type


def sender_of(shared: Mapping[str, Any], channel: Channel | None) -> str:
    """The message's own FromAddress, or the email channel's; empty when neither has one."""
    own = shared["Message"].get("EmailMessage", {}).get("FromAddress")
    return own or (channel.settings.get("FromAddress") if channel else None) or ""


class Planner:
    """Makes plans, and keeps them for as long as the settings they were made from stand."""

    def __init__(self, db: Database, seal: Seal, paths: ReturnPaths) -> None:
        self._db = db
        self._seal = seal
        self.paths = paths
        self._plans: OrderedDict[tuple[str, str], Plan] = OrderedDict()

    async def plans(self, wanted: Collection[tuple[str, str, str]]) -> dict[tuple[str, str], Plan]:
        """The plans for these (application, activity, channel type), by activity and channel type.

        An activity that is no longer there, because it is older than the ledger, has none.
        """
        await self._db.settle()
        shared = await self._shared({activity_id for _, activity_id, _ in wanted})
        return {
            (activity_id, channel_type): await self.plan(app_id, activity_id, channel_type, shared[activity_id])
            for app_id, activity_id, channel_type in wanted
            if activity_id in shared
        }

    async def far_ends(self, activity_id: str) -> list[str]:
        """The functions, webhooks and models that an activity's messages need, by the names it has for them."""
        shared = (await self._shared({activity_id})).get(activity_id)
        if shared is None:
            return []
        found = [shared.get("Hook", ""), shared.get("CustomDelivery", {}).get("DeliveryUri", "")]
        if shared.get("Recommends"):
            for channel_type in TEMPLATE_TYPES:
                recommender = await self._recommender(shared, await self._template(channel_type, shared))
                found += [recommender.model, recommender.transformer] if recommender else []
        return [name for name in found if name]

    async def _shared(self, activity_ids: set[str]) -> dict[str, Mapping[str, Any]]:
        """The activities' content, which never changes."""
        known = {key[0]: plan.shared for key, plan in self._plans.items() if key[0] in activity_ids}
        missing = list(activity_ids - known.keys())
        if missing:
            query = "SELECT activity_id, content FROM activity WHERE activity_id = ANY(%s)"
            known.update(dict(await self._db.fetch_all(query, [missing])))
        return known

    async def plan(self, app_id: str, activity_id: str, channel_type: str, shared: Mapping[str, Any]) -> Plan:
        """One activity's plan for a channel."""
        channel_type = carrier_of(channel_type, shared)
        app = await self._db.cached(load_app, app_id)
        channel = (await self._db.cached(load_channels, app_id)).get(channel_type)
        template = await self._template(channel_type, shared)
        tracking = await self._db.cached(load_tracking, app_id)
        found = self._plans.get((activity_id, channel_type))
        dkim_keys = await self._dkim_keys(shared, channel) if channel_type == "EMAIL" else NO_KEYS
        recommender = await self._recommender(shared, template)
        made_from = (app, channel, template, dkim_keys, tracking, recommender)
        if found and all(old is new for old, new in zip(found.made_from, made_from, strict=True)):
            self._plans.move_to_end((activity_id, channel_type))
            return found
        plan = make_plan(channel_type, shared, app, channel, template, dkim_keys=dkim_keys)
        plan.tracking, plan.recommender = tracking, recommender
        if channel_type == "EMAIL":
            plan.returns = self.paths.plan(app_id, tracking, plan.content, shared)
            plan.content = plan.returns.tracked(plan.content)
        self._plans[activity_id, channel_type] = plan
        if len(self._plans) > PLANS_MAX:
            self._plans.popitem(last=False)
        return plan

    async def _dkim_keys(self, shared: Mapping[str, Any], channel: Channel | None) -> Sequence[SigningKey]:
        domain = domain_of(sender_of(shared, channel))
        return await self._db.cached(load_signing_keys, (self._seal, domain)) if domain else NO_KEYS

    async def _recommender(self, shared: Mapping[str, Any], template: Mapping[str, Any] | None) -> Recommender | None:
        recommender_id = template.get("RecommenderId") if template else None
        return await self._db.cached(load_recommender, (shared["Region"], recommender_id)) if recommender_id else None

    async def _template(self, channel_type: str, shared: Mapping[str, Any]) -> dict[str, Any] | None:
        template_type = TEMPLATE_TYPES.get(channel_type, "")
        named = shared["Templates"].get(template_type)
        if named is None:
            return None
        key = (shared["Region"], template_type, named["Name"], named["Version"])
        stored = await self._db.cached(load_scheduled_template, key)
        return stored.document if stored else None
