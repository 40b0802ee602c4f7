"""JSON lines: one object a line, parsed by pyarrow in whole blocks; bad lines are found one by one.

pyarrow alone decides what is valid, so a line's neighbours do not change the result. Blank lines are no
records. Fields that the schema lacks are ignored; strings stay strings, whatever they look like. Lines with a
number that its column would round are bad.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.types as pt
from numpy.typing import NDArray
from pyarrow import json

from encoder.errors import InputError
from pipelines.formats.json_left_out import LeftOut
from pipelines.formats.json_numbers import has_floats, inner_types, large_numbers, long_numbers, rounded
from pipelines.formats.row_boundaries import Block
from pipelines.records.bad_rows import one_line
from pipelines.records.encodings import other_encoding
from pipelines.records.fields import conform
from pipelines.records.utf8 import is_utf8, not_utf8

__all__ = ["JsonDecoder"]

_OPEN, _CLOSE = b"{}"
_BLANKS = b" \t\r\n"
_SHOWN = 60  # characters of a value in a reason
_DECIMAL = int | float
_KINDS: dict[Any, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "a string", _DECIMAL: "a number"
}  # fmt: skip
_HINTS = (
    (pt.is_boolean, bool),
    (pt.is_integer, int),
    (pt.is_floating, float),
    (pt.is_decimal, _DECIMAL),
    (pt.is_string, str),
    (pt.is_large_string, str),
)
_TWICE = re.compile(r"Column\(/?(.*?)\) was specified twice")


class JsonDecoder:
    """Decodes blocks of JSON lines.

    Args:
        path: of the file, or the name of the topic.
        schema: the columns.
        all_fields: whether the columns were meant to hold all fields: those that they lack are counted.

    Attributes:
        left_out: counts the values of fields that no column holds; None without `all_fields`.
    """

    def __init__(self, path: str, schema: pa.Schema, *, all_fields: bool = False) -> None:
        self._path, self._schema = path, schema
        folder = path.rpartition("/")[0]  # one line of the log for all files in it
        self.left_out = LeftOut(schema, folder or path) if all_fields else None
        try:
            self._table(b"{}\n")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(
                f"{path}: JSON lines cannot be read as {schema.types} ({one_line(error)})"
            ) from error
        self._row = msgspec.json.Decoder(_struct_of(schema))
        self._has_floats = has_floats(schema.types)
        self._checks_lines = _has_decimals(schema.types)  # pyarrow reads the text "1" as a decimal

    def __call__(self, block: Block) -> tuple[pa.RecordBatch, NDArray[np.int64], dict[int, str]]:
        """Decode a block; returns what `TextDecoder` returns."""
        found = self._decoded(block)
        if self.left_out is not None:
            self.left_out.keep()
        return found

    def _decoded(self, block: Block) -> tuple[pa.RecordBatch, NDArray[np.int64], dict[int, str]]:
        rows = None if self._checks_lines else _objects(block)
        if rows is not None and is_utf8(block.buffer):
            batch = self._parse(block.buffer, len(rows))
            if not isinstance(batch, str):
                return self._without_rounded(block, batch, rows, {})
        return self._without_rounded(block, *self._isolate(block))

    def _without_rounded(
        self, block: Block, batch: pa.RecordBatch, rows: NDArray[np.int64], bad: dict[int, str]
    ) -> tuple[pa.RecordBatch, NDArray[np.int64], dict[int, str]]:
        """The rows whose numbers are as they were written; the others are bad."""
        if not self._has_floats or not len(rows):
            return batch, rows, bad
        places = long_numbers(block.buffer) + block.start
        suspects = [np.searchsorted(block.ends, places, side="right")] if len(places) else []
        suspects += [rows[large] for column in batch.columns if len(large := large_numbers(column))]
        if not suspects:
            return batch, rows, bad
        starts, found = block.starts, {}
        for row in np.intersect1d(rows, np.concatenate(suspects)).tolist():
            if reason := rounded(block.data[starts[row] : block.ends[row]], self._schema):
                found[row] = reason
        if not found:
            return batch, rows, bad
        good = ~np.isin(rows, list(found))
        return batch.filter(pa.array(good)), rows[good], bad | found

    def _table(self, data: pa.Buffer | bytes) -> pa.Table:
        def read(unexpected: str) -> pa.Table:
            return json.read_json(
                pa.BufferReader(data),
                json.ReadOptions(use_threads=False, block_size=len(data) + 1),
                json.ParseOptions(explicit_schema=self._schema, unexpected_field_behavior=unexpected),
            )

        return read("ignore") if self.left_out is None else self.left_out.table(data, read)

    def _parse(self, data: pa.Buffer | bytes, n_rows: int) -> pa.RecordBatch | str:
        """A batch of exactly `n_rows` objects, or why there is none."""
        if not n_rows:
            return conform({}, self._schema, 0, self._path)
        try:
            table = self._table(data).combine_chunks()
        except pa.ArrowInvalid as error:
            return one_line(error)
        if table.num_rows != n_rows:
            return "more than one object"
        columns = {name: table.column(name).chunk(0) for name in self._schema.names}
        return conform(columns, self._schema, n_rows, self._path)

    def _isolate(self, block: Block) -> tuple[pa.RecordBatch, NDArray[np.int64], dict[int, str]]:
        """Find the bad lines, then decode the others together."""
        starts, ends = block.starts.tolist(), block.ends.tolist()
        lines = {
            row: line
            for row, (start, end) in enumerate(zip(starts, ends, strict=True))
            if (line := block.data[start:end].strip(_BLANKS))
        }
        bad = {row: reason for row, line in lines.items() if (reason := self._obvious(line))}
        good = [row for row in lines if row not in bad]
        batch = self._parse(_joined(lines, good), len(good))
        if isinstance(batch, str):
            bad |= self._unreadable(lines, good)
            good = [row for row in good if row not in bad]
            batch = self._parse(_joined(lines, good), len(good))
        if isinstance(batch, str):
            raise InputError(f"{self._path} has JSON lines that pyarrow reads only one by one: {batch}")
        return batch, np.array(good, np.int64), bad

    def _obvious(self, line: bytes) -> str | None:
        """What is wrong with a line that is not UTF-8, not an object, or does not fit the schema."""
        if reason := not_utf8(line):
            return other_encoding(line) or reason
        if line[0] != _OPEN or line[-1] != _CLOSE:
            return self._reason(line, "not an object")
        try:
            self._row.decode(line)
        except (msgspec.MsgspecError, RecursionError):
            return self._misfit(line) or self._judge(line)
        return None

    def _misfit(self, line: bytes) -> str | None:
        try:
            record = msgspec.json.decode(line)
        except (msgspec.MsgspecError, RecursionError):
            return None
        return _misfit(record, self._schema)

    def _judge(self, line: bytes) -> str | None:
        """What pyarrow reports about a single line."""
        found = self._parse(line, 1)
        return self._reason(line, found) if isinstance(found, str) else None

    def _unreadable(self, lines: dict[int, bytes], rows: list[int]) -> dict[int, str]:
        """The rows that cannot be read and why, by bisection."""
        found = self._parse(_joined(lines, rows), len(rows))
        if not isinstance(found, str):
            return {}
        if len(rows) == 1:
            return {rows[0]: self._reason(lines[rows[0]], found)}
        half = len(rows) // 2
        return self._unreadable(lines, rows[:half]) | self._unreadable(lines, rows[half:])

    def _reason(self, line: bytes, found: str) -> str:
        """Why a line cannot be read; `found` is pyarrow's reason."""
        try:
            record = msgspec.json.decode(line)
        except RecursionError:
            return f"nested too deep ({found})"
        except msgspec.MsgspecError as error:
            return other_encoding(line) or f"not JSON: {one_line(error)}"
        if not isinstance(record, dict):
            return f"not an object: found {_kind_of(record)}"
        if twice := _TWICE.search(found):
            return f"field {twice[1].replace('/', '.')!r} appears twice"
        return _misfit(record, self._schema) or found


def _objects(block: Block) -> NDArray[np.int64] | None:
    """The rows that are not blank, if each begins with `{` and ends with `}`.

    Then no object spans two lines: its line break would be between `}` and `{`, where JSON needs a comma. So
    as many objects as rows means one object a row.
    """
    values = np.frombuffer(block.data, np.uint8)
    starts, stops = block.starts, block.stops()
    rows = np.flatnonzero(stops > starts)
    firsts, lasts = values[starts[rows]], values[stops[rows] - 1]
    return rows if bool(((firsts == _OPEN) & (lasts == _CLOSE)).all()) else None


def _joined(lines: dict[int, bytes], rows: list[int]) -> bytes:
    return b"\n".join([*(lines[row] for row in rows), b""])


def _struct_of(fields: Iterable[pa.Field], name: str = "Row") -> type[msgspec.Struct]:
    """A msgspec type that accepts about what pyarrow accepts, to find suspicious lines fast."""
    fields = list(fields)
    names = [f"f{i}" for i in range(len(fields))]
    return msgspec.defstruct(
        name,
        [(python, _hint(field.type) | None, None) for python, field in zip(names, fields, strict=True)],
        rename=dict(zip(names, (field.name for field in fields), strict=True)),
    )


def _has_decimals(kinds: Iterable[pa.DataType]) -> bool:
    return any(pt.is_decimal(kind) or _has_decimals(inner_types(kind)) for kind in kinds)


def _hint(kind: pa.DataType) -> Any:
    for is_kind, hint in _HINTS:
        if is_kind(kind):
            return hint
    if pt.is_list(kind):
        return list[_hint(kind.value_type) | None]  # type: ignore[misc] # a type made at run time
    return _struct_of(kind) if pt.is_struct(kind) else msgspec.Raw


def _misfit(record: dict[str, Any], fields: Iterable[pa.Field], prefix: str = "") -> str | None:
    """Which field of a record certainly does not fit its type and why, or None."""
    for field in fields:
        value, name = record.get(field.name), prefix + field.name
        if isinstance(value, dict) and pt.is_struct(field.type):
            if reason := _misfit(value, field.type, f"{name}."):
                return reason
        elif value is not None and not _fits(value, field.type):
            expected = "a list" if pt.is_list(field.type) else _KINDS.get(_hint(field.type), "an object")
            found = msgspec.json.encode(value).decode()
            return f"field {name!r}: expected {expected}, found {found[:_SHOWN]}{'…' * (len(found) > _SHOWN)}"
    return None


def _fits(value: Any, kind: pa.DataType) -> bool:
    hint = _hint(kind)
    if hint is msgspec.Raw:
        return True  # left to pyarrow
    try:
        msgspec.convert(value, hint, strict=True)
    except msgspec.ValidationError:
        return False
    return hint is not int or (isinstance(value, int) and _in_range(value, kind))


def _in_range(value: int, kind: pa.DataType) -> bool:
    try:
        pa.scalar(value, kind)
    except (pa.ArrowInvalid, OverflowError):
        return False
    return True


def _kind_of(value: Any) -> str:
    """A name for the kind of a JSON value."""
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else _KINDS[type(value)]
