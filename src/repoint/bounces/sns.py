"""Amazon SNS's messages over HTTP: believed only when Amazon has signed them, and for topics we were told of.

Source: Amazon SNS developer guide, "Verifying the signatures of Amazon SNS messages". Anybody can make a topic and have
Amazon sign what he sends from it, so the signature alone proves nothing: the topic has to be one of ours.
"""

import base64
import binascii
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from repoint.clock import Clock

AMAZON = re.compile(r"sns\.[a-z0-9-]{3,30}\.amazonaws\.com(\.cn)?\Z")
CERTIFICATES_MAX = 32
SIGNED_MEMBERS = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
Fetch = Callable[[str], Awaitable[bytes]]


class NotBelievedError(Exception):
    """A message that is not Amazon's, or not of a topic of ours; the text says why."""


class FetchError(Exception):
    """Amazon could not be reached: the message may come again."""


class SnsVerifier:
    """Checks messages; fetches signing certificates, each once.

    `topics` are the ARNs we listen to. `trusted_url` is where a stand-in for Amazon keeps its certificates, if there is
    one (LocalStack, tests).
    """

    def __init__(self, fetch: Fetch, clock: Clock, topics: frozenset[str], trusted_url: str = "") -> None:
        self._fetch = fetch
        self._clock = clock
        self._topics = topics
        self._trusted_url = trusted_url.rstrip("/")
        self._keys: OrderedDict[str, RSAPublicKey] = OrderedDict()

    async def verify(self, message: Mapping[str, Any]) -> None:
        """Return if the message is to be believed.

        Raises:
            NotBelievedError: if it is not.
            FetchError: when its certificate cannot be had now.
        """
        text = signed_text(message)
        if message["TopicArn"] not in self._topics:
            raise NotBelievedError("the topic is not one of --ses-topic-arn")
        algorithm = {"1": SHA1(), "2": SHA256()}.get(str(message.get("SignatureVersion")))  # noqa: S303 - Amazon's v1
        if algorithm is None:
            raise NotBelievedError("an unknown SignatureVersion")
        try:
            signature = base64.b64decode(str(message.get("Signature")), validate=True)
        except (binascii.Error, ValueError):
            raise NotBelievedError("the Signature is not base 64") from None
        key = await self._key(str(message.get("SigningCertURL")))
        try:
            key.verify(signature, text.encode(), PKCS1v15(), algorithm)
        except InvalidSignature:
            raise NotBelievedError("the signature does not fit") from None

    async def confirm(self, message: Mapping[str, Any]) -> None:
        """Accept a subscription, by fetching the address a verified message names."""
        url = str(message["SubscribeURL"])
        self._check_url(url)
        await self._fetch(url)

    def _check_url(self, url: str) -> None:
        if self._trusted_url and url.startswith((f"{self._trusted_url}/", f"{self._trusted_url}?")):
            return
        try:
            parts = urlsplit(url)
            is_plain = parts.scheme == "https" and parts.port in (None, 443) and parts.username is None
            is_amazons = is_plain and AMAZON.match(parts.hostname or "") is not None
        except ValueError:
            is_amazons = False
        if not is_amazons:
            raise NotBelievedError("an address that is not Amazon SNS's")

    async def _key(self, url: str) -> RSAPublicKey:
        self._check_url(url)
        if url not in self._keys:
            self._keys[url] = self._public_key(await self._fetch(url))
            if len(self._keys) > CERTIFICATES_MAX:
                self._keys.popitem(last=False)
        return self._keys[url]

    def _public_key(self, pem: bytes) -> RSAPublicKey:
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            key = certificate.public_key()
        except ValueError:
            raise NotBelievedError("the signing certificate cannot be read") from None
        now = self._clock()
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise NotBelievedError("the signing certificate is not valid now")
        if not isinstance(key, RSAPublicKey):
            raise NotBelievedError("the signing certificate has no RSA key")
        return key


def signed_text(message: Mapping[str, Any]) -> str:
    """What is signed: certain members, each as a line of its name and lines of its value.

    Raises:
        NotBelievedError: when the message has not the members it must have.
    """
    members = SIGNED_MEMBERS.get(str(message.get("Type")))
    if members is None:
        raise NotBelievedError("an unknown Type")
    lines = []
    for name in members:
        value = message.get(name)
        if value is None and name == "Subject":
            continue
        if not isinstance(value, str):
            raise NotBelievedError(f"{name} is missing")
        lines.append(f"{name}\n{value}\n")
    return "".join(lines)
