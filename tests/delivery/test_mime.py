"""Email, byte for byte: read by Go's parsers and a lint of RFC 5322, 2045, 2046 and 2047 (mailcheck/main.go)."""

import json
import re
import shutil
import struct
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from repoint.delivery.mime import (
    DateLine,
    EmailParts,
    HeaderError,
    compile_email,
    header_line,
    prepare_raw,
)
from repoint.delivery.parts import has_long_line

pytestmark = pytest.mark.skipif(not shutil.which("go"), reason="needs Go, whose mail parsers are the judges")
NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
MESSAGE_ID = "0" * 40
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
TEXT = st.text(st.characters(codec="utf-8"), max_size=400)
LONG = st.builds(lambda text, times: text * times, TEXT, st.integers(1, 12))


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """What the judges find in an email."""
    program = tmp_path_factory.mktemp("mailcheck") / "mailcheck"
    source = Path(__file__).parent / "mailcheck" / "main.go"
    subprocess.run(["go", "build", "-o", program, source], check=True, timeout=120)
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(content):
        process.stdin.write(struct.pack(">I", len(content)) + content)
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield ask
    process.stdin.close()
    process.stdout.close()
    process.wait()


def build(text=None, html=None, *, subject="Hi", sender="shop@example.com", to="p@example.com", **parts):
    shared = EmailParts(sender, has_text=text is not None, has_html=html is not None, **parts)
    return compile_email(shared).build(
        to=to,
        subject=subject,
        message_id=MESSAGE_ID,
        date_line=DateLine().line(NOW),
        text=text or "",
        html=html or "",
    )


def shown(text):
    """A header's text as it is meant to arrive."""
    return CONTROL.sub(" ", text).strip(" \t")


def lines(text):
    """A body, whatever ends its lines."""
    return re.split("\r\n|\r|\n", text)


@settings(max_examples=300, deadline=None)
@given(LONG, LONG)
@example("x" * 2000, "y" * 998 + "\n" + "é" * 999)
@example("From here\n.\n..\n \n\t\n= =\n", "trailing \t\nspace ")
@example("\x00\r\r\n\n", "\r")
def test_parts_arrive_as_they_were_written(judge, text, html):
    found = judge(build(text, html))

    assert found["Problems"] == []
    assert [part["Type"] for part in found["Parts"]] == ["text/plain", "text/html"]
    assert {part["Charset"] for part in found["Parts"]} == {"utf-8"}
    assert [lines(part["Text"]) for part in found["Parts"]] == [lines(text), lines(html)]


@settings(max_examples=400, deadline=None)
@given(LONG)
@example("x" * 300)
@example("=?utf-8?b?aGk=?=")
@example("a" * 60 + " " * 30 + "b" * 60)
@example("Grüße 👩‍👩‍👧‍👦" * 20)
@example("one\r\nBcc: evil@example.com\r\n\r\nbody")
def test_subjects_arrive_as_they_were_written(judge, subject):
    found = judge(build("x", subject=subject))

    assert found["Problems"] == []
    assert found["Subject"].strip(" \t") == shown(subject)
    assert found["Headers"].keys() >= {"From", "To"}
    assert "Bcc" not in found["Headers"]


NAMES = st.text(st.characters(codec="utf-8", exclude_characters='<>"\\'), max_size=120)


@settings(max_examples=400, deadline=None)
@given(NAMES, NAMES)
@example("Ann  Lee", "O'Brien, Pat")
@example("x" * 120, "a (comment)")
@example("Größe & Söhne GmbH " * 6, "a@b.example, c")
def test_names_arrive_as_they_were_written(judge, name, other):
    found = judge(
        build("x", sender=f"{name} <shop@example.com>", reply_to=[f"{other} <a@example.com>", "b@example.com"])
    )

    assert found["Problems"] == []
    assert found["From"] == {"Name": shown(name.strip()), "Address": "shop@example.com"}
    assert [one["Address"] for one in found["ReplyTo"]] == ["a@example.com", "b@example.com"]
    assert found["ReplyTo"][0]["Name"] == shown(other.strip())


def test_quoted_names_are_not_quoted_twice(judge):
    found = judge(build("x", sender='"Lee, \\"Ann\\" \\\\" <ann@example.com>'))

    assert found["Problems"] == []
    assert found["From"]["Name"] == 'Lee, "Ann" \\'


def test_international_domains_are_written_in_ascii(judge):
    found = judge(build("x", sender="Bücher <laden@bücher.example>", to="käufer@example.com".replace("ä", "ae")))

    assert found["Problems"] == []
    assert found["From"]["Address"] == "laden@xn--bcher-kva.example"
    assert found["Headers"]["Message-Id"] == [f"<{MESSAGE_ID}@xn--bcher-kva.example>"]


@settings(max_examples=100, deadline=None)
@given(st.from_regex(r"\AX-[A-Za-z-]{1,70}\Z"), LONG)
def test_headers_arrive_as_they_were_written(judge, name, value):
    found = judge(build("x", headers=[(name, value)]))

    assert found["Problems"] == []
    assert "Bcc" not in found["Headers"]


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "a\r\nBcc", " a"])
def test_what_is_no_header_name_is_refused(name):
    with pytest.raises(HeaderError):
        header_line(name, "value")


def test_a_name_cannot_begin_a_header(judge):
    found = judge(build("x", to="a@b.example>\r\nBcc: <x@example.com"))

    assert found["Problems"] == []
    assert "Bcc" not in found["Headers"]


@pytest.mark.parametrize("address", ["", "a b@example.com", "a@b,c@d", "<>"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(HeaderError):
        build("x", to=address)


def test_one_part_needs_no_multipart(judge):
    found = judge(build(html="<p>hi</p>"))

    assert found["Problems"] == []
    assert found["Parts"] == [{"Type": "text/html", "Charset": "utf-8", "Text": "<p>hi</p>"}]


def test_a_forged_boundary_separates_nothing(judge):
    compiled = compile_email(EmailParts("shop@example.com"))
    common = {"to": "p@example.com", "subject": "x", "message_id": MESSAGE_ID, "date_line": DateLine().line(NOW)}
    seen = compiled.build(**common, text="a", html="b")
    boundary = re.search(rb'boundary="(.*?)"', seen)[1].decode()
    forged = f"a\r\n--{boundary}\r\nContent-Type: text/html\r\n\r\nforged"
    found = judge(compiled.build(**common, text=forged, html="b"))

    assert found["Problems"] == []
    assert [part["Text"] for part in found["Parts"]] == [forged, "b"]


RAW = b"From: a@example.com\nTo: b@example.com\nBcc: secret@example.com,\n other@example.com\nMIME-Version: 1.0\n"


def test_raw_email_keeps_its_words_and_loses_its_bcc(judge):
    data = RAW + b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 7bit\n\nhello\n"
    content = prepare_raw(data, to="b@example.com", message_id=MESSAGE_ID, date=NOW)
    found = judge(content)

    assert found["Problems"] == []
    assert b"secret" not in content
    assert b"other@" not in content
    assert found["Headers"]["Message-Id"] == [f"<{MESSAGE_ID}@example.com>"]
    assert found["Parts"][0]["Text"] == "hello\r\n"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_raw_bytes_become_something_that_can_be_sent(data):
    content = prepare_raw(data, to="b@example.com", message_id=MESSAGE_ID, date=NOW)

    assert b"\r\n\r\n" in content
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content)


@given(lengths=st.lists(st.integers(0, 2100), max_size=6), ends_with_newline=st.booleans())
@example(lengths=[998, 998, 998], ends_with_newline=False)
@example(lengths=[998, 999], ends_with_newline=False)
@example(lengths=[10, 1500, 10], ends_with_newline=True)
def test_long_lines_are_found(lengths, ends_with_newline):
    data = b"\n".join(b"x" * length for length in lengths) + b"\n" * ends_with_newline
    assert has_long_line(data) == any(len(line) > 998 for line in data.split(b"\n"))
