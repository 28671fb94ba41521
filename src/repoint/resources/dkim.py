"""The keys that sign email (RFC 6376, RFC 8463): made here, kept sealed, published by their owner in the DNS."""

import base64
import re
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from psycopg.errors import UniqueViolation

from repoint.db import Database
from repoint.resources.domains import ascii_domain
from repoint.sealing import Seal

ALGORITHMS = ("rsa", "ed25519")
RSA_BITS = 2048  # what all receivers check, and what fits a TXT record
LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
DOMAIN = re.compile(rf"(?:{LABEL}\.)+{LABEL}\Z")
SELECTOR = re.compile(rf"{LABEL}(?:\.{LABEL})*\Z")
PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class DkimKeyError(Exception):
    """A key that cannot be made, in words for whoever asked."""


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A key as it is shown: the record belongs into the DNS, as TXT at `dns_name`."""

    domain: str
    selector: str
    algorithm: str
    dns_record: str
    created_at: datetime

    @property
    def dns_name(self) -> str:
        """Where receivers look for the record (RFC 6376 section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that can sign."""

    domain: str
    selector: str
    private_key: PrivateKey


def normal_domain(domain: str) -> str:
    """A domain as it is looked up: ASCII, lower case.

    Raises:
        DkimKeyError: when it is not one.
    """
    try:
        found = ascii_domain(domain.strip().rstrip(".")).lower()
    except UnicodeError:
        found = ""
    if not DOMAIN.match(found):
        raise DkimKeyError(f"not a domain: {domain!r}")
    return found


async def create_key(db: Database, seal: Seal, *, domain: str, selector: str, algorithm: str, now: datetime) -> DkimKey:
    """Make a key; what is sent from its domain is signed with it from now on.

    Raises:
        DkimKeyError: for a name that is not one, or a selector the domain has already.
    """
    domain = normal_domain(domain)
    if not SELECTOR.match(selector):
        raise DkimKeyError(f"not a selector: {selector!r}")
    private_key, record = generate(algorithm)
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    sealed = seal.seal(pem.decode(), _owner(domain, selector))
    try:
        async with db.settings_change() as connection:
            await connection.execute(
                """INSERT INTO dkim_key (domain, selector, algorithm, private_key, dns_record, created_at)
                   VALUES (%s, %s, %s, %s, %s, %s)""",
                [domain, selector, algorithm, sealed, record, now],
            )
    except UniqueViolation:
        raise DkimKeyError(f"{domain} has a key with the selector {selector} already") from None
    return DkimKey(domain, selector, algorithm, record, now)


def generate(algorithm: str) -> tuple[PrivateKey, str]:
    """A new private key, and its public half as a DNS record."""
    if algorithm == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
        raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return key, f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode()}"
    if algorithm != "rsa":
        raise DkimKeyError(f"an algorithm is one of {', '.join(ALGORITHMS)}")
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    der = rsa_key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return rsa_key, f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode()}"


async def list_keys(db: Database, domain: str | None = None) -> list[DkimKey]:
    """All keys, or a domain's."""
    rows = await db.fetch_all(
        """SELECT domain, selector, algorithm, dns_record, created_at FROM dkim_key
           WHERE %s::text IS NULL OR domain = %s ORDER BY domain, selector""",
        [domain, domain],
    )
    return [DkimKey(*row) for row in rows]


async def delete_keys(db: Database, domain: str, selector: str | None) -> int:
    """Forget a key, or all of a domain's; returns how many there were."""
    async with db.settings_change() as connection:
        cursor = await connection.execute(
            "DELETE FROM dkim_key WHERE domain = %s AND (%s::text IS NULL OR selector = %s)",
            [domain, selector, selector],
        )
        return cursor.rowcount


async def load_signing_keys(db: Database, key: tuple[Seal, str]) -> list[SigningKey]:
    """The keys for what a domain sends: its own, or else those of the nearest domain above; for `Database.cached`."""
    seal, domain = key
    labels = domain.lower().split(".")
    names = [".".join(labels[start:]) for start in range(len(labels) - 1)]
    rows = await db.fetch_all(
        "SELECT domain, selector, private_key FROM dkim_key WHERE domain = ANY(%s) ORDER BY selector", [names]
    )
    nearest = max((len(row[0]) for row in rows), default=0)
    return [
        SigningKey(row[0], row[1], _opened(seal.open(row[2], _owner(row[0], row[1]))))
        for row in rows
        if len(row[0]) == nearest
    ]


def _opened(pem: str) -> PrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey)
    return key


def _owner(domain: str, selector: str) -> str:
    return f"dkim/{domain}/{selector}"
