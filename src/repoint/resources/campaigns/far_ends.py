"""The functions and webhooks of a campaign: whether they can be, asked before it is written and in preflight.

Sources: Pinpoint's developer guide, "Creating custom channels in Amazon Pinpoint" and "Customizing segments with AWS
Lambda". Only webhooks that deliver have to shake hands.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from repoint.bindings.functions import LAMBDA, WEB_URL, FunctionError, Functions, is_url
from repoint.resources.call import Server
from repoint.resources.campaigns.contents import is_custom, is_in_app
from repoint.resources.campaigns.faults import refuse
from repoint.resources.campaigns.rules import hook_of
from repoint.resources.campaigns.treatments import Treatment, treatments_of

DATA_BYTES_MAX = 5_120
NOBODYS_TYPES = ("IN_APP", "PUSH")  # in the model, but endpoints of these are never delivered to


def check_custom(treatment: Treatment) -> None:
    """What a custom channel's members must be.

    Raises:
        BadRequestException: naming the member.
    """
    path = f"{treatment.path}CustomDeliveryConfiguration"
    if not is_custom(treatment):
        if treatment.message.get("CustomMessage"):
            raise refuse(path, "is required with a CustomMessage")
        return
    if "CustomMessage" not in treatment.message:
        raise refuse(path, "needs a CustomMessage in MessageConfiguration")
    uri = treatment.custom_delivery["DeliveryUri"]
    if not LAMBDA.match(uri) and not WEB_URL.match(uri):
        raise refuse(f"{path}.DeliveryUri", "must be the name or ARN of a Lambda function, or an https:// URL")
    for name in NOBODYS_TYPES:
        if name in treatment.custom_delivery.get("EndpointTypes", ()):
            raise refuse(f"{path}.EndpointTypes", f"{name} is no type that an endpoint is delivered to by")
    if is_in_app(treatment):
        raise refuse(path, "cannot go with an in-app message, which is not delivered but fetched")
    data = treatment.message.get("CustomMessage", {}).get("Data", "")
    if len(data.encode()) > DATA_BYTES_MAX:
        rule = f"must be at most {DATA_BYTES_MAX} bytes"
        raise refuse(f"{treatment.path}MessageConfiguration.CustomMessage.Data", rule)


async def check_far_ends(
    server: Server, document: Mapping[str, Any], before: Mapping[str, Any] | None, defaults: Mapping[str, Any]
) -> None:
    """Far ends that were not there `before`: a URL has to shake hands, a function to be bound and to exist.

    `defaults` are the application's settings, which may have a hook for campaigns without one.

    Raises:
        BadRequestException: naming the member.
    """
    known = set(_all_uris(before, defaults).values()) if before else set[str]()
    wanted = {path: uri for path, uri in _all_uris(document, defaults).items() if uri not in known}
    for path, fault in (await _faults(server, wanted, loads=False)).items():
        raise refuse(path, fault)


async def faults_of(server: Server, document: Mapping[str, Any]) -> list[str]:
    """What is amiss with the far ends that deliver a campaign; local functions are loaded, nothing is called."""
    return [f"{path}: {fault}" for path, fault in (await _faults(server, _uris(document), loads=True)).items()]


def _all_uris(document: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, str]:
    """A campaign's far ends that can be probed, by the member that names them."""
    hook = hook_of(document, defaults)
    if not hook or is_url(hook) or all(is_in_app(one) for one in treatments_of(document)):
        return _uris(document)
    member = "Hook.LambdaFunctionName" if document.get("Hook") else "Hook: the application's CampaignHook"
    return {member: hook, **_uris(document)}


def _uris(document: Mapping[str, Any]) -> dict[str, str]:
    """The far ends that deliver, by the member that names them."""
    return {
        f"{one.path}CustomDeliveryConfiguration.DeliveryUri": one.custom_delivery["DeliveryUri"]
        for one in treatments_of(document)
        if is_custom(one)
    }


async def _faults(server: Server, wanted: Mapping[str, str], *, loads: bool) -> dict[str, str]:
    """By member, what is amiss; each far end is asked once, all at the same time."""
    if not wanted:
        return {}
    functions = Functions(server.db, server.seal, server.clock)

    async def fault(uri: str) -> str | None:
        try:
            await functions.probe(uri, server.account_id, loads=loads)
        except FunctionError as error:
            return str(error)
        return None

    try:
        uris = list(set(wanted.values()))
        found = dict(zip(uris, await asyncio.gather(*map(fault, uris)), strict=True))
    finally:
        await functions.close()
    return {path: text for path, uri in wanted.items() if (text := found[uri]) is not None}
