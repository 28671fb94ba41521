"""Mail as its receiver has it, and how to send it and to answer it."""

import re
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from email import message_from_bytes, policy

from tests.conftest import REPOINT

HTML = (
    "<html><body><p>Hello {{User.UserAttributes.FirstName}}</p>"
    '<a href="https://shop.example/offer?a=1&amp;b=2">Offer</a>'
    "{{> }}".replace("{{> }}", "")
    + '<a href="https://shop.example/{{Attributes.path}}">Yours</a>'
    '<a href="https://shop.example/stop" ses:tags="unsubscribeLinkTag:click;where:foot">Stop</a>'
    '<a href="mailto:help@shop.example">Help</a></body></html>'
)


@dataclass
class ReceivedMail:
    envelope_from: str
    recipient: str
    content: bytes

    @property
    def message(self):
        return message_from_bytes(self.content, policy=policy.default)

    @property
    def html(self):
        return self.message.get_body(("html",)).get_content()

    @property
    def text(self):
        return self.message.get_body(("plain",)).get_content()

    @property
    def links(self):
        return re.findall(r'<a\s+href="([^"]*)"', self.html)

    @property
    def pixel(self):
        found = re.search(r'<img src="([^"]+)" width="1"', self.html)
        return found and found[1]

    @property
    def message_id(self):
        return self.message["Message-ID"].strip("<>").partition("@")[0]

    @property
    def ways_out(self):
        return re.findall("<([^>]*)>", self.message["List-Unsubscribe"])

    @property
    def one_click(self):
        return self.ways_out[0]

    @property
    def stop_address(self):
        return self.ways_out[1].removeprefix("mailto:")


def put_endpoint(pinpoint, app_id, endpoint_id, address, **more):
    pinpoint.update_endpoint(
        ApplicationId=app_id,
        EndpointId=endpoint_id,
        EndpointRequest={
            "ChannelType": "EMAIL",
            "Address": address,
            "OptOut": "NONE",
            "Attributes": {"path": ["your?x=1&y=2"]},
            "User": {"UserId": f"user-{endpoint_id}", "UserAttributes": {"FirstName": ["Ann"]}},
        }
        | more,
    )


def email(html=HTML, headers=(), subject="Hello {{User.UserAttributes.FirstName}}", text="Hello"):
    return {
        "FromAddress": "Shop <shop@example.com>",
        "SimpleEmail": {
            "Subject": {"Data": subject},
            "HtmlPart": {"Data": html},
            "TextPart": {"Data": text},
            "Headers": [{"Name": name, "Value": value} for name, value in headers],
        },
    }


ONE_CLICK = ("X-Repoint-List-Unsubscribe", "one-click")


def send(pinpoint, app_id, to, message=None, **more):
    """Send to an endpoint's id, or an address; the result of it."""
    target = {"Addresses": {to: {"ChannelType": "EMAIL"}}} if "@" in to else {"Endpoints": {to: {}}}
    request = {"MessageConfiguration": {"EmailMessage": message or email()}, **target, **more}
    answer = pinpoint.send_messages(ApplicationId=app_id, MessageRequest=request)["MessageResponse"]
    return (answer.get("Result") or answer["EndpointResult"])[to]


def mail_for(post, pinpoint, app_id, message=None, endpoint_id="ep-41", **more):
    """A mail that an endpoint has received."""
    address = post.address()
    put_endpoint(pinpoint, app_id, endpoint_id, address)
    assert send(pinpoint, app_id, endpoint_id, message, **more)["DeliveryStatus"] == "SUCCESSFUL"
    return post.sink.mail_to(address)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(NoRedirect)


def fetch(url, data=None, headers=(), method=None):
    """Status, headers and body, whatever the status; redirects are not followed."""
    request = urllib.request.Request(
        url, data=data, headers={"User-Agent": "Tests/1.0", **dict(headers)}, method=method
    )
    try:
        with OPENER.open(request, timeout=20) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def repoint(post, *arguments, check=True):
    """A command on the running server's installation."""
    command = [REPOINT, *arguments, "--data-dir", post.server.data_dir, "--log-level", "warning"]
    return subprocess.run(command, capture_output=True, text=True, check=check)
