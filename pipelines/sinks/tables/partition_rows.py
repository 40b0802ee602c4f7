"""Rows of a Kafka partition that are not in a table yet."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipelines.sinks.open_files import OffsetBatch

__all__ = ["PartitionRows", "rows_behind"]


@dataclass
class PartitionRows:
    """Rows of a partition that are not in the table yet.

    Attributes:
        begin: the next offset to take.
        epoch: how often offsets came again.
        confirmed: the next offset to take if the rows that wait are taken back.
        waiting: rows that the table may not have yet, in order.
        n_waiting_bytes: bytes of Arrow data in them.
        parts: the rows to commit, in order.
        n_part_bytes: bytes of Arrow data in them.
        since: when the first of them came, in seconds of the caller's clock.
    """

    begin: int
    epoch: int
    confirmed: int
    waiting: list[OffsetBatch] = field(default_factory=list)
    n_waiting_bytes: int = 0
    parts: list[OffsetBatch] = field(default_factory=list)
    n_part_bytes: int = 0
    since: float = 0.0

    @property
    def n_bytes(self) -> int:
        return self.n_part_bytes + self.n_waiting_bytes

    @property
    def first(self) -> int | None:
        """The offset of the first row; None if there is none."""
        return next((int(part.offsets[0]) for part in (*self.parts[:1], *self.waiting[:1])), None)

    def take(self, part: OffsetBatch) -> None:
        self.waiting.append(part)
        self.n_waiting_bytes += part.batch.nbytes
        self.begin = int(part.offsets[-1]) + 1

    def confirm(self, now: float) -> None:
        self.since = self.since if self.parts else now
        self.parts += self.waiting
        self.n_part_bytes += self.n_waiting_bytes
        self.waiting, self.n_waiting_bytes = [], 0
        self.confirmed = self.begin

    def take_back(self) -> None:
        self.waiting, self.n_waiting_bytes = [], 0
        self.begin = self.confirmed

    def drop(self, end: int, now: float) -> None:
        """Drop the rows before an offset: the table has them."""
        self.begin, self.confirmed = max(self.begin, end), max(self.confirmed, end)
        self.parts, self.waiting = rows_behind(self.parts, end), rows_behind(self.waiting, end)
        self.n_part_bytes = sum(part.batch.nbytes for part in self.parts)
        self.n_waiting_bytes = sum(part.batch.nbytes for part in self.waiting)
        self.since = now


def rows_behind(parts: Iterable[OffsetBatch], end: int) -> list[OffsetBatch]:
    """The rows at an offset and behind it."""
    rest = []
    for part in parts:
        n = int(part.offsets.searchsorted(end))
        if n < len(part.offsets):
            rest.append(OffsetBatch(part.offsets[n:], part.batch.slice(n)))
    return rest
