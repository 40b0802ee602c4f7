"""Avro records as dictionaries, and the parts of their bytes.

Values of logical types are what Python has for them: `datetime`, `date`, `time` and `Decimal`; UUIDs and
enums are text. An Avro record is its fields one after the other, so some fields are slices of its bytes.
"""

import io
import itertools
from collections.abc import Collection
from typing import Any

import fastavro
import msgspec
import pyarrow as pa
from fastavro import _read_py  # the same in Python: it counts how deep it is

from pipelines.formats.avro.shape import holds_itself, is_unbounded
from pipelines.formats.avro.types import field_types
from pipelines.formats.schema_registry import FieldTypes, Schema, SchemaError, check_columns
from pipelines.formats.wire import HEADER
from pipelines.records.bad_rows import one_line

__all__ = ["AvroReader", "AvroSlices", "parsed"]

_Parsed = dict[str, Any]


def parsed(schema: Schema) -> tuple[_Parsed, dict[str, Any]]:
    """A schema of records with its names in full, and the definitions of all names.

    Raises:
        Unreadable: it is no Avro schema of a record.
    """
    names: dict[str, Any] = {}
    try:
        for part in schema.parts.values():
            fastavro.parse_schema(msgspec.json.decode(part), names)
        found = fastavro.parse_schema(msgspec.json.decode(schema.text), names)
    except Exception as error:
        raise SchemaError(f"it cannot be read: {one_line(error) or type(error).__name__}") from error
    if not isinstance(found, dict) or found.get("type") not in ("record", "error"):
        raise SchemaError("its values are no records")
    return found, names


def _with_text_ids(schema: Schema) -> Schema:
    """The schema with UUIDs that are plain text."""
    parts = {name: _plain(part) for name, part in schema.parts.items()}
    return schema._replace(text=_plain(schema.text), parts=parts)


def _plain(text: str) -> str:
    if '"uuid"' not in text:
        return text
    try:
        return msgspec.json.encode(_without_uuid(msgspec.json.decode(text))).decode()
    except msgspec.MsgspecError:
        return text  # `parsed` says what is wrong with it


def _without_uuid(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_uuid(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if (schema.get("type"), schema.get("logicalType")) == ("string", "uuid"):
        return "string"
    return {key: _without_uuid(value) for key, value in schema.items()}


class AvroReader:
    """Reads the records of one schema; see `pipelines.formats.schema_registry`.

    Args:
        schema: of the registry.
        columns: that the records will have to fit, or None.

    Raises:
        Unreadable: the schema cannot be read, or its fields would lose something in the columns.
    """

    def __init__(self, schema: Schema, columns: pa.Schema | None = None) -> None:
        self._parsed, names = parsed(_with_text_ids(schema))
        self._fields = field_types(self._parsed, names)
        check_columns(self._fields, columns)
        if is_unbounded(self._parsed, names):
            raise SchemaError("it has arrays of nothing, and one of them could be of any length")
        self._read = _reader_of(self._parsed, names)

    def read(self, value: bytes) -> dict[str, Any]:
        """See `Reader`."""
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

    def fields(self, value: bytes | None) -> FieldTypes:  # noqa: ARG002 - a schema has one record
        """See `Reader`."""
        return self._fields


def _reader_of(schema: _Parsed, names: dict[str, Any]) -> Any:
    """Fastavro's reader; the slow one, which stops in time, for records that can hold themselves.

    The fast one keeps its place on the C stack, which bytes that nest deep enough would overflow.
    """
    return _read_py.schemaless_reader if holds_itself(schema, names) else fastavro.schemaless_reader


class AvroSlices:
    """Cuts some fields out of a record's bytes, which together are an Avro record of these fields.

    Args:
        schema: of the registry.
        keep: the names of the fields to keep; they stay in their order.
    """

    def __init__(self, schema: Schema, keep: Collection[str]) -> None:
        schema = _with_text_ids(schema)
        found, names = parsed(schema)
        self._read = _reader_of(found, names)
        # The runs are read one by one, so each finds the names that those before it define.
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
        """The kept part of a value, which matches the schema; the frame is left out."""
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
    """Fields in runs of those that are kept and those that are not."""
    return [(kept, list(run)) for kept, run in itertools.groupby(fields, lambda field: field["name"] in keep)]
