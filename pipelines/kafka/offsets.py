"""Where the worker is in each partition: pure bookkeeping, without a broker.

A position is the offset of the next record. Offsets have gaps (transaction markers, compaction), so a higher
one than expected is normal; a lower one was dealt with before and must not be dealt with again.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Positions"]


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
