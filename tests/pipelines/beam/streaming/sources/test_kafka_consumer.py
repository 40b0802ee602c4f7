"""What the consumer of a stream takes at once, from a real broker."""

import pytest
from confluent_kafka import OFFSET_BEGINNING
from patience import wait_for
from topics import unique, write_topic

from pipelines.beam.streaming.sources.kafka_consumer import PartitionConsumer, PartitionRead
from pipelines.beam.streaming.sources.kafka_topic import TopicGuard
from pipelines.beam.streaming.watermark import WatermarkPolicy
from pipelines.kafka.config import consumer_properties

pytestmark = pytest.mark.server


def test_large_messages_come_a_few_at_a_time_and_small_ones_many(kafka):
    topic = kafka.create_topic(unique("in"), 1)
    sizes = [*([400_000] * 9), *([10] * 5000), 900_000, 900_000, *([10] * 9)]
    write_topic(kafka.address, topic, [(None, "x" * size, None) for size in sizes])
    properties = consumer_properties({}, brokers=kafka.address, group="g", instance=None)
    start, guard = {0: PartitionRead(OFFSET_BEGINNING)}, TopicGuard(topic, None, properties)
    consumer = PartitionConsumer(topic, guard, properties, WatermarkPolicy(0, 10**6), start, ends=True)
    batches = []

    def ended():
        if found := consumer.next():
            batches.append([len(message) for message in found[1]])
        return consumer.has_ended

    wait_for(ended, "the end of the topic", pause=0)
    consumer.close()
    assert sum(batches, []) == sizes  # noqa: RUF017 - few and short
    assert all(sum(batch) <= 1 << 20 or len(batch) == 1 for batch in batches)
    assert max(map(len, batches)) > 500
