"""The header of a CSV file."""

from typing import NamedTuple

from encoder.errors import InputError
from pipelines.formats.csv import header_names
from pipelines.formats.row_boundaries import blocks
from pipelines.records.encodings import UTF8, not_decoded
from pipelines.records.utf8 import BOM
from pipelines.sources.files.byte_stream import ByteRange
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import reading

__all__ = ["Header", "read_header"]


class Header(NamedTuple):
    """The header of a CSV file.

    Attributes:
        names: of the columns.
        n_bytes: before the first record, in UTF-8.
        n_rows: blank lines before the header, and the header itself.
    """

    names: tuple[str, ...]
    n_bytes: int
    n_rows: int


def read_header(file: InputFile) -> Header:
    """Read the header of a CSV file whose dialect is known.

    Raises:
        InputError: it is not in the file's encoding, or its quotes do not match.
    """
    with reading(file.path), ByteRange(file, 0, file.size) as data:
        size = n_rows = 0
        for block in blocks(iter(data), file.dialect.rows(csv=True), file.path):
            stops = block.stops()
            for start, stop, end in zip(
                block.starts.tolist(), stops.tolist(), block.ends.tolist(), strict=True
            ):
                header = block.data[start:stop]
                size, n_rows = size + end - start, n_rows + 1
                if header.removeprefix(BOM):
                    return Header(_names(header.removeprefix(BOM), file), size, n_rows)
    return Header((), size, n_rows)


def _names(header: bytes, file: InputFile) -> tuple[str, ...]:
    if reason := not_decoded(header, file.dialect.encoding or UTF8):
        raise InputError(f"the header of {file.path} is {reason}: set `encoding`, as in cp1252")
    names = header_names(header, file.dialect)
    if names is None:
        raise InputError(
            f"the header of {file.path} has quotes that do not match: if quotes are plain characters, "
            "set `quote` none"
        )
    return tuple(names)
