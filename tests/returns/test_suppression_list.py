"""`repoint suppression`: pages, filters, imports."""

import json

from tests.returns.mails import repoint

REGION = ("--region", "ap-south-1")


def listed(post, *arguments):
    return json.loads(repoint(post, "suppression", "list", *REGION, "--json", *arguments).stdout)


def test_a_file_is_imported_whole_or_not_at_all(post, tmp_path):
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("email,reason\nB@Example.com,complaint\n\na@example.com\nc@example.com,BOUNCE\n")
    bad.write_text("d@example.com\nno address\n")
    refused = repoint(post, "suppression", "import", bad, *REGION, check=False)
    repoint(post, "suppression", "import", good, *REGION)
    first = listed(post, "--page-size", "2")
    rest = listed(post, "--page-size", "2", "--token", first["NextToken"])

    assert (refused.returncode, "line 2" in refused.stderr) == (1, True)
    found = [(one["Address"], one["Reason"]) for one in first["Item"] + rest["Item"]]
    assert found == [("a@example.com", "MANUAL"), ("b@example.com", "COMPLAINT"), ("c@example.com", "BOUNCE")]
    assert rest["NextToken"] is None
    assert len(listed(post, "--reason", "BOUNCE", "--since", "1h")["Item"]) == 1
    assert listed(post, "--since", "2999-01-01")["Item"] == []
    repoint(post, "suppression", "clear", *REGION, "--yes")
    assert listed(post)["Item"] == []
