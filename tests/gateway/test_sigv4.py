"""Signatures made by botocore's own signers, and everything that is not one."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from repoint.gateway.sigv4 import STAMP, SignatureError, SignedRequest, SigningKeyCache, read_claim, verify

KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOST = "http://localhost:8080"
CODES = {
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
}
SEGMENT = st.one_of(
    st.sampled_from(["", ".", "..", "~", "%2F", "%3A", "%20", "a+b", "a%2Bb", "@", "a:b", "(x)", "é", "%C3%A9"]),
    st.text(max_size=8).filter(lambda text: text.isprintable()).map(lambda text: quote(text, safe="~")),
)
PATH = st.lists(SEGMENT, max_size=6).map(lambda segments: "/" + "/".join(segments))
WORD = st.one_of(
    st.sampled_from(["", "a", "b", "+", "%20", "%2B", "~", "é", "%C3%A9", "a:b", "a/b", "*", "%2a"]),
    st.text(max_size=6).filter(lambda text: text.isprintable()).map(lambda text: quote(text, safe="")),
)
PAIR = st.one_of(WORD, st.tuples(WORD, WORD).map("=".join))
QUERY = st.lists(PAIR, max_size=6).map("&".join)


def wire(request, body=None):
    """What travels when botocore's request is sent."""
    parts = urlsplit(request.url)
    headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    return SignedRequest(
        method=request.method,
        raw_path=parts.path.encode(),
        raw_query=parts.query.encode(),
        headers=[(b"host", parts.netloc.encode()), *headers],
        body=body if body is not None else request.data or b"",
    )


def sign(path="/v1/apps", *, method="GET", body=b"", headers=(), token=None, secret=SECRET, **scope):
    """A request signed in its Authorization header."""
    request = AWSRequest(method=method, url=HOST + path, data=body, headers=dict(headers))
    signer = SigV4Auth(
        Credentials(KEY, secret, token), scope.get("service", "mobiletargeting"), scope.get("region", "eu-west-1")
    )
    signer.add_auth(request)
    return wire(request)


def presign(path="/v1/apps", *, method="GET", expires=60, headers=(), token=None):
    """A request signed in its query."""
    request = AWSRequest(method=method, url=HOST + path, headers=dict(headers))
    SigV4QueryAuth(Credentials(KEY, SECRET, token), "mobiletargeting", "eu-west-1", expires=expires).add_auth(request)
    return wire(request)


def check(request, *, secret=SECRET, later=timedelta(0)):
    """Verify a request so long after the second it was signed in."""
    claim = read_claim(request)
    signed_at = datetime.strptime(claim.timestamp, STAMP).replace(tzinfo=UTC)
    verify(request, claim, secret, now=signed_at + later, signing_keys=SigningKeyCache())
    return claim


def refusal(request, **how):
    """The code a request is refused with."""
    with pytest.raises(SignatureError) as refused:
        check(request, **how)
    return refused.value.code


def changed(request, **changes):
    """The request after somebody touched it."""
    parts = {name: getattr(request, name) for name in ("method", "raw_path", "raw_query", "headers", "body")}
    return SignedRequest(**parts | changes)


def with_header(request, name, value):
    """The request with one header more, or with another value for it."""
    others = [header for header in request.headers if header[0] != name]
    return changed(request, headers=[*others, (name, value)])


def authorization(request):
    return dict(request.headers)[b"authorization"].decode()


def test_claim_names_key_region_and_signed_headers():
    claim = check(sign(headers={"content-type": "application/json"}))

    assert (claim.access_key_id, claim.region, claim.service) == (KEY, "eu-west-1", "mobiletargeting")
    assert set(claim.signed_headers) == {"host", "x-amz-date", "content-type"}
    assert not claim.is_presigned


@given(PATH, QUERY, st.binary(max_size=64))
def test_every_signed_path_query_and_body_is_accepted(path, query, body):
    check(sign(f"{path}?{query}" if query else path, method="POST", body=body))


@given(PATH, QUERY)
def test_every_presigned_path_and_query_is_accepted(path, query):
    claim = check(presign(f"{path}?{query}" if query else path))

    assert claim.is_presigned
    assert claim.expires_seconds == 60


@given(st.text("ab \tä€😀à,;=:\"'", max_size=20))
def test_header_values_are_folded_as_the_sender_folds_them(value):
    check(sign(headers={"x-amz-meta": value, "user-agent": value}))


def test_repeated_headers_are_joined_in_their_order():
    request = AWSRequest(method="GET", url=HOST + "/v1/apps")
    request.headers["x-amz-note"] = "one  two"
    request.headers["x-amz-note"] = "three"
    SigV4Auth(Credentials(KEY, SECRET), "mobiletargeting", "eu-west-1").add_auth(request)

    assert check(wire(request)).header("x-amz-note") == "one two,three"


def test_both_names_of_the_service_are_accepted():
    assert check(sign(service="pinpoint")).service == "pinpoint"


def test_date_header_stands_in_for_x_amz_date():
    request = sign(headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"})

    assert b"x-amz-date" not in dict(request.headers)
    assert check(request)


def test_date_header_without_a_zone_is_utc():
    request = with_header(sign(headers={"Date": "x"}), b"date", b"Thu, 01 Jan 2026 00:00:00 -0000")
    line = authorization(request)
    day = line.partition(f"{KEY}/")[2][:8]
    moved = with_header(request, b"authorization", line.replace(day, "20260101").encode())

    assert read_claim(moved).timestamp == "20260101T000000Z"


def test_session_token_is_part_of_the_signature():
    """Access keys here have no tokens: one that is sent must be signed, and says nothing else."""
    request = sign(token="a-token")

    assert check(request).header("x-amz-security-token") == "a-token"
    assert refusal(with_header(request, b"x-amz-security-token", b"other")) == "InvalidSignatureException"
    assert refusal(with_header(sign(), b"x-amz-security-token", b"t")) == "InvalidSignatureException"


def test_presigned_session_token_is_part_of_the_signature():
    request = presign(token="a-token")
    other = changed(request, raw_query=request.raw_query.replace(b"a-token", b"b-token"))

    assert check(request)
    assert refusal(other) == "InvalidSignatureException"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_presigned_request_without_a_body_is_accepted(method):
    assert check(presign(method=method))


def test_presigned_body_is_signed_when_its_hash_is():
    """What botocore signs of a presigned body is the empty one's hash: a body added later was signed by nobody."""
    request = presign(method="POST")

    assert refusal(changed(request, body=b"{}")) == "InvalidSignatureException"


def test_presigned_unsigned_payload_accepts_any_body():
    request = presign(method="POST", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})

    assert check(changed(request, body=b"anything"))


def test_payload_hash_that_fits_is_accepted():
    of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    assert check(sign(headers={"x-amz-content-sha256": of_nothing}))


@pytest.mark.parametrize("declared", ["0" * 64, "", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "é"])
def test_payload_hash_that_does_not_fit_is_refused(declared):
    request = with_header(sign(headers={"x-amz-content-sha256": "x"}), b"x-amz-content-sha256", declared.encode())

    assert refusal(request) == "InvalidSignatureException"


def test_unsigned_payload_accepts_any_body():
    request = sign(method="POST", body=b"{}", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})

    assert check(changed(request, body=b"another"))


def test_unsigned_payload_cannot_be_declared_afterwards():
    request = with_header(presign(method="POST"), b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")

    assert refusal(changed(request, body=b"{}")) == "InvalidSignatureException"


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "DELETE"},
        {"raw_path": b"/v1/app"},
        {"raw_path": b"/v1%2Fapps"},
        {"raw_query": b"token=1"},
        {"body": b"x"},
    ],
)
@pytest.mark.parametrize("make", [sign, presign])
def test_a_touched_request_is_refused(make, changes):
    request = make()
    if "raw_query" in changes and request.raw_query:
        changes = {"raw_query": request.raw_query + b"&token=1"}

    assert refusal(changed(request, **changes)) == "InvalidSignatureException"


@pytest.mark.parametrize("minutes", [-5, 0, 5])
def test_clocks_may_differ_by_five_minutes(minutes):
    assert check(sign(), later=timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("seconds", "said"), [(301, "Signature expired"), (-301, "Signature not yet current"), (10**8, "Signature expired")]
)
def test_clocks_further_apart_are_refused(seconds, said):
    with pytest.raises(SignatureError, match=said) as refused:
        check(sign(), later=timedelta(seconds=seconds))

    assert refused.value.code == "InvalidSignatureException"


def test_presigned_url_lives_as_long_as_it_says():
    request = presign(expires=7 * 24 * 3600)

    assert check(request, later=timedelta(days=7))
    assert refusal(request, later=timedelta(days=7, seconds=1)) == "InvalidSignatureException"
    assert refusal(request, later=timedelta(seconds=-301)) == "InvalidSignatureException"


@pytest.mark.parametrize("expires", [0, 7 * 24 * 3600 + 1, -1, "x", "1.5", "", "9" * 30])
def test_presigned_expiry_out_of_bounds_is_refused(expires):
    assert refusal(presign(expires=expires)) == "IncompleteSignatureException"


class WithoutExpiry(SigV4QueryAuth):
    """Signs as AWS Amplify does for its beacon."""

    def _modify_request_before_signing(self, request):
        super()._modify_request_before_signing(request)
        request.url = request.url.replace("&X-Amz-Expires=3600", "")


def test_presigned_url_that_does_not_say_lives_as_long_as_a_signed_header():
    request = AWSRequest(method="POST", url=f"{HOST}/v1/apps/a/events/legacy")
    WithoutExpiry(Credentials(KEY, SECRET), "mobiletargeting", "eu-west-1").add_auth(request)

    assert check(wire(request), later=timedelta(minutes=5))
    assert refusal(wire(request), later=timedelta(minutes=5, seconds=1)) == "InvalidSignatureException"


@pytest.mark.parametrize("name", ["Algorithm", "Credential", "SignedHeaders", "Date"])
def test_presigned_parameter_left_out_or_doubled_is_refused(name):
    pairs = presign().raw_query.decode().split("&")
    without = [pair for pair in pairs if not pair.startswith(f"X-Amz-{name}=")]
    twice = [*pairs, f"X-Amz-{name}=1"]

    for given_pairs in (without, twice):
        request = changed(presign(), raw_query="&".join(given_pairs).encode())
        assert refusal(request) == "IncompleteSignatureException"


def test_wrong_secret_is_refused():
    assert refusal(sign(secret="another")) == "InvalidSignatureException"


def test_wrong_service_is_refused():
    assert refusal(sign(service="s3")) == "InvalidSignatureException"


@pytest.mark.parametrize(
    ("old", "new"),
    [("eu-west-1", "us-east-1"), ("mobiletargeting", "pinpoint"), ("Signature=", "Signature=0"), (KEY, "é")],
)
def test_scope_that_was_not_signed_is_refused(old, new):
    request = sign()
    line = authorization(request).replace(old, new)

    assert refusal(with_header(request, b"authorization", line.encode())) in CODES


def test_scope_of_another_day_is_refused():
    request = sign()
    line = authorization(request)
    day = line.partition(f"{KEY}/")[2][:8]

    for other in ("20200101", day[:4], ""):
        moved = with_header(request, b"authorization", line.replace(f"/{day}/", f"/{other}/").encode())
        assert refusal(moved) == "InvalidSignatureException"


def test_host_must_be_signed():
    request = sign()
    line = authorization(request).replace("host;", "")

    assert refusal(with_header(request, b"authorization", line.encode())) == "InvalidSignatureException"


def test_another_host_is_refused():
    assert refusal(with_header(sign(), b"host", b"elsewhere")) == "InvalidSignatureException"


def test_aws_header_must_be_signed():
    request = with_header(sign(), b"x-amz-target", b"DeleteApp")

    assert refusal(request) == "InvalidSignatureException"


def test_unsigned_other_headers_are_welcome():
    assert check(with_header(sign(), b"x-forwarded-for", b"192.0.2.1"))


def test_unsigned_request_has_no_token():
    assert refusal(SignedRequest("GET", b"/v1/apps", b"", [], b"")) == "MissingAuthenticationTokenException"


CREDENTIAL = f"{KEY}/20260101/eu-west-1/mobiletargeting/aws4_request"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Basic dXNlcjpwYXNz",
        "Bearer x",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 ",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=host",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=, Signature=0",
        f"AWS4-HMAC-SHA256 Credential={KEY}/x, SignedHeaders=host, Signature=0",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}x, SignedHeaders=host, Signature=0",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=host, Signature=0",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=host;ho st, Signature=0",
        f"AWS4-ECDSA-P256-SHA256 Credential={CREDENTIAL}, SignedHeaders=host, Signature=0",
    ],
)
def test_malformed_authorization_is_incomplete(line):
    request = SignedRequest("GET", b"/", b"", [(b"host", b"x"), (b"authorization", line.encode())], b"")

    assert refusal(request) == "IncompleteSignatureException"


@pytest.mark.parametrize(
    "stamp", ["", "now", "20260101T000000", "20261301T000000Z", "20260101T256060Z", "²0260101T000000Z"]
)
def test_malformed_hour_is_refused(stamp):
    line = f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=host;x-amz-date, Signature=0"
    headers = [(b"host", b"x"), (b"authorization", line.encode()), (b"x-amz-date", stamp.encode())]
    request = SignedRequest("GET", b"/", b"", headers, b"")

    with pytest.raises(SignatureError) as refused:
        verify(request, read_claim(request), SECRET, now=datetime.now(UTC), signing_keys=SigningKeyCache())
    assert refused.value.code in CODES


@pytest.mark.parametrize("region", ["", "eu/west", "eu\0west", "EU WEST", "x" * 65, "é"])
def test_region_that_is_no_name_is_refused(region):
    credential = f"{KEY}/20260101/{region}/mobiletargeting/aws4_request"
    line = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature=0"
    headers = [(b"authorization", line.encode()), (b"x-amz-date", b"20260101T000000Z")]

    with pytest.raises(SignatureError, match=r"Credential should be|Credential must have"):
        read_claim(SignedRequest("GET", b"/", b"", headers, b""))


@pytest.mark.parametrize("access_key_id", ["", "a\0b", "x" * 129, "é", "a b"])
def test_access_key_id_that_cannot_be_one_is_unknown(access_key_id):
    credential = f"{access_key_id}/20260101/eu-west-1/mobiletargeting/aws4_request"
    line = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"
    headers = [(b"authorization", line.encode()), (b"x-amz-date", b"20260101T000000Z")]

    assert refusal(SignedRequest("GET", b"/", b"", headers, b"")) == "UnrecognizedClientException"


def refused_or_read(request):
    try:
        verify(request, read_claim(request), SECRET, now=datetime.now(UTC), signing_keys=SigningKeyCache())
    except SignatureError as error:
        return error.code
    return "accepted"


FRAGMENTS = [
    b"AWS4-HMAC-SHA256 ",
    b"Credential=",
    CREDENTIAL.encode(),
    b", SignedHeaders=",
    b"host",
    b";",
    b"Signature=",
]
LINE = st.one_of(
    st.binary(max_size=80),
    st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=4), max_size=10).map(b"".join),
)


@given(LINE, st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=20))
def test_hostile_headers_are_refused_under_a_code_of_aws(line, stamp, date, declared):
    headers = [(b"authorization", line), (b"x-amz-date", stamp), (b"date", date), (b"x-amz-content-sha256", declared)]

    assert refused_or_read(SignedRequest("GET", b"/", b"", headers, b"")) in CODES


@given(st.dictionaries(st.sampled_from(presign().raw_query.split(b"&")), st.binary(max_size=20)), st.binary(max_size=8))
def test_hostile_queries_are_refused_under_a_code_of_aws(changes, path):
    query = presign().raw_query
    for pair, other in changes.items():
        query = query.replace(pair.partition(b"=")[2], other)
    request = SignedRequest("GET", b"/x" + path, query, [(b"host", b"x")], b"")

    assert refused_or_read(request) in CODES


def test_signing_keys_are_forgotten_beyond_their_number():
    keys = SigningKeyCache(keys_max=2)
    first = keys.get(SECRET, "20260101", "eu-west-1", "pinpoint")
    for day in ("20260102", "20260103"):
        keys.get(SECRET, day, "eu-west-1", "pinpoint")

    assert len(keys._keys) == 2
    assert keys.get(SECRET, "20260101", "eu-west-1", "pinpoint") == first
