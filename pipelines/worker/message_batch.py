"""Messages in batches, with their partitions and offsets as arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.kafka.messages import byte_parts, deletes_among

__all__ = ["MessageBatch", "runs"]


def runs(partitions: NDArray[np.int32]) -> Iterator[tuple[int, int, int]]:
    """Divide a batch where the partition changes; messages of one partition mostly come in long runs.

    Yields:
        The partition of a run, its first record, and the one after its last.
    """
    if len(partitions):
        edges = np.flatnonzero(partitions[1:] != partitions[:-1]) + 1
        for first, stop in pairwise([0, *edges.tolist(), len(partitions)]):
            yield int(partitions[first]), first, stop


@dataclass(frozen=True)
class MessageBatch:
    """A batch of messages; those of one partition are in order.

    Attributes:
        messages: confluent_kafka's.
        partitions: `(n,)` int32, numbers of `PartitionIndex`.
        offsets: `(n,)` int64.
    """

    messages: list[Any]
    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.messages)

    def slice(self, first: int, stop: int) -> "MessageBatch":
        """The messages from `first` up to `stop` (exclusive)."""
        if stop - first == len(self):
            return self
        part = slice(first, stop)
        return MessageBatch(self.messages[part], self.partitions[part], self.offsets[part])

    @cached_property
    def sizes(self) -> list[int]:
        """The bytes of each value; null has none."""
        return list(map(len, self.messages))

    @cached_property
    def n_bytes(self) -> int:
        """The bytes of all values."""
        return sum(self.sizes)

    @property
    def deletes(self) -> list[int]:
        """Which messages are deletes, ascending."""
        return [] if all(self.sizes) else deletes_among(self.messages)

    def parts(self, n_bytes: int) -> list[tuple[int, int]]:
        """Divide the batch so that the values of each part have at most so many bytes, or are one."""
        if self.n_bytes <= n_bytes:
            return [(0, len(self))]
        return byte_parts(self.messages, n_bytes)

    def select(self, mask: NDArray[np.bool_]) -> "MessageBatch":
        """The messages where the mask is true."""
        if mask.all():
            return self
        rows = np.flatnonzero(mask)
        return MessageBatch(
            [self.messages[i] for i in rows.tolist()], self.partitions[rows], self.offsets[rows]
        )
