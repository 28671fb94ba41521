"""Functions: what an `arn:aws:lambda:…` stands for, called by whoever has a payload for it."""

import asyncio
import hashlib
import hmac
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from repoint.bindings import store
from repoint.bindings.local import INVOKE_SECONDS, LocalFailure, LocalFunction
from repoint.bindings.store import Binding
from repoint.clock import Clock
from repoint.db import Database
from repoint.sealing import Seal

DEFAULT_REGION = "us-east-1"
HANDLER = "lambda_handler"


class FunctionError(Exception):
    """A function could not be called, or failed; the text says which and how."""


class Functions:
    """Calls functions by ARN or name, as they are bound."""

    def __init__(self, db: Database, seal: Seal, clock: Clock, *, api_url: str = "") -> None:
        self._db = db
        self._seal = seal
        self._clock = clock
        self._api_url = api_url
        self._http = httpx.AsyncClient(timeout=INVOKE_SECONDS)
        self._clients: dict[str, Any] = {}
        self._local: dict[tuple[str, str], LocalFunction] = {}

    async def invoke(self, arn: str, payload: Any) -> Any:
        """The function's answer to a payload.

        Raises:
            FunctionError: when nothing is bound to the ARN, or the function fails or takes longer than 15 seconds.
        """
        await self._db.settle()
        binding = await self._db.cached(store.load, (self._seal, arn))
        if binding is None:
            raise FunctionError(f"nothing is bound to {arn}: say `repoint bindings set {arn} TARGET`")
        if binding.kind == "python":
            return await self._call_local(binding, payload)
        if binding.kind == "http":
            return await self._call_http(binding, payload)
        return await asyncio.to_thread(self._call_lambda, binding, payload)

    async def close(self) -> None:
        """Let go of connections and processes."""
        await self._http.aclose()
        for function in self._local.values():
            await function.close()

    async def _call_local(self, binding: Binding, payload: Any) -> Any:
        function = self._local.get((binding.arn, binding.target))
        if function is None:
            parts = urlsplit(binding.target)
            environment = {
                "AWS_REGION": store.region_of(binding.arn) or DEFAULT_REGION,
                "AWS_DEFAULT_REGION": store.region_of(binding.arn) or DEFAULT_REGION,
            }
            if self._api_url:
                environment["AWS_ENDPOINT_URL_PINPOINT"] = self._api_url
            function = LocalFunction(binding.arn, Path(parts.path), parts.fragment or HANDLER, environment)
            self._local[binding.arn, binding.target] = function
        try:
            return await function.invoke(payload)
        except LocalFailure as failure:
            raise FunctionError(f"{binding.arn}: {failure}") from failure

    async def _call_http(self, binding: Binding, payload: Any) -> Any:
        body = msgspec.json.encode(payload)
        headers = {"content-type": "application/json"}
        if binding.secret:
            stamp = str(int(self._clock().timestamp()))
            signature = hmac.new(binding.secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
            headers |= {"x-repoint-timestamp": stamp, "x-repoint-signature": f"sha256={signature}"}
        try:
            answer = await self._http.post(binding.target, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise FunctionError(
                f"{binding.arn}: {binding.shown_target}: {str(error) or type(error).__name__}"
            ) from error
        if not answer.is_success:
            raise FunctionError(f"{binding.arn}: {binding.shown_target}: HTTP {answer.status_code}")
        try:
            return msgspec.json.decode(answer.content) if answer.content else None
        except msgspec.DecodeError as error:
            raise FunctionError(f"{binding.arn}: {binding.shown_target}: answered no JSON") from error

    def _call_lambda(self, binding: Binding, payload: Any) -> Any:
        try:
            answer = self._lambda(store.region_of(binding.arn)).invoke(
                FunctionName=binding.arn, Payload=msgspec.json.encode(payload)
            )
            content = answer["Payload"].read()
        except (BotoCoreError, ClientError) as error:
            raise FunctionError(f"{binding.arn}: {error}") from error
        if answer.get("FunctionError"):
            raise FunctionError(f"{binding.arn}: {content.decode(errors='replace')[:1000]}")
        return msgspec.json.decode(content) if content else None

    def _lambda(self, region: str) -> Any:
        if region not in self._clients:
            config = Config(connect_timeout=5, read_timeout=INVOKE_SECONDS, retries={"total_max_attempts": 1})
            self._clients[region] = boto3.client("lambda", region_name=region or DEFAULT_REGION, config=config)
        return self._clients[region]
