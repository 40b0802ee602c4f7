"""Avro types as Arrow types, and back."""

import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from encoder.errors import ConfigurationError
from pipelines.formats.schema_registry import FieldTypes, SchemaError

__all__ = ["avro_columns", "avro_schema", "field_types"]

_PRIMITIVES = {
    "null": pa.string(),  # like a JSON field that is always null
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
    "enum": pa.string(),
}
_LOGICAL = {  # fastavro ignores others, as Avro's specification says
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    ("long", "timestamp-millis"): pa.timestamp("ms", "UTC"),
    ("long", "timestamp-micros"): pa.timestamp("us", "UTC"),
    ("long", "local-timestamp-millis"): pa.timestamp("ms"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
}
_MOST_DIGITS = 76  # of a decimal in Arrow
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def field_types(schema: dict[str, Any], names: dict[str, Any]) -> FieldTypes:
    """The columns of a record.

    Args:
        schema: of a record, as fastavro parses it.
        names: the definitions of named types.
    """
    types: FieldTypes = {}
    for field in schema["fields"]:
        try:
            types[field["name"]] = _arrow(field["type"], names, (schema["name"],))
        except SchemaError as error:
            types[field["name"]] = str(error)
    return types


def _arrow(schema: Any, names: dict[str, Any], above: tuple[str, ...]) -> pa.DataType:
    """The type of a column; `above` are the records around it."""
    if isinstance(schema, list):
        return _union(schema, names, above)
    if isinstance(schema, str):
        return _arrow(names[schema], names, above) if schema in names else _PRIMITIVES[schema]
    kind = schema["type"]
    if isinstance(kind, (dict, list)):
        return _arrow(kind, names, above)
    if kind in ("record", "error"):
        return _struct(schema, names, above)
    if kind == "array":
        return pa.list_(_arrow(schema["items"], names, above))
    if kind == "map":
        return pa.map_(pa.string(), _arrow(schema["values"], names, above))
    return _leaf(schema)


def _struct(schema: dict[str, Any], names: dict[str, Any], above: tuple[str, ...]) -> pa.DataType:
    name = schema["name"]
    if name in above:
        raise SchemaError(f"a {name} inside itself")
    fields = [pa.field(f["name"], _arrow(f["type"], names, (*above, name))) for f in schema["fields"]]
    if not fields:
        raise SchemaError(f"{name}, which has no fields")
    return pa.struct(fields)


def _leaf(schema: dict[str, Any]) -> pa.DataType:
    kind, logical = schema["type"], schema.get("logicalType", "")
    if logical == "decimal" and kind in ("bytes", "fixed"):
        return _decimal(schema)
    return pa.binary(schema["size"]) if kind == "fixed" else _LOGICAL.get((kind, logical), _PRIMITIVES[kind])


def _decimal(schema: dict[str, Any]) -> pa.DataType:
    precision, scale = schema.get("precision", 0), schema.get("scale", 0)
    if not 0 < precision <= _MOST_DIGITS:
        raise SchemaError(f"a decimal of {precision} digits")
    return (pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale)


def _union(branches: list[Any], names: dict[str, Any], above: tuple[str, ...]) -> pa.DataType:
    kinds = [_arrow(branch, names, above) for branch in branches if branch != "null"]
    distinct = list(dict.fromkeys(kinds))
    if not distinct:
        return pa.string()
    if len(distinct) == 1:
        return distinct[0]
    if all(pt.is_integer(kind) for kind in distinct):
        return pa.int64()
    if all(pt.is_integer(kind) or pt.is_floating(kind) for kind in distinct):
        return pa.float64()
    raise SchemaError(f"a union of {' and '.join(str(kind) for kind in distinct)}")


def avro_columns(kind: pa.DataType) -> pa.DataType:
    """The Arrow type with the same values that Avro has, too."""
    if pt.is_struct(kind):
        return pa.struct([field.with_type(avro_columns(field.type)) for field in kind])
    if pt.is_map(kind):
        return pa.map_(kind.key_type, avro_columns(kind.item_type))
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        return pa.list_(avro_columns(kind.value_type))
    if pt.is_uint64(kind):
        return pa.decimal128(20, 0)
    if pt.is_timestamp(kind) and kind.unit == "s":
        return pa.timestamp("ms", kind.tz)
    return kind


def avro_schema(columns: pa.Schema, name: str) -> dict[str, Any]:
    """The schema of records with these columns, each of which may be null.

    Args:
        columns: of the records; see `avro_columns`.
        name: of the record.

    Raises:
        ConfigurationError: Avro does not have the name or the type of a column.
    """
    return {"type": "record", "name": name, "fields": [_nullable(field, name) for field in columns]}


def _nullable(field: pa.Field, path: str) -> dict[str, Any]:
    if not _NAME.fullmatch(field.name):
        raise ConfigurationError(
            f"the field {field.name!r} has a name that Avro does not allow (letters, digits, _): leave "
            "it out with --fields, or choose another --output-format"
        )
    return {
        "name": field.name,
        "type": ["null", _avro(field.type, f"{path}_{field.name}", field.name)],
        "default": None,
    }


def _avro(kind: pa.DataType, path: str, field: str) -> Any:
    """The type of a field; `path` becomes the name of a record."""
    if pt.is_struct(kind):
        return avro_schema(pa.schema(list(kind)), path)
    if pt.is_map(kind) and pt.is_string(kind.key_type):
        return {"type": "map", "values": ["null", _avro(kind.item_type, f"{path}_value", field)]}
    if pt.is_list(kind):
        return {"type": "array", "items": ["null", _avro(kind.value_type, f"{path}_item", field)]}
    if pt.is_decimal(kind):
        return {"type": "bytes", "logicalType": "decimal", "precision": kind.precision, "scale": kind.scale}
    if pt.is_timestamp(kind) and kind.unit in ("ms", "us"):
        unit = "micros" if kind.unit == "us" else "millis"
        return {"type": "long", "logicalType": f"{'' if kind.tz else 'local-'}timestamp-{unit}"}
    for is_kind, made in _AVRO:
        if is_kind(kind):
            return made
    raise ConfigurationError(
        f"the field {field!r} is {kind}, which Avro does not have: set another type, or leave it "
        "out with --fields"
    )


_AVRO: tuple[tuple[Callable[[pa.DataType], bool], Any], ...] = (
    (pt.is_boolean, "boolean"),
    (pt.is_uint32, "long"),
    (pt.is_int64, "long"),
    (lambda kind: pt.is_integer(kind) and not pt.is_uint64(kind), "int"),
    (pt.is_float64, "double"),
    (pt.is_floating, "float"),
    (pt.is_string, "string"),
    (pt.is_large_string, "string"),
    (pt.is_binary, "bytes"),
    (pt.is_large_binary, "bytes"),
    (pt.is_fixed_size_binary, "bytes"),
    (pt.is_date32, {"type": "int", "logicalType": "date"}),
    (lambda kind: pt.is_time32(kind) and kind.unit == "ms", {"type": "int", "logicalType": "time-millis"}),
    (lambda kind: pt.is_time64(kind) and kind.unit == "us", {"type": "long", "logicalType": "time-micros"}),
)
