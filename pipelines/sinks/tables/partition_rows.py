"""Rows of a Kafka partition that are not in a table yet."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.sinks.offset_rows import OffsetBatch, WaitingRows, rows_behind

__all__ = ["PartitionRows"]


@dataclass
class PartitionRows(WaitingRows):
    """Rows of a partition that are not in the table yet.

    Attributes:
        parts: the rows to commit, in order.
        n_part_bytes: bytes of Arrow data in them.
        since: when the first of them came, in seconds of the caller's clock.
    """

    parts: list[OffsetBatch] = field(default_factory=list)
    n_part_bytes: int = 0
    since: float = 0.0

    @property
    def n_bytes(self) -> int:
        return self.n_part_bytes + super().n_bytes

    @property
    def first(self) -> int | None:
        return int(self.parts[0].offsets[0]) if self.parts else super().first

    def add(self, parts: Sequence[OffsetBatch], now: float) -> None:
        """Append rows to commit."""
        self.since = self.since if self.parts else now
        self.parts += parts
        self.n_part_bytes += sum(part.batch.nbytes for part in parts)

    def drop(self, end: int, now: float) -> None:
        """Drop the rows before an offset: the table has them."""
        self.forget(end)
        self.parts = rows_behind(self.parts, end)
        self.n_part_bytes = sum(part.batch.nbytes for part in self.parts)
        self.since = now
