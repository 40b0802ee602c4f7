"""Numbers of partitions: of one topic, and of several."""

import pytest
from faults.messages import FakeMessage

from pipelines.worker.offsets import Places


def messages(places):
    return [FakeMessage(b"", topic_=topic, partition_=partition) for topic, partition in places]


@pytest.mark.parametrize(
    "order",
    [
        [("a", 3), ("a", 0), ("a", 1)],
        [("a", 3), ("b", 3), ("b", 0), ("a", 1)],
    ],
)
def test_messages_have_the_numbers_of_their_partitions(order):
    places = Places()
    numbers = [places.number(*place) for place in order]
    assert [places.number(*place) for place in order] == numbers
    assert [places[number] for number in numbers] == order
    mixed = [*reversed(order), *order]
    assert [places[number] for number in places.of_messages(messages(mixed)).tolist()] == mixed
    assert places.of_messages([]).tolist() == []


def test_a_number_is_a_partition_again_for_the_client():
    places = Places()
    part = places.part(places.number("a", 3), 7, "files=5")
    assert (part.topic, part.partition, part.offset, part.metadata) == ("a", 3, 7, "files=5")
    assert str(places[0]) == "a/p3"
