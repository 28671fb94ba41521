"""Why one endpoint got a campaign's message, or did not: from what was written down when each audience was taken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from repoint.clock import iso8601
from repoint.db import Database
from repoint.resources.campaigns.rules import FILTERED_OUT
from repoint.resources.campaigns.schedule import WINDOWED
from repoint.resources.endpoints.store import Endpoint, fold, get

# Failures that begin with a word of campaign_send_status: what had to be asked first failed, and nothing was sent.
UNASKED = ("HOOK_FAILURE", "RECOMMENDATION_FAILURE")
FACTS, MESSAGE_ID, DROPPED = 6, 13, 14  # where a row has these
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


async def explain(db: Database, campaign_id: str, endpoint_id: str) -> list[Answer]:
    """An answer for each run of the campaign, the latest first; for a run of several treatments the one that counts.

    A window has one for each message that answered an event, and one for the last event that was left unanswered.
    """
    rows = await db.fetch_all(
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
    if not rows:
        return []
    endpoint = await get(db, rows[0][2], endpoint_id)
    found: list[Answer] = []
    for (_, frequency), same in groupby(rows, key=lambda row: (row[3], row[0])):
        of_run = [row[1:] for row in same]
        if frequency in WINDOWED:
            found += _of_window(frequency, of_run, endpoint)
        else:
            found.append(_answer(of_run[0], endpoint))
    return found


def _of_window(frequency: str, rows: Sequence[tuple[Any, ...]], endpoint: Endpoint | None) -> list[Answer]:
    """What became of an endpoint's events while a campaign waited for them."""
    messages = {row[MESSAGE_ID]: row for row in rows if row[MESSAGE_ID] is not None}
    found = [_answer(row, endpoint) for row in messages.values()]
    dropped = next((row for row in rows if row[DROPPED] is not None), None)
    if dropped is not None:
        text = f"an event of the endpoint was not answered: {_sentence(dropped[DROPPED], dropped[FACTS], endpoint)}"
        found.append(Answer(dropped[0], dropped[2], dropped[3], dropped[DROPPED], text, dropped[FACTS]))
    if not found:
        activity_id, _, slot, treatment_id, *_ = rows[0]
        reason = UNANSWERED[frequency]
        found.append(Answer(activity_id, slot, treatment_id, reason, SENTENCES[reason], rows[0][FACTS]))
    return found


def _answer(row: tuple[Any, ...], endpoint: Endpoint | None) -> Answer:
    activity_id, _, slot, treatment_id, state, why, facts, started_at, *rest = row
    *message, dropped = rest
    if message[0] is not None:
        reason, text = _of_message(message, facts)
    elif dropped is not None:
        reason, text = dropped, _sentence(dropped, facts, endpoint)
    elif started_at is None:
        reason, text = state, f"the run did not select anybody: {why or 'it has not begun'}"
    else:
        reason, now = "NOT_A_MEMBER", "" if endpoint else "; there is none of this id now"
        text = (
            f"the endpoint was not in segment {facts.get('SegmentId')} version {facts.get('SegmentVersion')} "
            f"when the audience was taken, at {iso8601(started_at)}{now}"
        )
    return Answer(activity_id, slot, treatment_id, reason, text, facts)


def _of_message(message: list[Any], facts: Mapping[str, Any]) -> tuple[str, str]:
    state, status_code, status_message, attempts, modified_at, message_id = message
    when = iso8601(modified_at)
    if state == "SENT":
        return (
            "SENT",
            f"sent at {when} as message {message_id}, attempt {attempts or 1}: {status_message or 'accepted'}",
        )
    if state == "FAILED":
        word = status_message.partition(":")[0]
        return (
            word if word in UNASKED else "FAILED",
            f"not delivered, attempt {attempts}, at {when}: {status_code} {status_message}",
        )
    if state == "UNKNOWN":
        return "UNKNOWN", f"nobody knows, attempt {attempts}, at {when}: {status_message}"
    if state == "STOPPED":
        is_known = status_message in SENTENCES
        return status_message if is_known else "STOPPED", _sentence(status_message, facts, None)
    return "WAITING", f"still to be sent; attempts so far: {attempts}"


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
