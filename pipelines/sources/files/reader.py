"""Reads splits as chunks of records in the job's schema."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.formats.csv import CsvDecoder
from pipelines.formats.json import JsonDecoder
from pipelines.formats.row_boundaries import Block, blocks
from pipelines.formats.text import TextDecoder
from pipelines.records.bad_rows import BadRow
from pipelines.records.encodings import UTF8, not_decoded
from pipelines.records.utf8 import BOM
from pipelines.sources.files.byte_stream import ByteRange
from pipelines.sources.files.chunks import CHUNK_BYTES, Chunk, ChunkPart, join_parts
from pipelines.sources.files.csv_header import read_header
from pipelines.sources.files.dialects import with_dialect
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import reading
from pipelines.sources.files.parquet import byte_edges, open_parquet, read_row_groups
from pipelines.sources.files.splits import Split

__all__ = ["CHUNK_ROWS", "Chunk", "read_split"]

CHUNK_ROWS = 65_536

_Decoder = Callable[[Block], tuple[pa.RecordBatch, NDArray[np.int64], dict[int, str]]]


def read_split(split: Split, schema: pa.Schema, chunk_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """Read the records of a split.

    Every chunk but the last covers exactly `chunk_rows` rows of the file, including blank lines and bad rows,
    or fewer if these would exceed `CHUNK_BYTES`; its boundaries depend only on the file. The `n_bytes` of all
    chunks of all splits add up to the file's size. A byte order mark at the beginning of a file is skipped.

    Args:
        split: to read.
        schema: the columns of every chunk; those that the file lacks are null.
        chunk_rows: rows a chunk.

    Raises:
        InputError: the file is damaged, a Parquet column does not fit its type, or a row is too long.
        StoreUnavailable: the object store does not answer.
    """
    file = split.file
    with reading(file.path):
        if file.format == "parquet":
            with open_parquet(file) as source:
                groups = range(split.start, split.end)
                sizes = byte_edges(source.metadata, file.size)
                parts = read_row_groups(
                    source, file, groups, split.first_row, schema=schema, chunk_rows=chunk_rows
                )
                yield from join_parts(parts, schema, int(sizes[split.start]), int(sizes[split.end]))
        else:
            known = replace(split, file=with_dialect(file))
            yield from join_parts(_parts(known, schema, chunk_rows), schema, split.start, split.end)


def _parts(split: Split, schema: pa.Schema, chunk_rows: int) -> Iterator[ChunkPart]:
    """Decode the rows of a split of lines or CSV records."""
    file = split.file
    decode, n_head = _decoder(split, schema)
    first_row, rows = split.first_row, file.dialect.rows(csv=file.format == "csv")
    with ByteRange(file, split.start, split.end) as data:
        data.skip(n_head)
        for block, closes in _cut(blocks(iter(data), rows, file.path), chunk_rows):
            batch, good, reasons = decode(block)
            bad = _bad_rows(block, reasons, file, first_row) if reasons else ()
            yield ChunkPart(batch, good + first_row, bad, data.position, closes)
            first_row += len(block)


def _decoder(split: Split, schema: pa.Schema) -> tuple[_Decoder, int]:
    """A decoder for the split's blocks, and the number of bytes before its first row."""
    file = split.file
    if file.format == "csv":
        header = read_header(file)
        decode_csv = CsvDecoder(file.path, file.dialect, schema, header.names)
        return decode_csv, header.n_bytes if split.start == 0 else 0
    decode = JsonDecoder(file.path, schema) if file.format == "jsonl" else TextDecoder(file.path, schema)
    if split.start > 0:
        return decode, 0
    with ByteRange(file, 0, split.end) as data:
        return decode, len(BOM) if next(iter(data), b"").startswith(BOM) else 0


def _cut(whole: Iterator[Block], chunk_rows: int) -> Iterator[tuple[Block, bool]]:
    """Split blocks at the ends of chunks; gives whether a chunk ends with each part."""
    n_rows = n_bytes = 0
    for rest in whole:
        while len(rest):
            full = int(rest.ends.searchsorted(rest.start + CHUNK_BYTES - n_bytes)) + 1
            block, rest = rest.cut(min(chunk_rows - n_rows, full))  # noqa: PLW2901 - what is left of the block
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
            reason = not_decoded(record, encoding) or reason  # noqa: PLW2901 - the same, by its own name
        elif reason.startswith("not UTF-8"):
            reason += ". Set --encoding if the file is in another encoding, as in cp1252"  # noqa: PLW2901
        rows.append(BadRow(file.path, first_row + row, reason, record))
    return tuple(rows)
