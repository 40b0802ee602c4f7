"""A batch of messages, with where each one came from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Messages"]


@dataclass(frozen=True)
class Messages:
    """A batch of messages, in the order of each partition.

    Attributes:
        messages: confluent_kafka's.
        partitions: `(n,)` int32, as `Places` numbers them.
        offsets: `(n,)` int64.
    """

    messages: list[Any]
    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.messages)

    def select(self, mask: NDArray[np.bool_]) -> "Messages":
        """The messages where the mask is true."""
        if mask.all():
            return self
        rows = np.flatnonzero(mask)
        return Messages([self.messages[i] for i in rows.tolist()], self.partitions[rows], self.offsets[rows])
