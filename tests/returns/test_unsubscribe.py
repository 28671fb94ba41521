"""One-click unsubscribe (RFC 8058), the page for people, and the preference page."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.returns.mails import ONE_CLICK, email, fetch, mail_for, put_endpoint, repoint, send

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ONE_CLICK_BODY = b"List-Unsubscribe=One-Click"
PREFERENCES = """
title = "What may we send you?"
[[fields]]
attribute = "EmailPreference_DailyDeals"
label = "Daily deals"
hint = "Every morning at eight"
[[fields]]
attribute = "Frequency"
label = "How often"
kind = "choice"
scope = "user"
choices = [{ value = "daily", label = "Every day" }, { value = "weekly", label = "Once a week" }]
[[fields]]
attribute = "Nickname"
label = "What we call you"
kind = "text"
"""


def opt_out(pinpoint, app_id, endpoint_id="ep-41"):
    return endpoint_of(pinpoint, app_id, endpoint_id)["OptOut"]


def endpoint_of(pinpoint, app_id, endpoint_id="ep-41"):
    return pinpoint.get_endpoint(ApplicationId=app_id, EndpointId=endpoint_id)["EndpointResponse"]


@pytest.fixture
def page(post, pinpoint, app_id, tmp_path):
    """The address of an endpoint's preference page, which shows a field of every kind."""
    (tmp_path / "page.toml").write_text(PREFERENCES)
    repoint(post, "preferences", "set", "--app", app_id, "--file", tmp_path / "page.toml")
    mail = mail_for(post, pinpoint, app_id, email(text="{{Pinpoint.PreferencesUrl}}"))
    return mail.text.strip()


def save(page, *pairs):
    shown = ["EmailPreference_DailyDeals", "Frequency", "Nickname"]
    fields = [*(("shown", name) for name in shown), *pairs, ("save", "yes")]
    body = "&".join(f"{name}={value}" for name, value in fields)
    return fetch(page, body.encode(), FORM)


def test_one_click_opts_the_endpoint_out(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id, email(headers=[ONE_CLICK]))
    status, _, _ = fetch(mail.one_click, ONE_CLICK_BODY, FORM)
    [(client_id, _, document)] = post.events(app_id, "_email.unsubscribe")

    assert mail.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "X-Repoint-List-Unsubscribe" not in mail.message
    assert (status, opt_out(pinpoint, app_id), client_id) == (200, "ALL", "ep-41")
    tags = document["facets"]["email_channel"]["mail_event"]["click"]["link_tags"]
    assert tags == {"unsubscribeLinkTag": ["one-click"]}


def test_one_click_may_come_as_multipart_and_twice(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id, email(headers=[ONE_CLICK]))
    body = b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n'
    answers = [fetch(mail.one_click, body, {"Content-Type": "multipart/form-data; boundary=x"})[0] for _ in range(2)]
    answers.append(fetch(mail.one_click, ONE_CLICK_BODY + b"\r\n", FORM)[0])

    assert answers == [200, 200, 200]
    assert opt_out(pinpoint, app_id) == "ALL"
    assert len(post.events(app_id, "_email.unsubscribe")) == 1


def test_one_click_from_everywhere_at_once_is_one_unsubscribe(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id, email(headers=[ONE_CLICK]))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: fetch(mail.one_click, ONE_CLICK_BODY, FORM)[0], range(16)))

    assert answers == [200] * 16
    assert len(post.events(app_id, "_email.unsubscribe")) == 1


def test_following_the_link_asks_and_changes_nothing(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id, email(headers=[ONE_CLICK]))
    status, headers, body = fetch(mail.one_click)

    assert (status, opt_out(pinpoint, app_id)) == (200, "NONE")
    assert b'<form method="post"><button name="confirm" value="yes">' in body
    assert "default-src 'none'" in headers["content-security-policy"]
    status, asked, nothing = fetch(mail.one_click, method="HEAD")
    assert (status, asked["content-type"], nothing) == (200, headers["content-type"], b"")
    assert fetch(mail.one_click, b"confirm=yes", FORM)[0] == 200
    assert opt_out(pinpoint, app_id) == "ALL"


def test_a_post_that_does_not_say_so_changes_nothing(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id, email(headers=[ONE_CLICK]))
    answers = [
        fetch(mail.one_click, body, FORM)[0] for body in (b"", b"List-Unsubscribe=No", b"\xff\xfe", b"a" * 70_000)
    ]

    assert answers == [400, 400, 400, 413]
    assert opt_out(pinpoint, app_id) == "NONE"


def test_a_forged_token_is_nobodys(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id, email(headers=[ONE_CLICK]))
    tracking_token = mail.pixel.rpartition("/")[2].removesuffix(".gif")
    base, _, token = mail.one_click.rpartition("/")
    forged = [
        f"{token[:-1]}{'A' if token[-1] != 'A' else 'B'}",
        tracking_token,
        f"{'A' * 22}{token[22:]}",
        "x",
        "%C3%A9",
    ]

    assert [fetch(f"{base}/{one}", ONE_CLICK_BODY, FORM)[0] for one in forged] == [404] * len(forged)
    assert opt_out(pinpoint, app_id) == "NONE"


def test_direct_mail_has_the_headers_only_when_asked(post, pinpoint, app_id):
    plain = mail_for(post, pinpoint, app_id)
    repoint(post, "tracking", "set", "--app", app_id, "--list-unsubscribe", "always")
    always = mail_for(post, pinpoint, app_id)
    own = mail_for(post, pinpoint, app_id, email(headers=[("List-Unsubscribe", "<mailto:stop@shop.example>")]))
    bare = post.address()
    send(pinpoint, app_id, bare, email(html="<p>Hi</p>", subject="Hi"))

    assert "List-Unsubscribe" not in plain.message
    assert "List-Unsubscribe" in always.message
    assert own.message.get_all("List-Unsubscribe") == ["<mailto:stop@shop.example>"]
    assert "List-Unsubscribe" not in post.sink.mail_to(bare).message


def test_unsubscribing_leaves_the_rest_of_the_endpoint_alone(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id, email(headers=[ONE_CLICK]))
    put_endpoint(pinpoint, app_id, "ep-41", mail.recipient, EndpointStatus="INACTIVE")
    before = endpoint_of(pinpoint, app_id)
    fetch(mail.one_click, ONE_CLICK_BODY, FORM)
    after = endpoint_of(pinpoint, app_id)

    changing = {"OptOut", "EffectiveDate", "RequestId"}
    assert {name for name in before if before[name] != after[name]} <= changing
    assert after["EndpointStatus"] == "INACTIVE"


def test_who_was_deleted_is_not_made_again(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id, email(headers=[ONE_CLICK]))
    pinpoint.delete_endpoint(ApplicationId=app_id, EndpointId="ep-41")
    status, _, _ = fetch(mail.one_click, ONE_CLICK_BODY, FORM)

    assert status == 200
    with pytest.raises(pinpoint.exceptions.NotFoundException):
        endpoint_of(pinpoint, app_id)


def test_a_long_endpoint_id_has_a_short_header(post, pinpoint, app_id):
    endpoint_id = "x" * 900
    mail = mail_for(post, pinpoint, app_id, email(headers=[ONE_CLICK]), endpoint_id=endpoint_id)
    fetch(mail.one_click, ONE_CLICK_BODY, FORM)

    assert opt_out(pinpoint, app_id, endpoint_id) == "ALL"
    assert max(map(len, mail.content.split(b"\r\n"))) < 998


def test_the_page_shows_what_is_and_saves_what_is_chosen(pinpoint, app_id, page):
    _, _, shown = fetch(page)
    status, _, saved = save(
        page,
        ("value%3DEmailPreference_DailyDeals", "on"),
        ("value%3DFrequency", "weekly"),
        ("value%3DNickname", "Ann%C3%A9"),
    )
    endpoint = endpoint_of(pinpoint, app_id)

    assert b"What may we send you?" in shown
    assert b" checked" not in shown
    assert (status, b'role="status"' in saved, saved.count(b" checked")) == (200, True, 1)
    assert b'<option value="weekly" selected>' in saved
    assert endpoint["Attributes"]["EmailPreference_DailyDeals"] == ["Subscribed"]
    assert endpoint["Attributes"]["Nickname"] == ["Anné"]
    assert endpoint["User"]["UserAttributes"] == {"FirstName": ["Ann"], "Frequency": ["weekly"]}
    assert endpoint["OptOut"] == "NONE"


def test_the_page_can_stop_everything_and_start_again(post, pinpoint, app_id, page):
    save(page, ("opt_out", "ALL"))
    stopped = endpoint_of(pinpoint, app_id)
    save(page)
    started = endpoint_of(pinpoint, app_id)

    assert (stopped["OptOut"], started["OptOut"]) == ("ALL", "NONE")
    assert stopped["Attributes"]["EmailPreference_DailyDeals"] == ["Unsubscribed"]
    assert len(post.events(app_id, "_email.unsubscribe")) == 1


@pytest.mark.parametrize("body", [b"", b"\x00", ONE_CLICK_BODY, b"shown=Nickname&value%3DNickname=x", b"save=ye"])
def test_a_form_that_was_cut_off_changes_nothing(pinpoint, app_id, page, body):
    save(page, ("opt_out", "ALL"))
    before = endpoint_of(pinpoint, app_id)

    assert fetch(page, body, FORM)[0] == 400
    assert endpoint_of(pinpoint, app_id) == before


def test_the_page_refuses_what_an_attribute_cannot_be(pinpoint, app_id, page):
    refused = [
        save(page, ("value%3DFrequency", "hourly")),
        save(page, ("value%3DNickname", "x" * 101)),
        save(page, ("value%3DNickname", "%00")),
    ]
    endpoint = endpoint_of(pinpoint, app_id)

    assert [status for status, _, _ in refused] == [400, 400, 400]
    assert all(b'role="alert"' in body for _, _, body in refused)
    assert set(endpoint["Attributes"]) == {"path"}


def test_a_field_that_was_not_shown_is_left_alone(pinpoint, app_id, page):
    save(page, ("value%3DEmailPreference_DailyDeals", "on"))
    fetch(page, b"save=yes", FORM)

    assert endpoint_of(pinpoint, app_id)["Attributes"]["EmailPreference_DailyDeals"] == ["Subscribed"]


def test_the_page_is_safe_against_what_attributes_hold(pinpoint, app_id, page):
    hostile = {"Nickname": ['"><script>alert(1)</script>']}
    pinpoint.update_endpoint(ApplicationId=app_id, EndpointId="ep-41", EndpointRequest={"Attributes": hostile})
    _, headers, body = fetch(page)

    assert b"<script" not in body
    assert headers["referrer-policy"] == "no-referrer"
    assert re.search(rb"(src|href)=", body) is None


def test_settings_that_cannot_be_are_refused(post, app_id, tmp_path):
    (tmp_path / "bad.toml").write_text("[[fields]]\nattribute = 'x'\nlabel = 'X'\nkind = 'slider'\n")
    (tmp_path / "odd.toml").write_text("colour = 'red'\n")
    tries = [
        ("preferences", "set", "--app", app_id, "--file", tmp_path / "bad.toml"),
        ("preferences", "set", "--app", app_id, "--file", tmp_path / "odd.toml"),
        ("preferences", "set", "--app", app_id, "--field", "nothing"),
        ("tracking", "set", "--app", "0" * 32, "--no-opens"),
        *(("tracking", "set", "--app", app_id, "--domain", domain) for domain in ("ftp://x", "[x", "x/'")),
    ]
    done = [repoint(post, *arguments, check=False) for arguments in tries]

    assert all(one.returncode for one in done)
    assert "Traceback" not in "".join(one.stderr for one in done)
    assert "slider" in done[0].stderr
