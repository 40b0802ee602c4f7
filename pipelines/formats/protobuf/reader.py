"""Protobuf messages as dictionaries, with the field names of the schema.

    enum                                 its name, or its number as text where the schema has no name for it
    google.protobuf.Timestamp            `datetime`, in UTC; text if it has nanoseconds
    google.protobuf.Duration             text, as in 1.5s
    google.protobuf.…Value               the value, or null
    google.protobuf.Struct, ListValue    an object, a list
    confluent.type.Decimal               text
    unset, where the schema can say so   null

Unlike in Protobuf's own JSON, 64-bit numbers are numbers, and bytes stay bytes. Fields that the schema does
not have, as newer writers may send them, have no names: they are left out, counted, and logged by number.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from pipelines.formats.protobuf.schema import message_type, schema_file
from pipelines.formats.schema_registry import FieldTypes, Schema, SchemaError, check_columns, message_indexes

__all__ = ["ProtobufReader", "field_types"]

Convert = Callable[[Any], Any]
Count = Callable[[str, Any], None]
_MOST_LOGGED = 100
_log = logging.getLogger(__name__)
_FIRST_AT = 6  # where the message begins if it is the first one of its schema, the usual case


class ProtobufReader:
    """Reads the messages of one schema.

    Args:
        schema: of the registry.
        columns: that the records must fit, or None.

    Attributes:
        n_unknown: how many values so far are of fields that the schema does not have.

    Raises:
        SchemaError: the schema cannot be read.
    """

    def __init__(self, schema: Schema, columns: pa.Schema | None = None) -> None:
        self.n_unknown = 0
        self._unknown: set[tuple[str, int]] = set()  # that were logged
        self._file, self._pool = schema_file(schema)
        self._columns = columns
        self._converters: dict[str, Convert] = {}
        self._messages: dict[tuple[int, ...], tuple[Callable[[bytes], Any], Convert]] = {}

    def read(self, value: bytes) -> dict[str, Any]:
        """The record in a value that begins with a schema id and message indexes."""
        first = value[_FIRST_AT - 1 : _FIRST_AT] == b"\0"
        indexes, at = ((0,), _FIRST_AT) if first else message_indexes(value)
        parse, convert = self._messages.get(indexes) or self._message(indexes)
        record: dict[str, Any] = convert(parse(value[at:]))
        return record

    def _message(self, indexes: tuple[int, ...]) -> tuple[Callable[[bytes], Any], Convert]:
        kind = message_type(self._file, self._pool, indexes)
        check_columns(field_types(kind), self._columns)
        made = GetMessageClass(kind).FromString, _record_of(kind, self._converters, self._count)
        self._messages[indexes] = made
        return made

    def _count(self, name: str, unknown: Any) -> None:
        """Count fields of a message that its type does not have."""
        self.n_unknown += len(unknown)
        for number in {field.field_number for field in unknown}:
            if (name, number) not in self._unknown and len(self._unknown) < _MOST_LOGGED:
                self._unknown.add((name, number))
                _log.warning("the schema of %s has no field %d: its values are left out", name, number)

    def fields(self, value: bytes | None, /) -> FieldTypes:
        """The fields of a value's message, or of the schema's first message."""
        indexes = (0,) if value is None else message_indexes(value)[0]
        return field_types(message_type(self._file, self._pool, indexes))


def _record_of(kind: Any, known: dict[str, Convert], count: Count) -> Convert:
    """A converter of messages to dictionaries.

    Args:
        kind: of the messages.
        known: the converters of the messages inside them.
        count: called with the name of a message's type and the fields that it does not have.
    """
    if (made := known.get(kind.full_name)) is not None:
        return made
    fields: list[tuple[str, bool, Convert | None]] = []

    def convert(message: Any) -> dict[str, Any]:
        if len(unknown := UnknownFieldSet(message)):
            count(kind.full_name, unknown)
        record: dict[str, Any] = {}
        for name, may_lack, make in fields:
            if may_lack and not message.HasField(name):
                record[name] = None
            else:
                value = getattr(message, name)
                record[name] = value if make is None else make(value)
        return record

    known[kind.full_name] = convert
    fields += [(field.name, field.has_presence, _value_of(field, known, count)) for field in kind.fields]
    return convert


def _value_of(field: Any, known: dict[str, Convert], count: Count) -> Convert | None:
    """A converter of a field's value, or None if it stays as it is."""
    if _is_map(field):
        key, item = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        text, make = _key_text(key), _single(item, known, count)
        return lambda items: {text(k): v if make is None else make(v) for k, v in items.items()}
    make = _single(field, known, count)
    if not field.is_repeated:
        return make
    return list if make is None else lambda values: [make(value) for value in values]


def _is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _key_text(key: Any) -> Callable[[Any], str]:
    return (lambda k: "true" if k else "false") if key.cpp_type == Field.CPPTYPE_BOOL else str


def _single(field: Any, known: dict[str, Convert], count: Count) -> Convert | None:
    if field.cpp_type == Field.CPPTYPE_ENUM:
        names = {number: one.name for number, one in field.enum_type.values_by_number.items()}
        return lambda number: names.get(number) or str(number)
    if field.cpp_type == Field.CPPTYPE_MESSAGE:
        special = _SPECIAL.get(field.message_type.full_name)
        return special[0] if special else _record_of(field.message_type, known, count)
    return None


def _decimal_text(message: Any) -> str:
    sign, digits, _ = Decimal(int.from_bytes(message.value, "big", signed=True)).as_tuple()
    return format(Decimal((sign, digits, -message.scale)), "f")


def _time(message: Any) -> datetime | str:
    text: str = message.ToJsonString() if message.nanos % 1000 else ""
    return text or message.ToDatetime(tzinfo=UTC)


def _plain(message: Any) -> Any:
    return json_format.MessageToDict(message)


_ANY_JSON = "values of any kind"
_SPECIAL: dict[str, tuple[Convert, pa.DataType | str]] = {
    "google.protobuf.Timestamp": (_time, pa.timestamp("us", "UTC")),
    "google.protobuf.Duration": (lambda m: m.ToJsonString(), pa.string()),
    "google.protobuf.Struct": (_plain, _ANY_JSON),
    "google.protobuf.ListValue": (_plain, _ANY_JSON),
    "google.protobuf.Value": (_plain, _ANY_JSON),
    "confluent.type.Decimal": (_decimal_text, pa.string()),
    **{
        f"google.protobuf.{name}Value": (lambda m: m.value, kind)
        for name, kind in {
            "Bool": pa.bool_(),
            "Int32": pa.int32(),
            "Int64": pa.int64(),
            "UInt32": pa.uint32(),
            "UInt64": pa.uint64(),
            "Float": pa.float32(),
            "Double": pa.float64(),
            "String": pa.string(),
            "Bytes": pa.binary(),
        }.items()
    },
}
_TYPES = {
    Field.CPPTYPE_BOOL: pa.bool_(),
    Field.CPPTYPE_INT32: pa.int32(),
    Field.CPPTYPE_INT64: pa.int64(),
    Field.CPPTYPE_UINT32: pa.uint32(),
    Field.CPPTYPE_UINT64: pa.uint64(),
    Field.CPPTYPE_FLOAT: pa.float32(),
    Field.CPPTYPE_DOUBLE: pa.float64(),
    Field.CPPTYPE_ENUM: pa.string(),
}


def field_types(kind: Any) -> FieldTypes:
    """The columns for messages of a type."""
    types: FieldTypes = {}
    for field in kind.fields:
        try:
            types[field.name] = _arrow(field, (kind.full_name,))
        except SchemaError as error:
            types[field.name] = str(error)
    return types


def _arrow(field: Any, above: tuple[str, ...]) -> pa.DataType:
    """The type of a column inside the messages `above`."""
    if _is_map(field):
        return pa.map_(pa.string(), _arrow(field.message_type.fields_by_name["value"], above))
    single = _single_arrow(field, above)
    return pa.list_(single) if field.is_repeated else single


def _single_arrow(field: Any, above: tuple[str, ...]) -> pa.DataType:
    if field.cpp_type == Field.CPPTYPE_STRING:
        return pa.binary() if field.type == Field.TYPE_BYTES else pa.string()
    if field.cpp_type != Field.CPPTYPE_MESSAGE:
        return _TYPES[field.cpp_type]
    name = field.message_type.full_name
    if name in _SPECIAL:
        found = _SPECIAL[name][1]
        if isinstance(found, str):
            raise SchemaError(found)
        return found
    if name in above:
        raise SchemaError(f"a {name} inside itself")
    fields = [pa.field(one.name, _arrow(one, (*above, name))) for one in field.message_type.fields]
    if not fields:
        raise SchemaError(f"{name}, which has no fields")
    return pa.struct(fields)
