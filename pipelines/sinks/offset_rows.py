"""Rows of Kafka partitions with their offsets, and what all outputs do with those they have not written."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["OffsetBatch", "OffsetRows", "WaitingRows", "rows_behind"]


@dataclass
class OffsetBatch:
    """Records that arrived together.

    Attributes:
        offsets: `(n,)` int64, ascending.
        batch: `(n,)` records.
    """

    offsets: NDArray[np.int64]
    batch: pa.RecordBatch

    def behind(self, offset: int) -> "OffsetBatch | None":
        """The records after an offset, or None if there are none."""
        n = int(self.offsets.searchsorted(offset, "right"))
        return OffsetBatch(self.offsets[n:], self.batch.slice(n)) if n < len(self.offsets) else None


def rows_behind(parts: Iterable[OffsetBatch], end: int) -> list[OffsetBatch]:
    """The records at an offset and behind it."""
    return [rest for part in parts if (rest := part.behind(end - 1)) is not None]


@dataclass
class WaitingRows:
    """Records of a partition that wait until the other outputs have them, too.

    Attributes:
        begin: the next offset to take.
        epoch: how often offsets came again.
        confirmed: the next offset to take if the records that wait are taken back.
        waiting: records that may not be written yet, in order.
        n_waiting_bytes: bytes of Arrow data in them.
    """

    begin: int
    epoch: int = 0
    confirmed: int = 0
    waiting: list[OffsetBatch] = field(default_factory=list)
    n_waiting_bytes: int = 0

    @property
    def n_bytes(self) -> int:
        """Bytes of Arrow data that are not written yet."""
        return self.n_waiting_bytes

    @property
    def first(self) -> int | None:
        """The offset of the first record that is not written yet; None if there is none."""
        return int(self.waiting[0].offsets[0]) if self.waiting else None

    def take(self, part: OffsetBatch) -> None:
        """Let records wait."""
        self.waiting.append(part)
        self.n_waiting_bytes += part.batch.nbytes
        self.begin = int(part.offsets[-1]) + 1

    def confirm(self) -> list[OffsetBatch]:
        """The records that waited, which may be written now."""
        confirmed, self.waiting, self.n_waiting_bytes = self.waiting, [], 0
        self.confirmed = self.begin
        return confirmed

    def take_back(self) -> None:
        """Forget the records that wait: they come again, or others in their place."""
        self.waiting, self.n_waiting_bytes = [], 0
        self.begin = self.confirmed

    def forget(self, end: int) -> None:
        """Forget the records that wait before an offset: they are written."""
        self.begin, self.confirmed = max(self.begin, end), max(self.confirmed, end)
        self.waiting = rows_behind(self.waiting, end)
        self.n_waiting_bytes = sum(part.batch.nbytes for part in self.waiting)


P = TypeVar("P", bound=WaitingRows)


class OffsetRows(ABC, Generic[P]):
    """Collects records by partition until they are written.

    Args:
        max_bytes: records are written early to keep less than this in memory.
        waits: whether records wait for `confirm` before they may be written; until then, `take_back` drops
            them.
    """

    def __init__(self, *, max_bytes: int, waits: bool) -> None:
        self._max_bytes = max_bytes
        self._waits = waits
        self._partitions: dict[int, P] = {}

    @abstractmethod
    def _confirm(self, mine: P) -> None:
        """Let the records of a partition that wait be written."""

    def epoch(self, partition: int) -> int:
        """How often offsets came again in the log of a partition that has begun."""
        return self._partitions[partition].epoch

    def add(self, partition: int, offsets: NDArray[np.int64], batch: pa.RecordBatch) -> None:
        """Take records; those taken or written before are skipped.

        Args:
            partition: their partition.
            offsets: `(n,)` int64, ascending.
            batch: `(n,)` records.
        """
        mine = self._partitions[partition]
        n_old = int(offsets.searchsorted(mine.begin))
        if n_old == len(offsets):
            return
        mine.take(OffsetBatch(offsets[n_old:], batch.slice(n_old)))
        if not self._waits:
            self._confirm(mine)

    def confirm(self) -> None:
        """Let the records that were taken be written: the other outputs have them, too."""
        for mine in self._partitions.values():
            self._confirm(mine)

    def take_back(self) -> None:
        """Drop the records that were taken since `confirm`, and take them when they come again."""
        for mine in self._partitions.values():
            mine.take_back()

    def durable(self, partition: int, position: int) -> int:
        """The offset before which everything is written, if all records before `position` were added."""
        first = self._partitions[partition].first
        return position if first is None else first

    @property
    def n_bytes(self) -> int:
        """Bytes of Arrow data in memory."""
        return sum(partition.n_bytes for partition in self._partitions.values())

    @property
    def needs_confirm(self) -> bool:
        """Whether so much waits for `confirm` that it should come soon."""
        return sum(one.n_waiting_bytes for one in self._partitions.values()) >= self._max_bytes // 4

    def end(self, partitions: Iterable[int]) -> None:
        """Give up partitions; unwritten records are dropped, and the new owner reads them again."""
        for partition in partitions:
            self._partitions.pop(partition, None)
