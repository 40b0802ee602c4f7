"""Numbers for the partitions of several topics, so that arrays can hold them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from confluent_kafka import OFFSET_INVALID, TopicPartition
from numpy.typing import NDArray

__all__ = ["Place", "Places"]


class Place(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/p{self.partition}"


class Places:
    """Gives each partition a number when it is first heard of; it is valid in this process alone."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._numbers: dict[tuple[str, int], int] = {}
        self._topics: set[str] = set()
        self._table = np.empty(0, np.int32)  # of the only topic: numbers by partition

    def __getitem__(self, number: int) -> Place:
        return self._places[number]

    def number(self, topic: str, partition: int) -> int:
        """The number of a partition."""
        known = self._numbers.get((topic, partition))
        if known is not None:
            return known
        number = len(self._places)
        self._places.append(Place(topic, partition))
        self._numbers[topic, partition] = number
        self._topics.add(topic)
        self._table = np.full(1 + max(place.partition for place in self._places), -1, np.int32)
        for i, place in enumerate(self._places):
            self._table[place.partition] = i
        return number

    def of_messages(self, messages: Sequence[Any]) -> NDArray[np.int32]:
        """The partitions of messages, all of them of partitions that were heard of.

        Returns:
            `(n,)` int32.
        """
        if len(self._topics) == 1:  # not to ask each message for its topic
            return self._table[[message.partition() for message in messages]]
        numbers = self._numbers
        return np.array([numbers[one.topic(), one.partition()] for one in messages], np.int32)

    def part(self, number: int, offset: int = OFFSET_INVALID, metadata: str | None = None) -> TopicPartition:
        """A partition as confluent_kafka takes it."""
        place = self._places[number]
        if metadata is None:
            return TopicPartition(place.topic, place.partition, offset)
        return TopicPartition(place.topic, place.partition, offset, metadata)
