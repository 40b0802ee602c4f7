"""Reads splits as chunks of records in the job's schema."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from encoder.errors import InputError
from pipelines.formats.csv import CsvDecoder
from pipelines.formats.json import JsonDecoder
from pipelines.formats.row_boundaries import Block, blocks
from pipelines.formats.text import TextDecoder
from pipelines.records.bad_rows import BadRow
from pipelines.records.encodings import UTF8, not_decoded
from pipelines.records.utf8 import BOM
from pipelines.sources.files.byte_stream import ByteRange
from pipelines.sources.files.changes import check_unchanged
from pipelines.sources.files.chunks import CHUNK_BYTES, Chunk, ChunkPart, Decoded, decode_rows, join_parts
from pipelines.sources.files.csv_header import read_header
from pipelines.sources.files.dialects import with_dialect
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import reading
from pipelines.sources.files.parquet import byte_edges, has_fixed_lists, open_parquet, read_row_groups
from pipelines.sources.files.partitions import add_partitions, partitions_of
from pipelines.sources.files.splits import Split

__all__ = ["CHUNK_ROWS", "Chunk", "read_split"]

CHUNK_ROWS = 65_536

_Decoder = Callable[[Block], Decoded]


def read_split(
    split: Split, schema: pa.Schema, chunk_rows: int = CHUNK_ROWS, *, all_fields: bool = False
) -> Iterator[Chunk]:
    """Read the records of a split.

    Every chunk but the last covers exactly `chunk_rows` rows of the file, including blank lines and bad rows,
    or fewer if these would exceed `CHUNK_BYTES`; its boundaries depend only on the file. The `n_bytes` of all
    chunks of all splits add up to the file's size. A byte order mark at the beginning of a file is skipped.

    Where a file is missing or damaged, or cannot be read any further for another reason, the last bad row of
    the last chunk stands for the rest (`BadRow.rest`) and says where it begins.

    Args:
        split: to read.
        schema: the columns of every chunk; those that the file lacks are null.
        chunk_rows: rows a chunk.
        all_fields: whether to count the values of JSON fields that are no columns.

    Raises:
        StoreUnavailable: the object store does not answer.
    """
    file = split.file
    with ExitStack() as opened:
        at = _Position(split.first_row, 0 if file.format == "parquet" else split.start)
        start, end = at.byte, file.size if file.format == "parquet" else split.end
        inside = pa.schema([field for field in schema if field.name not in partitions_of(file)])
        try:
            check_unchanged(file, at.byte if file.format != "parquet" else 0)
            if file.format != "parquet":
                known = replace(split, file=with_dialect(file))
                parts = _parts(known, inside, chunk_rows, at, all_fields=all_fields)
            else:
                with reading(file.path):
                    source = opened.enter_context(open_parquet(file))
                    if has_fixed_lists(source, inside):
                        source = opened.enter_context(open_parquet(file, with_arrow_types=False))
                groups = range(split.start, min(split.end, source.metadata.num_row_groups))
                sizes = byte_edges(source.metadata, file.size)
                start, end = int(sizes[groups.start]), int(sizes[groups.stop])
                at.byte = start
                options = {"schema": inside, "chunk_rows": chunk_rows}
                parts = read_row_groups(source, file, groups, split.first_row, **options)
            parts = _then_check(parts, file)
        except InputError as error:
            parts = iter([_rest(split, schema, at, error, end)])
        yield from join_parts(_until_damage(parts, split, schema, at, end), schema, start, end)


def _then_check(parts: Iterator[ChunkPart], file: InputFile) -> Iterator[ChunkPart]:
    """The parts, and an error at the end if the file was written anew meanwhile."""
    yield from parts
    check_unchanged(file, 0)


@dataclass
class _Position:
    """How far a split has been read: the number of the next row, and the byte of the stored file."""

    row: int
    byte: int


def _until_damage(
    parts: Iterator[ChunkPart], split: Split, schema: pa.Schema, at: _Position, end: int
) -> Iterator[ChunkPart]:
    """The parts; instead of an error, a last one with a bad row for the rest."""
    try:
        with reading(split.file.path):
            for part in parts:
                batch = (
                    part.batch
                    if part.batch.schema == schema
                    else add_partitions(part.batch, schema, split.file)
                )
                yield replace(part, batch=batch)
                at.row, at.byte = part.next_row, part.position
    except InputError as error:
        yield _rest(split, schema, at, error, end)


def _rest(split: Split, schema: pa.Schema, at: _Position, error: InputError, end: int) -> ChunkPart:
    file = split.file
    what = "the rest of the file cannot be read"
    if file.format != "parquet" and split.end < file.size:
        what = f"the file cannot be read up to byte {split.end}"
    reason = f"{what}, from row {at.row} and byte {at.byte} on: {error}"
    bad = BadRow(file.path, at.row, reason, b"", rest=True)
    return ChunkPart(pa.RecordBatch.from_pylist([], schema), np.empty(0, np.int64), (bad,), end, True, at.row)


def _parts(
    split: Split, schema: pa.Schema, chunk_rows: int, at: _Position, *, all_fields: bool
) -> Iterator[ChunkPart]:
    """Decode the rows of a split of lines or CSV records."""
    file = split.file
    decode, n_head = _decoder(split, schema, all_fields=all_fields)
    first_row, rows = split.first_row, file.dialect.rows(csv=file.format == "csv")
    with ByteRange(file, split.start, split.end) as data:
        try:
            data.skip(n_head)
            for block, closes in _cut(blocks(iter(data), rows, file.path), chunk_rows):
                batch, good, reasons = decode_rows(decode, block, schema)
                good = good + first_row
                bad = _bad_rows(block, reasons, file, first_row) if reasons else ()
                first_row += len(block)
                n_head += block.n_bytes
                left_out = (
                    decode.left_out.take() if isinstance(decode, JsonDecoder) and decode.left_out else {}
                )
                yield ChunkPart(batch, good, bad, data.position, closes, first_row, left_out)
        finally:
            at.byte = data.position if file.compression else split.start + n_head


def _decoder(split: Split, schema: pa.Schema, *, all_fields: bool) -> tuple[_Decoder, int]:
    """A decoder for the split's blocks, and the number of bytes before its first row."""
    file = split.file
    if file.format == "csv":
        header = read_header(file)
        decode_csv = CsvDecoder(file.path, file.dialect, schema, header.names)
        return decode_csv, header.n_bytes if split.start == 0 else 0
    decode: _Decoder = TextDecoder(file.path, schema)
    if file.format == "jsonl":
        decode = JsonDecoder(file.path, schema, all_fields=all_fields)
    if split.start > 0:
        return decode, 0
    with ByteRange(file, 0, split.end) as data:
        return decode, len(BOM) if next(iter(data), b"").startswith(BOM) else 0


def _cut(whole: Iterator[Block], chunk_rows: int) -> Iterator[tuple[Block, bool]]:
    """Split blocks at the ends of chunks; gives whether a chunk ends with each part."""
    n_rows = n_bytes = 0
    for each in whole:
        rest = each
        while len(rest):
            full = int(rest.ends.searchsorted(rest.start + CHUNK_BYTES - n_bytes)) + 1
            block, rest = rest.cut(min(chunk_rows - n_rows, full))
            n_rows, n_bytes = n_rows + len(block), n_bytes + block.n_bytes
            closes = n_rows == chunk_rows or n_bytes >= CHUNK_BYTES
            yield block, closes
            if closes:
                n_rows = n_bytes = 0


def _bad_rows(block: Block, reasons: dict[int, str], file: InputFile, first_row: int) -> tuple[BadRow, ...]:
    starts, stops, encoding = block.starts, block.stops(), file.dialect.encoding or UTF8
    rows = []
    for row, reason in sorted(reasons.items()):
        record = block.data[starts[row] : stops[row]]
        if encoding != UTF8:
            shown = not_decoded(record, encoding) or reason
        elif reason.startswith("not UTF-8"):
            shown = f"{reason}. Set --encoding if the file is in another encoding, as in cp1252"
        else:
            shown = reason
        rows.append(BadRow(file.path, first_row + row, shown, record))
    return tuple(rows)
