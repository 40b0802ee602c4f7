"""CSV and TSV: every column is text, exactly as in the file.

An empty field is the empty text, quoted or not, never null; a column that a file lacks is null. Blank lines
between records count as rows, so that row numbers follow the file, but are no records.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from encoder.errors import InputError
from pipelines.formats.row_boundaries import Block
from pipelines.records.fields import conform
from pipelines.records.utf8 import BOM, is_utf8, not_utf8

__all__ = ["CsvDecoder", "text_options"]

_RETURN = b"\r"


def text_options(names: list[str], included: list[str] | None = None) -> csv.ConvertOptions:
    """Options that keep every column as text."""
    return csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        include_columns=included,
        null_values=[],
        strings_can_be_null=False,
    )


class CsvDecoder:
    """Decodes blocks of CSV records."""

    def __init__(self, path: str, delimiter: str, schema: pa.Schema, header: tuple[str, ...]) -> None:
        self._path, self._schema, self._delimiter = path, schema, delimiter
        self._n_fields = len(header)
        numbers = [str(i) for i in range(len(header))]
        self._wanted = {name: numbers[i] for i, name in enumerate(header) if name in schema.names}
        self._names = numbers
        self._convert = text_options(numbers, list(self._wanted.values()) or numbers[:1])

    def __call__(self, block: Block) -> tuple[pa.RecordBatch, NDArray[np.int64], dict[int, str]]:
        """Decode a block; returns what `TextDecoder` returns."""
        rows = np.flatnonzero(block.stops() > block.starts)
        bad: dict[int, str] = {}
        if block.open_quote:
            bad[int(rows[-1])] = "a quote is never closed"
            rows = rows[:-1]
        if not bad and not _has_lone_return(block.data):
            parsed = self._parse(block.buffer, len(rows))
            if parsed is not None:
                columns, wrong = parsed
                bad = {int(rows[i]): reason for i, reason in wrong.items()}
                return self._batch(columns, len(rows) - len(bad)), np.delete(rows, list(wrong)), bad
        return self._isolate(block, rows, bad)

    def _batch(self, columns: dict[str, pa.Array], n_rows: int) -> pa.RecordBatch:
        return conform(columns, self._schema, n_rows, self._path)

    def _parse(
        self, data: pa.Buffer | bytes, n_rows: int
    ) -> tuple[dict[str, pa.Array], dict[int, str]] | None:
        """The wanted columns, and what is wrong with the n-th rows; None if the rows cannot be separated."""
        wrong: dict[int, str] = {}
        if not n_rows:
            return {}, wrong

        def note(row: csv.InvalidRow) -> str:
            wrong[row.number - 1] = f"{row.actual_columns} fields where the header has {row.expected_columns}"
            return "skip"

        if not is_utf8(data):
            return None
        try:
            table = csv.read_csv(
                pa.BufferReader(_shielded(data)),
                csv.ReadOptions(use_threads=False, block_size=len(data) + 2, column_names=self._names),
                csv.ParseOptions(
                    delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=note
                ),
                self._convert,
            )
        except pa.ArrowInvalid:
            return None
        if table.num_rows + len(wrong) != n_rows:
            return None
        columns = {name: _one_array(table.column(number)) for name, number in self._wanted.items()}
        return columns, wrong

    def _isolate(
        self, block: Block, rows: NDArray[np.int64], bad: dict[int, str]
    ) -> tuple[pa.RecordBatch, NDArray[np.int64], dict[int, str]]:
        """Check suspicious records one by one, then decode the others together."""
        starts, ends = block.starts.tolist(), block.ends.tolist()
        records = {row: block.data[starts[row] : ends[row]] for row in rows.tolist()}
        for row, record in records.items():
            if reason := not_utf8(record) or (_has_lone_return(record) and self._reason(record)):
                bad[row] = reason
        good = [row for row in records if row not in bad]
        parsed = self._parse(b"".join(records[row] for row in good), len(good))
        if parsed is None or parsed[1]:
            reasons = {row: self._reason(records[row]) for row in good}
            bad.update({row: reason for row, reason in reasons.items() if reason})
            good = [row for row in good if row not in bad]
            parsed = self._parse(b"".join(records[row] for row in good), len(good))
        if parsed is None:
            raise InputError(f"{self._path} has CSV records that cannot be separated: check its quotes")
        return self._batch(parsed[0], len(good)), np.array(good, np.int64), bad

    def _reason(self, record: bytes) -> str | None:
        """What is wrong with one record."""
        parsed = self._parse(record, 1)
        return "a carriage return outside quotes" if parsed is None else parsed[1].get(0)


def _has_lone_return(data: bytes) -> bool:
    """Whether a carriage return has no line feed after it; pyarrow would take it for a line break."""
    return _RETURN in data and data.count(_RETURN) != data.count(b"\r\n")


def _shielded(data: pa.Buffer | bytes) -> pa.Buffer:
    """The data, after a blank line if it begins with a byte order mark, which pyarrow would drop."""
    buffer = pa.py_buffer(data)
    if memoryview(buffer)[: len(BOM)] != BOM:
        return buffer
    return pa.py_buffer(b"\n" + buffer.to_pybytes())


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return (
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks or [pa.array([], pa.string())])
    )
