"""Topics: what an `arn:aws:sns:…` stands for, told of what happened."""

import asyncio
import uuid
from datetime import datetime
from typing import Any

import httpx
import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from repoint.bindings import store
from repoint.bindings.clients import Clients
from repoint.bindings.functions import FunctionError, Functions
from repoint.bindings.webhooks import UNREACHABLE, shown
from repoint.clock import Clock, iso8601
from repoint.db import Database
from repoint.sealing import Seal

PUBLISH_SECONDS = 15
CALLS_MAX = 10
DEFAULT_REGION = "us-east-1"


class TopicError(Exception):
    """A message could not be published; the text says where and why."""


class Topics:
    """Publishes to topics as they are bound: to SNS, a webhook in SNS's own JSON, a function with SNS's `Records`."""

    def __init__(self, db: Database, seal: Seal, clock: Clock, functions: Functions) -> None:
        self._db = db
        self._seal = seal
        self._clock = clock
        self._functions = functions
        self._http = httpx.AsyncClient(timeout=PUBLISH_SECONDS)
        self._clients = Clients("sns", calls_max=CALLS_MAX, read_seconds=PUBLISH_SECONDS, attempts=2)

    async def publish(self, arn: str, message: Any) -> str:
        """Publish a document as a topic's message; returns the message's id.

        Raises:
            TopicError: when nothing is bound to the ARN, or its far end does not take the message.
        """
        await self._db.settle()
        binding = await self._db.cached(store.load, (self._seal, arn))
        if binding is None:
            raise TopicError(f"nothing is bound to {arn}: say `repoint bindings set {arn} TARGET`")
        text = msgspec.json.encode(message).decode()
        if binding.kind == "aws":
            return await asyncio.to_thread(self._publish_to_sns, arn, text)
        notification = notification_of(arn, str(uuid.uuid4()), text, self._clock())
        if binding.kind == "python":
            await self._call(arn, notification)
        else:
            await self._post(binding.target, notification)
        return str(notification["MessageId"])

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def _call(self, arn: str, notification: dict[str, Any]) -> None:
        record = {
            "EventSource": "aws:sns",
            "EventVersion": "1.0",
            "EventSubscriptionArn": f"{arn}:{notification['MessageId']}",
            "Sns": {**notification, "Subject": None, "MessageAttributes": {}},
        }
        try:
            await self._functions.invoke(arn, {"Records": [record]})
        except FunctionError as error:
            raise TopicError(str(error)) from error

    async def _post(self, url: str, notification: dict[str, Any]) -> None:
        headers = {
            "content-type": "text/plain; charset=UTF-8",
            "x-amz-sns-message-type": "Notification",
            "x-amz-sns-message-id": notification["MessageId"],
            "x-amz-sns-topic-arn": notification["TopicArn"],
        }
        try:
            answer = await self._http.post(url, content=msgspec.json.encode(notification), headers=headers)
        except UNREACHABLE as error:
            raise TopicError(f"{shown(url)}: {str(error) or type(error).__name__}") from error
        if not answer.is_success:
            raise TopicError(f"{shown(url)}: HTTP {answer.status_code}")

    def _publish_to_sns(self, arn: str, text: str) -> str:
        try:
            client = self._clients.of(store.region_of(arn) or DEFAULT_REGION)
            return str(client.publish(TopicArn=arn, Message=text)["MessageId"])
        except (BotoCoreError, ClientError) as error:
            raise TopicError(f"{arn}: {error}") from error


def notification_of(arn: str, message_id: str, text: str, now: datetime) -> dict[str, Any]:
    """A message as SNS delivers it over HTTP (SNS developer guide, "HTTP/HTTPS notification JSON format"), unsigned."""
    return {
        "Type": "Notification",
        "MessageId": message_id,
        "TopicArn": arn,
        "Message": text,
        "Timestamp": iso8601(now),
    }
