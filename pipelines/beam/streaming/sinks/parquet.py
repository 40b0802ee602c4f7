"""The sink `parquet:URI`: exactly-once Parquet files, one for each window and shard.

The name of a file is its window and shard. A file holds all rows of the window so far, each once, in the
order of their sources. Late rows replace it by a file that holds them too. So the files end up the same
however a runner batches rows and whatever it repeats after a crash: no row is lost or written twice.

A stale worker never overwrites a file that holds more rows: each file records how many rows of each source it
holds, and the worker checks that before it replaces the file.

Beam's `WriteToParquet` cannot be used: it has one writer for all windows and shards of a bundle, and loses
rows.
"""

import hashlib
import logging
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import msgspec
import numpy as np
import pyarrow as pa
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from encoder.errors import NotInStore
from pipelines.beam.streaming.batch import ROW, SOURCE, SourceBatch, Windows, bad_rows
from pipelines.beam.streaming.interfaces import Sink
from pipelines.beam.streaming.model import StreamModel
from pipelines.beam.transforms import coder
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.enrich.enrichment import Enrichment
from pipelines.records.bad_rows import BadRow, record_of
from pipelines.sinks.dead_letters import DeadLetters
from pipelines.sinks.parquet import ParquetParts

__all__ = ["FILE_NAME", "ParquetSink", "ShardedSlice", "WindowFile", "WriteWindows", "window_name"]

_log = logging.getLogger(__name__)

FILE_NAME = r"window-\d{8}T\d{6}(\.\d{6})?Z-\d+s-\d{5,}\.parquet"
"""A pattern for the names of files."""

ShardedSlice = tuple[int, tuple[pa.RecordBatch, pa.RecordBatch]]
"""A shard, and a `WindowSlice` of it."""

_SLICE_ROWS = 8192  # rows that are embedded and written together; a row group
_MAX_COUNTED = 10_000  # sources that are counted one by one; more of them are counted together


def window_name(start: float, size: float, shard: int) -> str:
    """The file of a window: its start (seconds since the epoch), its length in seconds, its shard."""
    begin = datetime.fromtimestamp(start, UTC)
    text = begin.strftime("%Y%m%dT%H%M%S") + (f".{begin.microsecond:06d}" if begin.microsecond else "")
    return f"window-{text}Z-{size:.0f}s-{shard:05d}.parquet"


@dataclass(frozen=True)
class WindowFile:
    """What workers need to write a file.

    Attributes:
        model: the model.
        enrichment: the text template, the columns to keep, the format of the vectors, the heads.
        output: URI of the folder.
    """

    model: StreamModel
    enrichment: Enrichment
    output: str


@dataclass(frozen=True)
class ParquetSink(Sink):
    """A folder of Parquet files.

    Attributes:
        windows: windows of event time.
        shards: files of a window.
        file: what workers need to write a file.
    """

    windows: Windows
    shards: int
    file: WindowFile

    @property
    def uri(self) -> str:
        """`parquet:URI`."""
        return f"parquet:{self.file.output}"

    def write(self, batches: Any) -> Any:
        """Write files; returns a PCollection of their names."""
        cut = beam.FlatMap(_slices, self.windows, self.shards).with_output_types(ShardedSlice)
        return batches | "Cut" >> cut | "Files" >> WriteWindows(self.windows, self.file)

    def finish(self) -> None:
        """Remove what killed workers left behind."""
        ParquetParts(self.file.output).sweep()


def _slices(batch: SourceBatch, windows: Windows, shards: int) -> Iterator[TimestampedValue[ShardedSlice]]:
    shard = zlib.crc32(batch.source.encode()) % shards  # the same in every process
    for micros, rows in windows.slices(batch):
        yield TimestampedValue((shard, rows), Timestamp(micros=micros))


class WriteWindows(beam.PTransform[Any, Any]):
    """Embeds slices and writes them; returns a PCollection of the names of files.

    Rows are embedded when their window is written, so the runner's state holds texts, not vectors.

    Args:
        windows: windows of event time.
        file: what workers need to write a file.
    """

    def __init__(self, windows: Windows, file: WindowFile) -> None:
        super().__init__()
        self._windows, self._file = windows, file

    def expand(self, slices: Any) -> Any:
        """Takes `ShardedSlice`s with times inside their windows; all rows of a source are in one shard."""
        coder.register()
        return (
            slices
            | "Window"
            >> beam.WindowInto(
                FixedWindows(Duration(micros=self._windows.size)),
                trigger=AfterWatermark(late=AfterCount(1)),
                accumulation_mode=AccumulationMode.ACCUMULATING,  # a late firing replaces the whole file
                allowed_lateness=Duration(micros=self._windows.lateness),
            )
            | "Gather" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(_Write(self._file)).with_output_types(str)
        )


class _Write(beam.DoFn):
    def __init__(self, file: WindowFile) -> None:
        self._file = file
        self._metrics = BatchMetrics()

    def setup(self) -> None:
        self._parts = ParquetParts(self._file.output)
        self._dead = DeadLetters(self._file.output)

    def process(
        self,
        gathered: tuple[int, Iterable[tuple[pa.RecordBatch, pa.RecordBatch]]],
        window: Any = beam.DoFn.WindowParam,
        pane: Any = beam.DoFn.PaneInfoParam,
    ) -> Iterator[str]:
        shard, slices = gathered[0], list(gathered[1])
        if not slices:  # Flink fires like this when a window closes
            return
        name = window_name(float(window.start), float(window.end - window.start), shard)
        rows = _sorted([good for good, _ in slices])
        bad = bad_rows(bad for _, bad in slices)
        digest = _digest(rows, bad)
        # Runners fire once more when a window closes, without new rows.
        if pane.index == 0 or self._written(name, "millstream.places") != digest:
            if not rows.num_rows:
                self._dead.write(name, bad)
                yield name
            elif self._write(name, rows, bad, digest):
                yield name

    def _written(self, name: str, key: str) -> str | None:
        """The metadata of the file that was written before."""
        try:
            return self._parts.metadata(name).get(key)
        except NotInStore:
            return None

    def _check_newer(self, name: str, counts: str) -> None:
        if _is_older(counts, self._written(name, "millstream.rows") or "{}"):
            raise _StaleWorker

    def _write(self, name: str, rows: pa.Table, bad: list[BadRow], digest: str) -> bool:
        """Write a file; False if another worker has written a newer one, which stays."""
        encoder, label = self._file.model.current()  # once for the file: all its rows are of one version
        begin = time.perf_counter()
        n_records = rows.num_rows + len(bad)
        schema, counts = self._file.enrichment.schema(rows.schema, encoder), _counts(rows)
        try:
            with self._parts.new(name, schema) as part:
                for batch in rows.to_batches(_SLICE_ROWS):
                    enriched = self._file.enrichment(batch, encoder, label)
                    part.write(enriched.batch)
                    bad = [*bad, *(_bad(batch, row, reason) for row, reason in enriched.bad.items())]
                self._check_newer(name, counts)
                self._dead.write(name, bad)
                part.describe(
                    {"millstream.model": label, "millstream.places": digest, "millstream.rows": counts}
                )
        except _StaleWorker:
            _log.warning("%s: another worker has written more rows; keeping its file", name)
            return False
        self._metrics.report(label, n_records, len(bad), rows.nbytes, time.perf_counter() - begin)
        return True


class _StaleWorker(Exception):
    """Another worker has written a newer file."""


def _bad(batch: pa.RecordBatch, row: int, reason: str) -> BadRow:
    record = record_of(batch.drop_columns([SOURCE, ROW]), row)
    return BadRow(batch[SOURCE][row].as_py(), batch[ROW][row].as_py(), reason, record)


def _sorted(batches: list[pa.RecordBatch]) -> pa.Table:
    """The rows in the order of their sources, each once."""
    order = [(SOURCE, "ascending"), (ROW, "ascending")]
    rows = pa.Table.from_batches(batches).sort_by(order).combine_chunks()
    numbers = rows[ROW].to_numpy()
    sources = rows[SOURCE].combine_chunks().dictionary_encode().indices.to_numpy()
    first = np.ones(rows.num_rows, bool)
    first[1:] = (numbers[1:] != numbers[:-1]) | (sources[1:] != sources[:-1])
    return rows if first.all() else rows.filter(pa.array(first)).combine_chunks()


def _digest(rows: pa.Table, bad: list[BadRow]) -> str:
    """Equal for two firings of a window that hold the same rows."""
    digest = hashlib.sha256(rows[ROW].to_numpy().tobytes())
    sources = rows[SOURCE].combine_chunks().dictionary_encode()
    digest.update(sources.indices.to_numpy().tobytes())
    positions = [(one.file, one.row) for one in bad]
    digest.update(msgspec.json.encode([sources.dictionary.to_pylist(), positions]))
    return digest.hexdigest()


def _counts(rows: pa.Table) -> str:
    """The number of rows of each source, as JSON; of all sources together if there are very many."""
    counts = {one["values"]: one["counts"] for one in rows[SOURCE].value_counts().to_pylist()}
    total = {"": rows.num_rows}
    return msgspec.json.encode(counts if len(counts) <= _MAX_COUNTED else total, order="sorted").decode()


def _is_older(counts: str, others: str) -> bool:
    """Whether one firing came before another one, by their `_counts`: a window never loses rows."""
    mine, theirs = (msgspec.json.decode(one, type=dict[str, int]) for one in (counts, others))
    return mine != theirs and all(count <= theirs.get(source, 0) for source, count in mine.items())
