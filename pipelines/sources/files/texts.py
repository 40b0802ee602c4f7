"""Texts and labels from files of records, for distillation, heads and evaluation."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from encoder.errors import InputError, UnreadableFile
from pipelines.records.fields import field_at, field_path, field_type
from pipelines.records.template import TextTemplate
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.reader import read_split
from pipelines.sources.files.schema import infer_schema
from pipelines.sources.files.splits import split_file

__all__ = [
    "LabelField",
    "LabelledText",
    "OnChunk",
    "is_multi_label",
    "iterate_batches",
    "iterate_labelled",
    "iterate_rows",
    "iterate_texts",
    "labelled_schema",
]

_log = logging.getLogger(__name__)

Labels = tuple[str, ...]

OnChunk = Callable[[int, int, int], None]
"""Called after each chunk with the bytes of the files that it took, its records, and its unreadable rows."""


def iterate_texts(
    files: list[InputFile], schema: pa.Schema, template: TextTemplate, on_chunk: OnChunk
) -> Iterator[str | None]:
    """The text of each record, as a backfill would embed it; the errors are those of `iterate_rows`."""
    return (text for (text,) in iterate_rows(files, schema, [template], on_chunk))


def iterate_rows(
    files: list[InputFile], schema: pa.Schema, templates: Sequence[TextTemplate], on_chunk: OnChunk
) -> Iterator[tuple[str | None, ...]]:
    """One or more texts of each record, in the files' order.

    Unreadable rows are skipped, and so is the rest of a damaged file, with a warning in the log.

    Args:
        files: to read.
        schema: the columns that the templates need, from `infer_schema`.
        templates: each makes one text of a record.
        on_chunk: called after each chunk.

    Raises:
        UnreadableFile: no file can be read to its end.
        StoreUnavailable: the object store does not answer.
    """
    for batch in iterate_batches(files, schema, on_chunk):
        columns = [template.apply(batch).to_pylist() for template in templates]
        yield from zip(*columns, strict=True)


def iterate_batches(files: list[InputFile], schema: pa.Schema, on_chunk: OnChunk) -> Iterator[pa.RecordBatch]:
    """The records as batches, in the files' order; arguments and errors are those of `iterate_rows`."""
    damaged = set()
    for file in files:
        for split in split_file(file):
            for chunk in read_split(split, schema):
                yield chunk.batch
                on_chunk(chunk.n_bytes, chunk.batch.num_rows, len(chunk.bad))
                for bad in chunk.bad:
                    if bad.rest:
                        damaged.add(file.path)
                        _log.warning("%s: %s", file.path, bad.reason)
    if damaged and len(damaged) == len(files):
        raise UnreadableFile(f"no file can be read to its end, as {min(damaged)}: copy or write them again")


class LabelledText(NamedTuple):
    """A record's text, its labels or None, and its id if it was asked for."""

    text: str
    labels: Labels | None
    id: str | None = None


class LabelField(NamedTuple):
    """Which field holds the labels.

    Attributes:
        name: the dotted name of the field; None if records have no labels.
        separator: between the labels of a text; None if a text is one label.
    """

    name: str | None
    separator: str | None = None


def labelled_schema(
    files: list[InputFile], template: TextTemplate, label: LabelField, identity: TextTemplate | None = None
) -> pa.Schema:
    """The columns that texts, labels and ids need.

    Raises:
        TemplateError: no record has one of the fields.
        InputError: the label is no text, whole number, boolean, or list of these.
    """
    wanted = [*template.fields, *([] if label.name is None else [label.name])]
    wanted += [] if identity is None else identity.fields
    schema = infer_schema(files, list(dict.fromkeys(wanted)), ())
    if label.name is not None:
        path = field_path(schema, label.name)
        assert path is not None
        kind = field_type(schema, path)
        if not _is_label(kind.value_type if _is_list(kind) else kind):
            raise InputError(
                f"the label {label.name!r} is {kind}: it must be text, whole numbers or booleans, "
                "or a list of them"
            )
    return schema


def _is_list(kind: pa.DataType) -> bool:
    found: bool = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return found


def _is_label(kind: pa.DataType) -> bool:
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean)
    return any(check(kind) for check in checks)


def is_multi_label(schema: pa.Schema, label: LabelField) -> bool:
    """Whether a record may have any number of labels."""
    path = None if label.name is None else field_path(schema, label.name)
    return path is not None and (label.separator is not None or _is_list(field_type(schema, path)))


def iterate_labelled(
    files: list[InputFile],
    schema: pa.Schema,
    template: TextTemplate,
    label: LabelField,
    on_chunk: OnChunk,
    identity: TextTemplate | None = None,
) -> Iterator[LabelledText]:
    """The text and the labels of each record that has a text, in the files' order.

    Args:
        files: to read.
        schema: from `labelled_schema`.
        template: makes the text of a record.
        label: the field with the labels.
        on_chunk: called after each chunk.
        identity: makes the id of a record.

    Raises:
        UnreadableFile: no file can be read to its end.
        StoreUnavailable: the object store does not answer.
    """
    for batch in iterate_batches(files, schema, on_chunk):
        ids = [None] * batch.num_rows if identity is None else identity.apply(batch).to_pylist()
        rows = zip(template.apply(batch).to_pylist(), _labels(batch, label), ids, strict=True)
        yield from (LabelledText(*row) for row in rows if row[0] is not None)


def _labels(batch: pa.RecordBatch, label: LabelField) -> list[Labels | None]:
    path = None if label.name is None else field_path(batch.schema, label.name)
    if path is None:
        return [None] * batch.num_rows
    values = field_at(batch, path)
    if _is_list(values.type):
        lists = values.to_pylist()
        return [
            None if some is None else _distinct(_word(x) for x in some if x is not None) for some in lists
        ]
    if pa.types.is_boolean(values.type):
        values = pc.if_else(values, "true", "false")
    texts = values.cast(pa.string()).to_pylist()
    if label.separator is None:
        return [(text,) if text and text.strip() else None for text in texts]
    return [None if text is None else _distinct(text.split(label.separator)) for text in texts]


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _distinct(words: Iterable[str]) -> Labels:
    return tuple(dict.fromkeys(word for part in words if (word := part.strip())))
