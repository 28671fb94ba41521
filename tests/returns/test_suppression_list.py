"""`repoint suppression`: pages, filters, imports."""

import json

import pytest

from tests.conftest import eventually
from tests.messages.sending import enable, phone, send
from tests.returns.mails import repoint

REGION = ("--region", "ap-south-1")


def listed(post, *arguments):
    return json.loads(repoint(post, "suppression", "list", *REGION, "--json", *arguments).stdout)


def test_a_file_is_imported_whole_or_not_at_all(post, tmp_path):
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("email,reason\nB@Example.com,complaint\n\na@example.com\nc@example.com,BOUNCE\n")
    bad.write_text("d@example.com\nno address\n")
    refused = repoint(post, "suppression", "import", bad, *REGION, check=False)
    bad.write_bytes("d@example.com\n".encode("utf-16"))
    unread = repoint(post, "suppression", "import", bad, *REGION, check=False)
    repoint(post, "suppression", "import", good, *REGION)
    first = listed(post, "--page-size", "2")
    rest = listed(post, "--page-size", "2", "--token", first["NextToken"])

    assert (refused.returncode, "line 2" in refused.stderr) == (1, True)
    assert (unread.returncode, "Error: " in unread.stderr, "Traceback" in unread.stderr) == (1, True, False)
    found = [(one["Address"], one["Reason"]) for one in first["Item"] + rest["Item"]]
    assert found == [("a@example.com", "MANUAL"), ("b@example.com", "COMPLAINT"), ("c@example.com", "BOUNCE")]
    assert rest["NextToken"] is None
    assert len(listed(post, "--reason", "BOUNCE", "--since", "1h")["Item"]) == 1
    assert listed(post, "--since", "2999-01-01")["Item"] == []
    repoint(post, "suppression", "clear", *REGION, "--yes")
    assert listed(post)["Item"] == []


def test_a_files_first_line_may_bear_a_mark(post, tmp_path):
    marked = tmp_path / "marked.csv"
    marked.write_text("a@example.com\n", encoding="utf-8-sig")
    repoint(post, "suppression", "import", marked, "--region", "sa-east-1")
    [one] = json.loads(repoint(post, "suppression", "list", "--region", "sa-east-1", "--json").stdout)["Item"]

    assert one["Address"] == "a@example.com"


@pytest.mark.parametrize("channel_type", ["SMS", "VOICE"])
def test_a_phone_number_on_the_list_is_not_called(post, pinpoint, app_id, channel_type):
    enable(pinpoint, app_id, channel_type)
    number, other = phone(), phone()
    repoint(post, "suppression", "add", "--region", "us-east-1", "--channel", channel_type, number)
    message = {"SMSMessage": {"Body": "b"}, "VoiceMessage": {"Body": "b"}}
    recipients = {one: {"ChannelType": channel_type} for one in (number.removeprefix("+"), other)}
    send(pinpoint, app_id, Addresses=recipients, MessageConfiguration=message)

    def states():
        with post.connection() as connection:
            rows = connection.execute("SELECT address, state FROM message WHERE app_id = %s", [app_id]).fetchall()
        return dict(rows) if {state for _, state in rows} <= {"SENT", "STOPPED"} else None

    assert eventually(states) == {number.removeprefix("+"): "STOPPED", other: "SENT"}
