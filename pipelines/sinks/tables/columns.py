"""The columns of tables: each Arrow type is stored as the narrowest type that keeps all of its values.

Formats of tables have fewer types than Arrow. A column whose values would not survive is an error.
"""

from typing import Literal

import pyarrow as pa
import pyarrow.types as pt

from encoder.errors import ConfigurationError

__all__ = ["TableFormat", "as_stored", "missing_columns", "stored_schema"]

TableFormat = Literal["iceberg", "delta"]

_WIDER = {
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
}
_WIDER_INTEGERS = {  # which each format has
    "iceberg": dict.fromkeys((pa.int8(), pa.int16(), pa.uint8()), pa.int32()),
    "delta": {pa.uint8(): pa.int16()},
}
_SAME = {pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64()}
_MOST_DIGITS = 38


def stored_schema(schema: pa.Schema, form: TableFormat) -> pa.Schema:
    """The columns in which records are stored; each may be null, as rows before it was added are.

    Args:
        schema: of the records.
        form: the format of the table.

    Raises:
        ConfigurationError: the format has no type for a column.
    """
    fields = []
    for field in schema:
        if (kind := _stored(field.type, form)) is None:
            raise ConfigurationError(
                f"the column {field.name!r} is {field.type}, and no {form.capitalize()} table keeps such "
                "values: leave the field out, or give it another type, such as string or timestamp[us]"
            )
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields)


def _stored(kind: pa.DataType, form: TableFormat) -> pa.DataType | None:
    if pt.is_dictionary(kind):
        return _stored(kind.value_type, form)
    if pt.is_struct(kind):
        fields = [_stored_field(field, form) for field in kind]
        return None if not fields or any(field is None for field in fields) else pa.struct(fields)
    if pt.is_map(kind):
        parts = _stored(kind.key_type, form), _stored(kind.item_type, form)
        return None if any(part is None for part in parts) else pa.map_(*parts)
    if hasattr(kind, "value_field"):  # a list of any kind
        element = _stored_field(kind.value_field, form)
        return None if element is None else pa.list_(element)
    return _stored_value(kind, form)


def _stored_field(field: pa.Field, form: TableFormat) -> pa.Field | None:
    kind = _stored(field.type, form)
    return None if kind is None else field.with_type(kind).remove_metadata()


def _stored_value(kind: pa.DataType, form: TableFormat) -> pa.DataType | None:
    wider = {**_WIDER, **_WIDER_INTEGERS[form]}
    if kind in wider:
        return wider[kind]
    if kind in _SAME:
        return kind
    if pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind):
        return pa.string()
    if pt.is_fixed_size_binary(kind):
        return kind if form == "iceberg" else pa.binary()
    if pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_binary_view(kind):
        return pa.binary()
    if pt.is_date(kind):
        return pa.date32()
    if pt.is_timestamp(kind) and kind.unit != "ns":
        return pa.timestamp("us", None if kind.tz is None else "UTC")
    if pt.is_time(kind) and kind.unit != "ns" and form == "iceberg":
        return pa.time64("us")
    if pt.is_decimal(kind) and kind.precision <= _MOST_DIGITS:
        return pa.decimal128(kind.precision, kind.scale)
    return None


def missing_columns(table: pa.Schema, wanted: pa.Schema, uri: str) -> pa.Schema:
    """The columns that a table lacks.

    Args:
        table: the columns of the table, as stored.
        wanted: those of records, as stored.
        uri: of the table, for messages.

    Raises:
        ConfigurationError: the table has a column of another type, or one that records lack and that may
            not be null.
    """
    for field in wanted:
        if field.name in table.names and not _alike(table.field(field.name).type, field.type):
            raise ConfigurationError(
                f"{uri} has a column {field.name!r} of type {table.field(field.name).type}, and records have "
                f"{field.type}: name another table, or give the field this type"
            )
    for field in table:
        if not field.nullable and field.name not in wanted.names:
            raise ConfigurationError(
                f"{uri} has a column {field.name!r} that may not be null, and records have none of this "
                "name: make it optional, or name another table"
            )
    return pa.schema([field for field in wanted if field.name not in table.names])


def _alike(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether two types store the same values, whatever is said of nulls, names of elements, and offsets."""
    if pt.is_struct(one) and pt.is_struct(other):
        fields = [(a, b) for a, b in zip(one, other, strict=False) if a.name == b.name]
        return one.num_fields == other.num_fields == len(fields) and all(
            _alike(a.type, b.type) for a, b in fields
        )
    if pt.is_map(one) and pt.is_map(other):
        return _alike(one.key_type, other.key_type) and _alike(one.item_type, other.item_type)
    if hasattr(one, "value_field") and hasattr(other, "value_field"):
        return _alike(one.value_type, other.value_type)
    if pt.is_fixed_size_binary(one) and pt.is_fixed_size_binary(other):
        return bool(one == other)
    return bool(_stored(one, "delta") == _stored(other, "delta"))


def as_stored(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with the columns of a table: in its order and types, with nulls where they have no such column.

    Args:
        rows: `(n,)` records; each of their columns is in the schema.
        schema: the columns to write.

    Raises:
        pa.ArrowInvalid: a value does not fit, which `stored_schema` and `missing_columns` rule out.
    """
    columns = [
        rows[field.name].cast(field.type)
        if field.name in rows.column_names
        else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
