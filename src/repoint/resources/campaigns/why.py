"""Why one endpoint got a campaign's message, or did not: from what was written down when each audience was taken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from repoint.clock import iso8601
from repoint.db import Database
from repoint.resources.campaigns.rules import FILTERED_OUT
from repoint.resources.campaigns.schedule import WINDOWED
from repoint.resources.endpoints.store import Endpoint, fold, get

# Failures that begin with a word of campaign_send_status: what had to be asked first failed, and nothing was sent.
UNASKED = ("HOOK_FAILURE", "RECOMMENDATION_FAILURE")
# Why an endpoint has nothing from a campaign that waits for events.
UNANSWERED = {"EVENT": "NO_EVENT", "IN_APP_EVENT": "FETCHED"}
# Each reason as a sentence; the facts of its run are put in.
SENTENCES = {
    "ENDPOINT_INACTIVE": "the endpoint was inactive",
    "ENDPOINT_OPT_OUT": "the endpoint had opted out of all messages (OptOut ALL)",
    "ENDPOINT_MISSING_ADDRESS": "the endpoint had no address",
    "ENDPOINT_MISSING_CHANNEL": "the endpoint had no channel",
    "ENDPOINT_CHANNEL_MISMATCH": "the treatment had nothing to say on the endpoint's channel, only on {Channels}",
    "ENDPOINT_MISSING_TIMEZONE": "the run went by the recipients' local time, and the endpoint had no valid time zone",
    "ENDPOINT_TIMEZONE_MISMATCH": "the hour had already passed in the endpoint's time zone when the run was set up",
    "HOLDOUT": "the endpoint's cohort, {cohort}, was held out (cohorts {HoldoutCohorts})",
    "DUPLICATE_ADDRESS": "another endpoint with the same address got the message",
    "CAMPAIGN_CAP": "the endpoint had been targeted {Total} times by this campaign, its limit in all",
    "DAILY_CAP": "the endpoint had got as many messages in 24 hours as it may (campaign {Daily}, application "
    "{DailyOfApplication}; 0 is no limit)",
    "QUIET_TIME": "it was quiet time ({QuietTime}) where the endpoint is",
    "EXPIRED": "the run's time was over before its turn came",
    "CANCELLED": "the campaign was deleted before its turn came",
    "NO_EVENT": "no event of the endpoint was one to answer: it reported none of those the campaign waits for while "
    "that was open, or was not in its segment when it did",
    "FETCHED": "in-app messages are not sent: while the campaign is open, the endpoint's app fetches them with "
    "GetInAppMessages, shows them and reports that as events",
    FILTERED_OUT: "the campaign's hook, {Hook}, left the endpoint out",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One run, and what became of the endpoint in it.

    `reason` is SENT, FAILED, UNKNOWN (it may have been sent), WAITING, NOT_A_MEMBER, NO_EVENT, FETCHED, STOPPED (by
    the suppression list), a drop's, or that of a call which had to come first and failed.
    """

    activity_id: str
    slot: datetime
    treatment_id: str
    reason: str
    text: str
    facts: Mapping[str, Any]


class _Row(NamedTuple):
    """An activity, and what there is of the endpoint in it: a message, a drop, or neither (all None)."""

    frequency: str
    activity_id: str
    app_id: str
    slot: datetime
    treatment_id: str
    state: str
    reason: str
    facts: Mapping[str, Any]
    started_at: datetime | None
    message_state: str | None
    status_code: int
    status_message: str
    attempts: int
    modified_at: datetime
    message_id: str | None
    dropped: str | None

    def answer(self, reason: str, text: str) -> Answer:
        """What became of the endpoint here."""
        return Answer(self.activity_id, self.slot, self.treatment_id, reason, text, self.facts)


async def explain(db: Database, campaign_id: str, endpoint_id: str) -> list[Answer]:
    """An answer for each run of the campaign, the latest first; for a run of several treatments the one that counts.

    A window has one for each message that answered an event, and one for the last event that was left unanswered.
    """
    found = await db.fetch_all(
        """SELECT a.frequency, a.activity_id, a.app_id, a.slot, a.treatment_id, a.state, a.reason, a.facts,
                  a.started_at, m.state, m.status_code, m.status_message, m.attempts, m.modified_at, m.message_id,
                  d.reason
           FROM campaign_activity a
           LEFT JOIN campaign_ledger l USING (activity_id)
           LEFT JOIN message m ON m.app_id = a.app_id AND m.activity_id = l.ledger_id AND m.endpoint_id = %s
           LEFT JOIN campaign_drop d
             ON d.app_id = a.app_id AND d.activity_id = a.activity_id AND d.endpoint_id = %s
           WHERE a.campaign_id = %s
           ORDER BY a.slot DESC, a.frequency, (m.state IS NULL AND d.reason IS NULL), m.created_at DESC NULLS LAST,
               m.message_id, a.treatment_id""",
        [fold(endpoint_id), fold(endpoint_id), campaign_id],
    )
    if not found:
        return []
    rows = [_Row(*row) for row in found]
    endpoint = await get(db, rows[0].app_id, endpoint_id)
    answers: list[Answer] = []
    for (_, frequency), same in groupby(rows, key=lambda row: (row.slot, row.frequency)):
        of_run = list(same)
        if frequency in WINDOWED:
            answers += _of_window(frequency, of_run, endpoint)
        else:
            answers.append(_answer(of_run[0], endpoint))
    return answers


def _of_window(frequency: str, rows: Sequence[_Row], endpoint: Endpoint | None) -> list[Answer]:
    """What became of an endpoint's events while a campaign waited for them."""
    messages = {row.message_id: row for row in rows if row.message_id is not None}
    found = [_answer(row, endpoint) for row in messages.values()]
    for row in rows:
        if row.dropped is not None:
            why = _sentence(row.dropped, row.facts, endpoint)
            found.append(row.answer(row.dropped, f"an event of the endpoint was not answered: {why}"))
            break
    reason = UNANSWERED[frequency]
    return found or [rows[0].answer(reason, SENTENCES[reason])]


def _answer(row: _Row, endpoint: Endpoint | None) -> Answer:
    if row.message_state is not None:
        return row.answer(*_of_message(row))
    if row.dropped is not None:
        return row.answer(row.dropped, _sentence(row.dropped, row.facts, endpoint))
    if row.started_at is None:
        return row.answer(row.state, f"the run did not select anybody: {row.reason or 'it has not begun'}")
    now = "" if endpoint else "; there is none of this id now"
    return row.answer(
        "NOT_A_MEMBER",
        f"the endpoint was not in segment {row.facts.get('SegmentId')} version {row.facts.get('SegmentVersion')} "
        f"when the audience was taken, at {iso8601(row.started_at)}{now}",
    )


def _of_message(row: _Row) -> tuple[str, str]:
    when, said = iso8601(row.modified_at), row.status_message
    if row.message_state == "SENT":
        return "SENT", f"sent at {when} as message {row.message_id}, attempt {row.attempts or 1}: {said or 'accepted'}"
    if row.message_state == "FAILED":
        word = said.partition(":")[0]
        text = f"not delivered, attempt {row.attempts}, at {when}: {row.status_code} {said}"
        return word if word in UNASKED else "FAILED", text
    if row.message_state == "UNKNOWN":
        return "UNKNOWN", f"nobody knows, attempt {row.attempts}, at {when}: {said}"
    if row.message_state == "STOPPED":
        return said if said in SENTENCES else "STOPPED", _sentence(said, row.facts, None)
    return "WAITING", f"still to be sent; attempts so far: {row.attempts}"


def _sentence(reason: str, facts: Mapping[str, Any], endpoint: Endpoint | None) -> str:
    shown = {name: _plain(value) for name, value in facts.items()}
    shown["cohort"] = str(endpoint.cohort_id) if endpoint else "?"
    return SENTENCES.get(reason, reason).format_map(_Known(shown))


class _Known(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return "-".join(str(value[name]) for name in ("Start", "End") if name in value)
    return str(value)
