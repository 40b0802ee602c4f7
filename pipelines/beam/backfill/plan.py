"""Plan a backfill: check all options before anything is written."""

import logging
import os
import posixpath
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from urllib.parse import unquote

import pyarrow as pa

from encoder.errors import ConfigurationError, OutputConflict
from encoder.reference import store_uri
from encoder.uris import locate_uri, split_query
from pipelines.beam.backfill.job import BackfillJob, TableOutput
from pipelines.enrich.enrichment import Enrichment
from pipelines.enrich.model_version import ModelVersion
from pipelines.formats import FileFormat
from pipelines.formats.dialect import GUESSED, Dialect
from pipelines.sinks.hive_folders import check_folders
from pipelines.sinks.tables.partitioning import parse_partition_by
from pipelines.sources.files.dialects import find_with_dialects
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.schema import infer_schema

__all__ = ["check_apart", "plan_backfill"]

_log = logging.getLogger(__name__)


def plan_backfill(
    *,
    model: str,
    pattern: str,
    output: str,
    enrichment: Enrichment,
    input_format: FileFormat | None = None,
    chunk_rows: int = 65_536,
    dialect: Dialect = GUESSED,
    say: Callable[[str], object] = _log.warning,
    strict: bool = False,
    partition_by: str | None = None,
) -> BackfillJob:
    """Plan a backfill; nothing is written.

    Args:
        model: REF of the model.
        pattern: file, folder or glob of the inputs.
        output: folder or URI, or a table: `iceberg:CATALOG/NAMESPACE.TABLE` or `delta:URI`.
        enrichment: the text template, the columns to keep, the format of the vectors, the heads.
        input_format: the format of the inputs, or None to go by their extensions.
        chunk_rows: records of an output file.
        dialect: what the user says about files of text.
        say: called with a line about each way of writing that was guessed.
        strict: whether a file that cannot be read to its end stops the job; else its rest is a dead letter.
        partition_by: by what rows are kept apart, in folders, as in `day(at),country`.

    Raises:
        TemplateError: the template names a field that no record has.
        InputError: there are no inputs, or their schemas differ.
        OutputConflict: the output is inside the input, or the other way round.
        ConfigurationError: a REF, a URI or a kept column is wrong.
    """
    table = TableOutput.parse(output)
    target = store_uri(output) if table is None else ""  # a table has a place when it is there
    files = find_with_dialects(pattern, input_format, dialect, say)
    if table is None or table.form == "delta":
        check_apart(pattern, files, target if table is None else store_uri(table.target))
    schema = infer_schema(
        files, enrichment.template.fields, enrichment.keep, strict=strict, may_be_empty=True
    )
    version = ModelVersion.resolve(model)
    enrichment = enrichment.settled(version.load())
    enrichment.schema(schema, version.load())  # refuses columns that cannot be kept
    partitions = parse_partition_by(partition_by)
    if partitions and table is not None:
        raise ConfigurationError(
            "--partition-by is for Parquet folders here: a backfill writes into a table as it is partitioned"
        )
    names = schema.names if enrichment.keep is None else enrichment.keep
    check_folders(partitions, pa.schema([schema.field(name) for name in names]), enrichment.mask_fields)
    return BackfillJob(
        version, tuple(files), schema, enrichment, target, chunk_rows, dialect, strict, table, partitions
    )


def check_apart(pattern: str, files: Sequence[InputFile], output: str) -> None:
    """Refuse an output inside the input, which a second run would read, and an input inside the output."""
    target, source = _comparable(output), _comparable(pattern)
    for file in files:
        if _comparable(file.path).startswith(f"{target}/"):
            raise OutputConflict(f"the input {file.path} is inside the output {output}: name another folder")
    part = f"{target}/part.parquet"
    if part.startswith(f"{source}/") or ("**" in source and fnmatchcase(part, source)):
        raise OutputConflict(
            f"the output {output} is inside the input {pattern}, so a second run would read it: "
            "name another folder"
        )


def _comparable(location: str) -> str:
    """A path or URI in one form, so that two can be compared."""
    found = locate_uri(split_query(location)[0])
    path = os.path.realpath(found.path) if found.cloud == "file" else unquote(found.path)
    return posixpath.normpath(f"{found.cloud}:/{found.account}/{found.bucket}/{path}")
