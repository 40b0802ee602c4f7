"""A sample of topics is of their last messages, and has not many more bytes than it needs."""

import pytest
from topics import unique, write_compressed

from pipelines.kafka.sample import sample_values

pytestmark = pytest.mark.server


def sample(kafka, topic):
    return sample_values({"bootstrap.servers": kafka.address, "group.id": "any"}, {topic: 1})


def test_a_sample_has_the_last_messages(kafka):
    topic = kafka.create_topic(unique("sample"), 1)
    write_compressed(kafka.address, topic, [b"old"], 50)
    write_compressed(kafka.address, topic, [b"new"], 2100)
    found = sample(kafka, topic)
    assert set(found) == {b"new"}
    assert 2000 <= len(found) <= 2001


def test_a_sample_of_large_messages_has_few(kafka):
    topic = kafka.create_topic(unique("sample"), 1)
    write_compressed(kafka.address, topic, [b"large" * 180_000], 50)
    assert 8 <= len(sample(kafka, topic)) <= 16
