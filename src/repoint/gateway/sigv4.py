"""AWS Signature Version 4, verified: who signed a request, and whether it is this one.

Source: AWS's "Create a signed AWS API request". Pure functions: no HTTP framework, no storage, the hour is an argument.

Access keys here are long-lived ones, without session tokens. A client that sends an X-Amz-Security-Token must sign it,
like any other x-amz-* header or query parameter; what it says is not looked at.
"""

import functools
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import product
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICES = frozenset({"mobiletargeting", "pinpoint"})
SKEW = timedelta(minutes=5)
EXPIRES_SECONDS_MAX = 7 * 24 * 3600
UNSIGNED = "UNSIGNED-PAYLOAD"
STAMP = "%Y%m%dT%H%M%SZ"
STAMP_FORM = re.compile(r"\d{8}T\d{6}Z\Z", re.ASCII)
ACCESS_KEY_ID_FORM = re.compile(r"\w{1,128}", re.ASCII)
REGION_FORM = re.compile(r"[a-z0-9-]{1,64}")
PLAIN_PATH_FORM = re.compile(r"(?:/[\w~-][\w.~-]*)+", re.ASCII)  # nothing to encode, no dot segments
HEADER_NAMES_FORM = re.compile(r"[a-z0-9!#$%&'*+.^_`|~;-]+")  # RFC 9110's tokens, in lower case
KEYS_MAX = 4096


class SignatureError(Exception):
    """The request is not signed, or not by whom it says; answered as HTTP 403 under AWS's own names."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class SignedRequest(NamedTuple):
    """A request as it came: raw path and query, header names in lower case."""

    method: str
    raw_path: bytes
    raw_query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class Claim(NamedTuple):
    """What a request says of its signature; `headers` are all of the request's, as they came."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    is_presigned: bool
    expires_seconds: int
    headers: Mapping[bytes, bytes]

    def header(self, name: str) -> str:
        """A header's value as it is signed; empty when there is none."""
        return _folded(self.headers.get(name.encode("latin-1"), b""))


class SigningKeyCache:
    """Derived signing keys; deriving one takes four HMACs, and a key is good for a day."""

    def __init__(self, keys_max: int = KEYS_MAX) -> None:
        self._keys: OrderedDict[tuple[str, str, str, str], bytes] = OrderedDict()
        self._keys_max = keys_max

    def get(self, secret: str, date: str, region: str, service: str) -> bytes:
        """The key that signs requests of this day, region and service."""
        slot = (secret, date, region, service)
        key = self._keys.get(slot)
        if key is None:
            key = f"AWS4{secret}".encode()
            for part in (date, region, service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._keys[slot] = key
            if len(self._keys) > self._keys_max:
                self._keys.popitem(last=False)
        return key


def _incomplete(message: str) -> SignatureError:
    return SignatureError("IncompleteSignatureException", message)


def read_claim(request: SignedRequest) -> Claim:
    """Who says to have signed this, where and when.

    Raises:
        SignatureError: when nobody does, or not in a form AWS defines.
    """
    headers = dict(request.headers)
    if len(headers) < len(request.headers):
        headers = _joined_headers(request.headers)
    authorization = headers.get(b"authorization")
    if authorization is not None:
        return _from_header(_folded(authorization), headers)
    if b"X-Amz-Signature=" in request.raw_query:
        return _from_query(request.raw_query, headers)
    raise SignatureError("MissingAuthenticationTokenException", "Missing Authentication Token")


def _folded(value: bytes) -> str:
    """A header's value with its runs of spaces made one.

    Folded as bytes: as characters, half of a UTF-8 letter could pass for a space.
    """
    return b" ".join(value.split()).decode("latin-1")


def _joined_headers(given: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers that came more than once are signed as one, their values in order."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in given:
        values.setdefault(name, []).append(b" ".join(value.split()))
    return {name: b",".join(several) for name, several in values.items()}


def _from_header(authorization: str, headers: Mapping[bytes, bytes]) -> Claim:
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm[:40]}'.")
    fields = {}
    for part in rest.split(","):
        name, _, value = part.strip().partition("=")
        fields[name] = value
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not fields.get(name):
            raise _incomplete(f"Authorization header requires '{name}' parameter.")
    return _claim(
        fields["Credential"],
        fields["SignedHeaders"],
        fields["Signature"],
        _stamp(headers),
        headers,
        expires=None,
    )


def _stamp(headers: Mapping[bytes, bytes]) -> str:
    stamp = _folded(headers.get(b"x-amz-date", b""))
    if stamp:
        return stamp
    try:
        moment = parsedate_to_datetime(_folded(headers.get(b"date", b"")))
        moment = moment.astimezone(UTC) if moment.tzinfo else moment  # RFC 5322's -0000 is UTC too
        return moment.strftime(STAMP)
    except (TypeError, ValueError, IndexError, OverflowError):
        raise _incomplete(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        ) from None


def _from_query(raw_query: bytes, headers: Mapping[bytes, bytes]) -> Claim:
    fields = {}
    for name, value in _pairs(raw_query):
        if name.startswith("X-Amz-"):
            if name in fields:
                raise _incomplete(f"The parameter {name} is given twice.")
            fields[name] = unquote_to_bytes(value).decode("latin-1")
    if fields.get("X-Amz-Algorithm") != ALGORITHM:
        raise _incomplete("AWS query-string parameters must include 'X-Amz-Algorithm'.")
    for name in ("Credential", "SignedHeaders", "Signature", "Date"):
        if not fields.get(f"X-Amz-{name}"):
            raise _incomplete(f"AWS query-string parameters must include 'X-Amz-{name}'.")
    expires = fields.get("X-Amz-Expires", str(SKEW.seconds))  # Amplify's beacon, for one, does not say
    if not re.fullmatch(r"[0-9]{1,6}", expires) or not 1 <= int(expires) <= EXPIRES_SECONDS_MAX:
        raise _incomplete(f"X-Amz-Expires must be between 1 and {EXPIRES_SECONDS_MAX} seconds.")
    return _claim(
        fields["X-Amz-Credential"],
        fields["X-Amz-SignedHeaders"],
        fields["X-Amz-Signature"],
        fields["X-Amz-Date"],
        headers,
        expires=int(expires),
    )


def _claim(
    credential: str, signed: str, signature: str, stamp: str, headers: Mapping[bytes, bytes], *, expires: int | None
) -> Claim:
    parts = credential.split("/")
    if len(parts) != 5 or parts[4] != "aws4_request":  # noqa: PLR2004 - key, date, region, service, terminator
        raise _incomplete("Credential must have exactly 5 slash-delimited elements, the last of them aws4_request.")
    access_key_id, date, region, service, _ = parts
    if not ACCESS_KEY_ID_FORM.fullmatch(access_key_id):
        raise SignatureError("UnrecognizedClientException", "The security token included in the request is invalid.")
    if not REGION_FORM.fullmatch(region):
        raise SignatureError("InvalidSignatureException", "Credential should be scoped to a valid region.")
    if service not in SERVICES:
        raise SignatureError(
            "InvalidSignatureException", "Credential should be scoped to correct service: 'mobiletargeting'."
        )
    if not STAMP_FORM.match(stamp):
        raise _incomplete("Date must be in ISO-8601 'basic format'.")
    if not stamp.startswith(date) or len(date) != 8:  # noqa: PLR2004 - YYYYMMDD
        raise SignatureError(
            "InvalidSignatureException",
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date.",
        )
    if not HEADER_NAMES_FORM.fullmatch(signed):
        raise _incomplete("SignedHeaders must be lower-case header names, separated by semicolons.")
    names = tuple(signed.split(";"))
    _check_signed(names, headers, is_presigned=expires is not None)
    return Claim(
        access_key_id,
        date,
        region,
        service,
        names,
        signature,
        stamp,
        expires is not None,
        expires or 0,
        headers,
    )


def _check_signed(names: tuple[str, ...], headers: Mapping[bytes, bytes], *, is_presigned: bool) -> None:
    if "host" not in names:
        raise SignatureError(
            "InvalidSignatureException",
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        )
    for raw_name in headers:
        if raw_name.startswith(b"x-amz-") and not is_presigned and (name := raw_name.decode("latin-1")) not in names:
            raise SignatureError(
                "InvalidSignatureException", f"'{name}' must be a 'SignedHeader' in the AWS Authorization."
            )


def verify(request: SignedRequest, claim: Claim, secret: str, *, now: datetime, signing_keys: SigningKeyCache) -> None:
    """Check the claim: its hour, the body's hash, and the signature, in constant time.

    Raises:
        SignatureError: when anything does not fit.
    """
    _check_time(claim, now)
    body_hash = _body_hash(request, claim)
    key = signing_keys.get(secret, claim.date, claim.region, claim.service)
    scope = f"{claim.date}/{claim.region}/{claim.service}/aws4_request"
    signed = claim.signed_headers
    header_lines = "".join([f"{name}:{claim.header(name)}\n" for name in signed])
    tail = f"{header_lines}\n{';'.join(signed)}\n{body_hash}"
    queries = _canonical_queries(request.raw_query, is_presigned=claim.is_presigned)
    for path, query in product(_canonical_paths(request.raw_path), queries):
        canonical = f"{request.method}\n{path}\n{query}\n{tail}"
        digest = hashlib.sha256(canonical.encode("latin-1", "replace")).hexdigest()
        text = f"{ALGORITHM}\n{claim.timestamp}\n{scope}\n{digest}"
        expected = hmac.digest(key, text.encode("latin-1", "replace"), "sha256").hex()
        if hmac.compare_digest(expected.encode(), claim.signature.encode("latin-1", "replace")):
            return
    raise SignatureError(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details.",
    )


def _check_time(claim: Claim, now: datetime) -> None:
    try:
        signed_at = _moment(claim.timestamp)
    except ValueError:
        raise _incomplete("Date must be in ISO-8601 'basic format'.") from None
    lifetime = timedelta(seconds=claim.expires_seconds) if claim.is_presigned else SKEW
    if now - signed_at > lifetime:
        raise SignatureError(
            "InvalidSignatureException",
            f"Signature expired: {claim.timestamp} is now earlier than {(now - lifetime).strftime(STAMP)} "
            f"({now.strftime(STAMP)} - {int(lifetime.total_seconds() // 60)} min.)",
        )
    if signed_at - now > SKEW:
        raise SignatureError(
            "InvalidSignatureException",
            f"Signature not yet current: {claim.timestamp} is still later than {(now + SKEW).strftime(STAMP)} "
            f"({now.strftime(STAMP)} + 5 min.)",
        )


@functools.lru_cache(maxsize=64)
def _moment(stamp: str) -> datetime:
    """A moment as STAMP writes it; all requests of a second have the same."""
    return datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)


def _body_hash(request: SignedRequest, claim: Claim) -> str:
    declared = claim.header("x-amz-content-sha256") if b"x-amz-content-sha256" in claim.headers else None
    if declared == UNSIGNED:
        return UNSIGNED
    actual = hashlib.sha256(request.body).hexdigest()
    if declared is not None and not hmac.compare_digest(declared.encode("latin-1", "replace"), actual.encode()):
        raise SignatureError(
            "InvalidSignatureException",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
    return actual


def _canonical_paths(raw_path: bytes) -> list[str]:
    """The path encoded once more, as every service but S3 wants it; with and without its dot segments resolved."""
    path = raw_path.decode("latin-1") or "/"
    if PLAIN_PATH_FORM.fullmatch(path):
        return [path]
    plain = quote(path, safe="/~", encoding="latin-1")
    normal = quote(_without_dots(path), safe="/~", encoding="latin-1")
    return [plain] if plain == normal else [normal, plain]


def _without_dots(path: str) -> str:
    if "//" not in path and "/." not in path:
        return path
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")


def _pairs(raw_query: bytes) -> list[tuple[str, str]]:
    text = raw_query.decode("latin-1")
    return [(name, value) for name, _, value in (part.partition("=") for part in text.split("&") if part)]


def _canonical_queries(raw_query: bytes, *, is_presigned: bool) -> list[str]:
    """The query encoded as AWS documents it, and as it was sent: some SDKs sign what they send, however encoded."""
    if not raw_query:
        return [""]
    parts = raw_query.decode("latin-1").split("&")
    pairs = [(name, value) for name, _, value in (part.partition("=") for part in parts)]
    if is_presigned:
        pairs = [pair for pair in pairs if pair[0] != "X-Amz-Signature"]
    sent = sorted(pairs)
    encoded = sorted(
        (quote(unquote_to_bytes(name), safe="-_.~"), quote(unquote_to_bytes(value), safe="-_.~"))
        for name, value in pairs
        if name or value
    )
    return [_joined(encoded)] if encoded == sent else [_joined(encoded), _joined(sent)]


def _joined(pairs: list[tuple[str, str]]) -> str:
    return "&".join([f"{name}={value}" for name, value in pairs])
