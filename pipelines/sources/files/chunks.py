"""Chunks of records with their row numbers, and the rows that could not be read."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.records.bad_rows import BadRow
from pipelines.records.fields import join_batches

__all__ = ["CHUNK_BYTES", "Chunk", "ChunkPart", "join_parts"]

CHUNK_BYTES = 128 << 20
"""A chunk ends with the row that brings it to this size, to bound memory."""


@dataclass(frozen=True)
class Chunk:
    """A run of consecutive rows of a split.

    Attributes:
        batch: `(n_good,)` records, with exactly the requested schema.
        rows: `(n_good,)` int64, the row number of each record in its file, from 1.
        bad: the rows that could not be read.
        n_read: records read, `n_good + len(bad)`; blank lines do not count.
        n_bytes: the bytes of the stored file that this chunk covers.
    """

    batch: pa.RecordBatch
    rows: NDArray[np.int64]
    bad: tuple[BadRow, ...]
    n_read: int
    n_bytes: int


@dataclass(frozen=True)
class ChunkPart:
    """A part of a chunk.

    Attributes:
        batch: `(n_good,)` records.
        rows: `(n_good,)` int64, their row numbers.
        bad: the rows that could not be read.
        position: the bytes of the stored file up to the end of the part.
        closes: whether the chunk ends with this part.
    """

    batch: pa.RecordBatch
    rows: NDArray[np.int64]
    bad: tuple[BadRow, ...]
    position: int
    closes: bool


def join_parts(parts: Iterator[ChunkPart], schema: pa.Schema, start: int, end: int) -> Iterator[Chunk]:
    """Join parts to chunks that together cover the bytes from `start` to `end`."""
    joined: list[ChunkPart] = []
    done = start
    part = next(parts, None)
    while part is not None:
        following = next(parts, None)
        joined.append(part)
        if part.closes or following is None:
            position = end if following is None else part.position
            yield _chunk(joined, schema, position - done)
            joined, done = [], position
        part = following
    if done < end:  # no rows: only a header, or an empty archive
        yield _chunk([], schema, end - done)


def _chunk(parts: list[ChunkPart], schema: pa.Schema, n_bytes: int) -> Chunk:
    bad = tuple(chain.from_iterable(part.bad for part in parts))
    if len(parts) == 1:
        batch, rows = parts[0].batch, parts[0].rows
    else:
        batch = join_batches([part.batch for part in parts], schema)
        rows = np.concatenate([np.empty(0, np.int64), *(part.rows for part in parts)])
    return Chunk(batch, rows, bad, batch.num_rows + len(bad), n_bytes)
