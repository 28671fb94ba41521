"""Hooks, models and transformers on trial: what they would be told, and whether they answer a map."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from repoint.bindings.functions import FunctionError, Functions
from repoint.bindings.models import Models
from repoint.delivery.asking import AnswerFaultError, said_of, told
from repoint.delivery.payloads import activity_members, endpoint_document, hook_head
from repoint.delivery.rehearsal import rehearsing_planner
from repoint.resources.apps import load_app
from repoint.resources.call import Call, Server
from repoint.resources.campaigns.audience import content_of
from repoint.resources.campaigns.store import StoredCampaign
from repoint.resources.campaigns.treatments import treatments_of
from repoint.resources.endpoints.store import fold, get_many
from repoint.resources.messages.recipients import TEMPLATE_TYPES

PERSONALIZE = ":personalize:"


async def far_end_faults(
    server: Server, app_id: str, contents: Iterable[Mapping[str, Any]], now: datetime
) -> list[str]:
    """What the hook, the models and their transformers of these contents answer to a call without endpoints."""
    asked: dict[str, Mapping[str, Any]] = {}
    faults: list[str] = []
    for content in contents:
        planner = rehearsing_planner(server)
        if content.get("Hook"):
            asked[content["Hook"]] = hook_head(content, app_id, now)
        for channel_type in TEMPLATE_TYPES if content.get("Recommends") else ():
            plan = await planner.plan(app_id, "rehearsal", channel_type, content)
            if plan.recommender_id and plan.recommender is None:
                faults.append(f"RecommenderId: there is no recommender {plan.recommender_id}")
            elif plan.recommender is not None:
                head = activity_members(content, app_id, now)
                asked |= {uri: head for uri in (plan.recommender.model, plan.recommender.transformer) if uri}
    return faults + await _unanswered(server, asked)


async def hook_payload(server: Server, campaign: StoredCampaign, endpoint_ids: Sequence[str]) -> dict[str, Any] | None:
    """What the campaign's hook would be told of endpoints now, for the default treatment; None if it has no hook.

    Raises:
        RunError: when the campaign cannot run.
    """
    app = await load_app(server.db, campaign.app_id)
    assert app is not None
    await server.db.settle()
    treatment = treatments_of(campaign.document)[0]
    content = await content_of(Call(server, app.region), campaign, treatment, "trial", None)
    if not content.get("Hook"):
        return None
    async with server.db.connection() as connection:
        found = await get_many(connection, [(app.app_id, fold(endpoint_id)) for endpoint_id in endpoint_ids])
    endpoints = {endpoint.given_id: endpoint_document(endpoint) for endpoint in found if endpoint is not None}
    return {**hook_head(content, app.app_id, server.clock()), "Endpoints": endpoints}


async def _unanswered(server: Server, asked: Mapping[str, Mapping[str, Any]]) -> list[str]:
    functions = Functions(server.db, server.seal, server.clock)
    models = Models(server.db, server.seal, functions.far_ends)
    try:
        found = await asyncio.gather(*(_fault(functions, models, uri, head) for uri, head in asked.items()))
    finally:
        await functions.close()
        models.close()
    return [fault for fault in found if fault]


async def _fault(functions: Functions, models: Models, uri: str, head: Mapping[str, Any]) -> str:
    """What is amiss with one far end; Personalize itself has no question without a user, and is not asked."""
    try:
        if PERSONALIZE in uri and await models.is_personalize(uri):
            return ""
        said_of({}, await functions.invoke(uri, {**head, "Endpoints": {}}))
    except (FunctionError, AnswerFaultError) as error:
        return told(uri, error)
    return ""
