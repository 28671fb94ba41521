"""Behind the proxy of deploy/nginx.conf, a real nginx that ends TLS: signatures hold, and policies see the caller."""

import json
import re
import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.conftest import create_key, eventually, free_port, start_server
from tests.delivery.hostile_smtp import Authority
from tests.messages.sending import text_somebody

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin") or ""
SITE = Path(__file__).parents[2] / "deploy" / "nginx.conf"
pytestmark = pytest.mark.skipif(not NGINX, reason="nginx is not installed")
MAIN = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def behind(tmp_path_factory):
    """A server behind the site, and what a client of the site needs."""
    folder = tmp_path_factory.mktemp("nginx")
    server = start_server(folder / "data", "--log-level", "error", "--no-inbox", "--trusted-proxies", "1")
    authority, port = Authority(folder), free_port()
    authority.context()
    site = SITE.read_text().replace("listen 443", f"listen 127.0.0.1:{port}").replace("pinpoint.example.com;", "_;", 1)
    site = re.sub(r"/etc/ssl/\S+(?=;)", str(folder / "127.0.0.130.pem"), site)
    site = site.replace("127.0.0.1:8000", server.url.removeprefix("http://"))
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, site=site))
    with subprocess.Popen([NGINX, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"]) as nginx:
        assert eventually(lambda: answers(port))
        yield server, {"endpoint_url": f"https://127.0.0.1:{port}", "verify": str(authority.file)}
        nginx.terminate()
    assert server.stop() == 0


def test_signatures_hold_whatever_is_in_the_path_and_however_long_the_body(behind):
    server, at = behind
    client = server.client(**at)
    app_id = client.create_app(CreateApplicationRequest={"Name": "Öffentlich"})["ApplicationResponse"]["Id"]
    for endpoint_id in ("plain", "a/b", "ä b", "100%", "a+b//c", ".."):
        client.update_endpoint(
            ApplicationId=app_id, EndpointId=endpoint_id, EndpointRequest={"ChannelType": "SMS", "Address": "+43123456"}
        )
        found = client.get_endpoint(ApplicationId=app_id, EndpointId=endpoint_id)["EndpointResponse"]
        assert found["Id"] == endpoint_id
    item = {"Endpoint": {}, "Events": {"e": {"EventType": "x", "Timestamp": "2026-11-02T10:00:00Z"}}}
    many = {f"endpoint{number}-{'x' * 200}": item for number in range(100)}
    results = client.put_events(ApplicationId=app_id, EventsRequest={"BatchItem": many})["EventsResponse"]["Results"]
    assert len(results) == 100

    with pytest.raises(ClientError) as refused:
        client.create_segment(ApplicationId=app_id, WriteSegmentRequest={"Name": "x" * (7 * 2**20 + 1)})
    assert refused.value.response["Error"]["Code"] == "PayloadTooLargeException"


def test_policies_see_the_caller_and_not_the_proxy(behind):
    server, at = behind
    key = make_key(
        server,
        {"Bool": {"aws:SecureTransport": "true"}, "IpAddress": {"aws:SourceIp": "127.0.0.1/32"}},
    )

    assert "Item" in server.client(**at, **key).get_apps()["ApplicationsResponse"]
    assert refusal(server.client(**key)) == "ForbiddenException"  # by HTTP, though from there, too


def test_nobody_but_the_proxy_says_where_a_request_came_from(server):
    key = make_key(server, {"IpAddress": {"aws:SourceIp": "198.51.100.0/24"}})
    client = server.client(**key)

    def pretend(request, **_):
        request.headers.update({"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https"})

    client.meta.events.register("before-send.pinpoint.*", pretend)

    assert refusal(client) == "ForbiddenException"


def test_what_is_for_operators_stays_inside(behind):
    server, at = behind
    text_somebody(server.client(**at), "by the proxy")
    context = ssl.create_default_context(cafile=at["verify"])
    for path in ("/metrics", "/inbox", "/inbox/api/messages"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(at["endpoint_url"] + path, context=context)
        assert refused.value.code == 404


def make_key(server, condition):
    """A key that may do everything under a condition."""
    statement = {"Effect": "Allow", "Action": "mobiletargeting:*", "Resource": "*", "Condition": condition}
    policy = server.data_dir / "policy.json"
    policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    made = create_key(server.data_dir, "conditional", "--policy", policy)
    return dict(zip(("aws_access_key_id", "aws_secret_access_key"), made, strict=True))


def refusal(client):
    """The error of a request that a policy decides."""
    with pytest.raises(ClientError) as refused:
        client.get_apps()
    return refused.value.response["Error"]["Code"]
