"""Read the complete rows of the files of evaluation sets, and warn about those that are not."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from encoder.errors import InputError, TemplateError
from pipelines.formats import FileFormat
from pipelines.formats.dialect import GUESSED, Dialect
from pipelines.records.template import TextTemplate
from pipelines.sources.files.dialects import find_with_dialects
from pipelines.sources.files.schema import infer_schema
from pipelines.sources.files.texts import iterate_rows

__all__ = ["TITLE", "Row", "Warn", "complete_rows", "read_rows"]

Row = tuple[str, ...]
Warn = Callable[[str], None]

TITLE = "title"
"""The one field that a passage may lack."""


def read_rows(
    pattern: str,
    ways: Sequence[Sequence[str]],
    warn: Warn,
    *,
    dialect: Dialect = GUESSED,
    label: str | None = None,
) -> list[Row]:
    """Read the complete rows of files, by the first list of fields that the files have.

    Args:
        pattern: the files.
        ways: lists of fields, tried in order. A row may lack its title.
        dialect: what the user says about files of text.
        warn: called with a line about the rows that were skipped.
        label: the field that must not be blank: CSV has no other way to leave a label out.

    Raises:
        TemplateError: no record has one of the fields of the last list.
        InputError: a file is missing or damaged, or no row is complete.
    """
    for names in ways:
        try:
            found = list(complete_rows(pattern, names, warn, dialect=dialect, label=label, optional=TITLE))
        except TemplateError:
            if names is ways[-1]:
                raise
            continue
        if not found:
            raise InputError(f"{pattern} has no complete record: each needs {' and '.join(names)}")
        break
    return found


def complete_rows(
    pattern: str,
    templates: Sequence[str],
    warn: Warn,
    input_format: FileFormat | None = None,
    *,
    dialect: Dialect = GUESSED,
    label: str | None = None,
    optional: str | None = None,
) -> Iterator[Row]:
    """Yield the texts of the records that have all of them; warn at the end about those that do not."""
    parsed = [TextTemplate.parse(template) for template in templates]
    files = find_with_dialects(pattern, input_format, dialect, warn)
    names = list(dict.fromkeys(chain.from_iterable(template.fields for template in parsed)))
    schema = infer_schema(files, names, ())
    n_unreadable = n_incomplete = 0

    def on_chunk(_bytes: int, _records: int, bad: int) -> None:
        nonlocal n_unreadable
        n_unreadable += bad

    for row in iterate_rows(files, schema, parsed, on_chunk):
        complete = [
            text or ""
            for text, template in zip(row, templates, strict=True)
            if template == optional or (text is not None and (template != label or text.strip()))
        ]
        if len(complete) == len(row):
            yield tuple(complete)
        else:
            n_incomplete += 1
    if n_unreadable or n_incomplete:
        warn(
            f"{pattern}: skipped {n_unreadable:,} unreadable rows and {n_incomplete:,} without "
            f"{' or '.join(templates)}"
        )
