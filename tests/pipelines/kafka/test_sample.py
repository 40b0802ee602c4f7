"""A sample of topics has their last messages, and not many more bytes than it needs."""

import pytest
from topics import unique, write_compressed

from pipelines.kafka.sample import sample_values

pytestmark = pytest.mark.server


@pytest.mark.parametrize(("size", "n", "least", "most"), [(10, 2100, 2000, 2001), (900_000, 50, 8, 16)])
def test_a_sample_has_the_last_messages_and_few_bytes(size, n, least, most, kafka):
    topic = kafka.create_topic(unique("sample"), 1)
    old, new = (text.encode() * (size // 10) for text in ("0123456789", "abcdefghij"))
    write_compressed(kafka.address, topic, [old], 50)
    write_compressed(kafka.address, topic, [new], n)
    found = sample_values({"bootstrap.servers": kafka.address, "group.id": "any"}, {topic: 1})
    assert set(found) == {new}
    assert least <= len(found) <= most
