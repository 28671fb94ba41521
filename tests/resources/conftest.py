"""What tests of writers at the same moment share."""

import pytest

from tests.conftest import eventually
from tests.holding import holding, others


@pytest.fixture
def stopped(server, pinpoint, app_id):
    """Runs a request that has written an endpoint and then waits for another, zz; one meanwhile; both to their end."""

    def run(first, meanwhile):
        last = {"ChannelType": "CUSTOM", "Address": "last in the statement"}
        pinpoint.update_endpoint(ApplicationId=app_id, EndpointId="zz", EndpointRequest=last)
        with holding(server) as holder, others(holder) as pool:
            holder.hold_endpoint(app_id, "zz")
            one = pool.submit(first)
            holder.wait_for_waiting()
            other = pool.submit(meanwhile)
            eventually(lambda: other.done() or holder.is_somebody_queued())
            holder.release()
            return one.result(), other

    return run
