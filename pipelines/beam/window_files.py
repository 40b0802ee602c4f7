"""The exactly-once Parquet sink of streaming jobs: one file for each window and shard.

A file's name is its window and shard, and nothing else; it holds all rows of the window that have come so
far, each once, in the order of their sources. When late rows come, the file is replaced by one with them. So
whatever a runner repeats after a crash, and in whichever batches, the file ends up the same: rows are neither
lost nor doubled. Beam's `WriteToParquet` has one writer for all windows and shards of a bundle, and loses
rows.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import msgspec
import numpy as np
import pyarrow as pa
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.timestamp import Duration

from encoder.errors import NotInStore
from pipelines.beam import coder
from pipelines.beam.metrics import BatchMetrics
from pipelines.beam.models import StreamModel
from pipelines.beam.pieces import ROW, SOURCE, Windows, bad_rows
from pipelines.enrich import Enrichment
from pipelines.records.decode import BadRow
from pipelines.sinks.dead_letters import DeadLetters, record_of
from pipelines.sinks.parquet import ParquetParts

__all__ = ["FILE_NAME", "Sharded", "WindowFile", "WriteWindows", "window_name"]

FILE_NAME = r"window-\d{8}T\d{6}(\.\d{6})?Z-\d+s-\d{5,}\.parquet"
"""A pattern for the names of files."""

Sharded = tuple[int, tuple[pa.RecordBatch, pa.RecordBatch]]
"""A `Piece` and the number of the file of its window that it belongs to."""

_PIECE = 8192  # rows that are embedded and written together, and a row group of the output


def window_name(start: float, size: float, shard: int) -> str:
    """The file of a window: when it starts (seconds since the epoch), its size in seconds, its shard."""
    begin = datetime.fromtimestamp(start, UTC)
    text = begin.strftime("%Y%m%dT%H%M%S") + (f".{begin.microsecond:06d}" if begin.microsecond else "")
    return f"window-{text}Z-{size:.0f}s-{shard:05d}.parquet"


@dataclass(frozen=True)
class WindowFile:
    """How files are made; what the workers need.

    Attributes:
        model: what embeds.
        enrichment: the text template, the columns to keep, the vectors' format.
        output: URI of the folder.
    """

    model: StreamModel
    enrichment: Enrichment
    output: str


class WriteWindows(beam.PTransform[Any, Any]):
    """Embeds pieces and writes them; gives the names of the files that were written.

    Rows are embedded when their window is written: texts wait in the runner's state, not vectors.

    Args:
        windows: the windows.
        file: how files are made.
    """

    def __init__(self, windows: Windows, file: WindowFile) -> None:
        super().__init__()
        self._windows, self._file = windows, file

    def expand(self, pieces: Any) -> Any:
        """Takes `Sharded` pieces, each with a time inside its window; all rows of a source in one shard."""
        coder.register()
        return (
            pieces
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
        shard, pieces = gathered[0], list(gathered[1])
        name = window_name(float(window.start), float(window.end - window.start), shard)
        rows = _ordered([good for good, _ in pieces])
        bad = bad_rows(bad for _, bad in pieces)
        places = _digest(rows, bad)
        # Runners fire once more when a window ends for good, without anything new.
        if pane.index == 0 or self._found(name) != places:
            if rows.num_rows:
                self._write(name, rows, bad, places)
            else:
                self._dead.write(name, bad)
            yield name

    def _found(self, name: str) -> str | None:
        """What the file that is there says of its rows."""
        try:
            return self._parts.metadata(name).get("millstream.places")
        except NotInStore:
            return None

    def _write(self, name: str, rows: pa.Table, bad: list[BadRow], places: str) -> None:
        encoder, label = self._file.model.current()  # once a file: all its rows are of one version
        begin = time.perf_counter()
        n_records = rows.num_rows + len(bad)
        schema = self._file.enrichment.schema(rows.schema, encoder)
        with self._parts.new(name, schema) as part:
            for batch in rows.to_batches(_PIECE):
                enriched = self._file.enrichment(batch, encoder, label)
                part.write(enriched.batch)
                bad = [*bad, *(_bad(batch, row, reason) for row, reason in enriched.bad.items())]
            self._dead.write(name, bad)
            part.describe({"millstream.model": label, "millstream.places": places})
        self._metrics.tell(label, n_records, len(bad), rows.nbytes, time.perf_counter() - begin)


def _digest(rows: pa.Table, bad: list[BadRow]) -> str:
    """What tells whether two firings of a window hold the same rows."""
    digest = hashlib.sha256(rows[ROW].to_numpy().tobytes())
    sources = rows[SOURCE].combine_chunks().dictionary_encode()
    digest.update(sources.indices.to_numpy().tobytes())
    places = [(one.file, one.row) for one in bad]
    digest.update(msgspec.json.encode([sources.dictionary.to_pylist(), places]))
    return digest.hexdigest()


def _ordered(batches: list[pa.RecordBatch]) -> pa.Table:
    """The rows in the order of their sources, each once."""
    rows = (
        pa.Table.from_batches(batches).sort_by([(SOURCE, "ascending"), (ROW, "ascending")]).combine_chunks()
    )
    numbers = rows[ROW].to_numpy()
    sources = rows[SOURCE].combine_chunks().dictionary_encode().indices.to_numpy()
    first = np.ones(rows.num_rows, bool)
    first[1:] = (numbers[1:] != numbers[:-1]) | (sources[1:] != sources[:-1])
    return rows if first.all() else rows.filter(pa.array(first)).combine_chunks()


def _bad(batch: pa.RecordBatch, row: int, reason: str) -> BadRow:
    record = record_of(batch.drop_columns([SOURCE, ROW]), row)
    return BadRow(batch[SOURCE][row].as_py(), batch[ROW][row].as_py(), reason, record)
