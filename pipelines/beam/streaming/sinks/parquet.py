"""The sink `parquet:URI`: exactly-once Parquet files, one for each window and shard.

The name of a file is its window and shard. A file holds all rows of the window so far, each once, in the
order of their sources. Late rows replace it by a file that holds them too. So the files end up the same
however a runner batches rows and whatever it repeats after a crash: no row is lost or written twice.

Each file records the positions of its rows, and is replaced only by a file that holds them too: a stale
worker does not take rows away, and neither does a later run whose inputs are archived. The rows that such a
file lacks go into a further file of the window (`window_files`).

Beam's `WriteToParquet` cannot be used: it has one writer for all windows and shards of a bundle, and loses
rows.
"""

import logging
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from encoder import Encoder
from pipelines.beam.streaming.batch import ROW, SOURCE, SourceBatch, Windows, bad_rows, source_name
from pipelines.beam.streaming.deletes import as_rows, refused
from pipelines.beam.streaming.interfaces import Sink
from pipelines.beam.streaming.model import StreamModel
from pipelines.beam.streaming.sinks.positions import Positions
from pipelines.beam.streaming.sinks.window_files import POSITIONS, FileRows, WindowFiles, window_name
from pipelines.beam.transforms import coder
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.enrich import Tombstones
from pipelines.enrich.delete_columns import enriched_with_deletes, schema_with_deletes
from pipelines.enrich.enrichment import Enriched, Enrichment
from pipelines.records.bad_rows import BadRow, record_of
from pipelines.sinks.dead_letters import DeadLetters
from pipelines.sinks.hive_folders import split_into_folders
from pipelines.sinks.parquet import ParquetParts, PartExists
from pipelines.sinks.tables.partitioning import PartitionField

__all__ = ["ParquetSink", "ShardedSlice", "WindowFile", "WriteWindows"]

_log = logging.getLogger(__name__)

ShardedSlice = tuple[int, tuple[pa.RecordBatch, pa.RecordBatch]]
"""A shard, and a `WindowSlice` of it."""

_SLICE_ROWS = 8192  # rows that are embedded and written together; a row group


@dataclass(frozen=True)
class WindowFile:
    """What workers need to write a file.

    Attributes:
        model: the model.
        enrichment: the text template, the columns to keep, the format of the vectors, the heads.
        output: URI of the folder.
        tombstones: what becomes of deletes.
        delete_columns: whether rows have the columns of deletes.
        metadata: what each file says of its source.
        partitions: by what rows are kept apart, in folders.
    """

    model: StreamModel
    enrichment: Enrichment
    output: str
    tombstones: Tombstones = "pass"
    delete_columns: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    partitions: tuple[PartitionField, ...] = ()

    def schema(self, records: pa.Schema, encoder: Encoder) -> pa.Schema:
        """The schema of files."""
        schema = self.enrichment.schema(records, encoder)
        schema = schema_with_deletes(schema) if self.delete_columns else schema
        return pa.schema([one for one in schema if one.name not in self._in_paths])

    @property
    def _in_paths(self) -> list[str]:
        """The columns whose values name folders."""
        return [one.column for one in self.partitions if one.period is None]

    def enriched(self, batch: pa.RecordBatch, encoder: Encoder, label: str) -> Enriched:
        """The rows of a file for some of its records."""
        if self.delete_columns:
            found = enriched_with_deletes(self.enrichment, batch, encoder, label)
        else:
            found = self.enrichment(batch, encoder, label)
        return found._replace(batch=found.batch.drop_columns(self._in_paths)) if self._in_paths else found

    def folders(self, rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        """The rows of each folder, and what the names of files in it begin with."""
        if not self.partitions:
            yield "", rows
            return
        for folder, _, places in split_into_folders(rows, self.partitions) if len(rows) else ():
            yield f"{folder}/", rows.take(pa.array(places))


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
        cut = beam.ParDo(_Cut(self)).with_output_types(ShardedSlice)
        return batches | "Cut" >> cut | "Files" >> WriteWindows(self.windows, self.file)

    def finish(self) -> None:
        """Remove what killed workers left behind."""
        ParquetParts(self.file.output).sweep()


class _Cut(beam.DoFn):
    """Splits batches by window; what is a dead letter in any case leaves here, as its message came."""

    def __init__(self, sink: ParquetSink) -> None:
        self._sink = sink
        self._metrics = BatchMetrics()

    def process(self, batch: SourceBatch) -> Iterator[TimestampedValue[ShardedSlice]]:
        self._metrics.tombstones(len(batch.deletes))
        if batch.values is not None or batch.stream is not None:
            template = self._sink.file.enrichment.template
            nulls = template.null_rows(batch.records).to_numpy(zero_copy_only=False)
            batch = batch.without(
                dict.fromkeys(np.flatnonzero(nulls).tolist(), f"the text is null: {template.source}")
            )
        batch = self._with_deletes(batch)
        shard = zlib.crc32(batch.source.encode()) % self._sink.shards  # the same in every process
        for micros, rows in self._sink.windows.slices(batch):
            yield TimestampedValue((shard, rows), Timestamp(micros=micros))

    def _with_deletes(self, batch: SourceBatch) -> SourceBatch:
        """The batch with its deletes as rows or dead letters, or without them."""
        file = self._sink.file
        if file.delete_columns:
            return as_rows(batch)
        letters: Sequence[BadRow] = batch.deletes
        if file.tombstones == "drop":
            letters = ()
        elif file.tombstones == "pass":
            letters = refused(batch.deletes, "Parquet files hold it with --delete-columns alone")
        return replace(batch, bad=(*batch.bad, *letters), deletes=())


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
        self._files = WindowFiles(self._parts)
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
        bad = self._masked(bad_rows(bad for _, bad in slices))
        for folder, inside in self._file.folders(rows):
            # Runners fire once more when a window closes, without new rows.
            again, done = pane.index == 0, False
            while not done:
                try:
                    for file in self._files.plan(f"{folder}{name}", inside, bad, again=again):
                        part = inside.filter(pa.array(file.rows)) if not file.rows.all() else inside
                        self._write(name, file, part.combine_chunks(), bad)
                        yield file.name
                    done = True
                except (PartExists, _Changed) as error:
                    _log.warning("%s: another worker has written it; looking at its rows", error)
                    again = False
        self._dead.add(name, bad)

    def _masked(self, bad: list[BadRow]) -> list[BadRow]:
        masked = self._file.enrichment.masked()
        return bad if masked is None else list(map(masked.bad_row, bad))

    def _write(self, name: str, file: FileRows, rows: pa.Table, bad: list[BadRow]) -> None:
        encoder, label = self._file.model.current()  # once for the file: all its rows are of one version
        begin = time.perf_counter()
        schema, textless = self._file.schema(rows.schema, encoder), []
        with self._parts.new(file.name, schema, replace=file.before is not None) as part:
            for batch in rows.to_batches(_SLICE_ROWS):
                enriched = self._file.enriched(batch, encoder, label)
                part.write(enriched.batch)
                textless += [_bad(batch, row, reason) for row, reason in enriched.bad.items()]
            if self._files.metadata(file.name) != file.before:
                raise _Changed(file.name)
            self._dead.add(name, [*bad, *self._masked(textless)])
            positions = Positions.of(rows).encode()
            part.describe({**self._file.metadata, "millstream.model": label, POSITIONS: positions})
        n_bad = len(bad) + len(textless)
        self._metrics.report(label, rows.num_rows + len(bad), n_bad, rows.nbytes, time.perf_counter() - begin)


class _Changed(Exception):
    """Another worker has written a file since this one looked at it."""


def _bad(batch: pa.RecordBatch, row: int, reason: str) -> BadRow:
    record = record_of(batch.drop_columns([SOURCE, ROW]), row)
    return BadRow(source_name(batch[SOURCE][row].as_py()), batch[ROW][row].as_py(), reason, record)


def _sorted(batches: list[pa.RecordBatch]) -> pa.Table:
    """The rows in the order of their sources, each once."""
    order = [(SOURCE, "ascending"), (ROW, "ascending")]
    rows = pa.Table.from_batches(batches).sort_by(order).combine_chunks()
    numbers = rows[ROW].to_numpy()
    sources = rows[SOURCE].combine_chunks().dictionary_encode().indices.to_numpy()
    first = np.ones(rows.num_rows, bool)
    first[1:] = (numbers[1:] != numbers[:-1]) | (sources[1:] != sources[:-1])
    return rows if first.all() else rows.filter(pa.array(first)).combine_chunks()
