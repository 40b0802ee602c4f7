"""JSON lines: one object a line, read by pyarrow in whole blocks; bad lines are found one by one.

pyarrow alone decides what is good, so that a line is judged the same whatever stands around it. Blank lines
are no records. Fields that the schema lacks are ignored; strings stay strings, whatever they look like.
"""

import re
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import json

from encoder.errors import InputError
from pipelines.records.chunks import conform
from pipelines.records.files import one_line
from pipelines.records.rows import Block
from pipelines.records.utf8 import is_utf8, not_utf8

__all__ = ["JsonDecoder"]

_OPEN, _CLOSE = b"{}"
_BLANKS = b" \t\r\n"
_SHOWN = 60  # characters of a value in a reason
_TWICE = re.compile(r"Column\(/?(.*?)\) was specified twice")


class JsonDecoder:
    """Decodes blocks of JSON lines."""

    def __init__(self, path: str, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        try:
            self._table(b"{}\n")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(
                f"{path}: JSON lines cannot be read as {schema.types} ({one_line(error)})"
            ) from error
        self._row = msgspec.json.Decoder(_struct(list(schema)))

    def __call__(self, block: Block) -> tuple[pa.RecordBatch, NDArray[np.int64], dict[int, str]]:
        """Decode a block; what is returned is described at `TextDecoder`."""
        rows = _objects(block)
        if rows is not None and is_utf8(block.buffer):
            batch = self._parse(block.buffer, len(rows))
            if batch is not None:
                return batch, rows, {}
        return self._isolate(block)

    def _table(self, data: pa.Buffer | bytes) -> pa.Table:
        return json.read_json(
            pa.BufferReader(data),
            json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            json.ParseOptions(explicit_schema=self._schema, unexpected_field_behavior="ignore"),
        )

    def _parse(self, data: pa.Buffer | bytes, n_rows: int) -> pa.RecordBatch | None:
        """A batch of exactly `n_rows` objects, or None."""
        if not n_rows:
            return conform({}, self._schema, 0, self._path)
        try:
            table = self._table(data).combine_chunks()
        except pa.ArrowInvalid:
            return None
        if table.num_rows != n_rows:
            return None
        return conform(
            {name: table.column(name).chunk(0) for name in self._schema.names},
            self._schema,
            n_rows,
            self._path,
        )

    def _isolate(self, block: Block) -> tuple[pa.RecordBatch, NDArray[np.int64], dict[int, str]]:
        starts, ends = block.starts.tolist(), block.ends.tolist()
        lines = {row: block.data[starts[row] : ends[row]].strip(_BLANKS) for row in range(len(block))}
        lines = {row: line for row, line in lines.items() if line}
        bad = {row: reason for row, line in lines.items() if (reason := self._obvious(line))}
        good = [row for row in lines if row not in bad]
        batch = self._parse(_joined(lines, good), len(good))
        if batch is None:
            bad |= {row: self._reason(lines[row]) for row in self._unreadable(lines, good)}
            good = [row for row in good if row not in bad]
            batch = self._parse(_joined(lines, good), len(good))
        if batch is None:
            raise InputError(f"{self._path} has JSON lines that cannot be read together: report this")
        return batch, np.array(good, np.int64), bad

    def _obvious(self, line: bytes) -> str | None:
        """What is wrong with a line that is no UTF-8 or no object, or that does not fit the schema."""
        if reason := not_utf8(line):
            return reason
        if line[0] != _OPEN or line[-1] != _CLOSE:
            return self._reason(line)
        try:
            self._row.decode(line)
        except (msgspec.MsgspecError, RecursionError):
            return None if self._parse(line, 1) is not None else self._reason(line)
        return None

    def _unreadable(self, lines: dict[int, bytes], rows: list[int]) -> list[int]:
        """The rows that cannot be read, found by halves."""
        if self._parse(_joined(lines, rows), len(rows)) is not None:
            return []
        if len(rows) <= 1:
            return rows
        half = len(rows) // 2
        return self._unreadable(lines, rows[:half]) + self._unreadable(lines, rows[half:])

    def _reason(self, line: bytes) -> str:
        """Why pyarrow does not read a line, in the words of who wrote it."""
        try:
            record = msgspec.json.decode(line)
        except (msgspec.MsgspecError, RecursionError) as error:
            return f"not JSON: {one_line(error)}"
        if not isinstance(record, dict):
            return f"not an object: found {_kind(record)}"
        try:
            self._table(line)
        except pa.ArrowInvalid as error:
            if twice := _TWICE.search(str(error)):
                return f"field {twice[1].replace('/', '.')!r} is there twice"
            arrow = one_line(error)
        else:
            arrow = "more than one object"
        return _misfit(record, list(self._schema)) or arrow


def _objects(block: Block) -> NDArray[np.int64] | None:
    """The rows that are not blank, if each of them begins with `{` and ends with `}`.

    Where that holds, no object spans two lines: a line break would have to stand between `}` and `{`, where
    JSON has a comma. So as many objects as rows means one in each.
    """
    values = np.frombuffer(block.data, np.uint8)
    starts, stops = block.starts, block.stops()
    rows = np.flatnonzero(stops > starts)
    firsts, lasts = values[starts[rows]], values[stops[rows] - 1]
    return rows if bool(((firsts == _OPEN) & (lasts == _CLOSE)).all()) else None


def _joined(lines: dict[int, bytes], rows: list[int]) -> bytes:
    return b"\n".join([*(lines[row] for row in rows), b""])


def _struct(fields: list[pa.Field], name: str = "Row") -> type[msgspec.Struct]:
    """A msgspec type that takes about what pyarrow takes: a fast hint at the lines to look at."""
    names = [f"f{i}" for i in range(len(fields))]
    return msgspec.defstruct(
        name,
        [(python, _hint(field.type) | None, None) for python, field in zip(names, fields, strict=True)],
        rename=dict(zip(names, (field.name for field in fields), strict=True)),
    )


def _hint(kind: pa.DataType) -> Any:
    if pa.types.is_boolean(kind):
        return bool
    if pa.types.is_integer(kind):
        return int
    if pa.types.is_floating(kind):
        return float
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return str
    if pa.types.is_list(kind):
        return list[_hint(kind.value_type) | None]  # type: ignore[misc] # a type made at run time
    return _struct(list(kind)) if pa.types.is_struct(kind) else msgspec.Raw


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


def _misfit(record: dict[str, Any], fields: list[pa.Field], prefix: str = "") -> str | None:
    """Which field of `record` does not fit its type."""
    for field in fields:
        value, name = record.get(field.name), prefix + field.name
        if value is None:
            continue
        hint = _hint(field.type)
        if isinstance(value, dict) and pa.types.is_struct(field.type):
            if reason := _misfit(value, list(field.type), f"{name}."):
                return reason
            continue
        try:
            fits = msgspec.convert(value, hint, strict=True) is not None and not (
                hint is int and _too_large(value, field)
            )
        except msgspec.ValidationError:
            fits = False
        if not fits:
            expected = _KINDS.get(hint, "a list" if pa.types.is_list(field.type) else "an object")
            found = msgspec.json.encode(value).decode()
            return f"field {name!r}: expected {expected}, found {found[:_SHOWN]}{'…' * (len(found) > _SHOWN)}"
    return None


def _too_large(value: Any, field: pa.Field) -> bool:
    try:
        pa.scalar(int(value), field.type)
    except (pa.ArrowInvalid, OverflowError):
        return True
    return isinstance(value, float)


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else _KINDS[type(value)]
