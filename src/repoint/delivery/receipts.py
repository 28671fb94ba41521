"""What comes back about a mail, as events: the mail's own facts from the ledger, and what the report adds.

Source: Pinpoint's developer guide, "Email events". Every later event of a mail has the time the mail was sent as its
`event_timestamp`, and names the same client.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from repoint.clock import Clock
from repoint.config import Settings
from repoint.db import Connection, Database
from repoint.delivery import records
from repoint.delivery.plan import Plan, Planner
from repoint.delivery.returns import return_paths
from repoint.resources import suppression
from repoint.resources.call import Server
from repoint.resources.events import store as events
from repoint.resources.events.store import Event
from repoint.resources.suppression import Suppressed
from repoint.work.outbox import Leased


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail as the ledger has it, with the plan it was made by (None when that is not there any more).

    `sent_at` is when it was last tried; until its outcome is recorded, when it was accepted (scanners are that quick).
    `mail` is what it had of its own: its subject, its Context. `given_id` is its endpoint's id as its owner spells it.
    """

    row: Leased
    sent_at: datetime
    mail: Mapping[str, Any]
    plan: Plan | None
    given_id: str | None

    def event(self, event_type: str, detail: Mapping[str, Any], feedback: str, arrived_at: datetime) -> Event:
        """Something that happened to it."""
        plan = self.plan
        attributes = plan.attributes_for({"Context": self.mail.get("Context")}) if plan else {}
        facts = records.mail_facts(self.row, plan.sender if plan else "", self._subject(), self.sent_at)
        given = {"feedback": feedback, **attributes}
        made = records.email_event(self.row, event_type.removeprefix("_email."), detail, facts, given, arrived_at)
        if self.given_id is not None:
            made.document["client_id"] = self.given_id
        return made

    def _subject(self) -> str:
        """Its own, or the one all have."""
        shared = self.plan.content.parts.get("Subject", "") if self.plan else ""
        return str(self.mail.get("Subject") or ("" if "{{" in shared else shared))


@dataclass(frozen=True, slots=True)
class Report:
    """Something that happened to a mail after it was sent.

    `detail` is the member that the event's `mail_event` gets. `report_id` tells reports of one kind apart that may
    rightly come twice. `suppresses` is the reason to send no more to the address, if it is one.
    """

    message_id: str
    event_type: str
    feedback: str
    detail: Mapping[str, Any]
    arrived_at: datetime
    report_id: str = ""
    suppresses: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same report."""
        return (self.message_id, self.event_type, self.report_id)


class Receipts:
    """Finds mails, and counts reports of them."""

    def __init__(self, db: Database, planner: Planner, clock: Clock) -> None:
        self.db = db
        self.clock = clock
        self.tokens = planner.paths.tokens
        self._planner = planner

    async def find(self, message_ids: Sequence[str]) -> dict[str, SentMail]:
        """The mails that are still in the ledger, by message id.

        It takes connections of the pool, one after the other: whoever holds one himself must not wait for it.
        """
        rows = await self.db.fetch_all(
            """SELECT app_id, activity_id, endpoint_id, message_id, message.channel_type, message.address, attempts,
                      modified_at, mail, given_id
               FROM message JOIN unnest(%s::text[]) AS wanted (message_id) USING (message_id)
               LEFT JOIN endpoint USING (app_id, endpoint_id)""",
            [list(set(message_ids))],
        )
        plans = await self._planner.plans([(row[0], row[1], row[4]) for row in rows])
        return {row[3]: _sent_mail(row, plans.get((row[1], row[4]))) for row in rows}

    async def find_one(self, message_id: str) -> SentMail | None:
        """One mail."""
        return (await self.find([message_id])).get(message_id)

    async def count(self, report: Report) -> bool:
        """Count a report, once, together with those of others; whether it was new, and of a mail we know."""
        return await self.db.gather(self.record, report)

    async def record(self, connection: Connection, reports: Sequence[Report]) -> list[bool]:
        """Events, and addresses suppressed, in one transaction; for `Database.gather`."""
        mails = await self.find([report.message_id for report in reports])
        async with connection.transaction():
            fresh = await _remember(connection, [report for report in reports if report.message_id in mails])
            happened, results = [], []
            for report in reports:
                results.append(report.key in fresh)
                if report.key in fresh:
                    fresh.discard(report.key)  # the same report may come twice in one batch
                    happened.append(report)
            await events.append(
                connection,
                [
                    mails[one.message_id].event(one.event_type, one.detail, one.feedback, one.arrived_at)
                    for one in happened
                ],
            )
            await suppression.add(
                connection,
                [entry for one in happened if (entry := _suppressed(mails[one.message_id], one)) is not None],
            )
        return results


def _sent_mail(row: Sequence[Any], plan: Plan | None) -> SentMail:
    app_id, activity_id, endpoint_id, message_id, channel_type, address, attempts, modified_at, mail, given_id = row
    is_endpoint = not endpoint_id.startswith(f"{channel_type}:")  # endpoints' ids are in lower case in the ledger
    personal = {"IsEndpoint": True} if is_endpoint else {}
    leased = Leased(
        None, app_id, activity_id, endpoint_id, message_id, channel_type, address, personal, attempts, modified_at
    )
    return SentMail(leased, modified_at, mail or {}, plan, given_id)


async def _remember(connection: Connection, reports: Sequence[Report]) -> set[tuple[str, str, str]]:
    if not reports:
        return set()
    cursor = await connection.execute(
        """INSERT INTO receipt (message_id, event_type, report_id, received_at)
           SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[])
           ORDER BY 1, 2, 3
           ON CONFLICT DO NOTHING RETURNING message_id, event_type, report_id""",
        [
            [one.message_id for one in reports],
            [one.event_type for one in reports],
            [one.report_id for one in reports],
            [one.arrived_at for one in reports],
        ],
    )
    return {(row[0], row[1], row[2]) for row in await cursor.fetchall()}


def _suppressed(mail: SentMail, report: Report) -> Suppressed | None:
    """The list's entry, if the report makes one."""
    app = mail.plan.app if mail.plan else None
    if not report.suppresses or app is None:
        return None
    return Suppressed(
        region=app.region,
        channel_type=mail.row.channel_type,
        address=mail.row.address,
        reason=report.suppresses,
        created_at=report.arrived_at,
        app_id=mail.row.app_id,
        message_id=mail.row.message_id,
        facts=dict(report.detail),
    )


def build_receipts(server: Server, settings: Settings) -> Receipts:
    """As the settings have them."""
    return Receipts(server.db, Planner(server.db, server.seal, return_paths(server.seal, settings)), server.clock)
