"""Confluent's wire format: values that begin with the id of their schema, read as records.

    Avro       0x00, schema id (4 bytes, big endian), the record
    Protobuf   0x00, schema id (4 bytes, big endian), message indexes, the message

Message indexes say which message of the schema it is, outermost first: zigzag varints behind their count. The
first message of a schema, `[0]`, is the single byte 0x00.
Source: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html

`formats.avro` and `formats.protobuf` read the schemas; `pipelines.kafka.registry` fetches them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from pipelines.formats.messages import Objects, Value
from pipelines.records.bad_rows import one_line
from pipelines.records.fields import lossy

__all__ = [
    "HEADER",
    "FieldTypes",
    "FramedDecoder",
    "Reader",
    "Schema",
    "SchemaError",
    "check_columns",
    "header",
    "message_indexes",
    "schema_id",
    "varint",
]

HEADER = 5
"""Bytes in front of an Avro record, or of a Protobuf value's message indexes."""

_MAGIC = b"\0"
_VARINT_BYTES = 5  # of a 32-bit number
_DEEPEST = 100  # nested messages: Protobuf itself reads no deeper
_KEY_BYTES = 64  # say which schema and which message a value is of

FieldTypes = dict[str, pa.DataType | str]
"""The type of each field as a column, or why no column can hold it."""


class Schema(NamedTuple):
    """A schema of a registry.

    Attributes:
        kind: `AVRO`, `PROTOBUF` or `JSON`.
        text: the schema itself.
        references: to other schemas, as the registry's client has them.
        parts: the texts of all referenced schemas by name, each after those that it refers to.
    """

    kind: str
    text: str
    references: tuple[Any, ...] = ()
    parts: Mapping[str, str] = MappingProxyType({})


class SchemaError(Exception):
    """A schema or a value that cannot be read."""


class Reader(Protocol):
    """Reads the values of one schema.

    Attributes:
        n_unknown: how many values so far are of fields that the schema does not have; they are left out.
    """

    n_unknown: int

    def read(self, value: bytes) -> dict[str, Any]:
        """The record in a value that begins with a schema id.

        Raises:
            Exception: any; the value does not match the schema.
        """

    def fields(self, value: bytes | None, /) -> FieldTypes:
        """The fields of a value's message; those of the schema's first message if `value` is None.

        Raises:
            SchemaError: there is no such message.
        """


Fetch = Callable[[int], Schema | None]
Compiler = Callable[[Schema, pa.Schema | None], Reader]


class FramedDecoder:
    """Decodes values that begin with the id of their schema.

    Args:
        kind: of the schemas that can be read, as the registry names it.
        fetch: gives the schema of an id, or None if there is none; its errors are passed on.
        compiler: makes a reader of a schema and the columns that records must fit, or raises SchemaError.
        schema: the columns that records must fit, or None.
    """

    def __init__(self, kind: str, fetch: Fetch, compiler: Compiler, schema: pa.Schema | None = None) -> None:
        self._kind = kind
        self._fetch = fetch
        self._compiler = compiler
        self._schema = schema
        self._readers: dict[bytes, Reader] = {}  # by the value's first bytes
        self._refusals: dict[bytes, str] = {}

    def __call__(self, values: Sequence[Value]) -> Objects:
        """Decode values one by one.

        Raises:
            RegistryUnavailable: a schema cannot be fetched now; no value counts as bad.
        """
        records: list[dict[str, Any]] = []
        rows: list[int] = []
        bad: dict[int, str] = {}
        readers = self._readers
        for row, value in enumerate(values):
            try:
                records.append(readers[value[:HEADER]].read(value))  # type: ignore[index, arg-type] # None is an error like others
                rows.append(row)
            except KeyError:  # a new schema, or a missing field
                self._read_new(value, row, records, rows, bad)
            except Exception as error:  # noqa: BLE001 - readers raise whatever the bytes lead them to
                bad[row] = self._reason(value, error)
        return Objects(records, rows, bad)

    @property
    def n_unknown(self) -> int:
        """How many values so far are of fields that their schema does not have; they are left out."""
        return sum(reader.n_unknown for reader in self._readers.values())

    def _read_new(
        self, value: Value, row: int, records: list[dict[str, Any]], rows: list[int], bad: dict[int, str]
    ) -> None:
        found = self.reader(value)
        if isinstance(found, str):
            bad[row] = found
            return
        try:
            records.append(found.read(value or b""))
            rows.append(row)
        except Exception as error:  # noqa: BLE001 - readers raise whatever the bytes lead them to
            bad[row] = self._reason(value, error)

    @staticmethod
    def _reason(value: Value, error: Exception) -> str:
        if value is None:
            return "the value is null"
        if isinstance(error, SchemaError):
            return f"schema {schema_id(value)}: {error}"
        return f"not of schema {schema_id(value)}: {one_line(error) or type(error).__name__}"

    def reader(self, value: Value) -> Reader | str:
        """The reader of a value, or why there is none; raises what a call raises."""
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
            return f"the registry has no schema {number}"  # fetched again: it may be registered later
        try:
            self._readers[key] = reader = self._made(schema)
        except SchemaError as error:
            self._refusals[key] = reason = f"schema {number}: {error}"
            return reason
        return reader

    def _made(self, schema: Schema) -> Reader:
        if schema.kind != self._kind:
            raise SchemaError(f"it is {schema.kind}, not {self._kind}")
        return self._compiler(schema, self._schema)

    def fields(self, values: Iterable[Value]) -> FieldTypes:
        """The fields of a sample of values, newest schema first; raises what a call raises."""
        newest = sorted({value[:_KEY_BYTES] for value in values if value}, reverse=True)
        types: FieldTypes = {}
        for value in newest:
            reader = self.reader(value)
            try:
                types = types | reader.fields(value) | types if not isinstance(reader, str) else types
            except (SchemaError, ValueError):
                continue
        return types


def check_columns(fields: FieldTypes, schema: pa.Schema | None) -> None:
    """Check that records with these fields fit columns without a silent loss.

    Raises:
        SchemaError: they do not.
    """
    for field in schema or ():
        kind = fields.get(field.name)
        if isinstance(kind, pa.DataType) and (why := lossy(kind, field.type)):
            raise SchemaError(f"field {field.name!r} is {why} in the column")


def header(number: int) -> bytes:
    """The bytes in front of a record of the schema with this id."""
    return _MAGIC + number.to_bytes(4, "big")


def schema_id(value: bytes) -> int | None:
    """The id of a value's schema, or None if the value does not begin with one."""
    if len(value) < HEADER or value[:1] != _MAGIC:
        return None
    return int.from_bytes(value[1:HEADER], "big")


def message_indexes(value: bytes) -> tuple[tuple[int, ...], int]:
    """Which message of its schema a Protobuf value is.

    Returns:
        The message indexes, outermost first, and the position where the message begins.

    Raises:
        ValueError: the indexes are invalid.
    """
    count, at = _zigzag(value, HEADER)
    if not count:
        return (0,), at
    if not 0 < count <= _DEEPEST:
        raise ValueError(f"{count} message indexes")
    indexes = []
    for _ in range(count):
        index, at = _zigzag(value, at)
        if index < 0:
            raise ValueError(f"message index {index}")
        indexes.append(index)
    return tuple(indexes), at


def _zigzag(value: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    for position in range(at, min(at + _VARINT_BYTES, len(value))):
        byte = value[position]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), position + 1
        shift += 7
    raise ValueError("the message indexes do not end")


def varint(number: int) -> bytes:
    """A number as Avro and Protobuf write a `long` or an `sint64`: a zigzag varint.

    Args:
        number: from -2**63 up to 2**63 - 1.
    """
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)
