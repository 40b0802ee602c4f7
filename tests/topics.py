"""Topics for the tests: messages written, and everything that a topic holds read back."""

import json
import time
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition

__all__ = ["read_topic", "unique", "values_of", "write_topic"]


def unique(name):
    return f"{name}-{uuid.uuid4().hex[:8]}"


def write_topic(address, topic, messages):
    """Write messages: values, or (key, value, headers)."""
    producer = Producer({"bootstrap.servers": address, "linger.ms": 5, "enable.idempotence": True})
    for message in messages:
        key, value, headers = message if isinstance(message, tuple) else (None, message, None)
        while True:
            try:
                producer.produce(topic, value, key, headers=headers)
            except BufferError:
                producer.poll(0.1)
            else:
                break
    assert producer.flush(60) == 0


def read_topic(address, topic, quiet=1.0, least=0, seconds=60.0):
    """All committed messages of a topic, once nothing has come for `quiet` seconds and there are `least`."""
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": unique("reader"),
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
        }
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    found, last = [], time.monotonic()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (len(found) < least or time.monotonic() - last < quiet):
        messages = consumer.consume(10_000, 0.2)
        assert all(message.error() is None for message in messages), messages[0].error()
        if messages:
            found += messages
            last = time.monotonic()
    consumer.close()
    return found


def values_of(messages):
    return [json.loads(message.value()) for message in messages]
