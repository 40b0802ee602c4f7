"""Types of columns as every output has them: without dictionaries, run ends and views."""

import pyarrow as pa
import pyarrow.types as pt

__all__ = ["plain_field", "plain_type"]


def plain_field(field: pa.Field) -> pa.Field:
    """A nullable field of a plain type."""
    return pa.field(field.name, plain_type(field.type))


def plain_type(kind: pa.DataType) -> pa.DataType:
    """A type without dictionaries, run ends and views; lists of a fixed size are lists.

    Parquet knows lists alone. Arrow remembers the size, and then cannot read lists that are null
    (https://github.com/apache/arrow/issues/35692).
    """
    if pt.is_dictionary(kind) or pt.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if pt.is_string_view(kind):
        return pa.string()
    if pt.is_binary_view(kind):
        return pa.binary()
    if pt.is_struct(kind):
        return pa.struct([plain_field(field) for field in kind])
    if pt.is_map(kind):
        return pa.map_(plain_type(kind.key_type), plain_type(kind.item_type))
    if pt.is_list(kind) or pt.is_list_view(kind) or pt.is_fixed_size_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if pt.is_large_list(kind) or pt.is_large_list_view(kind):
        return pa.large_list(plain_type(kind.value_type))
    return kind
