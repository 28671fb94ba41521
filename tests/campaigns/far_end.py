"""Far ends of campaigns: webhooks behind TLS, and a stand-in for Lambda's Invoke that runs the handlers it is given."""

import contextlib
import ipaddress
import json
import ssl
import threading
import urllib.parse
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.far_ends import HttpFarEnd

ACCOUNT = "123456789012"


class FarEnd(HttpFarEnd):
    """With a certificate's file it speaks TLS.

    `answers` are functions by path (of Lambda's Invoke: by name or ARN), each from a payload to a status and a body (of
    Invoke: to the result). `headers` are those of answers to HEAD and `head_status` its status, by path. `calls` are
    the payloads, by path, `requests` the headers and bodies of all, and `held` the paths whose answers wait.
    """

    def __init__(self, certificate=None):
        super().__init__(self._handler())
        self.answers, self.calls, self.headers, self.lock = {}, {}, {}, threading.Lock()
        self.requests = []
        self.held, self.head_status = {}, {}
        self.server.handle_error = lambda *_: None  # callers hang up on who is slow
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
            self.url = self.url.replace("http:", "https:")

    def serve(self, path, answer=lambda payload: (200, b""), **head):
        """Answer at a path from now on; returns its URL. `head` are the headers of answers to HEAD."""
        self.answers[path], self.calls[path] = answer, []
        self.headers[path] = head or {"X-Amz-Pinpoint-AccountId": ACCOUNT}
        return self.url + path

    def called(self, path):
        """The payloads a path has got."""
        with self.lock:
            return list(self.calls[path])

    @contextlib.contextmanager
    def hold(self, path):
        """Keep a path's answers back."""
        self.held[path] = threading.Event()
        try:
            yield
        finally:
            self.held.pop(path).set()

    def take(self, path, payload):
        """One call."""
        with self.lock:
            self.calls[path].append(payload)
            held = self.held.get(path)
        if held:
            held.wait(60)
        return self.answers[path](payload)

    def _handler(far_end):  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                status = far_end.head_status.get(self.path, 200 if self.path in far_end.headers else 404)
                self.reply(status, b"", far_end.headers.get(self.path, {}))

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                far_end.requests.append((self.headers, body))
                if self.path.startswith("/2015-03-31/functions/"):
                    name = urllib.parse.unquote(self.path.split("/")[3])
                    self.reply(*far_end.invoke(name, self.headers["x-amz-invocation-type"], body))
                elif self.path in far_end.answers:
                    self.reply(*far_end.take(self.path, json.loads(body)))
                else:
                    self.reply(404, b"")

            def reply(self, status, body, headers=()):
                self.send_response(status)
                for name, value in dict(headers).items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler

    def invoke(self, name, invocation_type, body):
        """As Lambda answers Invoke (its API reference): the handler's result, or its exception under a header."""
        if name not in self.answers:
            error = {"Type": "User", "message": f"Function not found: {name}"}
            return 404, json.dumps(error).encode(), {"x-amzn-errortype": "ResourceNotFoundException"}
        if invocation_type == "DryRun":
            return 204, b""
        try:
            return 200, json.dumps(self.take(name, json.loads(body))).encode()
        except Exception as error:  # noqa: BLE001 - whatever the handler raises
            failure = {"errorMessage": str(error), "errorType": type(error).__name__}
            return 200, json.dumps(failure).encode(), {"X-Amz-Function-Error": "Unhandled"}


def make_certificate(path):
    """A key and a certificate of 127.0.0.1, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(pem))
    return path


def function_arn(name):
    return f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"


def through(uri, *types, data="d", **messages):
    """What makes a campaign's channel a custom one."""
    delivery = {"DeliveryUri": uri, **({"EndpointTypes": list(types)} if types else {})}
    return {
        "MessageConfiguration": {"CustomMessage": {"Data": data}, **messages},
        "CustomDeliveryConfiguration": delivery,
    }


def sends(app):
    """The attributes of each endpoint's _campaign.send."""
    rows = app.ask(
        """SELECT endpoint_id, document -> 'attributes' FROM logged_event
           WHERE app_id = %s AND event_type = '_campaign.send'""",
        [app.id],
    )
    assert len(rows) == len(dict(rows))
    return dict(rows)


def reply(**endpoints):
    return lambda payload: (200, json.dumps(endpoints).encode())
