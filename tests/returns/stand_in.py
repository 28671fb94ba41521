"""A stand-in for Amazon SNS: a signing certificate over HTTP, and messages signed with its key."""

import base64
import json
import threading
import uuid
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509.oid import NameOID

SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


def certificate(key, *, days):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    start = datetime.now(UTC) - timedelta(days=30)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .sign(key, SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


class SnsStandIn:
    def __init__(self, topic):
        self.topic = topic
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.pages = {"/cert.pem": certificate(self.key, days=365), "/expired.pem": certificate(self.key, days=3)}
        self.fetched = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                stand_in.fetched.append(self.path)
                body = stand_in.pages.get(self.path.partition("?")[0], b"ok")
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def message(self, content, *, version="1", **changed):
        """A signed message; `changed` before it is signed."""
        message = {
            "Type": "Notification",
            "MessageId": str(uuid.uuid4()),
            "TopicArn": self.topic,
            "Message": json.dumps(content),
            "Timestamp": "2026-11-24T10:00:00.000Z",
            "SignatureVersion": version,
            "SigningCertURL": f"{self.url}/cert.pem",
        } | changed
        text = "".join(f"{name}\n{message[name]}\n" for name in SIGNED[message["Type"]] if name in message)
        algorithm = SHA1() if version == "1" else SHA256()
        message["Signature"] = base64.b64encode(self.key.sign(text.encode(), PKCS1v15(), algorithm)).decode()
        return message
