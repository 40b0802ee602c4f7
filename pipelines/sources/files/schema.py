"""The columns of a job: those of its text template and its output, unified over all input files."""

from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pyarrow as pa

from encoder.errors import InputError, TemplateError, UnreadableFile
from pipelines.formats.dialect import shown_character
from pipelines.formats.json_inference import Seen, fields_of
from pipelines.formats.text import TEXT
from pipelines.records.fields import field_names, field_path, prune
from pipelines.records.plain_types import plain_field
from pipelines.sources.files.column_types import FileColumns, check_fields, check_types, unified
from pipelines.sources.files.csv_header import read_header
from pipelines.sources.files.dialects import with_dialect
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.filesystem import reading
from pipelines.sources.files.json_sample import sample, search
from pipelines.sources.files.parquet import open_parquet
from pipelines.sources.files.partitions import partition_field, partitions_of

__all__ = ["infer_schema"]

_THREADS = 16  # footers and headers are small: most time is spent waiting for an object store
_SHOWN = 20
_OTHER_DELIMITERS = (",", ";", "\t", "|", ":", "^", "~", "\x01", " ")


def infer_schema(
    files: list[InputFile],
    wanted: Sequence[str],
    keep: Sequence[str] | None,
    *,
    strict: bool = False,
    may_be_empty: bool = False,
) -> pa.Schema:
    """The columns of a job.

    Parquet types come from the footers; CSV columns and lines are text; a JSON field has the type of most of
    its values at the heads of the files. All JSON files are searched for a field that the heads do not show.
    Folders such as `dt=2026-01-01` are columns, too.

    Args:
        files: the input files, of one or more formats.
        wanted: dotted names of the fields that the template uses.
        keep: the columns to keep, or None for all.
        strict: whether a damaged file is an error although the others have columns.
        may_be_empty: whether files without any record are no error; the columns are text then.

    Returns:
        The columns to keep, in the order of `keep` or of the files, then those that only the template uses,
        with only the struct fields that it uses. All are nullable, none is dictionary-encoded.

    Raises:
        TemplateError: no record has one of the fields or columns.
        InputError: no file can be read, a column has incompatible types in two files, or a file lacks the
            fields of the template.
    """
    needed = _Needed(wanted, keep)
    json_files = [file for file in files if file.format == "jsonl" and file.size]
    damaged: list[InputError] = []
    declared = _declared(
        [file for file in files if file.format == "text" or (file.format != "jsonl" and file.size)],
        damaged,
        needed,
    )
    seen = sample(json_files, damaged)
    if damaged and (strict or not (any(fields for _, fields in declared) or seen.fields)):
        raise damaged[0]
    if not seen.fields and not any(fields for _, fields in declared):
        return _of_nothing(list(dict.fromkeys([*(keep or ()), *wanted])), may_be_empty=may_be_empty)
    in_paths = _in_paths(files, declared, seen, needed)
    schema = unified([*declared, *_in_json(json_files, seen), *in_paths], needed)
    for name in dict.fromkeys([*(keep or ()), *wanted]):
        if not _has(schema, name, keep or ()):
            seen.add_object(search(json_files, name) or {})
            schema = unified([*declared, *_in_json(json_files, seen), *in_paths], needed)
        if not _has(schema, name, keep or ()):
            there = schema.names if name in (keep or ()) else field_names(schema)
            unread = f" (not read: {damaged[0]})" if damaged else ""
            raise TemplateError(_not_there(name, there) + unread)
    found = _selected(schema, wanted, schema.names if keep is None else keep)
    check_fields(declared, wanted, needed)
    check_types(declared, found)
    return found


def _of_nothing(names: list[str], *, may_be_empty: bool) -> pa.Schema:
    """The columns of files without records."""
    if not may_be_empty:
        raise InputError("the input has no records, so its columns are unknown: is it the right one?")
    return pa.schema([pa.field(name, pa.string()) for name in names])


class _Needed:
    """The columns that a job may need: all, or those to keep and those that may contain a field."""

    def __init__(self, wanted: Sequence[str], keep: Sequence[str] | None) -> None:
        self._all = keep is None
        parts = [name.split(".") for name in wanted]
        heads = {".".join(part[:length]) for part in parts for length in range(1, len(part) + 1)}
        self._names = heads.union(keep or ())

    def __contains__(self, name: object) -> bool:
        return self._all or name in self._names


def _has(schema: pa.Schema, name: str, keep: Sequence[str]) -> bool:
    return name in schema.names or (name not in keep and field_path(schema, name) is not None)


def _declared(files: list[InputFile], damaged: list[InputError], needed: Container[str]) -> list[FileColumns]:
    """The columns of files whose format declares them; those that cannot be read are left out."""
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(_file_columns, files))
    damaged += [one for one in found if isinstance(one, UnreadableFile)]
    columns = [one for one in found if isinstance(one, FileColumns)]
    for file, fields in columns:
        names = [field.name for field in fields]
        if twice := next((name for name in names if names.count(name) > 1 and name in needed), None):
            raise InputError(
                f"{file.path} has two columns {twice!r}: rename one of them, or leave both out with `keep`"
            )
    return columns


def _file_columns(file: InputFile) -> FileColumns | UnreadableFile:
    if file.format == "text":
        return FileColumns(file, [pa.field(TEXT, pa.string())])
    try:
        if file.format == "csv":
            names = read_header(with_dialect(file)).names
            return FileColumns(file, [pa.field(name, pa.string()) for name in names])
        with reading(file.path), open_parquet(file) as source:
            fields = list(source.schema_arrow)
    except UnreadableFile as error:
        return error
    return FileColumns(file, [plain_field(field) for field in fields])


def _in_paths(
    files: list[InputFile], columns: Sequence[FileColumns], seen: Seen, needed: Container[str]
) -> list[FileColumns]:
    """The columns in the paths of files.

    Raises:
        InputError: a file has a column of the same name.
    """
    values: dict[str, list[str | None]] = {}
    origins: dict[str, InputFile] = {}
    for file in files:
        for name, value in partitions_of(file).items():
            values.setdefault(name, []).append(value)
            origins.setdefault(name, file)
    inside = {file.path: {field.name for field in fields} for file, fields in columns}
    for file in files if values else ():
        for name in partitions_of(file):
            if name in needed and name in inside.get(file.path, seen.fields):
                raise InputError(
                    f"{name!r} is both a column in {file.path} and a folder of its path ({name}="
                    f"{partitions_of(file)[name]}): rename one of them, or leave the column out with `keep`"
                )
    return [FileColumns(origins[name], [partition_field(name, some)]) for name, some in values.items()]


def _in_json(files: Sequence[InputFile], seen: Seen) -> list[FileColumns]:
    return [FileColumns(file, fields_of(seen)) for file in files[:1]]


def _selected(schema: pa.Schema, wanted: Sequence[str], keep: Sequence[str]) -> pa.Schema:
    kept = dict.fromkeys(keep)
    paths = [path for name in wanted if (path := field_path(schema, name)) is not None]
    extra = dict.fromkeys(path[0] for path in paths if path[0] not in kept)
    pruned = [prune(schema.field(name), [path[1:] for path in paths if path[0] == name]) for name in extra]
    return pa.schema([*(schema.field(name) for name in kept), *pruned])


def _not_there(name: str, names: list[str]) -> str:
    marks = [mark for mark in _OTHER_DELIMITERS if mark != " " or len(names) == 1]
    for column, mark in product(names, marks):
        if name in (part.strip(" '\"") for part in column.split(mark)[1:] + column.split(mark)[:-1]):
            return (
                f"the input has no column {name!r}. Found one column named {column!r}: "
                f"is the delimiter {mark!r}? Set `delimiter` {shown_character(mark)}"
            )
    some = [one if one == one.strip() else repr(one) for one in names[:_SHOWN]]
    shown = ", ".join(some) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return f"no record has the field {name!r}: " + (
        f"use one of {shown}" if shown else "the records have no fields"
    )
