"""`repoint render` shows what a template says before anybody gets it."""

import json
import os
import subprocess
import uuid

import pytest

from tests.conftest import REPOINT


def render(*arguments, server=None, stdin=None):
    data_dir = ("--data-dir", server.data_dir) if server else ()
    command = [REPOINT, "render", *data_dir, *arguments]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, input=stdin, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def welcome(pinpoint, app_id):
    """An email template with two versions, and an endpoint."""
    name = f"welcome-{uuid.uuid4().hex}"
    request = {
        "Subject": "For {{User.UserAttributes.First}}",
        "HtmlPart": "<p>{{User.UserAttributes.First}} in {{City}}</p>",
        "TextPart": "{{User.UserAttributes.First}} in {{City}}",
        "DefaultSubstitutions": json.dumps({"City": "Graz", "User.UserAttributes.First": "friend"}),
    }
    pinpoint.create_email_template(TemplateName=name, EmailTemplateRequest=request)
    second = {"Subject": "Second", "TextPart": "two"}
    pinpoint.update_email_template(TemplateName=name, EmailTemplateRequest=second, CreateNewVersion=True)
    user = {"UserAttributes": {"First": ["Ann & Co"]}}
    endpoint = {"Address": "ann@example.com", "ChannelType": "EMAIL", "User": user}
    pinpoint.update_endpoint(ApplicationId=app_id, EndpointId="e1", EndpointRequest=endpoint)
    return name


def test_a_stored_template_is_rendered_for_an_endpoint(server, app_id, welcome):
    done = render(welcome, "--app", app_id, "--endpoint", "e1", "--format", "json", server=server)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "Subject": "For Ann & Co",
        "HtmlPart": "<p>Ann &amp; Co in Graz</p>",
        "TextPart": "Ann & Co in Graz",
    }


def test_one_part_is_shown_alone(server, welcome):
    html = render(welcome, "--format", "html", "--set", "City=Wien", server=server).stdout
    second = render(welcome, "--version", "2", "--part", "subject", server=server).stdout

    assert html == "<p>friend in Wien</p>\n"
    assert second == "Second\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody"], "there is no email template nobody in us-east-1"),
        (["WELCOME", "--version", "9"], "there is no email template WELCOME, version 9, in us-east-1"),
        (["WELCOME", "--version", "x"], "Version: must be a number or latest"),
        (["WELCOME", "--app", "APP", "--endpoint", "e9"], "there is no endpoint e9 in application APP"),
        (["WELCOME", "--part", "title"], "the template has no title: it has HtmlPart, Subject, TextPart"),
        (["WELCOME", "--set", "City"], "--set City: write NAME=VALUE"),
    ],
)
def test_what_is_not_there_is_named(server, app_id, welcome, arguments, message):
    given = [argument.replace("WELCOME", welcome).replace("APP", app_id) for argument in arguments]
    done = render(*given, server=server)

    assert done.returncode in (1, 2)
    assert message.replace("WELCOME", welcome).replace("APP", app_id) in done.stderr


def test_a_file_is_rendered_without_a_server(tmp_path):
    template, context = tmp_path / "t.html", tmp_path / "c.json"
    template.write_text("<b>{{User.UserAttributes.First}}</b> {{upper Code}}")
    context.write_text('{"User": {"UserAttributes": {"First": ["<Ann>"]}}}')
    done = render("--file", template, "--context", context, "--set", "Code=x1", "--part", "html")

    assert (done.returncode, done.stdout) == (0, "<b>&lt;Ann&gt;</b> X1\n")


def test_a_text_message_is_not_escaped(tmp_path):
    template = tmp_path / "t.txt"
    template.write_text("{{Code}}")

    assert render("--file", template, "--type", "sms", "--set", "Code=<1>", "--part", "body").stdout == "<1>\n"


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("a\n{{#if b}}", [], "{{#if}} is not closed at line 2, column 1"),
        ("{{gt 1 'a'}}", [], "TextPart: gt: cannot compare '1' and 'a'"),
        ("a", ["--context", "SELF"], "not a JSON object"),
        ("a", ["--endpoint", "e1"], "--endpoint needs --app"),
        ("a", ["name"], "give the name of a stored template, or --file"),
    ],
)
def test_a_mistake_is_explained(tmp_path, text, arguments, message):
    template = tmp_path / "t.txt"
    template.write_text(text)
    given = [str(template) if argument == "SELF" else argument for argument in arguments]
    done = render("--file", template, *given)

    assert done.returncode in (1, 2)
    assert message in done.stderr
