"""What signs tokens is HMAC-SHA256, whatever the key and the message."""

import hmac

from hypothesis import given
from hypothesis import strategies as st

from repoint.delivery.tokens import Mac


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_a_mac_is_hmac_sha256(key, message):
    assert Mac(key)(message) == hmac.digest(key, message, "sha256")
