"""Partitions that come and go, on a real broker."""

import pytest
from confluent_kafka import Consumer, Producer
from patience import PATIENCE, wait_for
from topics import unique

from pipelines.worker.source import Source

pytestmark = pytest.mark.server


class Listener:
    """Takes partitions as they come."""

    def assigned(self, _partition, offset, _metadata):
        return offset

    def revoked(self, _partitions):
        pass

    lost = revoked


def write(address, topic, numbers):
    producer = Producer({"bootstrap.servers": address})
    for i in numbers:
        producer.produce(topic, str(i), partition=i % 4)
    assert producer.flush(PATIENCE) == 0


@pytest.fixture
def consumer(kafka):
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.address,
            "group.id": unique("group"),
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "heartbeat.interval.ms": 300,
            "topic.metadata.refresh.interval.ms": 500,
        }
    )
    yield consumer
    consumer.close()


def until(wanted, step, what):
    """Take steps until something is as wanted."""
    wait_for(step, what, lambda _: wanted(), pause=0)


def read(source, found):
    batch = source.consume(100, 0.05)
    found += [int(message.value()) for message in batch.messages]


def test_a_partition_that_was_held_when_it_went_is_read_when_it_comes_back(kafka, consumer):
    topic, found = kafka.create_topic(unique("held"), 4), []
    write(kafka.address, topic, range(40))
    source = Source(consumer, [topic], reset="earliest")
    source.subscribe(Listener())
    until(lambda: len(found) == 40, lambda: read(source, found), "40 messages")
    source.idle()  # holds them all
    consumer.unsubscribe()
    until(lambda: not source.positions.owned, source.idle, "no partitions")
    source.subscribe(Listener())
    until(lambda: len(source.positions.owned) == 4, source.idle, "4 partitions")
    write(kafka.address, topic, range(40, 80))
    step = lambda: (source.hold([]), read(source, found))
    until(lambda: set(found) == set(range(80)), step, "80 messages")


def test_topics_that_match_are_read_also_those_that_appear_later(kafka, consumer):
    stem, found = unique("several"), []
    names = [kafka.create_topic(f"{stem}-{end}", 4) for end in ("a", "b")]
    source = Source(consumer, [names[0], f"^{stem}-[b-d]$"], reset="earliest")
    source.subscribe(Listener())
    for n, name in enumerate(names):
        write(kafka.address, name, range(40 * n, 40 * n + 40))
    until(lambda: len(found) == 80, lambda: read(source, found), "80 messages")
    late, other = (kafka.create_topic(f"{stem}-{end}", 4) for end in ("c", "e"))
    for n, name in enumerate((late, other)):
        write(kafka.address, name, range(80 + 40 * n, 120 + 40 * n))
    until(lambda: len(source.positions.owned) == 12, lambda: read(source, found), "12 partitions")
    until(lambda: len(found) == 120, lambda: read(source, found), "120 messages")
    assert sorted(found) == list(range(120))
    assert {source.partitions[number].topic for number in source.positions.owned} == {*names, late}
