"""One type for a column over all files, and the files that do not fit it: found before a job runs."""

from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.types as pt

from encoder.errors import InputError
from pipelines.records.bad_rows import one_line
from pipelines.records.fields import field_path
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import reading
from pipelines.sources.files.json_sample import MAX_DEPTH
from pipelines.sources.files.parquet import bounds, open_parquet
from pipelines.sources.files.partitions import partitions_of

__all__ = ["FileColumns", "check_fields", "check_types", "unified"]

_WAYS_OUT = "convert one of them, leave the column out, or read the files in two jobs"


class FileColumns(NamedTuple):
    """Columns and the file that has them."""

    file: InputFile
    fields: list[pa.Field]


def _without_nulls(kind: pa.DataType) -> pa.DataType:
    """The type of a column of which no file has a value: text."""
    if pt.is_null(kind):
        return pa.string()
    if pt.is_struct(kind):
        return pa.struct([pa.field(field.name, _without_nulls(field.type)) for field in kind])
    if pt.is_list(kind):
        return pa.list_(_without_nulls(kind.value_type))
    return kind


def unified(columns: Iterable[FileColumns], needed: Container[str]) -> pa.Schema:
    """One field a name; if it is needed, of a type that all its types can be promoted to.

    Raises:
        InputError: a needed column has types that have none in common, or is nested too deep.
    """
    found: dict[str, tuple[pa.Field, InputFile]] = {}
    for file, fields in columns:
        for field in fields:
            if field.name in needed and _depth(field.type) > MAX_DEPTH:
                raise InputError(
                    f"column {field.name!r} of {file.path} is nested {_depth(field.type)} levels deep, "
                    f"and at most {MAX_DEPTH} can be read: leave it out with `keep`"
                )
            before, first = found.setdefault(field.name, (field, file))
            if before.type != field.type and field.name in needed:
                found[field.name] = (_promoted(before, field, first.path, file.path), first)
    return pa.schema([pa.field(field.name, _without_nulls(field.type)) for field, _ in found.values()])


def _promoted(before: pa.Field, field: pa.Field, first: str, path: str) -> pa.Field:
    try:
        schemas = [pa.schema([before]), pa.schema([field])]
        found = pa.unify_schemas(schemas, promote_options="permissive").field(0)
        problem = _changed(before.type, found.type) or _changed(field.type, found.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        problem = one_line(error)
    if problem:
        raise InputError(
            f"column {field.name!r} is {field.type} in {path} but {before.type} in {first} "
            f"({problem}): {_WAYS_OUT}"
        )
    return found


def _changed(source: pa.DataType, target: pa.DataType) -> str:
    """What a promotion that pyarrow allows does to values; nothing if they stay what they are."""
    if pt.is_decimal(source) and pt.is_floating(target):
        return "floating point would round decimals"
    if (pt.is_string(source) or pt.is_large_string(source)) and not _is_text(target):
        return "bytes are not text"
    inner = (
        [(field, target.field(field.name)) for field in source]
        if pt.is_struct(source)
        else [(source.field(i), target.field(i)) for i in range(min(source.num_fields, target.num_fields))]
    )
    return next(filter(None, (_changed(one.type, other.type) for one, other in inner)), "")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind))


def _depth(kind: pa.DataType) -> int:
    return 1 + max((_depth(kind.field(i).type) for i in range(kind.num_fields)), default=-1)


def check_fields(columns: Sequence[FileColumns], wanted: Sequence[str], needed: Container[str]) -> None:
    """Refuse files that declare their columns and lack what every record needs.

    Raises:
        InputError: a file has none of the fields of the template, or spells a column in another case.
    """
    known = {
        name: file.path for file, fields in reversed(columns) for name in (field.name for field in fields)
    }
    by_case = {name.casefold(): name for name in known if name in needed}
    for file, fields in columns:
        names = {field.name for field in fields}
        for name in names:
            other = by_case.get(name.casefold(), name)
            if other not in names:
                raise InputError(
                    f"column {name!r} of {file.path} is {other!r} in {known[other]}: rename one of them, "
                    "leave the column out, or read the files in two jobs"
                )
        there = pa.schema([*fields, *(pa.field(name, pa.string()) for name in partitions_of(file))])
        if names and wanted and all(field_path(there, name) is None for name in wanted):
            raise InputError(
                f"{file.path} has no column {wanted[0]!r}, only {', '.join(there.names)}: rename one of "
                "them, or read the file in a job of its own"
            )


def check_types(columns: Sequence[FileColumns], schema: pa.Schema) -> None:
    """Refuse Parquet files with values beyond the type that a column has over all files.

    Only the statistics in the footers are looked at. Where there are none, rows with such values are bad.

    Raises:
        InputError: a file has such a value.
    """
    for file, fields in columns:
        cast = _casts(fields, schema) if file.format == "parquet" else []
        if not cast:
            continue
        with reading(file.path), open_parquet(file) as source:
            for field, kind in cast:
                for value in bounds(source.metadata, field.name):
                    _check_value(value, field, kind, file)


def _casts(
    fields: Iterable[pa.Field], target: pa.Schema | pa.StructType, prefix: str = ""
) -> list[tuple[pa.Field, pa.DataType]]:
    """Fields whose type differs from that in `target`, with it; those of structs have dotted names."""
    found: list[tuple[pa.Field, pa.DataType]] = []
    for field in fields:
        index = target.get_field_index(field.name)
        kind = target.field(index).type if index >= 0 else field.type
        if pt.is_struct(field.type) and pt.is_struct(kind):
            found += _casts(field.type, kind, f"{prefix}{field.name}.")
        elif kind != field.type and not pt.is_nested(kind):
            found.append((pa.field(prefix + field.name, field.type), kind))
    return found


def _check_value(value: object, field: pa.Field, kind: pa.DataType, file: InputFile) -> None:
    try:
        scalar = pa.scalar(value, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return  # statistics in a form that only their reader knows
    try:
        scalar.cast(kind)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"column {field.name!r} is {field.type} in {file.path} with the value {value}, which does not "
            f"fit {kind}, the type that the column has over all files: {_WAYS_OUT}"
        ) from error
