"""The header of a CSV file."""

import pyarrow as pa
from pyarrow import csv

from encoder.errors import InputError
from pipelines.formats.csv import text_options
from pipelines.formats.row_boundaries import CsvRecords, blocks
from pipelines.records.utf8 import BOM, not_utf8
from pipelines.sources.files.byte_stream import ByteRange
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import reading

__all__ = ["read_header"]


def read_header(file: InputFile) -> tuple[tuple[str, ...], int]:
    """The column names of a CSV file, and the number of decompressed bytes before the first record.

    Raises:
        InputError: the header is not UTF-8, or names a column twice.
    """
    with reading(file.path), ByteRange(file, 0, file.size) as data:
        size = 0
        for block in blocks(iter(data), CsvRecords(file.delimiter), file.path):
            stops = block.stops()
            for start, stop, end in zip(
                block.starts.tolist(), stops.tolist(), block.ends.tolist(), strict=True
            ):
                header = block.data[start:stop]
                size += end - start
                if header.removeprefix(BOM):
                    return _names(header.removeprefix(BOM), file), _clipped(size, file)
    return (), _clipped(size, file)


def _clipped(n_bytes: int, file: InputFile) -> int:
    """Without the line break that a last line gets."""
    return n_bytes if file.compression else min(n_bytes, file.size)


def _names(header: bytes, file: InputFile) -> tuple[str, ...]:
    if reason := not_utf8(header):
        raise InputError(f"the header of {file.path} is {reason}: convert the file to UTF-8")
    table = csv.read_csv(
        pa.BufferReader(b"\n" + header + b"\n"),
        read_options=csv.ReadOptions(
            use_threads=False, autogenerate_column_names=True, block_size=len(header) + 3
        ),
        parse_options=csv.ParseOptions(delimiter=file.delimiter, newlines_in_values=True),
        convert_options=text_options([f"f{i}" for i in range(header.count(file.delimiter.encode()) + 1)]),
    )
    names = [column[0].as_py() for column in table.columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"the header of {file.path} names {twice!r} twice: rename one column")
    return tuple(names)
