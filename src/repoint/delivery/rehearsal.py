"""Messages made but not sent: whether real endpoints have all that a text needs."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from repoint.delivery.plan import Planner
from repoint.delivery.render import RenderingError, Templates, render_parts, variables_of
from repoint.delivery.returns import URL_NAMES, ReturnPaths
from repoint.delivery.tokens import Tokens
from repoint.resources.call import Server
from repoint.resources.endpoints.store import Endpoint


async def rehearse(
    server: Server, shared: Mapping[str, Any], endpoints: Iterable[Endpoint], now: datetime
) -> Counter[str]:
    """What is amiss in messages for these endpoints, and for how many of them."""
    nowhere = ReturnPaths(Tokens(server.seal), public_url="", bounce_domain="")
    planner, templates, found = Planner(server.db, server.seal, nowhere), Templates(), Counter[str]()
    for endpoint in endpoints:
        assert endpoint.channel_type is not None
        plan = await planner.plan(endpoint.app_id, "rehearsal", endpoint.channel_type, shared)
        variables = variables_of(endpoint, endpoint.app_id)
        variables["Pinpoint"] = {**variables["Pinpoint"], **dict.fromkeys(URL_NAMES, "-")}
        try:
            render_parts(templates, plan.content, variables, now=now, missing_fails=True)
        except RenderingError as error:
            found[str(error)] += 1
    return found
