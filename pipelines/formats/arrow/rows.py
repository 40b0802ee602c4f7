"""The rows of many Arrow messages as one sequence of records: good ones in batches, bad ones with a reason.

A message that cannot be read is one bad record; a message without rows is none.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.formats.arrow.reader import read_stream
from pipelines.formats.arrow.sizes import DamagedStream
from pipelines.records.fields import join_batches

__all__ = ["WHOLE", "ArrowRows", "Unpacked", "unpack"]

WHOLE = -1
"""Stands for a message as a whole, in place of the number of a row in it."""


class ArrowRows(NamedTuple):
    """Records from messages.

    Attributes:
        n: how many records there are.
        good: `(n_good,)` int64, ascending: those that can be read.
        batches: their rows, `n_good` in all; neighbours have different schemas.
        bad: what is wrong with the others.
    """

    n: int
    good: NDArray[np.int64]
    batches: list[pa.RecordBatch]
    bad: dict[int, str]

    def part(self, first: int, stop: int) -> Self:
        """The records from `first` up to `stop` (exclusive)."""
        if stop - first == self.n:
            return self
        begin, end = np.searchsorted(self.good, [first, stop]).tolist()
        return self._replace(
            n=stop - first,
            good=self.good[begin:end] - first,
            batches=list(_slices(self.batches, begin, end)),
            bad={row - first: why for row, why in self.bad.items() if first <= row < stop},
        )

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Some of the records, ascending; none that is left out can be read."""
        new = {row: i for i, row in enumerate(rows.tolist()) if row in self.bad}
        return self._replace(
            n=len(rows),
            good=np.searchsorted(rows, self.good),
            bad={new[row]: why for row, why in self.bad.items() if row in new},
        )


def _slices(batches: Sequence[pa.RecordBatch], begin: int, end: int) -> Iterator[pa.RecordBatch]:
    """The rows from `begin` up to `end` of batches that follow one another."""
    first = 0
    for batch in batches:
        a, b = max(begin - first, 0), min(end - first, batch.num_rows)
        if a < b:
            yield batch.slice(a, b - a)
        first += batch.num_rows


class Unpacked(NamedTuple):
    """Messages, unpacked.

    Attributes:
        rows: their records.
        messages: `(n,)` int64, ascending: the message of each record.
        items: `(n,)` int64, the number of each record's row in its message; `WHOLE` for a message that cannot
            be read.
    """

    rows: ArrowRows
    messages: NDArray[np.int64]
    items: NDArray[np.int64]


def unpack(
    values: Sequence[bytes | None],
    *,
    limit: int,
    row_bytes: int = 1,
    columns: Collection[str] | None = None,
) -> Unpacked:
    """Unpack messages.

    Args:
        values: of the messages.
        limit: the bytes that the rows of one may have in memory.
        row_bytes: what each row has beside its own bytes, such as a vector.
        columns: the columns to read, where they are there; None for all.
    """
    batches: list[pa.RecordBatch] = []
    counts, items, good = np.zeros(len(values), np.int64), [], []
    bad: dict[int, str] = {}
    n = 0
    for number, value in enumerate(values):
        try:
            found = read_stream(value, limit=limit, row_bytes=row_bytes, columns=columns)
        except DamagedStream as error:
            bad[n] = f"not an Arrow IPC stream: {error}" if value else str(error)
            items.append(np.array([WHOLE]))
            counts[number] = 1
        else:
            batches += [found.batch] if found.batch.num_rows else []
            good.append(n + found.good)
            bad |= {n + row: why for row, why in found.bad.items()}
            items.append(np.arange(found.n_rows))
            counts[number] = found.n_rows
        n += int(counts[number])
    none = [np.zeros(0, np.int64)]
    rows = ArrowRows(n, np.concatenate(none + good), _merged(batches), bad)
    return Unpacked(rows, np.repeat(np.arange(len(values)), counts), np.concatenate(none + items))


def _merged(batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The same rows, with neighbours of one schema together."""
    groups = (list(same) for _, same in groupby(batches, lambda batch: batch.schema))
    return [same[0] if len(same) == 1 else join_batches(same, same[0].schema) for same in groups]
