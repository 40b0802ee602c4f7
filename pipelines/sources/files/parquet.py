"""Parquet: row groups, streamed in small steps with only the needed columns."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from encoder.errors import UnreadableFile
from pipelines.formats.int96 import int96_columns, misfits, with_mark, without_mark
from pipelines.records.bad_rows import BadRow, good_rows, record_of
from pipelines.records.fields import conform
from pipelines.sources.files.chunks import CHUNK_BYTES, ChunkPart, Decoded, decode_rows
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import REMOTE_BUFFER, is_remote, open_file

__all__ = ["bounds", "byte_edges", "has_fixed_lists", "open_parquet", "read_row_groups", "row_edges"]

_STEP_ROWS = 8_192
_STEP_BYTES = 16 << 20
_LOCAL_BUFFER = 1 << 20
_ARROW_TYPES, _NO_KEY = b"ARROW:schema", b"ARROW-schema"  # the key of the metadata, and another as long


@contextmanager
def open_parquet(
    file: InputFile, int96: str = "us", *, with_arrow_types: bool = True
) -> Iterator[pq.ParquetFile]:
    """Open a file so that its pages are streamed, instead of whole column chunks loaded.

    Args:
        file: to open.
        int96: the unit of timestamps of the type INT96.
        with_arrow_types: whether columns have the Arrow types that the file remembers, or those that are
            Parquet's own, among which are no lists of a fixed size.
    """
    buffer_size = REMOTE_BUFFER if is_remote(file.path) else _LOCAL_BUFFER
    with closing(open_file(file.path)) as source:
        yield pq.ParquetFile(
            source,
            metadata=None if with_arrow_types else _own_types(source),
            buffer_size=buffer_size,
            pre_buffer=False,
            page_checksum_verification=True,
            coerce_int96_timestamp_unit=int96,
        )


def _own_types(source: pa.NativeFile) -> pq.FileMetaData:
    """The footer of a file without its Arrow types, which Arrow has no option to leave out."""
    size = source.size()
    length = int.from_bytes(source.read_at(8, size - 8)[:4], "little") + 8
    footer: bytes = source.read_at(length, size - length)
    return pq.read_metadata(pa.BufferReader(footer.replace(_ARROW_TYPES, _NO_KEY)))


def has_fixed_lists(source: pq.ParquetFile, wanted: pa.Schema) -> bool:
    """Whether a wanted column has lists of a fixed size, which Arrow cannot read where one is null."""
    return any(field.name in wanted.names and _fixed_lists_in(field.type) for field in source.schema_arrow)


def _fixed_lists_in(kind: pa.DataType) -> bool:
    if pa.types.is_fixed_size_list(kind) and kind.list_size:  # empty ones are not what they were written as
        return True
    return any(_fixed_lists_in(kind.field(i).type) for i in range(kind.num_fields))


def row_edges(metadata: pq.FileMetaData) -> NDArray[np.int64]:
    """`(n_row_groups + 1,)` int64: the rows before each row group, and all rows."""
    rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    return np.cumsum([0, *rows], dtype=np.int64)


def byte_edges(metadata: pq.FileMetaData, size: int) -> NDArray[np.int64]:
    """`(n_row_groups + 1,)` int64: the file's bytes before each row group, in proportion to its data."""
    sizes = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
    edges = np.cumsum([0, *sizes], dtype=np.float64)
    shares: NDArray[np.int64] = (edges / max(edges[-1], 1.0) * size).astype(np.int64)
    shares[-1] = size
    return shares


def bounds(metadata: pq.FileMetaData, column: str) -> Iterator[object]:
    """The smallest and the largest value of a column in each row group, where the footer has them."""
    for group in (metadata.row_group(i) for i in range(metadata.num_row_groups)):
        for number in range(group.num_columns):
            part = group.column(number)
            if part.path_in_schema == column and part.statistics is not None and part.statistics.has_min_max:
                yield from (part.statistics.min, part.statistics.max)


def read_row_groups(
    source: pq.ParquetFile,
    file: InputFile,
    groups: range,
    first_row: int,
    *,
    schema: pa.Schema,
    chunk_rows: int,
) -> Iterator[ChunkPart]:
    """Read the rows of some row groups. A row with a value that does not fit its type is bad.

    Raises:
        UnreadableFile: the file holds fewer rows than its footer says.
    """
    rows, sizes = row_edges(source.metadata), byte_edges(source.metadata, file.size)
    n_rows = int(rows[groups.stop] - rows[groups.start])
    start, end = int(sizes[groups.start]), int(sizes[groups.stop])
    step = _step(source.metadata, groups, chunk_rows)
    done = in_chunk = n_bytes = 0
    columns = _leaves(schema)
    batches = (  # group by group: a step over a boundary would lose the rows before a damaged group
        batch
        for group in groups
        for batch in source.iter_batches(step, row_groups=[group], columns=columns, use_threads=False)
    )
    for whole in _checked(batches, source, file, groups, schema):
        rest = whole
        while rest.num_rows:
            part, rest = rest.slice(0, chunk_rows - in_chunk), rest.slice(chunk_rows - in_chunk)
            first = first_row + done
            batch, good, reasons = decode_rows(partial(_fit, schema=schema, path=file.path), part, schema)
            bad = [
                BadRow(file.path, first + row, why, record_of(without_mark(part), row))
                for row, why in reasons.items()
            ]
            done, in_chunk, n_bytes = done + part.num_rows, in_chunk + part.num_rows, n_bytes + batch.nbytes
            closes = in_chunk == chunk_rows or n_bytes >= CHUNK_BYTES
            position = start + (end - start) * done // n_rows
            yield ChunkPart(batch, good + first, tuple(bad), position, closes, first + part.num_rows)
            if closes:
                in_chunk = n_bytes = 0
    if done < n_rows:
        raise UnreadableFile(
            f"{file.path} is damaged: {done} of {n_rows} rows are there: copy or write it again"
        )


def _checked(
    batches: Iterator[pa.RecordBatch],
    source: pq.ParquetFile,
    file: InputFile,
    groups: range,
    schema: pa.Schema,
) -> Iterator[pa.RecordBatch]:
    """The batches of some row groups, with a mark for times of the type INT96 that do not fit."""
    old = int96_columns(source.schema)
    wanted = [field for field in schema if field.name in old]
    if not wanted:
        return batches
    with open_parquet(file, "ns") as exact:
        nanoseconds = exact.read_row_groups(list(groups), _leaves(pa.schema(wanted)), use_threads=False)
    return with_mark(batches, nanoseconds)


def _fit(part: pa.RecordBatch, *, schema: pa.Schema, path: str) -> Decoded:
    bad = misfits(part)
    good = good_rows(part.num_rows, bad)
    fit = part.take(pa.array(good)) if bad else part
    columns = dict(zip(fit.schema.names, fit.columns, strict=True))
    return conform(columns, schema, fit.num_rows, path), good, bad


def _step(metadata: pq.FileMetaData, groups: range, chunk_rows: int) -> int:
    """How many rows to decode at once, fewer if they are long."""
    n_rows: int = sum(metadata.row_group(i).num_rows for i in groups)
    n_bytes: int = sum(metadata.row_group(i).total_byte_size for i in groups)
    return max(1, min(chunk_rows, _STEP_ROWS, _STEP_BYTES * n_rows // max(n_bytes, 1)))


def _leaves(fields: pa.Schema | pa.StructType, prefix: str = "") -> list[str]:
    """The dotted paths to read; of structs, only the fields in the schema."""
    paths: list[str] = []
    for field in fields:
        name = prefix + field.name
        paths += _leaves(field.type, f"{name}.") if pa.types.is_struct(field.type) else [name]
    return paths
