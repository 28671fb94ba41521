"""Requests nobody would send on purpose: never an error of ours, and every accepted message is accounted for."""

import json

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repoint.db.embedded import dsn_of
from tests.conftest import eventually
from tests.messages.sending import enable
from tests.signed import send_raw

BROKEN = ("{{", "{{/if}}", "{{#each x}}")
NASTY = (
    "",
    "x",
    "}}",
    "{{x}}",
    "{{{Attributes}}}",
    "{{#each Attributes}}{{this}}{{/each}}",
    "{{substring x 9}}",
    "{{User.UserAttributes.[a b].[0]}}",
    "\r\nBcc: a@example.com",
    "é\u2028\U0001f600",
    '{"a": "{{x}}"}',
    "<b>{{x}}</b>",
    "a@example.com",
    "x" * 5_000,
    "%s %(x)s \\ \t",
)
TEXT = st.sampled_from(NASTY) | st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00{"), max_size=9
)
ANY_TEXT = TEXT | st.sampled_from(BROKEN)
DESTINATIONS = st.sampled_from(
    [
        ("+14255550100", "SMS"),
        ("+1 (425) 555-0100", "SMS"),
        ("+14255550101", "VOICE"),
        ("a@example.com", "EMAIL"),
        ("a@EXAMPLE.com", "EMAIL"),
        ("é@ü.example", "EMAIL"),
        ("", "EMAIL"),
        ("tok", "GCM"),
        ("t{{x}}", "APNS"),
        ("adm", "ADM"),
        ("baidu", "BAIDU"),
        ("+14255550100", "EMAIL"),
        ("x", "CUSTOM"),
    ]
)
SUBSTITUTIONS = st.dictionaries(TEXT, st.lists(TEXT, max_size=3), max_size=3)
PERSONAL = st.fixed_dictionaries(
    {},
    optional={
        "BodyOverride": ANY_TEXT,
        "TitleOverride": ANY_TEXT,
        "RawContent": ANY_TEXT,
        "Substitutions": SUBSTITUTIONS,
        "Context": st.dictionaries(TEXT, TEXT, max_size=2),
    },
)
PUSH = dict.fromkeys(("Title", "Body", "Url", "RawContent", "Sound"), TEXT) | {
    "Action": st.sampled_from(["OPEN_APP", "URL"]),
    "Data": st.dictionaries(TEXT, TEXT, max_size=2),
    "SilentPush": st.booleans(),
    "Substitutions": SUBSTITUTIONS,
}
PART = st.fixed_dictionaries({}, optional={"Data": TEXT, "Charset": st.sampled_from(["UTF-8", "latin-1", "x"])})
HEADERS = st.lists(
    st.fixed_dictionaries({"Name": st.sampled_from(["X-A", "Subject", "To"]), "Value": TEXT}), max_size=2
)
EMAIL = st.fixed_dictionaries(
    {"FromAddress": st.sampled_from(["shop@example.com", "Ä <b@example.com>"])},
    optional={
        "Body": TEXT,
        "SimpleEmail": st.fixed_dictionaries(
            {}, optional={"Subject": PART, "HtmlPart": PART, "TextPart": PART, "Headers": HEADERS}
        ),
        "RawEmail": st.sampled_from([{}, {"Data": "RnJvbTogYUBiLmMNCg0KeA=="}, {"Data": "eA=="}]),
    },
)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "DefaultMessage": st.fixed_dictionaries({}, optional={"Body": TEXT, "Substitutions": SUBSTITUTIONS}),
        "DefaultPushNotificationMessage": st.fixed_dictionaries({}, optional=PUSH),
        "EmailMessage": EMAIL,
        "SMSMessage": st.fixed_dictionaries({}, optional={"Body": TEXT, "SenderId": TEXT}),
        "VoiceMessage": st.fixed_dictionaries({}, optional={"Body": TEXT, "VoiceId": TEXT}),
        "GCMMessage": st.fixed_dictionaries({}, optional=PUSH),
        "APNSMessage": st.fixed_dictionaries({}, optional=PUSH),
    },
)
ADDRESSES = st.lists(st.tuples(DESTINATIONS, PERSONAL), min_size=1, max_size=5).map(
    lambda chosen: {address: {"ChannelType": channel, **personal} for (address, channel), personal in chosen}
)
REQUEST = st.fixed_dictionaries(
    {"MessageConfiguration": MESSAGE | st.just({"DefaultMessage": {"Body": "{{x}}"}}), "Addresses": ADDRESSES},
    optional={"Context": st.dictionaries(TEXT, TEXT, max_size=2), "TraceId": TEXT},
)


def unsettled(server, app_id, ids):
    """Which of these messages the ledger does not know as settled, once for each."""
    with psycopg.connect(dsn_of(server.data_dir)) as connection:
        rows = connection.execute(
            "SELECT message_id FROM message WHERE app_id = %s AND state IN ('SENT', 'FAILED', 'STOPPED')", [app_id]
        ).fetchall()
    settled = [message_id for (message_id,) in rows]
    return sorted(ids) != sorted(settled)


def test_whatever_is_asked_is_answered_and_accounted_for(server, pinpoint, app_id):
    enable(pinpoint, app_id, "GCM", "APNS", "ADM", "BAIDU", "VOICE")
    accepted = []

    @settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(REQUEST)
    def send(request):
        status, code, answer = send_raw(server, "POST", f"/v1/apps/{app_id}/messages", json.dumps(request).encode())
        assert (status, code) in [(200, ""), (400, "BadRequestException")], answer
        results = answer.get("Result", {})
        assert status != 200 or results.keys() == request["Addresses"].keys()
        accepted.extend(result["MessageId"] for result in results.values() if result["StatusCode"] == 200)

    send()

    assert len(accepted) > 50
    assert eventually(lambda: not unsettled(server, app_id, accepted))
