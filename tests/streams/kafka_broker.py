"""A Kafka broker, the real one: a single node without ZooKeeper, started, stopped and killed by tests."""

import asyncio
import shutil
import subprocess
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tests.conftest import eventually, free_port

ROOT = Path(__file__).parents[2]
JARS = ROOT / "build" / "kafka"
CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
DOWNLOAD_SECONDS = 240


class NoBrokerError(Exception):
    """Kafka cannot be had on this machine; the text says why."""


def fetch():
    """Kafka's jars, by Maven, into the build folder.

    Raises:
        NoBrokerError: without Java or Maven, or when the registry is out of reach.
    """
    if not (shutil.which("java") and shutil.which("mvn")):
        raise NoBrokerError("Java and Maven are not on this machine")
    if any(JARS.glob("kafka_*.jar")):
        return
    command = [
        "mvn",
        "--quiet",
        "--batch-mode",
        "-f",
        Path(__file__).with_name("broker"),
        "dependency:copy-dependencies",
    ]
    copied = subprocess.run(
        [*command, f"-DoutputDirectory={JARS}"], capture_output=True, text=True, timeout=DOWNLOAD_SECONDS
    )
    if copied.returncode:
        raise NoBrokerError(f"Maven's registry is out of reach: {copied.stdout[-300:]}")


class Broker:
    """One node in a folder; what it has taken is there after any stop."""

    def __init__(self, folder):
        fetch()
        self.folder, self.port, self.process = Path(folder), free_port(), None
        controller = free_port()
        self.properties = self.folder / "server.properties"
        self.properties.write_text(
            f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}
controller.listener.names=CONTROLLER
log.dirs={self.folder / "log"}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=false
"""
        )
        self.java("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", self.properties).wait()

    def java(self, *command):
        with (self.folder / "broker.log").open("ab") as log:
            memory = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
            return subprocess.Popen(["java", *memory, "-cp", f"{JARS}/*", *command], stdout=log, stderr=log)

    def start(self):
        self.process = self.java("kafka.Kafka", self.properties)
        eventually(lambda: self.process.poll() is not None or asyncio.run(self._answers()), seconds=60)
        assert self.process.poll() is None, (self.folder / "broker.log").read_text()[-3000:]

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)

    def kill(self):
        self.process.kill()
        self.process.wait()

    async def _answers(self):
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        try:
            await admin.start()
            await admin.list_topics()
        except (KafkaError, OSError):
            return False
        else:
            return True
        finally:
            await admin.close()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def create(self, topic, partitions):
        async def create():
            admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
            await admin.start()
            try:
                await admin.create_topics([NewTopic(topic, partitions, 1)])
            finally:
                await admin.close()

        asyncio.run(create())

    def records(self, topic, partitions):
        """All records of a topic as (partition, key, value), those of a partition in order."""

        async def read():
            consumer = AIOKafkaConsumer(bootstrap_servers=self.address, auto_offset_reset="earliest")
            await consumer.start()
            try:
                all_partitions = [TopicPartition(topic, number) for number in range(partitions)]
                consumer.assign(all_partitions)
                ends, found = await consumer.end_offsets(all_partitions), []
                while any([await consumer.position(one) < ends[one] for one in all_partitions]):
                    for one, some in (await consumer.getmany(timeout_ms=500)).items():
                        found += [(one.partition, record.key.decode(), record.value) for record in some]
                return found
            finally:
                await consumer.stop()

        return asyncio.run(read())
