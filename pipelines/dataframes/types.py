"""Arrow types that every engine reads."""

from collections.abc import Sequence
from typing import TypeVar

import pyarrow as pa
import pyarrow.types as pt

__all__ = ["Rows", "plain", "with_fields", "without_fixed_sizes"]

Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)


def with_fields(rows: Rows, fields: Sequence[pa.Field]) -> Rows:
    """A table or batch whose last columns are cast to the types of these fields.

    `cast` of the whole would refuse structs that are null, whose fields are never null.
    """
    first: int = len(rows.schema) - len(fields)
    schema = pa.schema([*map(rows.schema.field, range(first)), *fields])
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(rows.columns, schema, strict=True)
    ]
    found: Rows = type(rows).from_arrays(columns, schema=schema)
    return found


def plain(field: pa.Field) -> pa.Field:
    """A column that is no dictionary of values but the values."""
    return field.with_type(field.type.value_type) if pt.is_dictionary(field.type) else field


def without_fixed_sizes(field: pa.Field) -> pa.Field:
    """A column of lists and bytes of any size in place of those of one size."""
    kind = plain(field).type
    if pt.is_fixed_size_list(kind):
        kind = pa.list_(kind.value_field)
    elif pt.is_fixed_size_binary(kind):
        kind = pa.binary()
    return field.with_type(kind)
