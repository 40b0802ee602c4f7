"""The columns of a job: those of its text template and its output, unified over all input files."""

from collections.abc import Container, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pyarrow as pa

from encoder.errors import InputError, TemplateError
from pipelines.formats.dialect import shown_character
from pipelines.formats.json_inference import Seen, fields_of
from pipelines.formats.text import TEXT
from pipelines.records.bad_rows import one_line
from pipelines.records.fields import field_names, field_path, prune
from pipelines.sources.files.csv_header import read_header
from pipelines.sources.files.dialects import with_dialect
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import reading
from pipelines.sources.files.json_sample import sample, search
from pipelines.sources.files.parquet import open_parquet

__all__ = ["infer_schema"]

_THREADS = 16  # footers and headers are small: most time is spent waiting for an object store
_SHOWN = 20
_OTHER_DELIMITERS = (",", ";", "\t", "|", ":", "^", "~", "\x01", " ")


def infer_schema(files: list[InputFile], wanted: Sequence[str], keep: Sequence[str] | None) -> pa.Schema:
    """The columns of a job.

    Parquet types come from the footers; CSV columns and lines are text; a JSON field has the type of most of
    its values at the heads of the files. All JSON files are searched for a field that the heads do not show.

    Args:
        files: the input files, of one or more formats.
        wanted: dotted names of the fields that the template uses.
        keep: the columns to keep, or None for all.

    Returns:
        The columns to keep, in the order of `keep` or of the files, then those that only the template uses,
        with only the struct fields that it uses. All are nullable, none is dictionary-encoded.

    Raises:
        TemplateError: no record has one of the fields or columns.
        InputError: a file cannot be read, or a column has incompatible types in two files.
    """
    needed = _Needed(wanted, keep)
    json_files = [file for file in files if file.format == "jsonl"]
    fields = _unified(_fixed_fields([file for file in files if file.format != "jsonl"], needed), needed)
    seen = sample(json_files)
    schema = _with_json(fields, seen, json_files, needed)
    for name in dict.fromkeys([*(keep or ()), *wanted]):
        if not _has(schema, name, keep or ()):
            seen.add_object(search(json_files, name) or {})
            schema = _with_json(fields, seen, json_files, needed)
        if not _has(schema, name, keep or ()):
            there = schema.names if name in (keep or ()) else field_names(schema)
            raise TemplateError(_not_there(name, there))
    return _selected(schema, wanted, schema.names if keep is None else keep)


class _Needed:
    """The columns that a job may need: all, or those to keep and those that may contain a field."""

    def __init__(self, wanted: Sequence[str], keep: Sequence[str] | None) -> None:
        self._all = keep is None
        parts = [name.split(".") for name in wanted]
        heads = {".".join(part[:length]) for part in parts for length in range(1, len(part) + 1)}
        self._names = heads.union(keep or ())

    def __contains__(self, name: object) -> bool:
        return self._all or name in self._names


_Origin = tuple[pa.Field, str]  # a field, and the first file that has it


def _has(schema: pa.Schema, name: str, keep: Sequence[str]) -> bool:
    return name in schema.names or (name not in keep and field_path(schema, name) is not None)


def _fixed_fields(files: list[InputFile], needed: Container[str]) -> Iterable[_Origin]:
    """The fields of files whose format declares them."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for file, fields in zip(files, pool.map(_file_fields, files), strict=True):
            names = [field.name for field in fields]
            if twice := next((name for name in names if names.count(name) > 1 and name in needed), None):
                raise InputError(
                    f"{file.path} has two columns {twice!r}: rename one of them, "
                    "or leave both out with `keep`"
                )
            for field in fields:
                yield field, file.path


def _file_fields(file: InputFile) -> list[pa.Field]:
    if file.format == "text":
        return [pa.field(TEXT, pa.string())]
    if file.format == "csv":
        return [pa.field(name, pa.string()) for name in read_header(with_dialect(file)).names]
    with reading(file.path), open_parquet(file) as source:
        return [_plain_field(field) for field in source.schema_arrow]


def _plain_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, _plain(field.type))


def _plain(kind: pa.DataType) -> pa.DataType:  # noqa: PLR0911 - one return a kind of type
    """The type without dictionaries and views; null becomes string."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _plain(kind.value_type)
    if pa.types.is_null(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([_plain_field(field) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_list_view(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(_plain(kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain(kind.value_type), kind.list_size)
    return kind


def _unified(fields: Iterable[_Origin], needed: Container[str]) -> dict[str, _Origin]:
    """One field a name; if it is needed, of a type that all its types can be promoted to."""
    unified: dict[str, _Origin] = {}
    for field, path in fields:
        before, first = unified.setdefault(field.name, (field, path))
        if before.type != field.type and field.name in needed:
            unified[field.name] = (_promoted(before, field, first, path), first)
    return unified


def _promoted(before: pa.Field, field: pa.Field, first: str, path: str) -> pa.Field:
    try:
        schemas = [pa.schema([before]), pa.schema([field])]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"column {field.name!r} is {field.type} in {path} but {before.type} in {first} "
            f"({one_line(error)}): convert one of them, leave the column out, or read the files in two jobs"
        ) from error


def _with_json(
    fields: dict[str, _Origin], seen: Seen, json_files: list[InputFile], needed: Container[str]
) -> pa.Schema:
    origin = json_files[0].path if json_files else ""
    unified = _unified([*fields.values(), *((field, origin) for field in fields_of(seen))], needed)
    return pa.schema([field for field, _ in unified.values()])


def _selected(schema: pa.Schema, wanted: Sequence[str], keep: Sequence[str]) -> pa.Schema:
    kept = dict.fromkeys(keep)
    paths = [path for name in wanted if (path := field_path(schema, name)) is not None]
    extra = dict.fromkeys(path[0] for path in paths if path[0] not in kept)
    pruned = [prune(schema.field(name), [path[1:] for path in paths if path[0] == name]) for name in extra]
    return pa.schema([*(schema.field(name) for name in kept), *pruned])


def _not_there(name: str, names: list[str]) -> str:
    for column, mark in product(names, _OTHER_DELIMITERS):
        if name in (part.strip(" '\"") for part in column.split(mark)[1:] + column.split(mark)[:-1]):
            return (
                f"the input has no column {name!r}. Found one column named {column!r}: "
                f"is the delimiter {mark!r}? Set `delimiter` {shown_character(mark)}"
            )
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return f"no record has the field {name!r}: " + (
        f"use one of {shown}" if shown else "the records have no fields"
    )
