"""Whatever is looked up by an index is bounded, so that no request ends in the database's own refusal."""

import random

import pytest

from tests.messages.sending import put, token

RANDOM = random.Random(7)  # so that nothing can be compressed
CHINESE = "".join(chr(RANDOM.randrange(0x4E00, 0x9FFF)) for _ in range(683))  # 3 bytes each
LATIN = "".join(token() for _ in range(65))


@pytest.mark.parametrize("address", [CHINESE[:682], LATIN[:2048]])
def test_an_address_may_have_2048_bytes(pinpoint, app_id, address):
    put(pinpoint, app_id, "e", "GCM", address)
    found = pinpoint.get_endpoint(ApplicationId=app_id, EndpointId="e")["EndpointResponse"]

    assert found["Address"] == address


@pytest.mark.parametrize("address", [CHINESE, LATIN[:2049]])
def test_a_longer_address_is_refused(pinpoint, app_id, address):
    with pytest.raises(pinpoint.exceptions.BadRequestException, match="Address: must be at most 2048 bytes"):
        put(pinpoint, app_id, "e", "GCM", address)


def test_ids_have_the_same_bound(pinpoint, app_id):
    put(pinpoint, app_id, CHINESE[:682], "GCM", "x", User={"UserId": CHINESE[:682]})
    with pytest.raises(pinpoint.exceptions.BadRequestException, match="Id: must be at most 2048 bytes"):
        put(pinpoint, app_id, CHINESE, "GCM", "x")
    with pytest.raises(pinpoint.exceptions.BadRequestException, match=r"User\.UserId: must be at most 2048 bytes"):
        put(pinpoint, app_id, "e", "GCM", "x", User={"UserId": CHINESE})
    found = pinpoint.get_user_endpoints(ApplicationId=app_id, UserId=CHINESE[:682])["EndpointsResponse"]["Item"]

    assert [endpoint["Id"] for endpoint in found] == [CHINESE[:682]]
