"""boto3's clients of one AWS service, a client for each region, shared by many threads."""

import threading
from typing import Any

import boto3
from botocore.config import Config

CONNECT_SECONDS = 5
MAKING = threading.Lock()  # of whatever service: they are made by one session


class Clients:
    """Makes a region's client when it is first asked for; boto3 has to make them on one thread at a time."""

    def __init__(self, service: str, *, calls_max: int, read_seconds: float, attempts: int = 1) -> None:
        self._service = service
        self._config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=read_seconds,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            max_pool_connections=calls_max,
        )
        self._made: dict[str | None, Any] = {}

    def of(self, region: str | None) -> Any:
        """The region's client; None is the region that the environment names."""
        with MAKING:
            if region not in self._made:
                self._made[region] = boto3.client(self._service, region_name=region, config=self._config)
            return self._made[region]
