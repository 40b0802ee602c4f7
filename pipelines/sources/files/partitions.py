"""Columns in the paths of files, as Hive and Spark write them: `logs/dt=2026-01-01/hour=7/a.jsonl`."""

import posixpath
import re
from collections.abc import Iterable
from urllib.parse import unquote

import pyarrow as pa

from encoder.errors import InputError
from encoder.uris import scheme_of, split_query
from pipelines.sources.files.discovery import InputFile

__all__ = ["NULL_PARTITION", "add_partitions", "partition_field", "partitions_of"]

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
"""What a null value is called in a path."""

_NUMBER = re.compile("-?[0-9]{1,10}")
_INT32 = 2**31


def partitions_of(file: InputFile) -> dict[str, str | None]:
    """The columns in a file's path and their values, as text; None is null."""
    found = {}
    for folder in _inside(file).split("/")[:-1]:
        name, equals, value = folder.partition("=")
        if name and equals:
            found[unquote(name)] = None if value == NULL_PARTITION else unquote(value)
    return found


def _inside(file: InputFile) -> str:
    """The path of a file, not encoded as a URI; Hive's own encoding of values stays."""
    path = split_query(file.path)[0]
    return posixpath.join("/", path if scheme_of(path) is None else unquote(path))


def partition_field(name: str, values: Iterable[str | None]) -> pa.Field:
    """A column of values in paths: int32 if all of them are such numbers, else text, as pyarrow infers it."""
    known = [value for value in values if value is not None]
    numbers = bool(known) and all(_NUMBER.fullmatch(value) and abs(int(value)) < _INT32 for value in known)
    return pa.field(name, pa.int32() if numbers else pa.string())


def add_partitions(batch: pa.RecordBatch, schema: pa.Schema, file: InputFile) -> pa.RecordBatch:
    """A batch with `schema`, whose columns that are not in `batch` come from the path of the file.

    Raises:
        InputError: a value in the path does not fit its column.
    """
    values = partitions_of(file)
    columns = []
    for field in schema:
        if field.name not in values:
            columns.append(batch.column(field.name))
            continue
        try:
            value = pa.scalar(values[field.name], pa.string()).cast(field.type)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{file.path}: {field.name}={values[field.name]} in the path does not fit {field.type}: "
                "rename the folder, or read it in a job of its own"
            ) from error
        columns.append(pa.repeat(value, batch.num_rows))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
