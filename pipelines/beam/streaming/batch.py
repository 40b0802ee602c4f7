"""What travels through a streaming pipeline: rows of one window, each with the place that it came from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.beam.streaming.event_time import NO_TIME, OPEN, event_times
from pipelines.records.bad_rows import BadRow, record_of
from pipelines.records.fields import field_at, field_path

__all__ = ["BAD_ROWS", "ROW", "SOURCE", "Arrival", "Piece", "Windows", "bad_batch", "bad_rows"]

SOURCE, ROW = "_millstream_source", "_millstream_row"
"""Columns of a piece: the file, or `TOPIC/PARTITION`, of a row, and its number there."""

BAD_ROWS = pa.schema({"source": pa.string(), "row": pa.int64(), "reason": pa.string(), "record": pa.binary()})
"""Bad rows as a batch."""


@dataclass(frozen=True)
class Arrival:
    """What a source hands on at once.

    Attributes:
        source: the file, or `TOPIC/PARTITION`.
        batch: `(n,)` records.
        rows: `(n,)` int64, their numbers in the source.
        times: `(n,)` int64, microseconds since the epoch: when each happened. `NO_TIME` where that is not
            known.
        bad: rows that could not be read.
        watermark: microseconds since the epoch: the source has promised nothing older than that.
        own: microseconds since the epoch: the source's own time of it.
        keys: `(n,)` keys of the messages, or None where the source has none.
    """

    source: str
    batch: pa.RecordBatch
    rows: NDArray[np.int64]
    times: NDArray[np.int64]
    bad: tuple[BadRow, ...]
    watermark: int
    own: int
    keys: tuple[bytes | None, ...] | None = None

    @property
    def latest(self) -> int:
        """The latest time in it, `NO_TIME` if it has none."""
        return int(self.times.max(initial=NO_TIME))

    @property
    def time(self) -> int:
        """A time in none of the windows that are closed."""
        known = max(self.latest, self.watermark)
        return known if known > OPEN else self.own


class Piece(NamedTuple):
    """The rows of one window out of an arrival, and its bad rows.

    Attributes:
        good: records with the columns `SOURCE` and `ROW`.
        bad: `BAD_ROWS`.
    """

    good: pa.RecordBatch
    bad: pa.RecordBatch


@dataclass(frozen=True)
class Windows:
    """Fixed windows of event time.

    Attributes:
        size: of a window, in microseconds.
        lateness: how long after its end a window takes late rows, in microseconds.
        field: the dotted name of the field with the time of a record; None takes the source's own.
    """

    size: int
    lateness: int = 0
    field: str | None = field(default=None)

    def times(self, batch: pa.RecordBatch, otherwise: NDArray[np.int64]) -> NDArray[np.int64]:
        """`(n,)` int64, when each record happened: by `field`, or as the source says."""
        if self.field is None:
            return otherwise
        path = field_path(batch.schema, self.field)
        if path is None:
            return np.full(batch.num_rows, NO_TIME, np.int64)
        return event_times(field_at(batch, path))

    def pieces(self, arrival: Arrival) -> Iterator[tuple[int, Piece]]:
        """Cut an arrival at the edges of windows.

        Rows without a time, and rows that come too late for their window, are bad rows; they go with a window
        that is open.

        Yields:
            A time inside a window, in microseconds, and the piece of that window.
        """
        starts = arrival.times // self.size * self.size
        too_late = starts + self.size + self.lateness <= arrival.watermark
        timeless = arrival.times == NO_TIME
        bad = [
            *arrival.bad,
            *_bad(arrival, timeless, f"no time in the field {self.field}"),
            *_bad(arrival, too_late & ~timeless, "it came too late for its window"),
        ]
        batch = _with_places(arrival)
        good = ~(too_late | timeless)
        for start in np.unique(starts[good]).tolist():
            mine = good & (starts == start)
            part = batch if mine.all() else batch.filter(pa.array(mine))
            yield int(arrival.times[mine].max()), Piece(part, bad_batch([]))
        if bad:
            yield arrival.time, Piece(batch.slice(0, 0), bad_batch(bad))


def _with_places(arrival: Arrival) -> pa.RecordBatch:
    sources = pa.repeat(arrival.source, arrival.batch.num_rows)
    columns = [*arrival.batch.columns, sources, pa.array(arrival.rows, pa.int64())]
    return pa.RecordBatch.from_arrays(columns, names=[*arrival.batch.schema.names, SOURCE, ROW])


def _bad(arrival: Arrival, rows: NDArray[np.bool_], reason: str) -> list[BadRow]:
    return [
        BadRow(arrival.source, int(arrival.rows[row]), reason, record_of(arrival.batch, row))
        for row in np.flatnonzero(rows).tolist()
    ]


def bad_batch(rows: Sequence[BadRow]) -> pa.RecordBatch:
    """Bad rows as a batch that travels as Arrow."""
    columns = zip(*((bad.file, bad.row, bad.reason, bad.record) for bad in rows), strict=True)
    arrays = list(columns) if rows else [(), (), (), ()]
    return pa.record_batch(
        [pa.array(values, kind) for values, kind in zip(arrays, BAD_ROWS.types, strict=True)], schema=BAD_ROWS
    )


def bad_rows(batches: Iterable[pa.RecordBatch]) -> list[BadRow]:
    """The bad rows of several batches, each row of a source once."""
    found = {
        (one["source"], one["row"]): BadRow(one["source"], one["row"], one["reason"], one["record"])
        for batch in batches
        for one in batch.to_pylist()
    }
    return [found[place] for place in sorted(found)]
