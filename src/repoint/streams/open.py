"""From a destination's ARN to what stands behind it. Without a binding that is a file below the data directory."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
from botocore.config import Config

from repoint.bindings import store
from repoint.bindings.functions import Functions
from repoint.bindings.store import Binding
from repoint.resources.call import Server
from repoint.streams.sink import Sink
from repoint.streams.sinks.firehose import FirehoseSink
from repoint.streams.sinks.function import FunctionSink
from repoint.streams.sinks.json_lines import JsonLinesSink
from repoint.streams.sinks.kafka import KafkaSink
from repoint.streams.sinks.kinesis import KinesisSink
from repoint.streams.sinks.webhook import WebhookSink

AWS_SECONDS = 30
DEFAULT_REGION = "us-east-1"


class Sinks:
    """Opens the far end of an ARN."""

    def __init__(self, server: Server, functions: Functions, data_dir: Path) -> None:
        self._server = server
        self._functions = functions
        self._data_dir = data_dir

    async def open(self, arn: str) -> Sink:
        """The sink an ARN is bound to, or its file `DATA_DIR/streams/NAME.jsonl`."""
        binding = await store.load(self._server.db, (self._server.seal, arn))
        if binding is None:
            return JsonLinesSink(self._data_dir / "streams" / f"{store.name_of(arn)}.jsonl")
        return self._bound(binding)

    def _bound(self, binding: Binding) -> Sink:
        if binding.kind == "file":
            return JsonLinesSink(Path(urlsplit(binding.target).path))
        if binding.kind == "python":
            return FunctionSink(self._functions, binding.arn, self._server.clock)
        if binding.kind == "kafka":
            return KafkaSink(binding.target)
        if binding.kind == "http":
            return WebhookSink(
                httpx.AsyncClient(), binding.target, binding.secret, lambda: self._server.clock().timestamp()
            )
        if store.service_of(binding.arn) == "firehose":
            return FirehoseSink(_client("firehose", binding.arn), binding.arn)
        return KinesisSink(_client("kinesis", binding.arn), binding.arn)


def _client(service: str, arn: str) -> Any:
    config = Config(connect_timeout=5, read_timeout=AWS_SECONDS, retries={"total_max_attempts": 1})
    return boto3.client(service, region_name=store.region_of(arn) or DEFAULT_REGION, config=config)
