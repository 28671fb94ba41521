"""The campaign tables: definitions, versions, and when each treatment runs next."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from repoint.db import Connection
from repoint.wire.exceptions import NotFoundException

VERSION_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TreatmentState:
    """Where one treatment stands.

    `next_at` is None when it will not run again; `is_running` while a run is under way, `is_open` while it waits for
    events.
    """

    treatment_id: str
    next_slot: datetime | None
    next_at: datetime | None
    last_slot: datetime | None
    is_running: bool
    is_open: bool


@dataclass(frozen=True, slots=True)
class StoredCampaign:
    """One version of a campaign, and where its treatments stand now.

    `document` is the WriteCampaignRequest as far as it has come by this version, less its tags; `defaults` are the
    application's Limits, QuietTime and CampaignHook as they were at the campaign's creation.
    """

    app_id: str
    campaign_id: str
    version: int
    latest_version: int
    document: dict[str, Any]
    defaults: dict[str, Any]
    fault: str | None
    fault_reason: str
    created_at: datetime
    modified_at: datetime
    states: tuple[TreatmentState, ...] = ()

    @property
    def is_paused(self) -> bool:
        """Whether further runs wait."""
        return bool(self.document.get("IsPaused"))

    def status_of(self, state: TreatmentState) -> str:
        """One treatment's CampaignStatus."""
        if self.fault is not None:
            return self.fault
        if state.is_running or (state.is_open and not self.is_paused):
            return "EXECUTING"
        if state.next_at is None and not state.is_open:
            return "COMPLETED"
        if self.is_paused:
            return "PAUSED"
        return "PENDING_NEXT_RUN" if state.last_slot else "SCHEDULED"

    @property
    def status(self) -> str:
        """The campaign's CampaignStatus: COMPLETED only when all treatments are."""
        found = {self.status_of(state) for state in self.states}
        for status in ("DELETED", "INVALID", "EXECUTING", "PAUSED", "PENDING_NEXT_RUN"):
            if status in found:
                return status
        if found == {"SCHEDULED"}:
            return "SCHEDULED"
        return "COMPLETED" if found == {"COMPLETED"} else "PENDING_NEXT_RUN"


async def find_campaign(
    connection: Connection, app_id: str, campaign_id: str, version: int | None = None
) -> StoredCampaign | None:
    """A campaign in one version, or the latest."""
    cursor = await connection.execute(
        """SELECT c.app_id, c.campaign_id, v.version, c.latest_version, v.document, c.defaults, c.fault,
                  c.fault_reason, c.created_at, v.modified_at
           FROM campaign c JOIN campaign_version v USING (app_id, campaign_id)
           WHERE c.app_id = %s AND c.campaign_id = %s AND v.version = coalesce(%s::int, c.latest_version)""",
        [app_id, campaign_id, version],
    )
    row = await cursor.fetchone()
    return (await _with_states(connection, [row]))[0] if row else None


async def find_latest(
    connection: Connection, keys: Collection[tuple[str, str]]
) -> dict[tuple[str, str], StoredCampaign]:
    """The latest versions of campaigns, by application and id."""
    if not keys:
        return {}
    cursor = await connection.execute(
        """SELECT c.app_id, c.campaign_id, v.version, c.latest_version, v.document, c.defaults, c.fault,
                  c.fault_reason, c.created_at, v.modified_at
           FROM campaign c JOIN campaign_version v
             ON v.app_id = c.app_id AND v.campaign_id = c.campaign_id AND v.version = c.latest_version
           JOIN (SELECT DISTINCT * FROM unnest(%s::text[], %s::text[]) AS wanted (app_id, campaign_id)) wanted
             ON c.app_id = wanted.app_id AND c.campaign_id = wanted.campaign_id""",
        [[app_id for app_id, _ in keys], [campaign_id for _, campaign_id in keys]],
    )
    found = await _with_states(connection, await cursor.fetchall())
    return {(one.app_id, one.campaign_id): one for one in found}


async def list_campaigns(connection: Connection, app_id: str, *, after: str, limit: int) -> list[StoredCampaign]:
    """The latest versions of an application's campaigns, by id."""
    cursor = await connection.execute(
        """SELECT c.app_id, c.campaign_id, v.version, c.latest_version, v.document, c.defaults, c.fault,
                  c.fault_reason, c.created_at, v.modified_at
           FROM campaign c JOIN campaign_version v
             ON v.app_id = c.app_id AND v.campaign_id = c.campaign_id AND v.version = c.latest_version
           WHERE c.app_id = %s AND c.campaign_id > %s ORDER BY c.campaign_id LIMIT %s""",
        [app_id, after, limit],
    )
    return await _with_states(connection, await cursor.fetchall())


async def list_versions(
    connection: Connection, app_id: str, campaign_id: str, *, before: int, limit: int
) -> list[StoredCampaign]:
    """A campaign's versions below a number, newest first."""
    cursor = await connection.execute(
        """SELECT c.app_id, c.campaign_id, v.version, c.latest_version, v.document, c.defaults, c.fault,
                  c.fault_reason, c.created_at, v.modified_at
           FROM campaign c JOIN campaign_version v USING (app_id, campaign_id)
           WHERE c.app_id = %s AND c.campaign_id = %s AND v.version < %s ORDER BY v.version DESC LIMIT %s""",
        [app_id, campaign_id, before, limit],
    )
    return await _with_states(connection, await cursor.fetchall())


async def _with_states(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> list[StoredCampaign]:
    cursor = await connection.execute(
        """SELECT t.app_id, t.campaign_id, t.treatment_id, t.next_slot, t.next_at, t.last_slot, EXISTS (
               SELECT 1 FROM campaign_activity a
               WHERE a.app_id = t.app_id AND a.campaign_id = t.campaign_id AND a.treatment_id = t.treatment_id
                 AND a.ended_at IS NULL AND a.frequency NOT IN ('EVENT', 'IN_APP_EVENT')), EXISTS (
               SELECT 1 FROM campaign_activity a
               WHERE a.app_id = t.app_id AND a.campaign_id = t.campaign_id AND a.treatment_id = t.treatment_id
                 AND a.ended_at IS NULL AND a.frequency IN ('EVENT', 'IN_APP_EVENT'))
           FROM campaign_treatment t
           JOIN (SELECT DISTINCT * FROM unnest(%s::text[], %s::text[]) AS wanted (app_id, campaign_id)) wanted
             USING (app_id, campaign_id)
           ORDER BY t.treatment_id""",
        [[row[0] for row in rows], [row[1] for row in rows]],
    )
    states: dict[tuple[str, str], list[TreatmentState]] = {}
    for app_id, campaign_id, *state in await cursor.fetchall():
        states.setdefault((app_id, campaign_id), []).append(TreatmentState(*state))
    found = [StoredCampaign(*row) for row in rows]
    return [replace(one, states=tuple(states.get((one.app_id, one.campaign_id), ()))) for one in found]


async def lock_campaign(connection: Connection, app_id: str, campaign_id: str) -> StoredCampaign:
    """A campaign about to be changed, in its latest version.

    Raises:
        NotFoundException: when there is none.
    """
    await connection.execute(
        "SELECT 1 FROM campaign WHERE app_id = %s AND campaign_id = %s FOR UPDATE", [app_id, campaign_id]
    )
    found = await find_campaign(connection, app_id, campaign_id)
    if found is None:
        raise NotFoundException("Resource not found")
    return found


async def count_open(connection: Connection, app_id: str, frequency: str) -> int:
    """How many campaigns of a frequency that answers events an application has, open or to be opened.

    The application's row is locked: nobody else counts until the caller's transaction ends.
    """
    await connection.execute("SELECT 1 FROM app WHERE app_id = %s FOR NO KEY UPDATE", [app_id])
    cursor = await connection.execute(
        """SELECT count(*) FROM campaign c JOIN campaign_version v
             ON v.app_id = c.app_id AND v.campaign_id = c.campaign_id AND v.version = c.latest_version
           WHERE c.app_id = %(app_id)s AND c.fault IS NULL AND v.document -> 'Schedule' ->> 'Frequency' = %(frequency)s
             AND (EXISTS (SELECT 1 FROM campaign_treatment t WHERE t.app_id = c.app_id
                          AND t.campaign_id = c.campaign_id AND t.next_at IS NOT NULL)
                  OR EXISTS (SELECT 1 FROM campaign_activity a WHERE a.app_id = c.app_id
                             AND a.campaign_id = c.campaign_id AND a.ended_at IS NULL))""",
        {"app_id": app_id, "frequency": frequency},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def insert_campaign(connection: Connection, campaign: StoredCampaign) -> None:
    """A new campaign with its version 1."""
    await connection.execute(
        """INSERT INTO campaign (app_id, campaign_id, latest_version, defaults, created_at)
           VALUES (%s, %s, %s, %s, %s)""",
        [campaign.app_id, campaign.campaign_id, campaign.version, Jsonb(campaign.defaults), campaign.created_at],
    )
    await insert_version(connection, campaign)


async def insert_version(connection: Connection, campaign: StoredCampaign) -> None:
    """A version, the latest from now on, and where it and its treatments stand."""
    await connection.execute(
        """UPDATE campaign SET latest_version = %s, fault = %s, fault_reason = %s
           WHERE app_id = %s AND campaign_id = %s""",
        [campaign.version, campaign.fault, campaign.fault_reason, campaign.app_id, campaign.campaign_id],
    )
    await connection.execute(
        """INSERT INTO campaign_version (app_id, campaign_id, version, document, modified_at)
           VALUES (%s, %s, %s, %s, %s)""",
        [campaign.app_id, campaign.campaign_id, campaign.version, Jsonb(campaign.document), campaign.modified_at],
    )
    await connection.execute(
        "DELETE FROM campaign_treatment WHERE app_id = %s AND campaign_id = %s",
        [campaign.app_id, campaign.campaign_id],
    )
    for state in campaign.states:
        await connection.execute(
            """INSERT INTO campaign_treatment (app_id, campaign_id, treatment_id, next_slot, next_at, last_slot)
               VALUES (%s, %s, %s, %s, %s, %s)""",
            [
                campaign.app_id,
                campaign.campaign_id,
                state.treatment_id,
                state.next_slot,
                state.next_at,
                state.last_slot,
            ],
        )
    await connection.execute("SELECT pg_notify('campaigns', '')")


async def move_window(
    connection: Connection, campaign: StoredCampaign, treatment_id: str, end: datetime | None
) -> None:
    """Until when a treatment that is open for events stays so."""
    await connection.execute(
        """UPDATE campaign_activity SET expires_at = %s
           WHERE app_id = %s AND campaign_id = %s AND treatment_id = %s AND ended_at IS NULL
             AND frequency IN ('EVENT', 'IN_APP_EVENT')""",
        [end, campaign.app_id, campaign.campaign_id, treatment_id],
    )


async def close_other_windows(connection: Connection, campaign: StoredCampaign, treatment_ids: Sequence[str]) -> None:
    """No other treatment than these waits for events any more."""
    await connection.execute(
        """UPDATE campaign_activity SET expires_at = %s
           WHERE app_id = %s AND campaign_id = %s AND treatment_id <> ALL (%s::text[]) AND ended_at IS NULL
             AND frequency IN ('EVENT', 'IN_APP_EVENT')""",
        [campaign.modified_at, campaign.app_id, campaign.campaign_id, list(treatment_ids)],
    )


async def failed_treatments(connection: Connection, campaign: StoredCampaign) -> set[str]:
    """The treatments of a campaign whose last run has failed."""
    cursor = await connection.execute(
        """SELECT t.treatment_id FROM campaign_treatment t JOIN campaign_activity a
             ON a.app_id = t.app_id AND a.campaign_id = t.campaign_id AND a.treatment_id = t.treatment_id
            AND a.slot = t.last_slot
           WHERE t.app_id = %s AND t.campaign_id = %s AND a.result = 'FAIL'""",
        [campaign.app_id, campaign.campaign_id],
    )
    return {treatment_id for (treatment_id,) in await cursor.fetchall()}


async def delete_campaign(connection: Connection, app_id: str, campaign_id: str) -> None:
    """Forget a campaign and its versions, and call off what it is sending; the ledger of its runs stays."""
    await connection.execute(
        """UPDATE campaign_activity SET state = 'CANCELLED', reason = 'The campaign was deleted'
           WHERE app_id = %s AND campaign_id = %s AND ended_at IS NULL""",
        [app_id, campaign_id],
    )
    await connection.execute(
        "DELETE FROM campaign_wave WHERE app_id = %s AND campaign_id = %s AND done_at IS NULL", [app_id, campaign_id]
    )
    await connection.execute("DELETE FROM campaign WHERE app_id = %s AND campaign_id = %s", [app_id, campaign_id])
    await connection.execute("SELECT pg_notify('campaigns', '')")
