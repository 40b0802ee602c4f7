"""A backfill as a value: what its workers need, and how its output describes it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec
import pyarrow as pa

from encoder.store.objects import open_objects
from pipelines.beam.backfill.parts import Parts
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.formats.dialect import GUESSED, Dialect
from pipelines.formats.json_left_out import merged
from pipelines.sinks.output_claim import MASKED, PARTITIONED, UNSAID, OutputClaim
from pipelines.sinks.tables.columns import TableFormat
from pipelines.sinks.tables.outputs import TABLE_FORMATS
from pipelines.sinks.tables.partitioning import PartitionField
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.splits import TARGET_BYTES

__all__ = [
    "SUMMARY_FILE",
    "BackfillJob",
    "Counts",
    "TableOutput",
    "claim_output",
    "part_metadata",
    "part_name",
]

SUMMARY_FILE = "_summary.json"
"""The file that is written once all parts are there."""

_PART = re.compile(r"part-\d{5,}-\d{12,}-\d{5,}\.parquet")


@dataclass(frozen=True)
class TableOutput:
    """A table that gets the rows of a backfill.

    Attributes:
        form: its format.
        target: as `open_table` takes it.
        columns: of the table, as stored; empty before the table was opened.
    """

    form: TableFormat
    target: str
    columns: pa.Schema = field(default_factory=lambda: pa.schema([]))

    @classmethod
    def parse(cls, output: str) -> "TableOutput | None":
        """Parse `iceberg:CATALOG/NAMESPACE.TABLE` or `delta:URI`; None for any other output."""
        form, _, target = output.partition(":")
        return next((cls(one, target) for one in TABLE_FORMATS if one == form and target), None)

    def __str__(self) -> str:
        return f"{self.form}:{self.target}"


@dataclass(frozen=True)
class BackfillJob:
    """A backfill.

    Attributes:
        model: the model version; also the side input of the pipeline.
        inputs: the files to read.
        schema: the schema of their records.
        enrichment: the text template, the columns to keep, the format of the vectors, the heads.
        output: the URI of the folder with the parts.
        chunk_rows: records of a part. The same inputs and the same number give the same parts.
        dialect: what the user says about files of text.
        strict: whether the job stops at the first file that cannot be read to its end.
        table: whose rows the parts become in the end; None if the folder is the output.
        partitions: by what rows are kept apart, in folders.
    """

    model: ModelVersion
    inputs: tuple[InputFile, ...]
    schema: pa.Schema
    enrichment: Enrichment
    output: str
    chunk_rows: int = 65_536
    dialect: Dialect = GUESSED
    strict: bool = False
    table: TableOutput | None = None
    partitions: tuple[PartitionField, ...] = ()

    @property
    def target(self) -> str:
        """The output as the user names it."""
        return self.output if self.table is None else str(self.table)

    def parts(self) -> Parts:
        """The parts of its output."""
        return Parts(self.output, self.partitions)

    def description(self) -> dict[str, Any]:
        """The options that decide on the output: two jobs with equal descriptions write equal rows."""
        return {
            "model": {"name": self.model.name, "version": self.model.version, "digest": self.model.digest},
            "inputs": [{"path": file.path, "size": file.size} for file in self.inputs],
            "records": [f"{field.name}: {field.type}" for field in self.schema],
            "text": self.enrichment.template.source,
            "keep": self.enrichment.keep,
            "vectors": asdict(self.enrichment.vectors),
            "heads": self.enrichment.heads,
            MASKED: self.enrichment.mask_fields,
            PARTITIONED: list(map(str, self.partitions)),
            "chunk_rows": self.chunk_rows,
            "split_bytes": TARGET_BYTES,
            "dialect": asdict(self.dialect),
        }


def part_name(number: int, start: int, k: int) -> str:
    """The file of chunk `k` of the split that begins at `start` in input file `number`."""
    return f"part-{number:05d}-{start:012d}-{k:05d}.parquet"


@dataclass(frozen=True)
class Counts:
    """How much was read and written.

    Attributes:
        records: that were read.
        rows: of the output.
        dead_letters: records without a row, and one for the rest of each file that cannot be read to its end.
        input_bytes: that were read.
        parts: files of the output.
        damaged: the files that cannot be read to their end, each with the reason; sorted.
        left_out: how many values of which JSON fields no column holds, though all were to be kept.
    """

    records: int = 0
    rows: int = 0
    dead_letters: int = 0
    input_bytes: int = 0
    parts: int = 0
    damaged: tuple[tuple[str, str], ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Counts") -> "Counts":
        """The sum, number by number."""
        numbers = {name: getattr(self, name) + getattr(other, name) for name in _NUMBERS}
        return Counts(
            **numbers,
            damaged=tuple(sorted(self.damaged + other.damaged)),
            left_out=merged(self.left_out, other.left_out),
        )

    @classmethod
    def of_part(cls, metadata: dict[str, str]) -> "Counts":
        """The counts in a part's Parquet metadata."""
        return cls(
            records=int(metadata["millstream.records"]),
            rows=int(metadata["rows"]),
            dead_letters=int(metadata["millstream.dead_letters"]),
            input_bytes=int(metadata["millstream.input_bytes"]),
            parts=1,
            damaged=_damaged(msgspec.json.decode(metadata.get("millstream.damaged", "[]"))),
            left_out=msgspec.json.decode(metadata.get("millstream.left_out", "{}")),
        )

    @classmethod
    def of_summary(cls, summary: Mapping[str, Any]) -> "Counts":
        """The counts in a summary; earlier versions wrote numbers alone."""
        return cls(
            **{name: summary[name] for name in _NUMBERS},
            damaged=_damaged(summary.get("damaged", ())),
            left_out=summary.get("left_out", {}),
        )


_NUMBERS = ("records", "rows", "dead_letters", "input_bytes", "parts")


def _damaged(pairs: Iterable[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((file, reason) for file, reason in pairs)


def part_metadata(job: BackfillJob, counts: Counts) -> dict[str, str]:
    """The Parquet metadata of a part: model, text template, format of the vectors, counts."""
    vectors = job.enrichment.vectors
    found = {
        f"millstream.{name}": msgspec.json.encode(value).decode()
        for name in ("damaged", "left_out")
        if (value := getattr(counts, name))
    }
    return {
        "millstream.model.name": job.model.name,
        "millstream.model.version": str(job.model.version or ""),
        "millstream.model.digest": job.model.digest,
        "millstream.text": job.enrichment.template.source,
        "millstream.vectors": f"{vectors.layout} {vectors.dtype} {job.model.dim}",
        "millstream.records": str(counts.records),
        "millstream.dead_letters": str(counts.dead_letters),
        "millstream.input_bytes": str(counts.input_bytes),
        **found,
    }


def claim_output(job: BackfillJob, *, is_committed: bool = False) -> Counts | None:
    """Claim the output folder for this job.

    Args:
        job: the job.
        is_committed: whether the rows are in the table, for a job that has one.

    Returns:
        The counts, if the job is done already; None if there is work to do.

    Raises:
        OutputConflict: the folder holds something else, or another backfill.
    """
    objects = open_objects(job.output)
    OutputClaim("backfill", job.description(), files=_PART, unsaid=UNSAID).take(objects)
    if objects.stat(SUMMARY_FILE) is None:
        return None
    counts = Counts.of_summary(msgspec.json.decode(objects.read(SUMMARY_FILE)))
    if job.table is not None:  # the parts are the table's now, which may have been compacted since
        return counts if is_committed else None
    parts = len(job.parts().names())  # somebody may have removed some
    return counts if counts.parts == parts else None
