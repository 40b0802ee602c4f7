"""Topics for the tests: messages written, and everything that a topic holds read back."""

import json
import uuid
from itertools import chain, repeat

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from patience import PATIENCE, wait_for

__all__ = [
    "TopicReader",
    "lower_limit",
    "read_topic",
    "set_config",
    "unique",
    "values_of",
    "write_compressed",
    "write_topic",
]

_POLL_SECONDS = 0.05


def lower_limit(broker, topic, n_bytes):
    """Lower the largest message that a topic takes, and wait until it holds."""
    set_config(broker, topic, "max.message.bytes", str(n_bytes))


def set_config(broker, topic, name, value):
    """Change the configuration of a topic, and wait until it holds."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = broker.admin()
    admin.incremental_alter_configs([resource])[resource].result(PATIENCE)

    def now():
        [future] = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
        return future.result(PATIENCE)[name].value

    wait_for(now, f"{name} of {value}", lambda found: found == value)


def unique(name):
    return f"{name}-{uuid.uuid4().hex[:8]}"


def write_topic(address, topic, messages):
    """Write messages: values, or (key, value, headers), or with a timestamp in milliseconds behind these."""
    producer = Producer({"bootstrap.servers": address, "linger.ms": 5, "enable.idempotence": True})
    for message in messages:
        key, value, headers, *times = message if isinstance(message, tuple) else (None, message, None)
        while True:
            try:
                producer.produce(topic, value, key, headers=headers, timestamp=times[0] if times else 0)
            except BufferError:
                producer.poll(0.1)
            else:
                break
    assert producer.flush(PATIENCE) == 0


class TopicReader:
    """Reads the committed messages of a topic from its beginning on.

    Args:
        address: of the brokers.
        topic: that exists.

    Attributes:
        messages: those that were read so far.
    """

    def __init__(self, address, topic):
        self.messages = []
        self._topic = topic
        self._consumer = Consumer(
            {
                "bootstrap.servers": address,
                "group.id": unique("reader"),
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
            }
        )
        partitions = self._consumer.list_topics(topic, timeout=PATIENCE).topics[topic].partitions
        self._ends = dict.fromkeys(partitions)  # None until the end of a partition is reached
        self._consumer.assign([TopicPartition(topic, p, 0) for p in partitions])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._consumer.close()

    def read(self):
        """Read on to the end of every partition; all messages so far.

        The end is where the oldest open transaction begins.
        """
        self._take()  # what has come since the last end
        wait_for(self._take, f"the end of {self._topic}", lambda ends: None not in ends.values(), pause=0)
        return self.messages

    def is_settled(self):
        """Whether no transaction is open any more: what was read is all that will ever be committed."""
        self.read()
        try:
            return all(self._high(p) == end for p, end in self._ends.items())
        except KafkaException:  # the leader has changed
            return False

    def _high(self, partition):
        """Where a partition ends, what is not committed included."""
        return self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), PATIENCE)[1]

    def _take(self):
        for message in self._consumer.consume(10_000, _POLL_SECONDS):
            if message.error() is None:
                self.messages.append(message)
                self._ends[message.partition()] = None
            elif message.error().code() == KafkaError._PARTITION_EOF:
                self._ends[message.partition()] = message.offset()
            elif not message.error().retriable() and message.error().code() != KafkaError._ALL_BROKERS_DOWN:
                raise AssertionError(message.error())
        return self._ends


def read_topic(address, topic, least=0):
    """All committed messages up to the end of a topic, as soon as there are `least`."""
    with TopicReader(address, topic) as reader:
        wait_for(lambda: len(reader.read()), f"{least} messages in {topic}", lambda n: n >= least)
        return reader.messages


def values_of(messages):
    return [json.loads(message.value()) for message in messages]


def write_compressed(address, topic, values, n):
    """Write values `n` times, so that they are small on the wire."""
    settings = {"bootstrap.servers": address, "compression.type": "zstd", "linger.ms": 50}
    producer = Producer(settings)
    for value in chain.from_iterable(repeat(values, n)):
        while True:
            try:
                producer.produce(topic, value)
            except BufferError:
                producer.poll(0.1)
            else:
                break
    assert producer.flush(PATIENCE) == 0
