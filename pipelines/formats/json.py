"""JSON lines: one object a line, read by pyarrow in whole blocks; bad lines are found one by one.

pyarrow alone decides what is good, so that a line is judged the same whatever stands around it. Blank lines
are no records. Fields that the schema lacks are ignored; strings stay strings, whatever they look like.
"""

import re

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import json

from encoder.errors import InputError
from pipelines.formats.json_types import kind_of, misfit, struct_of
from pipelines.formats.row_boundaries import Block
from pipelines.records.bad_rows import one_line
from pipelines.records.fields import conform
from pipelines.records.utf8 import is_utf8, not_utf8

__all__ = ["JsonDecoder"]

_OPEN, _CLOSE = b"{}"
_BLANKS = b" \t\r\n"
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
        self._row = msgspec.json.Decoder(struct_of(schema))

    def __call__(self, block: Block) -> tuple[pa.RecordBatch, NDArray[np.int64], dict[int, str]]:
        """Decode a block; what is returned is described at `TextDecoder`."""
        rows = _objects(block)
        if rows is not None and is_utf8(block.buffer):
            batch = self._parse(block.buffer, len(rows))
            if not isinstance(batch, str):
                return batch, rows, {}
        return self._isolate(block)

    def _table(self, data: pa.Buffer | bytes) -> pa.Table:
        return json.read_json(
            pa.BufferReader(data),
            json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            json.ParseOptions(explicit_schema=self._schema, unexpected_field_behavior="ignore"),
        )

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
            raise InputError(f"{self._path} has JSON lines that are good only one by one: {batch}")
        return batch, np.array(good, np.int64), bad

    def _obvious(self, line: bytes) -> str | None:
        """What is wrong with a line that is no UTF-8 or no object, or that does not fit the schema."""
        if reason := not_utf8(line):
            return reason
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
        return misfit(record, self._schema)

    def _judge(self, line: bytes) -> str | None:
        """What pyarrow says of a line by itself."""
        found = self._parse(line, 1)
        return self._reason(line, found) if isinstance(found, str) else None

    def _unreadable(self, lines: dict[int, bytes], rows: list[int]) -> dict[int, str]:
        """The rows that cannot be read and why, found by halves."""
        found = self._parse(_joined(lines, rows), len(rows))
        if not isinstance(found, str):
            return {}
        if len(rows) == 1:
            return {rows[0]: self._reason(lines[rows[0]], found)}
        half = len(rows) // 2
        return self._unreadable(lines, rows[:half]) | self._unreadable(lines, rows[half:])

    def _reason(self, line: bytes, found: str) -> str:
        """Why pyarrow does not read a line, for which it gave the reason `found`."""
        try:
            record = msgspec.json.decode(line)
        except (msgspec.MsgspecError, RecursionError) as error:
            return f"not JSON: {one_line(error)}"
        if not isinstance(record, dict):
            return f"not an object: found {kind_of(record)}"
        if twice := _TWICE.search(found):
            return f"field {twice[1].replace('/', '.')!r} is there twice"
        return misfit(record, self._schema) or found


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
