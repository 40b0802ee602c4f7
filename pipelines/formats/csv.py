"""CSV and TSV: every column is text, exactly as in the file.

An empty field is the empty text, quoted or not, never null; a column that a file lacks is null. Blank lines
between records count as rows, so that row numbers follow the file, but are no records.
"""

import re

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from encoder.errors import InputError
from pipelines.formats.csv_records import Grammar
from pipelines.formats.dialect import Dialect
from pipelines.formats.row_boundaries import Block
from pipelines.records.fields import conform
from pipelines.records.utf8 import BOM, is_utf8, not_utf8

__all__ = ["CsvDecoder", "header_names"]

_RETURN = b"\r"
_UNQUOTED = "text after a closing quote: if quotes are plain characters, set --quote none"


def header_names(header: bytes, dialect: Dialect) -> list[str] | None:
    """The names of the columns, `column_N` for the N-th if it has none; None if its quotes do not match."""
    grammar = Grammar.of(dialect.delimiter or ",", dialect.quote or "", dialect.escape or "")
    parser = _Parser(dialect, [str(i) for i in range(grammar.count_fields(header))])
    table = parser.table(header + b"\n", None)
    if table is None or table.num_rows != 1 or not grammar.record.fullmatch(header):
        return None
    return [column[0].as_py() or f"column_{i}" for i, column in enumerate(table.columns, 1)]


class CsvDecoder:
    """Decodes blocks of CSV records."""

    def __init__(self, path: str, dialect: Dialect, schema: pa.Schema, header: tuple[str, ...]) -> None:
        self._path, self._schema = path, schema
        numbers = [str(i) for i in range(len(header))]
        self._wanted = {name: numbers[i] for i, name in enumerate(header) if name in schema.names}
        self._parser = _Parser(dialect, numbers, list(self._wanted.values()) or numbers[:1])

    def __call__(self, block: Block) -> tuple[pa.RecordBatch, NDArray[np.int64], dict[int, str]]:
        """Decode a block; returns what `TextDecoder` returns."""
        rows = np.flatnonzero(block.stops() > block.starts)
        bad: dict[int, str] = {}
        if block.open_quote:
            bad[int(rows[-1])] = "a quote is never closed"
            rows = rows[:-1]
        bad |= dict.fromkeys(self._parser.misquoted(block, rows), _UNQUOTED)
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

        table = self._parser.table(data, note) if is_utf8(data) else None
        if table is None or table.num_rows + len(wrong) != n_rows:
            return None
        columns = {name: _one_array(table.column(number)) for name, number in self._wanted.items()}
        return columns, wrong

    def _isolate(
        self, block: Block, rows: NDArray[np.int64], bad: dict[int, str]
    ) -> tuple[pa.RecordBatch, NDArray[np.int64], dict[int, str]]:
        """Check suspicious records one by one, then decode the others together."""
        starts, ends = block.starts.tolist(), block.ends.tolist()
        records = {row: block.data[starts[row] : ends[row]] for row in rows.tolist() if row not in bad}
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


class _Parser:
    """pyarrow's parser of CSV for a dialect.

    pyarrow drops every escape. Here one counts only in quotes and before a quote or another escape, as Spark
    writes them; or, where fields are not quoted, before a delimiter, a line break or another escape. So
    escapes become what pyarrow reads the same way, before it parses.

    Args:
        dialect: of the file.
        names: of the columns.
        included: those to return; None for all.
    """

    def __init__(self, dialect: Dialect, names: list[str], included: list[str] | None = None) -> None:
        delimiter, quote = dialect.delimiter or ",", '"' if dialect.quote is None else dialect.quote
        self._names, self._delimiter, self._quote = names, delimiter, quote
        self._escape = (dialect.escape or "").encode()
        self._grammar = Grammar.of(delimiter, quote, dialect.escape or "")
        self._convert = _text_options(names, included)
        self._usual = np.zeros(256, np.bool_)  # the bytes beside quotes that open or close whole fields
        self._usual[[ord(delimiter), *b"\r\n", ord(quote or "\n")]] = True
        escape, end = re.escape(self._escape), re.escape(delimiter.encode())
        self._fields = re.compile(self._grammar.quoted.pattern.replace(b"^|", b"^|(?<=\n)|"))
        self._pairs = re.compile(b"(?s)%s(.)" % escape)
        self._plain = re.compile(b"(?s)%s([%s%s\n])|%s" % (escape, escape, end, escape))

    def table(self, data: pa.Buffer | bytes, handler: object) -> pa.Table | None:
        """The columns as text, or None if pyarrow cannot parse them."""
        data = self._plainly(data)
        try:
            return csv.read_csv(
                pa.BufferReader(_shielded(data)),
                csv.ReadOptions(use_threads=False, block_size=len(data) + 2, column_names=self._names),
                csv.ParseOptions(
                    delimiter=self._delimiter,
                    quote_char=self._quote or False,
                    escape_char=self._escape.decode() if self._escape and not self._quote else False,
                    newlines_in_values=bool(self._quote or self._escape),
                    invalid_row_handler=handler,
                ),
                self._convert,
            )
        except pa.ArrowInvalid:
            return None

    def _plainly(self, data: pa.Buffer | bytes) -> pa.Buffer | bytes:
        """The data with escapes as pyarrow reads them: none in quotes, where quotes are doubled instead."""
        if not self._escape:
            return data
        data = bytes(data)
        if self._escape not in data:
            return data
        if self._quote:
            return self._fields.sub(self._doubled, data)
        return self._plain.sub(lambda found: found[0] if found[1] else 2 * self._escape, data)

    def _doubled(self, field: re.Match[bytes]) -> bytes:
        """A quoted field with doubled quotes instead of escapes."""
        quote = self._quote.encode()

        def one(pair: re.Match[bytes]) -> bytes:
            if pair[1] == quote:
                return 2 * quote
            return pair[1] if pair[1] == self._escape else pair[0]

        return self._pairs.sub(one, field[0])

    def misquoted(self, block: Block, rows: NDArray[np.int64]) -> list[int]:
        """Those of the rows where something stands between a closing quote and the next delimiter."""
        if not self._quote:
            return []
        values = np.frombuffer(block.data, np.uint8)
        quotes = np.flatnonzero(values == ord(self._quote))
        quotes = quotes[quotes >= block.start]
        if not quotes.size or (not self._escape and self._all_usual(values, quotes)):
            return []
        starts, stops, ends = block.starts, block.stops(), block.ends
        quoted = np.unique(np.searchsorted(ends, quotes, "right"))
        return [
            row
            for row in np.intersect1d(quoted, rows).tolist()
            if not self._grammar.record.fullmatch(block.data[starts[row] : stops[row]])
        ]

    def _all_usual(self, values: NDArray[np.uint8], quotes: NDArray[np.int64]) -> bool:
        """Whether all quotes open and close whole fields."""
        opening, closing = quotes[0::2], quotes[1::2]
        before = np.where(opening > 0, values[opening - 1], ord("\n"))
        after = values[np.minimum(closing + 1, len(values) - 1)]
        return bool(self._usual[before].all() and self._usual[after].all())


def _text_options(names: list[str], included: list[str] | None = None) -> csv.ConvertOptions:
    """Options that keep every column as text."""
    return csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        include_columns=included,
        null_values=[],
        strings_can_be_null=False,
    )


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
