"""The backfill as a Beam pipeline: files → splits → Arrow record batches → vectors → Parquet parts.

The elements are record batches. Reading and embedding fuse into one stage, so a batch is written before the
next one is read. The position of a part in the input decides on its name and its rows, so the output is the
same files whatever a runner repeats and however often the job is restarted.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam
import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoder.errors import UnreadableFile
from encoder.store.objects import open_objects
from pipelines.beam.backfill.job import SUMMARY_FILE, BackfillJob, Counts, part_metadata, part_name
from pipelines.beam.backfill.table import commit_parts
from pipelines.beam.transforms import coder
from pipelines.beam.transforms.metrics import BatchMetrics, report_left_out
from pipelines.enrich.model_version import ModelVersion
from pipelines.records.bad_rows import BadRow, record_of
from pipelines.sinks.dead_letters import DeadLetters
from pipelines.sinks.parquet import ParquetParts
from pipelines.sinks.tables.columns import as_stored
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.reader import read_split
from pipelines.sources.files.splits import Split, split_file

__all__ = ["Part", "backfill"]

_SLICE_ROWS = 8192  # rows that are embedded and written together; a row group
_WRITTEN = "written"  # the tag of parts that an earlier run has written


@dataclass(frozen=True)
class Part:
    """A part of the input, which becomes one file.

    Attributes:
        name: the name of the file.
        source: the input file.
        rows: `(n,)` int64, the row number in the source of each row of the batch, from 1.
        bad: rows that could not be read, which are not in the batch.
        n_records: records that were read, including the bad ones.
        n_bytes: their size in the source.
        left_out: how many values of which JSON fields no column holds.
        version: the model version.
    """

    name: str
    source: str
    rows: NDArray[np.int64]
    bad: tuple[BadRow, ...]
    n_records: int
    n_bytes: int
    left_out: Mapping[str, int]
    version: ModelVersion


Element = tuple[Part, pa.RecordBatch]


def backfill(pipeline: beam.Pipeline, job: BackfillJob, written: frozenset[str] = frozenset()) -> Any:
    """Add a backfill to a pipeline.

    Args:
        pipeline: the pipeline.
        job: the job.
        written: names of parts that are in the output already; they are counted, not written again.

    Returns:
        A PCollection of one `Counts`, the sum over all parts.
    """
    coder.register()
    version = pipeline | "Model version" >> beam.Create([job.model])
    splits = (
        pipeline
        | "Inputs" >> beam.Create(list(enumerate(job.inputs)))
        | "Spread inputs" >> beam.Reshuffle()
        | "Split" >> beam.FlatMap(_split).with_output_types(tuple[int, Split])
        | "Spread splits" >> beam.Reshuffle()
    )
    # Read has the side input: a step with one starts a new stage, and batches should not cross stages.
    # Where a runner separates the steps all the same, the types make batches travel as Arrow.
    reader = beam.ParDo(ReadSplit(job, written), beam.pvalue.AsSingleton(version)).with_output_types(Element)
    read = splits | "Read" >> reader.with_outputs(_WRITTEN, main="read")
    embedded = read["read"] | "Embed" >> beam.ParDo(EmbedPart(job)).with_output_types(Counts)
    found = read[_WRITTEN] | "Count written" >> beam.Map(_counts_of, job).with_output_types(Counts)
    total = (embedded, found) | beam.Flatten() | "Sum" >> beam.CombineGlobally(_sum)
    return total | "Summary" >> beam.Map(_write_summary, job)


def _split(numbered: tuple[int, InputFile]) -> Iterator[tuple[int, Split]]:
    number, file = numbered
    return ((number, split) for split in split_file(file))


class ReadSplit(beam.DoFn):
    """Reads splits as parts of `chunk_rows` records."""

    def __init__(self, job: BackfillJob, written: frozenset[str]) -> None:
        self._job = job
        self._written = written

    def process(self, numbered: tuple[int, Split], version: ModelVersion) -> Iterator[Any]:
        """Yield `(Part, RecordBatch)`, or the name of a part that has been written."""
        number, split = numbered
        chunks = read_split(
            split,
            self._job.schema,
            self._job.chunk_rows,
            all_fields=self._job.enrichment.keep is None,
        )
        for k, chunk in enumerate(chunks):
            name = part_name(number, split.start, k)
            if self._job.strict and (rest := next((bad for bad in chunk.bad if bad.rest), None)):
                raise UnreadableFile(rest.reason)
            if name in self._written:
                yield beam.pvalue.TaggedOutput(_WRITTEN, name)
            else:
                read = chunk.rows, chunk.bad, chunk.n_read, chunk.n_bytes, chunk.left_out
                yield Part(name, split.file.path, *read, version), chunk.batch


class EmbedPart(beam.DoFn):
    """Embeds a part and writes it: the dead letters first, so that the Parquet file completes the part.

    One step does both, a few thousand rows at a time: vectors are written while they are in the processor's
    cache, and never cross stages.
    """

    def __init__(self, job: BackfillJob) -> None:
        self._job = job
        self._metrics = BatchMetrics()

    def setup(self) -> None:
        """Open the output."""
        self._files = ParquetParts(self._job.output)
        self._parts = self._job.parts()
        self._dead = DeadLetters(self._job.output)
        self._room: NDArray[Any] | None = None

    def process(self, element: Element) -> Iterator[Counts]:
        """Yield the counts of what was written."""
        part, batch = element
        version = part.version
        encoder, bad, seconds = version.load(), list(part.bad), 0.0
        if self._room is None and not self._job.partitions:  # else the vectors of all slices stay
            self._room = np.empty((_SLICE_ROWS, encoder.dim), self._job.enrichment.vectors.dtype)
        masked = self._job.enrichment.masked()
        table = self._job.table
        schema = self._job.enrichment.schema(batch.schema, encoder) if table is None else table.columns
        new = self._parts.new if self._job.partitions else self._files.new
        with new(part.name, schema) as file:
            for first in range(0, batch.num_rows, _SLICE_ROWS):
                rows = batch.slice(first, _SLICE_ROWS)
                begin = time.perf_counter()
                enriched = self._job.enrichment(rows, encoder, version.label, self._room)
                seconds += time.perf_counter() - begin
                file.write(enriched.batch if table is None else _stored(enriched.batch, schema))
                bad += [
                    BadRow(part.source, int(part.rows[first + row]), reason, record_of(rows, row))
                    for row, reason in enriched.bad.items()
                ]
            bad = bad if masked is None else list(map(masked.bad_row, bad))
            self._dead.write(part.name, bad)
            damaged = tuple((one.file, one.reason) for one in bad if one.rest)
            n_rows = part.n_records - len(bad)
            counts = Counts(part.n_records, n_rows, len(bad), part.n_bytes, 1, damaged, part.left_out)
            file.describe(part_metadata(self._job, counts))
        report_left_out(part.left_out)
        self._metrics.report(version.label, part.n_records, len(bad), batch.nbytes, seconds)
        yield counts


def _stored(batch: pa.RecordBatch, columns: pa.Schema) -> pa.RecordBatch:
    """A batch with the columns of a table."""
    stored = as_stored(pa.Table.from_batches([batch]), columns)
    return pa.RecordBatch.from_arrays([one.combine_chunks() for one in stored.columns], schema=columns)


def _counts_of(name: str, job: BackfillJob) -> Counts:
    return Counts.of_part(job.parts().metadata(name))


def _sum(counts: Any) -> Counts:
    return sum(counts, Counts())


def _write_summary(counts: Counts, job: BackfillJob) -> Counts:
    if job.table is not None:
        commit_parts(job)
    summary = {**asdict(counts), "model": job.model.label, "digest": job.model.digest}
    open_objects(job.output).overwrite(SUMMARY_FILE, msgspec.json.encode(summary))
    return counts
