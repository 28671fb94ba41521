"""A watched prefix: a file that appears there, or appears anew, is imported once, as soon as it has stopped growing."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from repoint.bindings.storage import Place, Storage, StoredObject
from repoint.db import Connection
from repoint.resources.call import Call
from repoint.resources.jobs.api import create_import
from repoint.resources.jobs.files import is_of_format
from repoint.resources.jobs.store import Job
from repoint.wire.exceptions import TooManyRequestsException

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Watch:
    """What is watched, and how what is found there is imported; `definition` has what all imports share.

    With `campaign_id`, each file's import starts a copy of that campaign on the segment it makes.
    """

    call: Call
    storage: Storage
    app_id: str
    place: Place
    definition: dict[str, Any]
    campaign_id: str | None = None
    seen_growing: dict[str, str] = field(default_factory=dict)

    async def look(self) -> list[Job]:
        """One look: imports of what is new since the last and has not changed since; returns their jobs.

        Raises:
            StorageError: when the store cannot be asked.
        """
        begun = []
        found = await self.storage.find(self.place)
        for one in found:
            file_format = format_of(one.key)
            version = _version(one)
            if file_format is None or await self._is_known(one, version):
                continue
            if self.seen_growing.get(one.key) != version:
                self.seen_growing[one.key] = version
                continue
            job = await self._begin(one, version, file_format)
            if job is None:
                break
            begun.append(job)
        return begun

    def _url(self, one: StoredObject) -> str:
        return Place(self.place.bucket, one.key).url

    async def _is_known(self, one: StoredObject, version: str) -> bool:
        row = await self.call.db.fetch_one(
            "SELECT 1 FROM watched_file WHERE app_id = %s AND url = %s AND version = %s",
            [self.app_id, self._url(one), version],
        )
        return row is not None

    async def _begin(self, one: StoredObject, version: str, file_format: str) -> Job | None:
        """The import and the memory of it, in one commit; None when as many imports are running as may."""
        url = self._url(one)
        definition = self.definition | {"S3Url": url, "Format": file_format}
        if self.campaign_id is not None:
            definition = {"DefineSegment": True, "SegmentName": one.key.rpartition("/")[2]} | definition
        also = _remember(self.app_id, url, version)
        try:
            return await create_import(self.call, self.app_id, definition, also=also, campaign_id=self.campaign_id)
        except TooManyRequestsException:
            logger.info("%s waits: enough imports are running", url)
            return None


def _remember(app_id: str, url: str, version: str) -> Callable[[Connection, Job], Awaitable[None]]:
    async def remember(connection: Connection, job: Job) -> None:
        await connection.execute(
            "INSERT INTO watched_file (app_id, url, version, job_id, seen_at) VALUES (%s, %s, %s, %s, %s)",
            [app_id, url, version, job.job_id, job.created_at],
        )

    return remember


def format_of(key: str) -> str | None:
    """The format a file's name says it has; None if it says neither."""
    return next((one for one in ("CSV", "JSON") if is_of_format(key, one)), None)


def _version(one: StoredObject) -> str:
    return f"{one.e_tag or ''} {one.size}"
