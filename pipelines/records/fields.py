"""Fields by dotted names: `message`, `user.name`, or a column whose own name is `user.name`."""

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from encoder.errors import InputError
from pipelines.records.bad_rows import one_line

__all__ = ["conform", "field_at", "field_names", "field_path", "field_type", "join_batches", "lossy", "prune"]

Path = tuple[str, ...]


def field_path(fields: pa.Schema | pa.StructType, name: str) -> Path | None:
    """The path to the field `name`, outermost column first, or None.

    The longest prefix of `name` that is a field wins, so columns with dots in their names are found.
    """
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        head, rest = ".".join(parts[:length]), ".".join(parts[length:])
        if (index := _index(fields, head)) is None:
            continue
        if length == len(parts):
            return (head,)
        inner = fields.field(index).type
        if pt.is_struct(inner) and (below := field_path(inner, rest)) is not None:
            return (head, *below)
    return None


def _index(fields: pa.Schema | pa.StructType, name: str) -> int | None:
    index = fields.get_field_index(name)
    return None if index < 0 else int(index)


def field_at(batch: pa.RecordBatch, path: Path) -> pa.Array:
    """The values at `path`; null where a struct around them is null."""
    values = batch.column(path[0])
    for name in path[1:]:
        values = pc.struct_field(values, [name])
    return values


def field_type(schema: pa.Schema, path: Path) -> pa.DataType:
    """The type of the field at `path`."""
    kind = schema.field(path[0]).type
    for name in path[1:]:
        kind = kind.field(name).type
    return kind


def field_names(fields: Iterable[pa.Field], prefix: str = "") -> list[str]:
    """The dotted names of all fields, including those inside structs."""
    names = []
    for field in fields:
        names.append(prefix + field.name)
        if pt.is_struct(field.type):
            names += field_names(field.type, f"{prefix}{field.name}.")
    return names


def prune(field: pa.Field, paths: Iterable[Path]) -> pa.Field:
    """`field` with only the struct fields that `paths` name; an empty path keeps the whole field."""
    below = list(paths)
    if not pt.is_struct(field.type) or any(not path for path in below):
        return field
    kept = [
        prune(child, [path[1:] for path in below if path[0] == child.name])
        for child in field.type
        if any(path[0] == child.name for path in below)
    ]
    return pa.field(field.name, pa.struct(kept))


def conform(columns: Mapping[str, pa.Array], schema: pa.Schema, n_rows: int, path: str) -> pa.RecordBatch:
    """A batch with `schema`: missing columns are null, the others are cast.

    Raises:
        InputError: a column's values do not fit its type.
    """
    arrays = []
    for field in schema:
        values = columns.get(field.name)
        if values is None:
            values = pa.nulls(n_rows, field.type)
        elif values.type != field.type:
            try:
                values = values.cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
                raise InputError(
                    f"{path}: column {field.name!r} is {values.type} and does not fit {field.type} "
                    f"({one_line(error)}): convert the file, or read it in a job of its own"
                ) from error
        arrays.append(values)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def join_batches(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """One batch with the rows of all; empty if there are none."""
    table = pa.Table.from_batches(batches, schema).combine_chunks()
    return table.to_batches()[0] if table.num_rows else pa.RecordBatch.from_pylist([], schema)


def lossy(source: pa.DataType, target: pa.DataType) -> str | None:
    """What a cast would lose silently, or None.

    pyarrow refuses most values that do not fit a type, but it drops fractions of numbers and of seconds.
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
    """A time type's units in a second; 0 for other types."""
    if pt.is_timestamp(kind) or pt.is_time(kind):
        return {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    return 0
