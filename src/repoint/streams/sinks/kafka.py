"""Kafka, of any maker: an idempotent producer, acknowledged by all replicas, keyed by endpoint."""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from repoint.streams.sink import SinkError, StreamRecord, stop_if_too_large

# What is wrong the stream says itself; the library would say it ten times a second.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
REQUEST_MILLISECONDS = 30_000
BATCH_BYTES = 256 * 1024
RECORD_BYTES_MAX = 1_000_000  # brokers take a little more, unless they are told otherwise


class KafkaSink:
    """A topic, `kafka[s]://[user:password@]host:port[,host:port]/topic[?mechanism=SCRAM-SHA-512]`.

    `kafkas` is over TLS. Idempotence keeps each partition in order.
    """

    records_max = 2_000

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        credentials, _, self._servers = parts.netloc.rpartition("@")
        user, _, password = credentials.partition(":")
        self._user, self._password = unquote(user), unquote(password)
        self._topic = parts.path.strip("/")
        self._is_tls = parts.scheme.lower() == "kafkas"
        self._mechanism = dict(parse_qsl(parts.query)).get("mechanism", "PLAIN")
        self._producer: AIOKafkaProducer | None = None

    async def write(self, records: Sequence[StreamRecord]) -> None:
        """Send the records and wait for the brokers to have them.

        Raises:
            SinkError: when they cannot be reached, or refuse.
        """
        where = f"kafka {self._servers}/{self._topic}"
        stop_if_too_large(records, RECORD_BYTES_MAX, where)
        try:
            producer = await self._connected()
            sent = [
                await producer.send(self._topic, value=record.data.rstrip(b"\n"), key=record.key.encode())
                for record in records
            ]
            await asyncio.gather(*sent)
        except (KafkaError, OSError) as error:
            await self.close()
            raise SinkError(f"{where}: {error!r}", records) from error

    async def close(self) -> None:
        """Let go of the connections; what was not acknowledged is sent again by the stream."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._servers,
                enable_idempotence=True,
                acks="all",
                request_timeout_ms=REQUEST_MILLISECONDS,
                max_batch_size=BATCH_BYTES,
                linger_ms=5,
                security_protocol=("SASL_" if self._user else "") + ("SSL" if self._is_tls else "PLAINTEXT"),
                ssl_context=ssl.create_default_context() if self._is_tls else None,
                sasl_mechanism=self._mechanism,
                sasl_plain_username=self._user or None,
                sasl_plain_password=self._password or None,
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer
