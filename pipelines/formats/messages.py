"""Values of messages as records: dictionaries with all their fields, or Arrow columns.

Dictionaries keep all fields, for outputs that carry any; columns have one schema, for outputs that need one.
A bad value is reported with the reason and does not affect the others.
"""

import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.types as pt
from numpy.typing import NDArray

from pipelines.formats import PlainFormat
from pipelines.formats.json import JsonDecoder
from pipelines.formats.json_inference import Seen, fields_of
from pipelines.formats.json_objects import JsonValues, careful_decode
from pipelines.formats.row_boundaries import Block
from pipelines.formats.text import TEXT
from pipelines.records.bad_rows import one_line
from pipelines.records.encodings import other_encoding
from pipelines.records.fields import join_batches
from pipelines.records.isolation import fault_of, isolate

__all__ = [
    "Columns",
    "Objects",
    "columns_seen",
    "decode_columns",
    "decode_objects",
    "json_columns",
    "object_columns",
    "text_columns",
]

Value = bytes | None
_TEXT_TYPES = {str, type(None)}
_EXACT_INTEGERS = 2.0**53
_BLANKS = b" \t\r\n"
_NUL = b"\0"
_BEYOND = "out of range"  # msgspec, of a number beyond a double


class Objects(NamedTuple):
    """Values as dictionaries.

    Attributes:
        records: the good values.
        rows: their positions among all values, ascending.
        bad: the positions of the others, and what is wrong with them.
    """

    records: list[dict[str, Any]]
    rows: Sequence[int]
    bad: dict[int, str]

    @property
    def places(self) -> NDArray[np.int64]:
        """`(n_good,)` int64, the rows as an array."""
        return np.array(self.rows, np.int64) if self.bad else np.arange(len(self.rows))


class Columns(NamedTuple):
    """Values as columns; the other attributes are those of `Objects`."""

    batch: pa.RecordBatch
    rows: list[int]
    bad: dict[int, str]


_json = msgspec.json.Decoder(dict[str, Any])


def _from_json(value: bytes) -> dict[str, Any]:
    return _json.decode(value)


def _from_text(value: bytes) -> dict[str, Any]:
    return {TEXT: value.decode()}


_DECODERS: dict[str, Callable[[bytes], dict[str, Any]]] = {"json": _from_json, "text": _from_text}


def decode_objects(values: Sequence[Value], kind: PlainFormat, *, as_written: bool = False) -> Objects:
    """Decode values as dictionaries.

    Args:
        values: of messages.
        kind: their format.
        as_written: keep JSON numbers that a double does not hold as `msgspec.Raw`, which only a JSON encoder
            writes; else they are bad.
    """
    if kind == "text":
        return _texts_of(values)
    found, taken = _objects(values)
    beyond = [row for row, reason in found.bad.items() if _BEYOND in reason]
    changed = {
        row: careful_decode(taken.values[row], as_written=as_written)
        for row in taken.suspicious(found.records)
    }
    for row, record in changed.items():
        if isinstance(record, dict):
            found.records[row] = record
        else:
            found.bad[found.rows[row]] = record
    bad = {row for row, record in changed.items() if isinstance(record, str)}
    if not bad and not beyond:
        return found
    good = {row: found.records[i] for i, row in enumerate(found.rows) if i not in bad}
    for row in beyond:
        record = careful_decode(values[row] or b"", as_written=as_written)
        if isinstance(record, dict):
            good[row] = record
            del found.bad[row]
        else:
            found.bad[row] = record
    rows = sorted(good)
    return Objects([good[row] for row in rows], rows, found.bad)


def _objects(values: Sequence[Value]) -> tuple[Objects, JsonValues]:
    """Values of JSON as dictionaries, and the good values."""
    try:
        taken = JsonValues.of(values)  # type: ignore[arg-type] # None is an error like others
        records = taken.decode()
        if len(records) == len(values):
            return Objects(records, range(len(values)), {}), taken
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):
        pass
    found = _isolated(values, _from_json)
    return found, JsonValues.of([value for row in found.rows if (value := values[row]) is not None])


def _texts_of(values: Sequence[Value]) -> Objects:
    try:
        if _NUL not in b"".join(values):  # type: ignore[arg-type] # None is an error like others
            return Objects([_from_text(value) for value in values], range(len(values)), {})  # type: ignore[arg-type] # None is an error like others
    except (UnicodeDecodeError, TypeError):
        pass
    return _isolated(values, _from_text)


def _isolated(values: Sequence[Value], decode: Callable[[bytes], dict[str, Any]]) -> Objects:
    records, rows, bad = [], [], {}
    for row, value in enumerate(values):
        if value is None:
            bad[row] = "the value is null"
            continue
        if _NUL in value and (reason := other_encoding(value)):
            bad[row] = reason
            continue
        try:
            records.append(decode(value))
            rows.append(row)
        except UnicodeDecodeError as error:
            bad[row] = other_encoding(value) or f"not UTF-8: byte {error.object[error.start]:#04x}"
        except msgspec.ValidationError as error:
            reason = one_line(error)
            bad[row] = f"not an object: {reason}" if reason.startswith("Expected") else f"not JSON: {reason}"
        except (msgspec.MsgspecError, RecursionError) as error:
            bad[row] = f"not JSON: {one_line(error)}"
    return Objects(records, rows, bad)


def text_columns(records: Sequence[dict[str, Any]], fields: Sequence[str]) -> pa.RecordBatch:
    """The fields of a text template as string columns, null where a record lacks them.

    A field is found by its whole name or by its dotted path. Numbers, booleans, lists and objects become
    JSON, whole numbers without a fraction, times ISO 8601, bytes base64.
    """
    arrays = [pa.array(_texts(records, name), pa.large_string()) for name in fields]
    return pa.RecordBatch.from_arrays(arrays, names=list(fields))


def _texts(records: Sequence[dict[str, Any]], name: str) -> list[str | None]:
    """A field of each record as text; fast for strings at the top level, the usual case."""
    if "." in name:
        found = [_field(record, name) for record in records]
    else:
        try:
            found = list(map(itemgetter(name), records))  # the fastest way
        except KeyError:
            found = [record.get(name) for record in records]
    return found if set(map(type, found)) <= _TEXT_TYPES else [_text(value) for value in found]


def _field(record: dict[str, Any], name: str) -> Any:
    if name in record or "." not in name:
        return record.get(name)
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        inner = record.get(".".join(parts[:length]))
        if isinstance(inner, dict) and (found := _field(inner, ".".join(parts[length:]))) is not None:
            return found
    return None


def _text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    if type(value) is float:
        if not math.isfinite(value):
            return None  # as in JSON
        if value.is_integer() and abs(value) < _EXACT_INTEGERS:
            return str(int(value))
    text = msgspec.json.encode(value).decode()
    return msgspec.json.decode(text, type=str) if text.startswith('"') else text  # times, decimals, bytes


def object_columns(records: Sequence[dict[str, Any]], schema: pa.Schema) -> Columns:
    """Records as columns, of which the schema has at least one.

    Other fields are left out, missing ones are null, records that do not fit are bad.
    """
    kind = pa.struct(list(schema))
    rows = list(range(len(records)))
    if bad := _misfits(records, rows, kind):
        rows = [row for row in rows if row not in bad]
        records = [records[row] for row in rows]
    structs = pa.array(records, kind)
    arrays = [structs.field(name) for name in schema.names]
    return Columns(pa.RecordBatch.from_arrays(arrays, schema=schema), rows, bad)


def _misfits(records: Sequence[dict[str, Any]], rows: list[int], kind: pa.DataType) -> dict[int, str]:
    """The rows whose records do not fit a type and why, by bisection."""
    if _misfit([records[row] for row in rows], kind) is None:
        return {}
    if len(rows) > 1:
        half = len(rows) // 2
        return _misfits(records, rows[:half], kind) | _misfits(records, rows[half:], kind)
    record = records[rows[0]]
    for field in kind:
        if reason := _misfit([record.get(field.name)], field.type):
            return {rows[0]: f"field {field.name!r} is not {field.type}: {reason}"}
    return {rows[0]: "it does not fit the columns"}


def _misfit(values: Sequence[Any], kind: pa.DataType) -> str | None:
    try:
        pa.array(values, kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        return one_line(error)
    return None


def columns_seen(values: Sequence[Value], kind: PlainFormat) -> pa.Schema:
    """The columns of a sample of values, each of the type that most of them have."""
    if kind == "text":
        return pa.schema([(TEXT, pa.string())])
    seen = Seen()
    for value in values:  # one by one: as Python objects they may take 25 times as much memory
        for record in _isolated([value], _DECODERS[kind]).records:
            seen.add_object(record)
    return pa.schema(fields_of(seen))


def json_columns(schema: pa.Schema) -> pa.Schema:
    """Columns as JSON has them: dates are text, which `decode_columns` casts."""
    return pa.schema(
        [field.with_type(pa.string()) if pt.is_date32(field.type) else field for field in schema]
    )


def decode_columns(
    values: Sequence[Value], kind: PlainFormat, schema: pa.Schema, decoder: JsonDecoder | None
) -> Columns:
    """Decode values into columns; a value that cannot be decoded, whatever raises, is bad.

    Args:
        values: of messages.
        kind: their format.
        schema: the columns; other fields are left out, values that do not fit are bad.
        decoder: of JSON lines with these columns as JSON has them; None for text.
    """
    done, failed = isolate(len(values), lambda a, b: _decode_columns(values[a:b], kind, schema, decoder))
    if len(done) == 1 and not failed:
        return done[0][1]
    bad = {row: fault_of(error) for row, error in failed.items()}
    rows: list[int] = []
    for first, part in done:
        rows += [first + row for row in part.rows]
        bad |= {first + row: reason for row, reason in part.bad.items()}
    return Columns(join_batches([part.batch for _, part in done], schema), rows, bad)


def _decode_columns(
    values: Sequence[Value], kind: PlainFormat, schema: pa.Schema, decoder: JsonDecoder | None
) -> Columns:
    if kind == "text" or decoder is None:
        records, rows, bad = decode_objects(values, kind)
        return Columns(pa.RecordBatch.from_pylist(records, schema), list(rows), bad)
    data = [b"" if value is None else value.strip(_BLANKS) for value in values]
    ends = np.cumsum(np.fromiter(map(len, data), np.int64, len(data)) + 1)
    batch, good, bad = decoder(Block(b"\n".join([*data, b""]), 0, ends))
    if batch.schema != schema:
        batch = batch.cast(schema)
    for column in batch.columns:
        if pt.is_decimal(column.type):
            column.validate(full=True)  # pyarrow's reader lets whole numbers have too many digits
    rows = good.tolist()
    if len(rows) + len(bad) < len(values):
        for row in set(range(len(values))) - set(rows) - set(bad):
            bad[row] = "the value is null" if values[row] is None else "the value is empty"
    return Columns(batch, rows, bad)
