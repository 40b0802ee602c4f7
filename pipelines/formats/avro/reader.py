"""Avro records as dictionaries, and slices of their bytes.

Values of logical types become `datetime`, `date`, `time` and `Decimal`; UUIDs and enums are text. An Avro
record is its fields one after the other, so a subset of the fields is made of slices of the record.

A few bytes of a message must not cost much memory: schemas with arrays of items without bytes are refused,
and recursive ones are read by fastavro's Python code, which stops at a depth where its C code would crash.
"""

import io
import itertools
from collections.abc import Collection, Iterator
from typing import Any

import fastavro
import msgspec
import pyarrow as pa
from fastavro import _read_py  # the one reader that limits the depth; it has no public name

from pipelines.formats.avro.logical_types import CHECKED, PREFIX, checked_map
from pipelines.formats.avro.types import field_types
from pipelines.formats.schema_registry import HEADER, FieldTypes, Schema, SchemaError, check_columns
from pipelines.records.bad_rows import one_line

__all__ = ["AvroReader", "AvroSlices", "parsed"]

_Parsed = dict[str, Any]
_Names = dict[str, Any]


def parsed(schema: Schema) -> tuple[_Parsed, _Names]:
    """Parse a schema of records.

    Returns:
        The schema with full names, and the definitions of all names.

    Raises:
        SchemaError: it is no Avro schema of a record.
    """
    names: _Names = {}
    try:
        for part in schema.parts.values():
            fastavro.parse_schema(msgspec.json.decode(part), names)
        found = fastavro.parse_schema(msgspec.json.decode(schema.text), names)
    except Exception as error:
        raise SchemaError(f"it cannot be read: {one_line(error) or type(error).__name__}") from error
    if not isinstance(found, dict) or found.get("type") not in ("record", "error"):
        raise SchemaError("its values are not records")
    return found, names


def _readable(schema: Schema) -> Schema:
    """The schema with UUIDs that are plain text, and with types whose values are checked."""
    names = map("MillstreamEntry{}".format, itertools.count())
    parts = {name: _checked(part, names) for name, part in schema.parts.items()}
    return schema._replace(text=_checked(schema.text, names), parts=parts)


def _checked(text: str, names: Iterator[str]) -> str:
    if not any(f'"{name}"' in text for name in ("uuid", "map", *CHECKED)):
        return text
    try:
        return msgspec.json.encode(_renamed(msgspec.json.decode(text), names)).decode()
    except msgspec.MsgspecError:
        return text  # `parsed` reports it


def _renamed(schema: Any, names: Iterator[str]) -> Any:
    if isinstance(schema, list):
        return [_renamed(one, names) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kind, logical = schema.get("type"), schema.get("logicalType")
    if (kind, logical) == ("string", "uuid"):
        return "string"
    if kind == "map" and "values" in schema:
        return checked_map(_renamed(schema["values"], names), next(names))
    # Defaults play no part in reading, and those of maps would not fit.
    made = {key: _renamed(value, names) for key, value in schema.items() if key != "default"}
    if isinstance(kind, str) and kind in CHECKED.get(str(logical), ()):
        made["logicalType"] = PREFIX + str(logical)
    return made


class AvroReader:
    """Reads the records of one schema.

    Args:
        schema: of the registry.
        columns: that the records must fit, or None.

    Raises:
        SchemaError: the schema cannot be read, or its values would lose something in the columns.
    """

    n_unknown = 0  # an Avro record is its schema's fields

    def __init__(self, schema: Schema, columns: pa.Schema | None = None) -> None:
        self._fields = field_types(*parsed(schema))
        self._parsed, names = parsed(_readable(schema))
        check_columns(self._fields, columns)
        if is_unbounded(self._parsed, names):
            raise SchemaError("it has arrays of items without bytes, which could be of any length")
        self._read = _reader_of(self._parsed, names)

    def read(self, value: bytes) -> dict[str, Any]:
        """The record in a value that begins with a schema id."""
        stream = io.BytesIO(value)
        stream.seek(HEADER)
        try:
            record: dict[str, Any] = self._read(stream, self._parsed, None)
        except EOFError as error:
            raise ValueError("it ends too early") from error
        except IndexError as error:
            raise ValueError("a union has no such branch, or an enum no such symbol") from error
        if stream.tell() != len(value):
            raise ValueError(f"{len(value) - stream.tell()} bytes are left over")
        return record

    def fields(self, _value: bytes | None, /) -> FieldTypes:
        """The fields of the schema's records."""
        return self._fields


def _reader_of(schema: _Parsed, names: dict[str, Any]) -> Any:
    """Fastavro's reader; the slow one for records that can contain themselves."""
    return _read_py.schemaless_reader if holds_itself(schema, names) else fastavro.schemaless_reader


class AvroSlices:
    """Cuts fields out of a record's bytes; together they are an Avro record of these fields.

    Args:
        schema: of the registry.
        keep: the names of the fields to keep, in the schema's order.
    """

    def __init__(self, schema: Schema, keep: Collection[str]) -> None:
        schema = _readable(schema)
        found, names = parsed(schema)
        self._read = _reader_of(found, names)
        # Each run uses the names that the runs before it define.
        known = {found["name"]: names[found["name"]]}
        for part in schema.parts.values():
            fastavro.parse_schema(msgspec.json.decode(part), known)
        self._runs = [
            (
                kept,
                fastavro.parse_schema({"type": "record", "name": f"MillstreamRun{i}", "fields": run}, known),
            )
            for i, (kept, run) in enumerate(_runs(found["fields"], keep))
        ]

    def __call__(self, value: bytes) -> bytes:
        """The kept fields of a value that matches the schema, without its header."""
        if len(self._runs) <= 1:
            return value[HEADER:] if self._runs and self._runs[0][0] else b""
        stream = io.BytesIO(value)
        stream.seek(HEADER)
        parts = []
        for kept, run in self._runs:
            begin = stream.tell()
            self._read(stream, run, None)
            if kept:
                parts.append(value[begin : stream.tell()])
        return b"".join(parts)


def _runs(fields: list[_Parsed], keep: Collection[str]) -> list[tuple[bool, list[_Parsed]]]:
    """Consecutive fields that are all kept or all dropped."""
    return [(kept, list(run)) for kept, run in itertools.groupby(fields, lambda field: field["name"] in keep)]


def holds_itself(schema: Any, names: _Names, above: tuple[str, ...] = ()) -> bool:
    """Whether a type can contain itself, so that a value's bytes decide how deep it nests.

    Args:
        schema: as fastavro parses it.
        names: the definitions of named types.
        above: the names of the records around it.
    """
    if isinstance(schema, list):
        return any(holds_itself(branch, names, above) for branch in schema)
    if isinstance(schema, str):
        return schema in above or (schema in names and holds_itself(names[schema], names, above))
    if (kind := schema["type"]) in ("record", "error"):
        inside = (*above, schema["name"])
        return schema["name"] in above or any(
            holds_itself(f["type"], names, inside) for f in schema["fields"]
        )
    return kind not in ("enum", "fixed") and holds_itself(_inner(schema), names, above)


def is_unbounded(schema: Any, names: _Names, above: tuple[str, ...] = ()) -> bool:
    """Whether a type has arrays of items without bytes: a few bytes could claim any number of them."""
    if isinstance(schema, list):
        return any(is_unbounded(branch, names, above) for branch in schema)
    if isinstance(schema, str):
        return schema in names and schema not in above and is_unbounded(names[schema], names, above)
    if (kind := schema["type"]) in ("record", "error"):
        inside = (*above, schema["name"])
        return schema["name"] not in above and any(
            is_unbounded(f["type"], names, inside) for f in schema["fields"]
        )
    if kind == "array" and _is_nothing(schema["items"], names, ()):
        return True
    return kind not in ("enum", "fixed") and is_unbounded(_inner(schema), names, above)


def _inner(schema: dict[str, Any]) -> Any:
    """The type inside an array, a map or `{"type": …}`."""
    return schema.get("items", schema.get("values", schema["type"]))


def _is_nothing(schema: Any, names: _Names, above: tuple[str, ...]) -> bool:
    """Whether values of a type take no bytes."""
    if isinstance(schema, list):
        return False  # the number of the branch is a byte
    if isinstance(schema, str):
        if schema in names:
            return _is_nothing(names[schema], names, above)
        return schema == "null"
    kind = schema["type"]
    if kind in ("record", "error"):
        inside = (*above, schema["name"])
        return schema["name"] in above or all(_is_nothing(f["type"], names, inside) for f in schema["fields"])
    if kind == "fixed":
        return bool(schema["size"] == 0)
    return kind not in ("array", "map", "enum") and _is_nothing(kind, names, above)
