"""Where the worker is in each partition: pure bookkeeping, without a broker.

A position is the offset of the next record. Offsets have gaps (transaction markers, compaction), so a higher
one than expected is normal; a lower one was dealt with before and must not be dealt with again. Partitions of
several topics have numbers, so that arrays can hold them (`PartitionIndex`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from confluent_kafka import OFFSET_INVALID, TopicPartition
from numpy.typing import NDArray

__all__ = ["PartitionIndex", "PartitionName", "Positions"]


class Positions:
    """The positions of the partitions that this worker owns.

    `next` is what will be processed next, `committed` what a restart would begin with.
    """

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self._committed: dict[int, int] = {}

    def begin(self, partition: int, offset: int) -> None:
        """Own a partition, from an offset that is committed."""
        self._next[partition] = self._committed[partition] = offset

    def end(self, partitions: Iterable[int]) -> None:
        """Own partitions no longer."""
        for partition in partitions:
            self._next.pop(partition, None)
            self._committed.pop(partition, None)

    @property
    def owned(self) -> tuple[int, ...]:
        """The partitions, rising."""
        return tuple(sorted(self._next))

    def next(self, partition: int) -> int:
        """The offset of the next record."""
        return self._next[partition]

    def take(self, partitions: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Move on over a batch of records.

        Args:
            partitions: `(n,)` int32, of each record.
            offsets: `(n,)` int64, rising within a partition.

        Returns:
            `(n,)` bool: which records are to be processed. The others belong to nobody here, or were
            processed before.
        """
        wanted = np.zeros(len(offsets), np.bool_)
        for partition in np.unique(partitions).tolist():
            if partition not in self._next:
                continue
            rows = np.flatnonzero(partitions == partition)
            fresh = rows[offsets[rows] >= self._next[partition]]
            if fresh.size:
                wanted[fresh] = True
                self._next[partition] = int(offsets[fresh[-1]]) + 1
        return wanted

    def give_back(self, partitions: NDArray[np.int32], offsets: NDArray[np.int64]) -> list[int]:
        """Move back to the first of a batch of records that was taken last.

        Args:
            partitions: `(n,)` int32, of each record.
            offsets: `(n,)` int64, rising within a partition.

        Returns:
            The partitions that moved; those that are no longer owned are passed over.
        """
        numbers, first = np.unique(partitions, return_index=True)
        owned = [(p, i) for p, i in zip(numbers.tolist(), first.tolist(), strict=True) if p in self._next]
        back = {p: int(offsets[i]) for p, i in owned}
        self._next |= back
        return list(back)

    def pending(self) -> dict[int, int]:
        """The positions that are not committed yet."""
        return {p: offset for p, offset in self._next.items() if offset != self._committed[p]}

    def commit(self, offsets: dict[int, int]) -> None:
        """Take note of what was committed; partitions that are no longer owned are passed over."""
        self._committed |= {p: offset for p, offset in offsets.items() if p in self._committed}

    def rewind(self) -> dict[int, int]:
        """Go back to what is committed; the partitions that had moved on, and where they are now."""
        back = {p: self._committed[p] for p in self.pending()}
        self._next |= back
        return back


class PartitionName(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/p{self.partition}"


class PartitionIndex:
    """Gives each partition a number when it is first heard of; it is valid in this process alone."""

    def __init__(self) -> None:
        self._places: list[PartitionName] = []
        self._numbers: dict[tuple[str, int], int] = {}
        self._topics: set[str] = set()
        self._table = np.empty(0, np.int32)  # of the only topic: numbers by partition

    def __getitem__(self, number: int) -> PartitionName:
        return self._places[number]

    def number(self, topic: str, partition: int) -> int:
        """The number of a partition."""
        known = self._numbers.get((topic, partition))
        if known is not None:
            return known
        number = len(self._places)
        self._places.append(PartitionName(topic, partition))
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
