"""Campaigns that answer events: a reader of the log that all open ones share.

The position moves in the transaction that writes the messages down, so that each event is answered once. Only the
endpoint that an event is about is written to, if it is in the segment at that moment. What cannot be sent within five
minutes is dropped (Pinpoint's guide).

An endpoint's first message of a campaign is in the ledger under one id, its second under another, and so on: there are
as many ids as messages for one endpoint, and limits have only these to look through.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg.types.json import Jsonb

from repoint.db import Connection
from repoint.resources.apps import load_app
from repoint.resources.call import Call, Server
from repoint.resources.campaigns import snapshot, store
from repoint.resources.campaigns.audience import (
    Ledger,
    Wave,
    condition_of,
    content_of,
    facts_of,
    ledger_of,
    selection_of,
)
from repoint.resources.campaigns.contents import TEMPLATE_TYPES
from repoint.resources.campaigns.faults import RunError
from repoint.resources.campaigns.matching import matches
from repoint.resources.campaigns.store import StoredCampaign
from repoint.resources.campaigns.take import OpenRun, add_metrics
from repoint.resources.campaigns.treatments import Treatment, treatments_of
from repoint.resources.events.reader import LoggedEvent, Position, load_position, read, save_position
from repoint.work.outbox import wake

logger = logging.getLogger(__name__)

READER = "campaigns"
EVENTS_MAX = 1_000
ANSWER_SECONDS_MAX = 300


@dataclass(frozen=True, slots=True)
class Open:
    """A campaign that waits for events: its treatments of one schedule, and their activities."""

    campaign: StoredCampaign
    treatments: Sequence[Treatment]
    activity_ids: Sequence[str]
    since: datetime
    until: datetime | None

    def answers(self, event: LoggedEvent) -> bool:
        """Whether this event is one of those it waits for."""
        return (
            event.app_id == self.campaign.app_id
            and event.arrival_at >= self.since
            and (self.until is None or event.arrival_at <= self.until)
            and matches(self.treatments[0].schedule["EventFilter"], event)
        )


async def find_open(connection: Connection) -> list[Open]:
    """The campaigns that wait for events now, those of one campaign with one schedule together."""
    cursor = await connection.execute(
        """SELECT app_id, campaign_id, treatment_id, activity_id, started_at, expires_at
           FROM campaign_activity WHERE ended_at IS NULL AND state = 'RUNNING' AND frequency = 'EVENT'
           ORDER BY app_id, campaign_id, slot, treatment_id"""
    )
    rows = await cursor.fetchall()
    campaigns = await store.find_latest(connection, [(app_id, campaign_id) for app_id, campaign_id, *_ in rows])
    found: dict[tuple[object, ...], Open] = {}
    for app_id, campaign_id, treatment_id, activity_id, since, until in rows:
        campaign = campaigns.get((app_id, campaign_id))
        if campaign is None or campaign.is_paused or campaign.fault:
            continue
        treatment = next((one for one in treatments_of(campaign.document) if one.treatment_id == treatment_id), None)
        if treatment is None or not treatment.schedule.get("EventFilter"):
            continue
        key = (campaign_id, since, until, repr(treatment.schedule))
        known = found.get(key)
        found[key] = Open(
            campaign,
            [*(known.treatments if known else ()), treatment],
            [*(known.activity_ids if known else ()), activity_id],
            since,
            until,
        )
    return list(found.values())


async def answer_events(server: Server, connection: Connection, waiting: Sequence[Open]) -> Sequence[LoggedEvent]:
    """Answer what has come since, in the caller's transaction; returns the events that were read."""
    position = await load_position(connection, READER) if await _is_ours(connection) else None
    if position is None:
        return ()
    events, after = await read(connection, position, EVENTS_MAX)
    for one in waiting:
        own = [event for event in events if one.answers(event)]
        if own:
            try:
                async with connection.transaction():
                    await _answer(server, connection, one, own)
            except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError):
                logger.exception("campaign %s cannot answer %s events", one.campaign.campaign_id, len(own))
    if events or after != position:
        await save_position(connection, READER, after)
    return events


async def _is_ours(connection: Connection) -> bool:
    """Whether this transaction is the one that may move the reader; the others look again later."""
    cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 1))", [READER])
    row = await cursor.fetchone()
    return bool(row and row[0])


async def pass_by(connection: Connection) -> None:
    """While no campaign waits, what happens needs no answer: be where the log is when the next one opens."""
    row = await (await connection.execute("SELECT pg_current_snapshot()::text")).fetchone()
    assert row is not None
    if await find_open(connection) or not await _is_ours(connection):
        return
    if await load_position(connection, READER) is not None:
        await save_position(connection, READER, Position(row[0]))


async def _answer(server: Server, connection: Connection, one: Open, events: Sequence[LoggedEvent]) -> None:
    """A message for each event's endpoint; one that has several gets them one after the other."""
    app = await load_app(server.db, one.campaign.app_id)
    if app is None:
        return
    call = Call(server, app.region)
    late = call.now() - timedelta(seconds=ANSWER_SECONDS_MAX)
    for is_late in (False, True):
        waiting = [event.endpoint_id.lower() for event in events if (event.arrival_at < late) == is_late]
        while waiting:
            now, rest = list(dict.fromkeys(waiting)), list(waiting)
            for endpoint_id in now:
                rest.remove(endpoint_id)
            try:
                await _answer_once(call, connection, one, now, is_late=is_late)
            except RunError:
                return  # a template or a channel is gone: what cannot be sent is not sent, until it is back
            waiting = rest


async def _answer_once(
    call: Call, connection: Connection, one: Open, endpoint_ids: Sequence[str], *, is_late: bool
) -> None:
    """One message for each of these endpoints that is in the segment."""
    now = call.now()
    condition = await condition_of(call, connection, one.campaign, now)
    for number, ids in (await _numbered(connection, one, endpoint_ids)).items():
        ledgers = await _ledgers(call, connection, one, number)
        selection = selection_of(
            one.campaign, _wave(one), now, forced_reason="EXPIRED" if is_late else None, endpoint_ids=ids
        )
        ledger_ids = [ledger.ledger_id for ledger in ledgers]
        counts = await snapshot.take(connection, condition, selection, one.activity_ids, ledger_ids)
        await add_metrics(connection, OpenRun(one.campaign, one.treatments, one.activity_ids, None), counts)
        await _post(connection, one, ledgers, ids, now)


def _wave(one: Open) -> Wave:
    return Wave(
        wave_id=None,
        app_id=one.campaign.app_id,
        campaign_id=one.campaign.campaign_id,
        version=one.campaign.version,
        slot=one.since,
        treatment_ids=[treatment.treatment_id for treatment in one.treatments],
        zones=None,
        is_first=True,
        due_at=one.since,
    )


async def _numbered(connection: Connection, one: Open, endpoint_ids: Sequence[str]) -> Mapping[int, list[str]]:
    """Endpoints by how many messages of this version of the campaign they have had."""
    cursor = await connection.execute(
        """SELECT m.endpoint_id, l.ledger_id FROM campaign_ledger l
           JOIN message m ON m.app_id = %s AND m.activity_id = l.ledger_id AND m.endpoint_id = ANY (%s::text[])
           WHERE l.activity_id = ANY (%s::text[]) AND split_part(l.ledger_id, '-', 2) = %s""",
        [one.campaign.app_id, list(endpoint_ids), list(one.activity_ids), str(one.campaign.version)],
    )
    taken: dict[str, set[int]] = {}
    for endpoint_id, ledger_id in await cursor.fetchall():
        taken.setdefault(endpoint_id, set()).add(int(ledger_id.rpartition("-")[2]))
    found: dict[int, list[str]] = {}
    for endpoint_id in endpoint_ids:
        used = taken.get(endpoint_id, set())
        found.setdefault(next(number for number in range(len(used) + 1) if number not in used), []).append(endpoint_id)
    return found


async def _ledgers(call: Call, connection: Connection, one: Open, number: int) -> list[Ledger]:
    """The activities' ledgers for endpoints that have had so many messages; made when first needed.

    Templates are not pinned: a window is open for long, and what a template says at the time is what is sent.
    """
    found = []
    for treatment, activity_id in zip(one.treatments, one.activity_ids, strict=True):
        content = await content_of(call, one.campaign, treatment, activity_id, None)
        for template_type, named in content["Templates"].items():
            member = next(name for name, kind in TEMPLATE_TYPES.items() if kind == template_type)
            named["Version"] = treatment.templates[member].get("Version")
        ledger_id = f"{activity_id}-{one.campaign.version}-{number}"
        # An activity is removed when it is old: one that is used again is new again, told each hour at the most.
        await connection.execute(
            """WITH made AS (
                   INSERT INTO activity (activity_id, app_id, content, created_at)
                   VALUES (%(id)s, %(app)s, %(content)s, %(now)s) ON CONFLICT (activity_id) DO NOTHING)
               UPDATE activity SET created_at = %(now)s
               WHERE activity_id = %(id)s AND created_at < %(now)s - interval '1 hour'""",
            {"id": ledger_id, "app": one.campaign.app_id, "content": Jsonb(content), "now": call.now()},
        )
        made = await connection.execute(
            """INSERT INTO campaign_ledger (ledger_id, activity_id, created_at) VALUES (%s, %s, %s)
               ON CONFLICT (ledger_id) DO NOTHING""",
            [ledger_id, activity_id, call.now()],
        )
        if made.rowcount:
            facts = facts_of(one.campaign, treatment, content, call.now())
            await connection.execute(
                "UPDATE campaign_activity SET facts = %s WHERE activity_id = %s", [Jsonb(facts), activity_id]
            )
        found.append(ledger_of(ledger_id, content))
    return found


async def _post(
    connection: Connection, one: Open, ledgers: Sequence[Ledger], endpoint_ids: Sequence[str], now: datetime
) -> None:
    """What was accepted becomes work, message by message; what functions are called for, as slices that are called."""
    called = [ledger.ledger_id for ledger in ledgers if ledger.is_called]
    given = {
        "now": now,
        "until": now + timedelta(seconds=ANSWER_SECONDS_MAX),
        "app_id": one.campaign.app_id,
        "posted": [ledger.ledger_id for ledger in ledgers if not ledger.is_called],
        "called": called,
        "endpoint_ids": list(endpoint_ids),
    }
    if given["posted"]:
        await connection.execute(
            """INSERT INTO outbox (app_id, activity_id, endpoint_id, message_id, channel_type, address, personal,
                   due_at, expires_at)
               SELECT app_id, activity_id, endpoint_id, message_id, channel_type, address, '{"IsEndpoint": true}',
                   %(now)s, %(until)s
               FROM message
               WHERE app_id = %(app_id)s AND activity_id = ANY (%(posted)s::text[])
                 AND endpoint_id = ANY (%(endpoint_ids)s::text[]) AND created_at = %(now)s""",
            given,
        )
    if called:
        await connection.execute(
            """INSERT INTO outbox_slice (app_id, activity_id, first_endpoint_id, last_endpoint_id, messages, due_at,
                   expires_at, is_called)
               SELECT app_id, activity_id, endpoint_id, endpoint_id, 1, %(now)s, %(until)s, true
               FROM message
               WHERE app_id = %(app_id)s AND activity_id = ANY (%(called)s::text[])
                 AND endpoint_id = ANY (%(endpoint_ids)s::text[]) AND created_at = %(now)s""",
            given,
        )
    await wake(connection)
