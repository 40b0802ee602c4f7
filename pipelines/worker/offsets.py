"""The worker's position in each partition: pure bookkeeping, without a broker.

A position is the offset of the next record. Offsets have gaps (transaction markers, compaction), so an offset
above the position is normal; one below it was processed already and is skipped. Partitions have numbers, so
that arrays can hold those of several topics.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from confluent_kafka import OFFSET_INVALID, TopicPartition
from numpy.typing import NDArray

from pipelines.worker.error_budget import Counted
from pipelines.worker.message_batch import runs

__all__ = ["CommitNote", "PartitionIndex", "PartitionName", "Positions"]


_NO_EPOCH = -1


class CommitNote(NamedTuple):
    """What stands in the metadata of a committed offset: `files=120;input=CLUSTER/TOPIC;records=10000;bad=3`.

    Attributes:
        files: up to which offset the Parquet files are written; None if the committed offset says it.
        input: what the topic's name stood for, as `TopicId` writes it; empty if it is not known.
        epoch: how often the log had been cut below what was read.
        partitions: how many partitions the topic had when the group began to read it; 0 if that is not known.
        records, bad, position: what the error budget has counted.
    """

    files: int | None = None
    input: str = ""
    epoch: int = 0
    partitions: int = 0
    records: int = 0
    bad: int = 0
    position: int = 0

    @property
    def counted(self) -> Counted:
        """What the error budget has counted."""
        return Counted(self.records, self.bad, self.position)

    def with_counted(self, counted: Counted) -> Self:
        """With what the error budget has counted now."""
        return self._replace(
            records=round(counted.records), bad=round(counted.bad), position=counted.position
        )

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Parse metadata; what other programs wrote says nothing."""
        pairs = dict(pair.partition("=")[::2] for pair in (text or "").split(";"))
        numbers = {name: int(value) for name, value in pairs.items() if value.isdecimal()}
        others = (numbers.get(name, 0) for name in cls._fields[2:])
        return cls(numbers.get("files"), pairs.get("input", ""), *others)

    def __str__(self) -> str:
        pairs = zip(self._fields, self, strict=True)
        return ";".join(f"{name}={value}" for name, value in pairs if value or (name, value) == ("files", 0))


class Positions:
    """The positions of this worker's partitions: the next offset to process, and the committed one."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self._committed: dict[int, int] = {}

    def begin(self, partition: int, offset: int) -> None:
        """Add a partition at a committed offset."""
        self._next[partition] = self._committed[partition] = offset

    def end(self, partitions: Iterable[int]) -> None:
        """Remove partitions."""
        for partition in partitions:
            self._next.pop(partition, None)
            self._committed.pop(partition, None)

    @property
    def owned(self) -> tuple[int, ...]:
        """The partitions, in ascending order."""
        return tuple(sorted(self._next))

    def next(self, partition: int) -> int:
        """The offset of the next record."""
        return self._next[partition]

    def take(self, partitions: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Advance over a batch of records.

        Args:
            partitions: `(n,)` int32, of each record.
            offsets: `(n,)` int64, ascending within a partition.

        Returns:
            `(n,)` bool: which records to process. The others are of partitions that left, or were processed
            before.
        """
        wanted = np.ones(len(offsets), np.bool_)
        for partition, first, stop in runs(partitions):
            position = self._next.get(partition)
            if position is None:
                wanted[first:stop] = False
                continue
            if offsets[first] < position:
                wanted[first:stop] = offsets[first:stop] >= position
            self._next[partition] = max(position, int(offsets[stop - 1]) + 1)
        return wanted

    def give_back(self, partitions: NDArray[np.int32], offsets: NDArray[np.int64]) -> list[int]:
        """Go back to the start of the batch that was taken last.

        Args:
            partitions: `(n,)` int32, of each record.
            offsets: `(n,)` int64, ascending within a partition.

        Returns:
            The partitions that moved.
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
        """Record what was committed; partitions that left are ignored."""
        self._committed |= {p: offset for p, offset in offsets.items() if p in self._committed}

    def rewind(self) -> dict[int, int]:
        """Go back to the committed positions; returns those of the partitions that moved."""
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
    """Numbers partitions in the order in which they are first seen; the numbers hold in this process only."""

    def __init__(self) -> None:
        self._names: list[PartitionName] = []
        self._numbers: dict[tuple[str, int], int] = {}
        self._topics: set[str] = set()
        self._table = np.zeros(1, np.int32)  # for a single topic: numbers by partition

    def __getitem__(self, number: int) -> PartitionName:
        return self._names[number]

    def number(self, topic: str, partition: int) -> int:
        """The number of a partition."""
        known = self._numbers.get((topic, partition))
        if known is not None:
            return known
        number = len(self._names)
        self._names.append(PartitionName(topic, partition))
        self._numbers[topic, partition] = number
        self._topics.add(topic)
        if partition >= len(self._table):  # it doubles: thousands of partitions take linear time
            self._table = np.resize(self._table, max(partition + 1, 2 * len(self._table)))
        self._table[partition] = number
        return number

    def of_messages(self, messages: Sequence[Any]) -> NDArray[np.int32]:
        """The partition numbers of messages, `(n,)` int32; every partition must be known already."""
        if len(self._topics) == 1:  # saves asking each message for its topic
            return self._table[[message.partition() for message in messages]]
        numbers = self._numbers
        return np.array([numbers[one.topic(), one.partition()] for one in messages], np.int32)

    def part(
        self,
        number: int,
        offset: int = OFFSET_INVALID,
        metadata: str | None = None,
        leader_epoch: int | None = None,
    ) -> TopicPartition:
        """A partition as confluent_kafka takes it."""
        name, epoch = self._names[number], _NO_EPOCH if leader_epoch is None else leader_epoch
        if metadata is None:
            return TopicPartition(name.topic, name.partition, offset, leader_epoch=epoch)
        return TopicPartition(name.topic, name.partition, offset, metadata, epoch)
