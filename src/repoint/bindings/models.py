"""Recommender models: what an `arn:aws:personalize:…:campaign/…` stands for, asked for the items it would recommend.

Behind the ARN is Amazon Personalize, which is asked user by user, or a function of one's own (an HTTP endpoint or a
local file), which gets many endpoints in a call. Either has its breaker.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import BotoCoreError, ClientError

from repoint.bindings import store
from repoint.bindings.clients import Clients
from repoint.bindings.far_ends import FarEnds
from repoint.bindings.functions import ATTEMPTS_MAX, DEFAULT_REGION, FunctionError, bound, stop_if_resting
from repoint.bindings.local import INVOKE_SECONDS
from repoint.db import Database
from repoint.sealing import Seal

CALLS_MAX = 32  # of Personalize at once, each on a thread of its own


class Models:
    """Asks models, as their ARNs are bound."""

    def __init__(self, db: Database, seal: Seal, far_ends: FarEnds) -> None:
        self._db = db
        self._seal = seal
        self._far_ends = far_ends
        self._turns = asyncio.Semaphore(CALLS_MAX)
        self._threads = ThreadPoolExecutor(CALLS_MAX, thread_name_prefix="personalize")
        self._clients = Clients(
            "personalize-runtime", calls_max=CALLS_MAX, read_seconds=INVOKE_SECONDS, attempts=ATTEMPTS_MAX
        )

    async def is_personalize(self, uri: str) -> bool:
        """Whether Amazon Personalize itself stands behind the ARN, and not a function.

        Raises:
            FunctionError: when nothing is bound to it.
        """
        return (await bound(self._db, self._seal, uri)).kind == "aws"

    async def each(
        self, uri: str, number: int, users: Mapping[str, str]
    ) -> tuple[dict[str, list[str]], dict[str, FunctionError]]:
        """The items Personalize has for users, by whatever they are called here, and what was amiss with others."""
        items: dict[str, list[str]] = {}
        failures: dict[str, FunctionError] = {}

        async def ask(name: str, user: str) -> None:
            try:
                async with self._turns:
                    items[name] = await self._ask(uri, user, number)
            except FunctionError as error:
                failures[name] = error

        await asyncio.gather(*(ask(name, user) for name, user in users.items()))
        return items, failures

    async def _ask(self, uri: str, user: str, number: int) -> list[str]:
        """One user's items, unless the model is left alone."""
        stop_if_resting(self._far_ends, uri)
        region = store.region_of(uri) or DEFAULT_REGION
        try:
            items = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._items, region, uri, user, number
            )
        except (BotoCoreError, ClientError) as error:
            self._far_ends.note_failure(uri, str(error))
            raise FunctionError(f"{uri}: {error}") from error
        self._far_ends.note_success(uri)
        return items

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _items(self, region: str, uri: str, user: str, number: int) -> list[str]:
        """GetRecommendations of Personalize's runtime."""
        answer = self._clients.of(region).get_recommendations(campaignArn=uri, userId=user, numResults=number)
        return [str(item["itemId"]) for item in answer.get("itemList", ()) if item.get("itemId")]
