"""From a destination's ARN to what stands behind it. Without a binding that is a file below the data directory."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from repoint.bindings import store
from repoint.bindings.clients import Clients
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
CALLS_MAX = 64  # at once, over all streams of a region, on connections that are kept
DEFAULT_REGION = "us-east-1"


class Sinks:
    """Opens the far end of an ARN."""

    def __init__(self, server: Server, functions: Functions, data_dir: Path) -> None:
        self._server = server
        self._functions = functions
        self._folder = data_dir / "streams"
        self._kinesis = Clients("kinesis", calls_max=CALLS_MAX, read_seconds=AWS_SECONDS)
        self._firehose = Clients("firehose", calls_max=CALLS_MAX, read_seconds=AWS_SECONDS)

    async def bindings(self) -> Mapping[str, Binding]:
        """What ARNs are bound to at the moment."""
        return await self._server.db.cached(store.load_all, self._server.seal)

    def open(self, arn: str, binding: Binding | None) -> Sink:
        """The sink an ARN is bound to, or its file `DATA_DIR/streams/NAME.jsonl`."""
        if binding is None:
            return JsonLinesSink(self._folder / f"{store.name_of(arn)}.jsonl")
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
        region = store.region_of(arn) or DEFAULT_REGION
        if store.service_of(arn) == "firehose":
            return FirehoseSink(lambda: self._firehose.of(region), arn)
        return KinesisSink(lambda: self._kinesis.of(region), arn)

    def aside(self, arn: str) -> JsonLinesSink:
        """The file for what is too large for an ARN's far end, `DATA_DIR/streams/NAME.too-large.jsonl`."""
        return JsonLinesSink(self._folder / f"{store.name_of(arn)}.too-large.jsonl")
