"""Texts alone, out of files of records: what a distillation is fitted to, what a model is measured on."""

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from pipelines.records.template import TextTemplate
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.reader import read_split
from pipelines.sources.files.splits import split_file

__all__ = ["OnChunk", "iterate_batches", "iterate_rows", "iterate_texts"]

OnChunk = Callable[[int, int, int], None]


def iterate_texts(
    files: list[InputFile], schema: pa.Schema, template: TextTemplate, on_chunk: OnChunk
) -> Iterator[str | None]:
    """The text of each record of some files, as a backfill would embed it; see `iterate_rows`."""
    return (text for (text,) in iterate_rows(files, schema, [template], on_chunk))


def iterate_rows(
    files: list[InputFile], schema: pa.Schema, templates: Sequence[TextTemplate], on_chunk: OnChunk
) -> Iterator[tuple[str | None, ...]]:
    """Some texts of each record of some files, in the files' order.

    Args:
        files: what to read.
        schema: the columns that the templates need (`pipelines.sources.files.schema.infer_schema`).
        templates: each gives one text of a record.
        on_chunk: called after each chunk of records with the bytes of the files that it took, its records,
            and the rows in it that could not be read, which are passed over.

    Raises:
        InputError: a file is damaged.
        StoreUnavailable: the object store does not answer.
    """
    for batch in iterate_batches(files, schema, on_chunk):
        columns = [template.apply(batch).to_pylist() for template in templates]
        yield from zip(*columns, strict=True)


def iterate_batches(files: list[InputFile], schema: pa.Schema, on_chunk: OnChunk) -> Iterator[pa.RecordBatch]:
    """The records of some files, in the files' order; see `iterate_rows`."""
    for file in files:
        for split in split_file(file):
            for chunk in read_split(split, schema):
                yield chunk.batch
                on_chunk(chunk.n_bytes, chunk.batch.num_rows, len(chunk.bad))
