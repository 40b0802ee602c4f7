"""What flows through a streaming pipeline: batches of records of one source, and their slices by window."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.beam.streaming.watermark import OPEN
from pipelines.formats.arrow.reader import row_stream
from pipelines.kafka.messages import NO_TIMESTAMP
from pipelines.records.bad_rows import BadRow, Envelope, Headers, record_of
from pipelines.records.event_time import EARLIEST, LATEST, NO_TIME, event_times
from pipelines.records.fields import field_at, field_path

__all__ = [
    "BAD_ROWS",
    "ROW",
    "SOURCE",
    "SourceBatch",
    "WindowSlice",
    "Windows",
    "bad_batch",
    "bad_rows",
    "source_name",
]

SOURCE, ROW = "_millstream_source", "_millstream_row"
"""Columns of a slice: the source of a row (a file, or `TOPIC/PARTITION`, and its version), and its number
there."""

_VERSION = "\0"  # separates a source's name from its version

_SHOWN = 60  # characters of a time that cannot be read
_FORMATS = "write ISO 8601, RFC 2822, the times of Apache's logs, or numbers since 1970"

_HEADERS = pa.list_(pa.struct({"name": pa.string(), "value": pa.binary()}))
BAD_ROWS = pa.schema(
    {
        "source": pa.string(),
        "row": pa.int64(),
        "reason": pa.string(),
        "record": pa.binary(),
        "envelope": pa.struct({"key": pa.binary(), "headers": _HEADERS, "timestamp": pa.int64()}),
    }
)
"""The schema of bad rows as a batch."""


@dataclass(frozen=True)
class SourceBatch:
    """The records that a reader returns at once.

    Attributes:
        source: the file, or `TOPIC/PARTITION`.
        records: `(n,)` records.
        rows: `(n,)` int64, their row numbers or offsets in the source.
        times: `(n,)` int64, their event times in microseconds since the epoch; `NO_TIME` where unknown.
        bad: rows that could not be read.
        watermark: microseconds since the epoch; the source expects no older records.
        ingestion_time: microseconds since the epoch, when the source received them.
        keys: `(n,)` message keys, or None if the source has none.
        version: tells apart two sources that had the same name one after the other; may be empty.
        values: `(n,)` the messages' values as they came, or None if the records are no messages.
        headers: `(n,)` the messages' headers, or None if there are none.
        timestamps: `(n,)` int64, for messages that are made of the records: milliseconds since the epoch,
            `NO_TIMESTAMP` where unknown; None if none is known.
        deletes: messages with a key and a null value, and their offsets.
        stream: the Arrow message that the records are rows of, numbered by `rows`; None if they are not.
        id_source: what ids of its records begin with, or None for `source`.
    """

    source: str
    records: pa.RecordBatch
    rows: NDArray[np.int64]
    times: NDArray[np.int64]
    bad: tuple[BadRow, ...]
    watermark: int
    ingestion_time: int
    keys: tuple[bytes | None, ...] | None = None
    version: str = ""
    values: tuple[bytes | None, ...] | None = None
    headers: tuple[Headers, ...] | None = None
    timestamps: NDArray[np.int64] | None = None
    deletes: tuple[BadRow, ...] = ()
    id_source: str | None = None
    stream: bytes | None = None

    @property
    def latest(self) -> int:
        """The latest event time, or `NO_TIME` if there is none."""
        return int(self.times.max(initial=NO_TIME))

    @property
    def timestamp(self) -> int:
        """A time in a window that is still open."""
        known = max(self.latest, self.watermark)
        return known if known > OPEN else self.ingestion_time

    def timely(self, latest: int) -> "SourceBatch":
        """This batch with the records as bad rows whose event time is after `latest` or before the year 1."""
        ingested = min(max(self.ingestion_time, EARLIEST), latest)
        untimely = (self.times > latest) | ((self.times < EARLIEST) & (self.times != NO_TIME))
        if not untimely.any():
            return self if ingested == self.ingestion_time else replace(self, ingestion_time=ingested)
        reasons = {row: _untimely(self.times[row]) for row in np.flatnonzero(untimely).tolist()}
        return replace(self.without(reasons), ingestion_time=ingested)

    def bad_row(self, row: int, reason: str) -> BadRow:
        """Record `row` of this batch as a bad row."""
        place = self.source, int(self.rows[row])
        if self.stream is not None:
            return BadRow(*place, reason, row_stream(self.stream, place[1]), self._envelope(row))
        if self.values is None:
            return BadRow(*place, reason, record_of(self.records, row))
        return BadRow(*place, reason, self.values[row], self._envelope(row))

    def without(self, reasons: Mapping[int, str]) -> "SourceBatch":
        """The batch with some of its records as bad rows: which ones, and what is wrong with each."""
        if not reasons:
            return self
        good = [row for row in range(len(self.rows)) if row not in reasons]
        bad = [self.bad_row(row, reasons[row]) for row in sorted(reasons)]
        return replace(self._take(good), bad=(*self.bad, *bad))

    def select(self, numbers: Collection[int]) -> "SourceBatch":
        """The records and deletes with these row numbers, without bad rows."""
        good = [row for row, number in enumerate(self.rows.tolist()) if number in numbers]
        deletes = tuple(one for one in self.deletes if one.row in numbers)
        return replace(self._take(good), bad=(), deletes=deletes)

    def bad_number(self, number: int, reason: str) -> BadRow:
        """The record or delete with this row number as a bad row."""
        for row in np.flatnonzero(self.rows == number).tolist():
            return self.bad_row(row, reason)
        return next(replace(one, reason=reason) for one in self.deletes if one.row == number)

    def _take(self, records: list[int]) -> "SourceBatch":
        def taken(column: Sequence[Any] | None) -> tuple[Any, ...] | None:
            return None if column is None else tuple(column[row] for row in records)

        return replace(
            self,
            records=self.records.take(pa.array(records, pa.int64())),
            rows=self.rows[records],
            times=self.times[records],
            keys=taken(self.keys),
            values=taken(self.values),
            headers=taken(self.headers),
            timestamps=None if self.timestamps is None else self.timestamps[records],
        )

    def _envelope(self, row: int) -> Envelope:
        time = NO_TIMESTAMP if self.timestamps is None else int(self.timestamps[row])
        return Envelope(
            None if self.keys is None else self.keys[row],
            () if self.headers is None else self.headers[row],
            None if time == NO_TIMESTAMP else time,
        )


class WindowSlice(NamedTuple):
    """The rows of a source batch that fall into one window.

    Attributes:
        good: records with the columns `SOURCE` and `ROW`.
        bad: rows with the schema `BAD_ROWS`.
    """

    good: pa.RecordBatch
    bad: pa.RecordBatch


@dataclass(frozen=True)
class Windows:
    """Tumbling windows of event time.

    Attributes:
        size: the length of a window, in microseconds.
        lateness: how long after its end a window accepts late rows, in microseconds.
        field: the dotted name of the field with the event time; None uses the source's own time.
    """

    size: int
    lateness: int = 0
    field: str | None = None

    def event_times(self, records: pa.RecordBatch, default: NDArray[np.int64]) -> NDArray[np.int64]:
        """`(n,)` int64, the event time of each record: from `field`, or else `default`."""
        if self.field is None:
            return default
        path = field_path(records.schema, self.field)
        if path is None:
            return np.full(records.num_rows, NO_TIME, np.int64)
        return event_times(field_at(records, path))

    def slices(self, batch: SourceBatch) -> Iterator[tuple[int, WindowSlice]]:
        """Split a batch by window.

        Rows without an event time and rows that are too late for their window are bad rows. They go into a
        window that is still open.

        Yields:
            A time inside the window, in microseconds, and the window's slice.
        """
        starts = batch.times // self.size * self.size
        timeless = batch.times == NO_TIME
        too_late = ~timeless & (starts + self.size + self.lateness <= batch.watermark)
        bad = [
            *batch.bad,
            *self._timeless(batch, timeless),
            *_bad(batch, too_late, "too late: its window is closed"),
        ]
        records = _with_positions(batch)
        good = ~(too_late | timeless)
        for start in np.unique(starts[good]).tolist():
            inside = good & (starts == start)
            part = records if inside.all() else records.filter(pa.array(inside))
            yield int(batch.times[inside].max()), WindowSlice(part, bad_batch([]))
        if bad:
            yield batch.timestamp, WindowSlice(records.slice(0, 0), bad_batch(bad))

    def _timeless(self, batch: SourceBatch, rows: NDArray[np.bool_]) -> list[BadRow]:
        if not rows.any():
            return []
        path = field_path(batch.records.schema, self.field or "")
        values = pa.nulls(len(rows)) if path is None else field_at(batch.records, path)
        found = []
        for row in np.flatnonzero(rows).tolist():
            reason = f"no event time in the field {self.field}"
            if values[row].is_valid:
                text = str(values[row])
                shown = text[:_SHOWN] + "…" * (len(text) > _SHOWN)
                reason = f"cannot read the event time {shown!r} in the field {self.field}: {_FORMATS}"
            found.append(batch.bad_row(row, reason))
        return found


def _with_positions(batch: SourceBatch) -> pa.RecordBatch:
    records = batch.records
    source = f"{batch.source}{_VERSION}{batch.version}" if batch.version else batch.source
    columns = [
        *records.columns,
        pa.repeat(source, records.num_rows),
        pa.array(batch.rows, pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, names=[*records.schema.names, SOURCE, ROW])


def _untimely(micros: int) -> str:
    if not EARLIEST <= micros <= LATEST:
        return "the event time is not in the years 1 to 9999"
    time = np.datetime64(int(micros), "us").item().isoformat()
    return f"the event time {time}Z is too far ahead of the clock (--max-ahead)"


def source_name(source: str) -> str:
    """The name in a value of the column `SOURCE`."""
    return source.partition(_VERSION)[0]


def _bad(batch: SourceBatch, rows: NDArray[np.bool_], reason: str) -> list[BadRow]:
    return [batch.bad_row(row, reason) for row in np.flatnonzero(rows).tolist()]


def bad_batch(rows: Sequence[BadRow]) -> pa.RecordBatch:
    """Bad rows as a batch, so that they travel as Arrow."""
    columns = zip(*((bad.file, bad.row, bad.reason, bad.record, bad.envelope) for bad in rows), strict=True)
    arrays = list(columns) if rows else [()] * len(BAD_ROWS)
    return pa.record_batch(
        [pa.array(values, kind) for values, kind in zip(arrays, BAD_ROWS.types, strict=True)], schema=BAD_ROWS
    )


def bad_rows(batches: Iterable[pa.RecordBatch]) -> list[BadRow]:
    """The bad rows of several batches, sorted and without duplicates."""
    found = {(one["source"], one["row"]): _bad_row(one) for batch in batches for one in batch.to_pylist()}
    return [found[position] for position in sorted(found)]


def _bad_row(columns: dict[str, Any]) -> BadRow:
    envelope = None
    if (about := columns["envelope"]) is not None:
        headers = tuple((one["name"], one["value"]) for one in about["headers"])
        envelope = Envelope(about["key"], headers, about["timestamp"])
    return BadRow(columns["source"], columns["row"], columns["reason"], columns["record"], envelope)
