"""Letters: what many emails share is made once, and filled in it says what an email made from its parts says."""

import email
import email.policy
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from repoint.delivery import pipeline
from repoint.delivery.letter import compile_letter
from repoint.delivery.mime import DateLine
from repoint.delivery.pipeline import Delivery, Workshop
from repoint.delivery.plan import make_plan
from repoint.delivery.render import Templates
from repoint.delivery.returns import ReturnPaths
from repoint.delivery.tokens import Tokens
from repoint.resources.apps import App
from repoint.resources.tracking import Tracking
from repoint.sealing import Seal
from repoint.work.outbox import Leased
from tests.conftest import eventually
from tests.delivery.selecting import email_content, is_done, put_endpoints, select
from tests.stored import stored_endpoint

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
APP_ID = "a" * 32
WORKSHOP = Workshop(Templates(), DateLine(), missing_fails=False)
NAMES = (
    *("Attributes.a", "Attributes.b.[0]", "User.UserAttributes.n", "Metrics.m", "Address", "Own", "Id", "CreationDate"),
    *("Pinpoint.UnsubscribeUrl", "upper Attributes.a", "lower 'X'"),
)
LONG = ("größer ", "秋の", "ab ", "é.", "🎉\n", "x")
TEXTS = st.one_of(
    st.text(st.sampled_from("ab é%<>&\"'=_.\r\n\t\x00"), max_size=12),
    st.text(st.sampled_from("äö日本¥\\🎉 .=\n"), max_size=12),
    st.builds(lambda text, times: text * times, st.sampled_from(LONG), st.integers(1, 400)),
)
OUTPUTS = st.sampled_from(NAMES).flatmap(lambda name: st.sampled_from([f"{{{{{name}}}}}", f"{{{{{{{name}}}}}}}"]))
LINKS = st.builds('<a href="{}" ses:tags="k:v;">x</a>'.format, OUTPUTS)
PLAIN = st.one_of(TEXTS, OUTPUTS, LINKS)
OTHERS = st.sampled_from(["{{#if Attributes.a}}!{{/if}}", "{{this}}", '<a href="https://x.test/?q={{Own}}">x</a>'])
SOURCES = st.one_of(*(st.lists(part, max_size=6) for part in (PLAIN, PLAIN, PLAIN, PLAIN | OTHERS))).map("".join)
VALUES = st.one_of(
    TEXTS,
    st.sampled_from(["Ann", "Zoë", "花子", "two\nlines", "https://x.test/a?b=c", "x" * 700, "mailto:x", "=_", "_", ""]),
)
ADDRESSES = st.sampled_from(["p@example.com", "p@example.com", "Zoë <z@bücher.example>", "no one"])
CHARSETS = st.sampled_from([None, "UTF-8", "ISO-8859-1", "Windows-1252", "Shift_JIS", "ISO-2022-JP", "UTF-16"])


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Return paths with all there is: tracking, bounce addresses, the recipients' own pages."""
    tokens = Tokens(Seal.from_settings("", tmp_path_factory.mktemp("key")))
    return ReturnPaths(tokens, public_url="https://t.test", bounce_domain="bounces.test", takes_mail=True)


def plan_of(paths, subject, text, html, *, charset=None, **shared):
    app = App(APP_ID, "us-east-1", "App", NOW, {}, NOW)
    asked = {"Charset": charset} if charset else {}
    parts = {"Subject": subject, "TextPart": text, "HtmlPart": html}
    content = email_content(**{name: {"Data": data, **asked} for name, data in parts.items()}) | shared
    content["Message"]["DefaultMessage"] = {"Substitutions": {"Own": ["<own>"]}}
    plan = make_plan("EMAIL", content, app, None, None)
    plan.returns = paths.plan(APP_ID, Tracking(), plan.content, content)
    plan.content = plan.returns.tracked(plan.content)
    return plan


def delivery_of(plan, first="Ann", second="x", address="p@example.com"):
    row = Leased(None, APP_ID, "activity", "e", "0" * 40, "EMAIL", address, {"IsEndpoint": True}, 1, NOW + timedelta(1))
    endpoint = stored_endpoint(
        app_id=APP_ID,
        address=address,
        attributes={"a": [first], "b": [second]},
        metrics={"m": 1.5},
        user_attributes={"n": [second]},
    )
    return Delivery(row, plan, endpoint, NOW)


def filled(plan, delivery):
    parts = plan.content.parts
    shared = plan.email(has_text="TextPart" in parts, has_html="HtmlPart" in parts)
    letter = compile_letter(plan.content, shared, plan.returns)
    return letter and letter.fill(delivery.row, delivery.endpoint, WORKSHOP.dates.line(NOW), NOW)


@settings(max_examples=1000, deadline=None)
@given(
    st.tuples(SOURCES, SOURCES, SOURCES),
    st.tuples(VALUES, VALUES, ADDRESSES),
    CHARSETS,
)
@example(("{{Own}}", "%s\r{{Own}}\nx", "<a href='{{Attributes.a}}'>"), ("", "", "p@example.com"), None)
@example(
    ("{{Own}}", "", "<a href='{{Attributes.a}}'>{{Attributes.a}}"), ("https://x.test/a?b=c", "", "p@example.com"), None
)
@example(("ü" * 90, "é{{Attributes.a}}\n", "{{Attributes.a}} \n."), ("Zoë", "", "p@example.com"), "Shift_JIS")
@example(("", "x" * 990 + "{{Attributes.a}}", ""), ("x" * 8, "", "p@example.com"), None)
@example(("", "x" * 990 + "{{Attributes.a}}", ""), ("x" * 9, "", "p@example.com"), None)
@example(("", "x" * 999 + "{{Attributes.a}}", ""), ("x\nx", "", "p@example.com"), None)
@example(("", "日" * 4 + "{{Attributes.a}}", ""), ("x" * 28, "", "p@example.com"), None)
@example(("", "日" * 4 + "{{Attributes.a}}", ""), ("x" * 29, "", "p@example.com"), None)
@example(("", "{{Attributes.a}}\\é", ""), ("¥", "", "p@example.com"), "Shift_JIS")
@example(("", "x\n{{Attributes.a}}.", ""), ("", "", "p@example.com"), None)
@example(("", "x\n{{Attributes.a}}", "x\n.y"), (".", "", "p@example.com"), None)
def test_a_letter_says_what_its_parts_say(paths, sources, values, charset):
    assume(any(sources[1:]))
    plan = plan_of(paths, *sources, charset=charset, CampaignId="c")
    delivery = delivery_of(plan, *values)
    pipeline.prepare(WORKSHOP, delivery)
    found = filled(plan, delivery)

    event("filled in" if found else "made from its parts")
    if found:
        for encoding in re.findall(rb"Encoding: (\S+)", found.content):
            event(encoding.decode())
        assert delivery.email is not None
        assert found.content == delivery.email.content
        assert found.subject == delivery.rendered.get("Subject", "")
        assert found.envelope_from == delivery.email.envelope_from
        event("may have dots" if found.may_have_dots else "has no dots")
        assert found.may_have_dots or b"\n." not in found.content


@pytest.mark.parametrize(
    "html",
    [
        "<h1>{{Attributes.a}}</h1>\n<a href='https://x.test/'>x</a>",
        "<a href='{{Pinpoint.UnsubscribeUrl}}'>{{Own}}</a> 100 %",
        "<a href='{{{Attributes.b}}}' ses:tags='k:v'>x</a>",
    ],
)
def test_plain_emails_are_letters(paths, html):
    plan = plan_of(paths, "{{Attributes.a}}, hello", "Hello {{upper Attributes.a}}\r\n", html, CampaignId="c")

    assert filled(plan, delivery_of(plan, second="https://x.test/?a=b"))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Grüße, {{Attributes.a}}!\n", "quoted-printable"),
        ("お元気ですか、{{Attributes.a}}様\n", "base64"),
        ("x" * 1200 + "{{Attributes.a}}", "quoted-printable"),
        ("Hello {{Attributes.a}}", "7bit"),
    ],
)
def test_emails_in_any_language_are_letters(paths, text, encoding):
    plan = plan_of(paths, "{{Attributes.a}}様", text, f"<p>{text}</p>")
    for name in ("Ann", "Ann Lee"):
        letter = filled(plan, delivery_of(plan, first=name))
        assert letter
        message = email.message_from_bytes(letter.content, policy=email.policy.default)

        assert message.get_body(("plain",))["Content-Transfer-Encoding"] == encoding
        assert message["Subject"] == f"{name}様"
        assert message.get_body(("plain",)).get_content().rstrip() == text.replace("{{Attributes.a}}", name).rstrip()


def test_a_name_that_is_not_ascii_alters_the_encoding_of_its_letter_alone(paths):
    plan = plan_of(paths, "Hello", "Hello {{Attributes.a}}", "")
    found = [filled(plan, delivery_of(plan, first=name)) for name in ("Ann", "Zoë", "花子" * 9)]

    assert [re.findall(rb"Encoding: (\S+)", letter.content) for letter in found] == [
        [b"7bit"],
        [b"quoted-printable"],
        [b"base64"],
    ]


@pytest.mark.parametrize("value", ["a\nb", "x" * 1000, "=_1", "a\x00b", "\r"])
def test_values_that_change_lines_or_boundaries_are_no_letters(paths, value):
    plan = plan_of(paths, "Hello", "Hello {{Attributes.a}}", "")

    assert filled(plan, delivery_of(plan, first="Ann"))
    assert filled(plan, delivery_of(plan, first=value)) is None


@pytest.mark.parametrize("text", ["={{Attributes.a}}", "=_{{Attributes.a}}"])
def test_a_boundary_is_not_put_together_from_text_and_value(paths, text):
    plan = plan_of(paths, "Hello", f"--{text}\n", "<p>")
    boundary = plan.email(has_text=True, has_html=True).boundary.decode()

    assert filled(plan, delivery_of(plan, first="_x"))
    assert filled(plan, delivery_of(plan, first=boundary.removeprefix(text.partition("{")[0]))) is None


def text_of(server, recipient):
    """The text of the one mail that somebody has."""
    (found,) = server.get(f"/inbox/api/messages?recipient={recipient}")["messages"]
    source = server.get(f"/inbox/api/messages/{found['id']}/source")
    return email.message_from_string(source, policy=email.policy.default).get_content().replace("\r", "").rstrip("\n")


def test_neighbours_of_all_kinds_get_their_own_mails(server, pinpoint, app_id):
    put_endpoints(pinpoint, app_id, 60, domain="letters.example")
    for number, name in ((30, "Zoë"), (40, "<b>&"), (50, "two\nlines")):
        pinpoint.update_endpoint(
            ApplicationId=app_id,
            EndpointId=f"e{number:04}",
            EndpointRequest={"User": {"UserAttributes": {"First": [name]}}},
        )
    content = email_content(TextPart={"Data": "Dear {{User.UserAttributes.First}},\nyours"})
    select(server, app_id, content)
    eventually(lambda: is_done(server))
    texts = {number: text_of(server, f"p{number}@letters.example") for number in (0, 29, 30, 40, 50, 59)}

    assert texts == {
        0: "Dear Ann0,\nyours",
        29: "Dear Ann29,\nyours",
        30: "Dear Zoë,\nyours",
        40: "Dear <b>&,\nyours",
        50: "Dear two\nlines,\nyours",
        59: "Dear Ann59,\nyours",
    }
