"""Opens and clicks: from the mail that arrived to the event in the log."""

import json

from tests.conftest import eventually
from tests.returns.mails import HTML, email, fetch, mail_for, put_endpoint, repoint, send

TARGET = "https://shop.example/offer?a=1&b=2"


def test_a_click_leads_on_and_is_in_the_log(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id, Context={"order": "77"})
    [(_, sends_at, sends)] = eventually(lambda: post.events(app_id, "_email.send"))
    status, headers, _ = fetch(mail.links[0])
    [(client_id, sent_at, document)] = post.events(app_id, "_email.click")

    assert (status, headers["location"]) == (302, TARGET)
    assert client_id == "ep-41"
    assert document["attributes"]["feedback"] == TARGET
    assert document["attributes"]["order"] == "77"
    assert document["facets"]["email_channel"]["mail_event"]["click"] == {
        "ip_address": "127.0.0.1",
        "user_agent": "Tests/1.0",
        "link": TARGET,
        "link_tags": {},
    }
    assert sent_at == sends_at
    assert facts(document) == facts(sends)
    assert facts(document)["common_headers"]["subject"] == "Hello Ann"


def facts(document):
    return document["facets"]["email_channel"]["mail_event"]["mail"]


def test_a_rendered_link_is_tracked_too(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)

    assert fetch(mail.links[1])[1]["location"] == "https://shop.example/your?x=1&y=2"
    assert mail.links[3] == "mailto:help@shop.example"
    assert "ses:tags" not in mail.html


def test_a_link_with_the_unsubscribe_tag_is_an_unsubscribe_as_well(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)
    fetch(mail.links[2])
    [(_, _, document)] = post.events(app_id, "_email.unsubscribe")
    endpoint = pinpoint.get_endpoint(ApplicationId=app_id, EndpointId="ep-41")["EndpointResponse"]

    tags = document["facets"]["email_channel"]["mail_event"]["click"]["link_tags"]
    assert tags == {"unsubscribeLinkTag": ["click"], "where": ["foot"]}
    assert len(post.events(app_id, "_email.click")) == 1
    assert endpoint["OptOut"] == "NONE"


def test_an_open_is_a_record_of_the_stream(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id, endpoint_id="Ep-41")
    proxied = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "User-Agent": "Mail/2"}
    status, headers, body = fetch(mail.pixel, headers=proxied)
    printed = repoint(post, "events", "list", "--app", app_id, "--type", "_email.open", "--json").stdout
    record = json.loads(printed)

    assert (status, headers["content-type"], body[:6]) == (200, "image/gif", b"GIF89a")
    assert "no-store" in headers["cache-control"]
    assert record["attributes"]["feedback"] == "opened"
    assert record["client"] == {"client_id": "Ep-41"}
    assert record["event_version"] == "3.1"
    opened = record["facets"]["email_channel"]["mail_event"]["open"]
    assert opened == {"ip_address": "203.0.113.9", "user_agent": "Mail/2"}


def test_looking_without_following_is_not_a_click(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)
    status, headers, _ = fetch(mail.links[0], method="HEAD")

    assert (status, headers["location"]) == (302, TARGET)
    assert post.events(app_id, "_email.click") == []


def test_only_what_we_signed_is_followed(post, pinpoint, app_id):
    mail = mail_for(post, pinpoint, app_id)
    base, token, link = mail.links[0].rsplit("/", 2)
    forged = [
        f"{base}/{token}/{link[:-2]}",
        f"{base}/{token}/{link[:16]}aHR0cHM6Ly9ldmlsLmV4YW1wbGU",
        f"{base}/{token[:-1]}x/{link}",
        f"{base}/{'A' * 22}{token[22:]}/{link}",
        f"{base}/{token}/",
        f"{base}/%00/%00",
        f"{base}/{token}/{'A' * 20000}",
        mail.pixel.replace(".gif", "x.gif"),
    ]

    assert [fetch(url)[0] for url in forged] == [404] * len(forged)
    assert post.events(app_id, "_email.click") == []


def test_tracking_can_be_off_for_a_message_or_an_application(post, pinpoint, app_id):
    none = mail_for(post, pinpoint, app_id, email(headers=[("X-Repoint-Tracking", "none")]), endpoint_id="a")
    opens = mail_for(post, pinpoint, app_id, email(headers=[("X-Repoint-Tracking", "opens")]), endpoint_id="b")
    repoint(post, "tracking", "set", "--app", app_id, "--no-opens", "--domain", "click.example.com")
    clicks = mail_for(post, pinpoint, app_id, endpoint_id="c")

    assert (none.links[0], none.pixel) == (TARGET.replace("&", "&amp;"), None)
    assert "X-Repoint-Tracking" not in none.message
    assert (opens.links[0], bool(opens.pixel)) == (TARGET.replace("&", "&amp;"), True)
    assert clicks.links[0].startswith("https://click.example.com/t/c/")
    assert clicks.pixel is None


def test_an_override_of_one_recipient_is_tracked_as_well(post, pinpoint, app_id):
    address = post.address()
    put_endpoint(pinpoint, app_id, "ep-1", address)
    request = {
        "MessageConfiguration": {"EmailMessage": email()},
        "Endpoints": {"ep-1": {"BodyOverride": '<p><a href="https://own.example/">Own</a></p>'}},
    }
    pinpoint.send_messages(ApplicationId=app_id, MessageRequest=request)
    mail = post.sink.mail_to(address)

    assert fetch(mail.links[0])[1]["location"] == "https://own.example/"
    assert mail.pixel


def test_all_events_of_a_bare_address_name_one_client(post, pinpoint, app_id):
    address = post.address()
    send(pinpoint, app_id, address, email(HTML.replace("{{Attributes.path}}", "x")))
    mail = post.sink.mail_to(address)
    fetch(mail.pixel)
    fetch(mail.links[0])
    kinds = ("_email.open", "_email.click", "_email.send", "_email.delivered")
    clients = {
        client_id for kind in kinds for client_id, _, _ in eventually(lambda kind=kind: post.events(app_id, kind))
    }

    assert len(clients) == 1


def test_a_domain_with_a_sharp_s_is_not_another_ones(post, pinpoint, app_id):
    local = post.address().partition("@")[0]
    html = '<a href="https://straße.example/bücher">A</a><a href="https://😀.example/">B</a>'
    send(pinpoint, app_id, f"{local}@Straße.example", email(html))
    mail = post.sink.mail_to(f"{local}@xn--strae-oqa.example")

    assert mail.message["To"] == mail.recipient
    assert [fetch(link)[1]["location"] for link in mail.links] == [
        "https://xn--strae-oqa.example/b%C3%BCcher",
        "https://xn--e28h.example/",
    ]


def test_of_two_targets_the_one_counts_that_browsers_follow(post, pinpoint, app_id):
    html = '<a href="https://shop.example/first" href="https://shop.example/second">Go</a>'
    mail = mail_for(post, pinpoint, app_id, email(html))

    assert fetch(mail.links[0])[1]["location"] == "https://shop.example/first"
