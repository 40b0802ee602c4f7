"""Messages in batches, with their partitions and offsets as arrays."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.kafka.messages import byte_parts, deletes_among

__all__ = ["MessageBatch"]


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

    @property
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
