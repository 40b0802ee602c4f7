"""Records of a partition that wait to be written, and where one file ends and the next begins."""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.sinks.offset_rows import OffsetBatch, WaitingRows

__all__ = ["OpenFile", "Partition", "Rotation", "ranges"]


@dataclass(frozen=True)
class Rotation:
    """When a file is full.

    Attributes:
        rows: offsets in a file, which ends after an offset `k * rows - 1`.
        n_bytes: bytes of Arrow data in a file.
        seconds: how long a file's first record may wait.
    """

    rows: int = 65_536
    n_bytes: int = 256 << 20
    seconds: float = 60.0


@dataclass
class OpenFile:
    """Records of one file.

    Attributes:
        range: the number of the range of offsets that it covers, as in `ranges`.
        since: when its first record arrived, in seconds of the caller's clock.
        parts: its records, in order.
        n_bytes: bytes of Arrow data in them.
        claimed: the first offset of a range that was claimed before, which is this file's; else None.
        is_cut: whether no more records of its range can come, as the log has lost them.
    """

    range: int
    since: float
    parts: list[OffsetBatch] = field(default_factory=list)
    n_bytes: int = 0
    claimed: int | None = None
    is_cut: bool = False

    @property
    def first(self) -> int:
        """The offset of its first record, or of its range."""
        return int(self.parts[0].offsets[0]) if self.claimed is None else self.claimed

    @property
    def last(self) -> int:
        """The offset of its last record."""
        return int(self.parts[-1].offsets[-1])

    def add(self, part: OffsetBatch) -> None:
        """Append records."""
        self.parts.append(part)
        self.n_bytes += part.batch.nbytes

    def table(self, end: int | None = None) -> pa.Table:
        """The records, up to an offset; columns that some of them lack are null there."""
        tables = [pa.Table.from_batches([part.batch]) for part in self.parts]
        found = pa.concat_tables(tables, promote_options="default")
        if end is None:
            return found
        offsets = np.concatenate([part.offsets for part in self.parts])
        return found.slice(0, int(offsets.searchsorted(end, "right")))

    def behind(self, offset: int) -> "OpenFile | None":
        """The records after an offset, or None if there are none."""
        rest = OpenFile(self.range, self.since)
        for part in self.parts:
            if (left := part.behind(offset)) is not None:
                rest.add(left)
        return rest if rest.parts else None


@dataclass
class Partition(WaitingRows):
    """Files of a partition.

    Attributes:
        files: those to write, in order; all but the last are full.
        upload: the write of the first file.
        retry_at: when to retry that write, in seconds of the caller's clock.
        reach: the last offset of a range that was claimed, if the first file is this range's; else None.
    """

    files: list[OpenFile] = field(default_factory=list)
    upload: "Future[int] | None" = None
    retry_at: float = 0.0
    reach: int | None = None

    @property
    def waits(self) -> bool:
        """Whether the first file needs more records before it can be written."""
        if self.reach is None or len(self.files) != 1 or self.files[0].is_cut:
            return False
        return not self.files[0].parts or self.files[0].last < self.reach

    def claimed(self, part: OffsetBatch) -> OffsetBatch | None:
        """Add the records of the claimed range to its file; gives those behind it, or None."""
        if not self.waits or self.reach is None:
            return part
        if n := int(part.offsets.searchsorted(self.reach, "right")):
            self.files[0].add(OffsetBatch(part.offsets[:n], part.batch.slice(0, n)))
        rest = part.behind(self.reach)
        if rest is not None:
            self.reached()
        return rest

    def reached(self) -> None:
        """Rows behind the claimed range have come: if none of its own did, there is nothing to write."""
        if self.reach is not None and self.files and not self.files[0].parts:
            del self.files[0]
            self.reach = None

    def join(self, reach: int) -> None:
        """Make all files one, of a range that was claimed up to an offset."""
        first = self.files[0]
        first.claimed, self.reach = first.first, reach
        for later in self.files[1:]:
            for part in later.parts:
                first.add(part)
        del self.files[1:]

    @property
    def n_bytes(self) -> int:
        """Bytes of Arrow data that are not written yet."""
        return sum(file.n_bytes for file in self.files) + super().n_bytes

    @property
    def first(self) -> int | None:
        """The offset of the first record that is not written yet; None if there is none."""
        return self.files[0].first if self.files else super().first

    def wrote(self, end: int) -> None:
        """Forget the records up to an offset: they are in a file."""
        self.forget(end + 1)
        self.files = [rest for file in self.files if (rest := file.behind(end)) is not None]
        self.reach = None


def ranges(offsets: NDArray[np.int64], size: int) -> Iterator[tuple[int, int, int]]:
    """Split records at the ends of ranges of `size` offsets.

    Args:
        offsets: `(n,)` int64, ascending.
        size: of a range; range `k` holds the offsets from `k * size` up to `(k + 1) * size`.

    Yields:
        The number of a range, and the first and last position (exclusive) of its records in `offsets`.
    """
    numbers = offsets // size
    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(offsets)]
    for first, last in pairwise(edges):
        if first < last:
            yield int(numbers[first]), first, last
