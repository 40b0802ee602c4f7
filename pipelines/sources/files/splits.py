"""Splits: parts of a file that can be read independently."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from encoder.errors import InputError
from pipelines.sources.files.byte_stream import ByteRange
from pipelines.sources.files.csv_header import read_header
from pipelines.sources.files.dialects import with_dialect
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import reading
from pipelines.sources.files.parquet import byte_edges, open_parquet, row_edges

__all__ = ["TARGET_BYTES", "TO_END", "Split", "split_file"]

TARGET_BYTES = 32 << 20
TO_END = sys.maxsize
"""The end of a split of a Parquet file whose footer cannot be read."""


@dataclass(frozen=True)
class Split:
    """A part of a file.

    Attributes:
        file: the file.
        start: the first byte, where a row begins; for Parquet, the first row group.
        end: the end (exclusive), a byte or row group.
        first_row: the number of the first row, from 1. Blank lines count, the header of a CSV file does not.
    """

    file: InputFile
    start: int
    end: int
    first_row: int


def split_file(file: InputFile, target_bytes: int = TARGET_BYTES) -> Iterator[Split]:
    """Split a file into parts of about `target_bytes`, the same ones in every run; an empty file has none.

    A larger file of lines or CSV records is read once for its line breaks. A compressed file is one split;
    so is a file whose encoding has characters of several bytes, except UTF-8. A row group of Parquet is never
    divided. What cannot be read is in the last split: whoever reads it finds the reason again.
    """
    if not file.size:
        return
    if file.format == "parquet":
        yield from _row_groups(file, target_bytes)
    elif file.compression is not None or file.size <= target_bytes:
        yield Split(file, 0, file.size, 1)
    else:
        yield from _byte_ranges(file, target_bytes)


def _row_groups(file: InputFile, target_bytes: int) -> Iterator[Split]:
    try:
        with reading(file.path), open_parquet(file) as source:
            rows, sizes = row_edges(source.metadata), byte_edges(source.metadata, file.size)
    except InputError:
        yield Split(file, 0, TO_END, 1)
        return
    start, n_groups = 0, len(rows) - 1
    for group in range(1, n_groups):
        if sizes[group] - sizes[start] >= target_bytes:
            yield Split(file, start, group, int(rows[start]) + 1)
            start = group
    yield Split(file, start, n_groups, int(rows[start]) + 1)


def _byte_ranges(file: InputFile, target_bytes: int) -> Iterator[Split]:
    start, first_row = 0, 1
    at, n_rows = 0, 0  # n_rows ended before byte `at`
    with suppress(InputError):
        file = with_dialect(file)
        if not file.dialect.is_divisible:
            yield Split(file, 0, file.size, 1)
            return
        n_head = read_header(file).n_rows if file.format == "csv" else 0  # rows to leave out
        rows = file.dialect.rows(csv=file.format == "csv")
        stored = replace(file, dialect=replace(file.dialect, encoding=None))
        with reading(file.path), ByteRange(stored, 0, file.size) as data:
            for piece in data:
                ends = rows.ends(piece) + at
                at += len(piece)
                n_head, ends = max(0, n_head - len(ends)), ends[n_head:]
                taken = 0
                while (behind := int(ends[taken:].searchsorted(start + target_bytes))) < len(ends) - taken:
                    taken += behind + 1
                    end = int(ends[taken - 1])
                    if end < file.size:
                        yield Split(file, start, end, first_row)
                        start, first_row = end, n_rows + taken + 1
                n_rows += len(ends)
    yield Split(file, start, file.size, first_row)
