"""Values that begin with the id of their schema: found once for each id, then read as records.

What a schema means is the business of `formats/avro` and `formats/protobuf`; where schemas come from is not
known here.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.types as pt

from pipelines.formats.messages import Objects, Value
from pipelines.formats.wire import HEADER, schema_id
from pipelines.records.bad_rows import one_line

__all__ = ["FieldTypes", "FramedDecoder", "Reader", "Schema", "SchemaError", "check_columns", "lossy"]

FieldTypes = dict[str, pa.DataType | str]
"""The type of each field as a column, or why no column can hold it."""


class Schema(NamedTuple):
    """A schema as a registry has it.

    Attributes:
        kind: `AVRO`, `PROTOBUF` or `JSON`.
        text: itself.
        references: to other schemas, as the registry's client has them.
        parts: the texts of these and of what they refer to by name, what others rest on first.
    """

    kind: str
    text: str
    references: tuple[Any, ...] = ()
    parts: dict[str, str] = {}  # noqa: RUF012 - never changed


class SchemaError(Exception):
    """A schema, or a value, that cannot be read, and why."""


class Reader(Protocol):
    """Reads the values of one schema."""

    def read(self, value: bytes) -> dict[str, Any]:
        """The record of a value, its frame included.

        Raises:
            Exception: any; the value does not match the schema.
        """

    def fields(self, value: bytes | None) -> FieldTypes:
        """The fields of records like a value's, or of the schema's first message.

        Raises:
            Unreadable: there is no such message.
        """


_MANY = 64  # of a value's bytes say which schema and which message it is
Fetch = Callable[[int], Schema | None]
Compile = Callable[[Schema, pa.Schema | None], Reader]


class FramedDecoder:
    """Decodes values that begin with the id of their schema.

    Args:
        kind: of schemas that can be read, as the registry names it.
        fetch: gives the schema of an id, or None if there is none; whatever it raises is passed on.
        compile: makes a reader of a schema and the columns that records must fit, or raises Unreadable.
        schema: the columns that records will have to fit, or None.
    """

    def __init__(self, kind: str, fetch: Fetch, compile: Compile, schema: pa.Schema | None = None) -> None:  # noqa: A002 - what it does
        self._kind = kind
        self._fetch = fetch
        self._compile = compile
        self._schema = schema
        self._readers: dict[bytes, Reader] = {}  # by the value's first bytes
        self._refusals: dict[bytes, str] = {}

    def __call__(self, values: Sequence[Value]) -> Objects:
        """Decode values; those that are no records are named.

        Raises:
            RegistryUnavailable: a schema is needed and cannot be had now; nothing is said of any value.
        """
        records: list[dict[str, Any]] = []
        rows: list[int] = []
        bad: dict[int, str] = {}
        readers = self._readers
        for row, value in enumerate(values):
            try:
                records.append(readers[value[:HEADER]].read(value))  # type: ignore[index, arg-type] # None is an error like others
                rows.append(row)
            except KeyError:  # of a schema that was not seen yet, or of a field
                self._look(value, row, records, rows, bad)
            except Exception as error:  # noqa: BLE001 - readers raise whatever the bytes lead them to
                bad[row] = self._reason(value, error)
        return Objects(records, rows, bad)

    def _look(
        self, value: Value, row: int, records: list[dict[str, Any]], rows: list[int], bad: dict[int, str]
    ) -> None:
        found = self.reader(value)
        if isinstance(found, str):
            bad[row] = found
            return
        try:
            records.append(found.read(value or b""))
            rows.append(row)
        except Exception as error:  # noqa: BLE001 - as above
            bad[row] = self._reason(value, error)

    @staticmethod
    def _reason(value: Value, error: Exception) -> str:
        if value is None:
            return "the value is null"
        if isinstance(error, SchemaError):
            return f"schema {schema_id(value)}: {error}"
        return f"not of schema {schema_id(value)}: {one_line(error) or type(error).__name__}"

    def reader(self, value: Value) -> Reader | str:
        """The reader of a value, or why there is none; the errors are those of a call."""
        if value is None:
            return "the value is null"
        number = schema_id(value)
        if number is None:
            return "the value does not begin with a schema id (the byte 0 and four more)"
        key = value[:HEADER]
        if (known := self._readers.get(key) or self._refusals.get(key)) is not None:
            return known
        schema = self._fetch(number)
        if schema is None:
            return f"the registry has no schema {number}"  # asked again: it may have one later
        try:
            self._readers[key] = reader = self._made(schema)
        except SchemaError as error:
            self._refusals[key] = reason = f"schema {number}: {error}"
            return reason
        return reader

    def _made(self, schema: Schema) -> Reader:
        if schema.kind != self._kind:
            raise SchemaError(f"it is {schema.kind}, not {self._kind}")
        return self._compile(schema, self._schema)

    def fields(self, values: Iterable[Value]) -> FieldTypes:
        """The fields of a sample of values, of its newest schema first; the errors are those of a call."""
        newest = sorted({value[:_MANY] for value in values if value}, reverse=True)
        types: FieldTypes = {}
        for value in newest:
            reader = self.reader(value)
            try:
                types = types | reader.fields(value) | types if not isinstance(reader, str) else types
            except (SchemaError, ValueError):
                continue
        return types


def check_columns(fields: FieldTypes, schema: pa.Schema | None) -> None:
    """Look whether records with these fields fit columns without a quiet loss.

    Raises:
        Unreadable: they do not.
    """
    for field in schema or ():
        kind = fields.get(field.name)
        if isinstance(kind, pa.DataType) and (why := lossy(kind, field.type)):
            raise SchemaError(f"field {field.name!r} is {why} in the column")


def lossy(source: pa.DataType, target: pa.DataType) -> str | None:
    """How values of one type would quietly lose something as another, or None; other misfits are found later.

    pyarrow refuses most values that do not fit a type, but it cuts fractions and time off.
    """
    if pt.is_struct(source) and pt.is_struct(target):
        both = [field for field in source if target.get_field_index(field.name) >= 0]
        reasons = (lossy(field.type, target.field(field.name).type) for field in both)
        return next(filter(None, reasons), None)
    if pt.is_map(source) and pt.is_map(target):
        return lossy(source.item_type, target.item_type)
    if pt.is_list(source) and pt.is_list(target):
        return lossy(source.value_type, target.value_type)
    cut = (
        (pt.is_floating(source) and pt.is_integer(target))
        or (pt.is_float64(source) and pt.is_float32(target))
        or (_ticks(source) > _ticks(target) > 0)
    )
    return f"{source}, and {target}" if cut else None


def _ticks(kind: pa.DataType) -> int:
    """Of a type of times, in a second."""
    if pt.is_timestamp(kind) or pt.is_time(kind):
        return {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    return 0
