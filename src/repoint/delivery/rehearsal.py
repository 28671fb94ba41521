"""Messages made but not sent: whether real endpoints have all that a text needs, and whether DKIM keys sign them.

What a hook or a recommender will add to endpoints is not known, so that nothing is missed in their messages.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from repoint.delivery.mime import domain_of
from repoint.delivery.plan import Planner
from repoint.delivery.render import RenderingError, Templates, render_parts, variables_of
from repoint.delivery.returns import URL_NAMES, ReturnPaths
from repoint.delivery.tokens import Tokens
from repoint.resources.call import Server
from repoint.resources.endpoints.store import Endpoint


def rehearsing_planner(server: Server) -> Planner:
    """Makes plans for messages that go nowhere."""
    return Planner(server.db, server.seal, ReturnPaths(Tokens(server.seal), public_url="", bounce_domain=""))


async def rehearse(
    server: Server, shared: Mapping[str, Any], endpoints: Iterable[Endpoint], now: datetime
) -> Counter[str]:
    """What is amiss in messages for these endpoints, and for how many of them."""
    planner, templates, found = rehearsing_planner(server), Templates(), Counter[str]()
    for endpoint in endpoints:
        assert endpoint.channel_type is not None
        plan = await planner.plan(endpoint.app_id, "rehearsal", endpoint.channel_type, shared)
        variables = variables_of(endpoint, endpoint.app_id)
        variables["Pinpoint"] = {**variables["Pinpoint"], **dict.fromkeys(URL_NAMES, "-")}
        try:
            render_parts(templates, plan.content, variables, now=now, missing_fails=not plan.asks)
        except RenderingError as error:
            found[str(error)] += 1
    return found


async def unsigned_domains(server: Server, app_id: str, contents: Iterable[Mapping[str, Any]]) -> list[str]:
    """The domains these contents' email is from that have no DKIM key here: somebody else has to sign for them."""
    found = set()
    for number, content in enumerate(contents):
        if "EmailMessage" in content["Message"]:
            plan = await rehearsing_planner(server).plan(app_id, f"rehearsal-{number}", "EMAIL", content)
            if plan.sender and not plan.dkim_keys:
                found.add(domain_of(plan.sender))
    return sorted(found)
