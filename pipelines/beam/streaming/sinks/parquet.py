"""The exactly-once Parquet sink of streaming jobs: one file for each window and shard.

A file's name is its window and shard, and nothing else; it holds all rows of the window that have come so
far, each once, in the order of their sources. When late rows come, the file is replaced by one with them. So
whatever a runner repeats after a crash, and in whichever batches, the file ends up the same: rows are neither
lost nor doubled. An attempt that was given up but still runs puts no older firing over a newer one: a file
says how many rows of each source it holds, and is looked at before it is replaced.

Beam's `WriteToParquet` has one writer for all windows and shards of a bundle, and loses rows.
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
from pipelines.beam.streaming.batch import ROW, SOURCE, Arrival, Windows, bad_rows
from pipelines.beam.streaming.interfaces import Output
from pipelines.beam.streaming.model import StreamModel
from pipelines.beam.transforms import coder
from pipelines.beam.transforms.metrics import BatchMetrics
from pipelines.enrich.enrichment import Enrichment
from pipelines.records.bad_rows import BadRow, record_of
from pipelines.sinks.dead_letters import DeadLetters
from pipelines.sinks.parquet import ParquetParts

__all__ = ["FILE_NAME", "Sharded", "WindowFile", "WindowFiles", "WriteWindows", "window_name"]

_log = logging.getLogger(__name__)

FILE_NAME = r"window-\d{8}T\d{6}(\.\d{6})?Z-\d+s-\d{5,}\.parquet"
"""A pattern for the names of files."""

Sharded = tuple[int, tuple[pa.RecordBatch, pa.RecordBatch]]
"""A `Piece` and the number of the file of its window that it belongs to."""

_SOURCES = 10_000  # that are counted one by one; more, as of single messages, are counted together
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


@dataclass(frozen=True)
class WindowFiles(Output):
    """The output `parquet:URI`.

    Attributes:
        windows: of event time.
        shards: files of a window.
        file: how a window's file is made.
    """

    windows: Windows
    shards: int
    file: WindowFile

    @property
    def place(self) -> str:
        """See `Output`."""
        return f"parquet:{self.file.output}"

    def write(self, arrivals: Any) -> Any:
        """Gives the names of the files that were written."""
        cut = beam.FlatMap(_pieces, self.windows, self.shards).with_output_types(Sharded)
        return arrivals | "Cut" >> cut | "Files" >> WriteWindows(self.windows, self.file)

    def finish(self) -> None:
        """See `Output`."""
        ParquetParts(self.file.output).sweep()


def _pieces(arrival: Arrival, windows: Windows, shards: int) -> Iterator[TimestampedValue[Sharded]]:
    shard = zlib.crc32(arrival.source.encode()) % shards  # the same wherever it is computed
    for micros, piece in windows.pieces(arrival):
        yield TimestampedValue((shard, piece), Timestamp(micros=micros))


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
        if not pieces:  # so Flink fires when a window ends for good
            return
        name = window_name(float(window.start), float(window.end - window.start), shard)
        rows = ordered([good for good, _ in pieces])
        bad = bad_rows(bad for _, bad in pieces)
        places = digest(rows, bad)
        # Runners fire once more when a window ends for good, without anything new.
        if pane.index == 0 or self._found(name) != places:
            if not rows.num_rows:
                self._dead.write(name, bad)
                yield name
            elif self._write(name, rows, bad, places):
                yield name

    def _found(self, name: str, key: str = "millstream.places") -> str | None:
        """What the file that is there says of its rows."""
        try:
            return self._parts.metadata(name).get(key)
        except NotInStore:
            return None

    def _look(self, name: str, mine: str) -> None:
        """Look whether the file that is there is of a later firing."""
        if is_older(mine, self._found(name, "millstream.rows") or "{}"):
            raise _Overtaken

    def _write(self, name: str, rows: pa.Table, bad: list[BadRow], places: str) -> bool:
        """Write a file; False if a newer one came in the meantime, and stays."""
        encoder, label = self._file.model.current()  # once a file: all its rows are of one version
        begin = time.perf_counter()
        n_records = rows.num_rows + len(bad)
        schema, mine = self._file.enrichment.schema(rows.schema, encoder), census(rows)
        try:
            with self._parts.new(name, schema) as part:
                for batch in rows.to_batches(_PIECE):
                    enriched = self._file.enrichment(batch, encoder, label)
                    part.write(enriched.batch)
                    bad = [*bad, *(_bad(batch, row, reason) for row, reason in enriched.bad.items())]
                self._look(name, mine)
                self._dead.write(name, bad)
                part.describe(
                    {"millstream.model": label, "millstream.places": places, "millstream.rows": mine}
                )
        except _Overtaken:
            _log.warning("%s: another attempt has written more rows, which stay", name)
            return False
        self._metrics.tell(label, n_records, len(bad), rows.nbytes, time.perf_counter() - begin)
        return True


class _Overtaken(Exception):
    """The file that is there is of a later firing."""


def _bad(batch: pa.RecordBatch, row: int, reason: str) -> BadRow:
    record = record_of(batch.drop_columns([SOURCE, ROW]), row)
    return BadRow(batch[SOURCE][row].as_py(), batch[ROW][row].as_py(), reason, record)


def census(rows: pa.Table) -> str:
    """How many rows there are of each source, as JSON; of very many sources, how many in all."""
    counts = {one["values"]: one["counts"] for one in rows[SOURCE].value_counts().to_pylist()}
    many = {"": rows.num_rows}
    return msgspec.json.encode(counts if len(counts) <= _SOURCES else many, order="sorted").decode()


def is_older(mine: str, theirs: str) -> bool:
    """Whether the first of two firings came before the other one: a window only ever gains rows.

    Args:
        mine: its census.
        theirs: the other one's.
    """
    counts, others = (msgspec.json.decode(one, type=dict[str, int]) for one in (mine, theirs))
    return counts != others and all(count <= others.get(source, 0) for source, count in counts.items())


def digest(rows: pa.Table, bad: list[BadRow]) -> str:
    """What tells whether two firings of a window hold the same rows."""
    found = hashlib.sha256(rows[ROW].to_numpy().tobytes())
    sources = rows[SOURCE].combine_chunks().dictionary_encode()
    found.update(sources.indices.to_numpy().tobytes())
    places = [(one.file, one.row) for one in bad]
    found.update(msgspec.json.encode([sources.dictionary.to_pylist(), places]))
    return found.hexdigest()


def ordered(batches: list[pa.RecordBatch]) -> pa.Table:
    """The rows in the order of their sources, each once."""
    rows = (
        pa.Table.from_batches(batches).sort_by([(SOURCE, "ascending"), (ROW, "ascending")]).combine_chunks()
    )
    numbers = rows[ROW].to_numpy()
    sources = rows[SOURCE].combine_chunks().dictionary_encode().indices.to_numpy()
    first = np.ones(rows.num_rows, bool)
    first[1:] = (numbers[1:] != numbers[:-1]) | (sources[1:] != sources[:-1])
    return rows if first.all() else rows.filter(pa.array(first)).combine_chunks()
