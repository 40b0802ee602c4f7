"""Chunks of records with their row numbers, and the rows that could not be read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoder.errors import MillstreamError
from pipelines.formats.json_left_out import merged
from pipelines.formats.row_boundaries import Block
from pipelines.records.bad_rows import BadRow, one_line
from pipelines.records.fields import join_batches
from pipelines.records.isolation import fault_of, isolate

__all__ = ["CHUNK_BYTES", "Chunk", "ChunkPart", "Decoded", "decode_rows", "join_parts"]

CHUNK_BYTES = 128 << 20
"""A chunk ends with the row that brings it to this size, to bound memory."""

Decoded = tuple[pa.RecordBatch, NDArray[np.int64], dict[int, str]]
"""A batch of good rows, their `(n_good,)` int64 positions, and for each bad position what is wrong."""


@dataclass(frozen=True)
class Chunk:
    """A run of consecutive rows of a split.

    Attributes:
        batch: `(n_good,)` records, with exactly the requested schema.
        rows: `(n_good,)` int64, the row number of each record in its file, from 1.
        bad: the rows that could not be read.
        n_read: records read, `n_good + len(bad)`; blank lines do not count.
        n_bytes: the bytes of the stored file that this chunk covers.
        left_out: how many values of which JSON fields no column holds.
    """

    batch: pa.RecordBatch
    rows: NDArray[np.int64]
    bad: tuple[BadRow, ...]
    n_read: int
    n_bytes: int
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ChunkPart:
    """A part of a chunk.

    Attributes:
        batch: `(n_good,)` records.
        rows: `(n_good,)` int64, their row numbers.
        bad: the rows that could not be read.
        position: the bytes of the stored file up to the end of the part.
        closes: whether the chunk ends with this part.
        next_row: the number of the row behind the part.
        left_out: as of a chunk.
    """

    batch: pa.RecordBatch
    rows: NDArray[np.int64]
    bad: tuple[BadRow, ...]
    position: int
    closes: bool
    next_row: int
    left_out: Mapping[str, int] = field(default_factory=dict)


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
    left_out = merged(*(part.left_out for part in parts))
    return Chunk(batch, rows, bad, batch.num_rows + len(bad), n_bytes, left_out)


def decode_rows(decode: Callable[[Any], Decoded], rows: Block | pa.RecordBatch, schema: pa.Schema) -> Decoded:
    """Decode rows. If that fails, they are halved until the row that is the cause is alone, and bad."""
    done: list[tuple[int, Decoded]]
    done, failed = isolate(len(rows), lambda first, stop: decode(_between(rows, first, stop)))
    if not failed and len(done) == 1:
        return done[0][1]
    batch = join_batches([decoded[0] for _, decoded in done], schema)
    good = [np.empty(0, np.int64), *(first + decoded[1] for first, decoded in done)]
    bad = {first + row: reason for first, decoded in done for row, reason in decoded[2].items()}
    for row, error in failed.items():
        bad[row] = one_line(error) if isinstance(error, MillstreamError) else fault_of(error)
    return batch, np.concatenate(good), bad


def _between(rows: Block | pa.RecordBatch, first: int, stop: int) -> Block | pa.RecordBatch:
    if not isinstance(rows, Block):
        return rows.slice(first, stop - first)
    head = rows.cut(stop)[0]
    return head.cut(first)[1] if first else head
