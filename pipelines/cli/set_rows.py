"""Rows of the files that sets are read from: the texts of their fields."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from encoder.errors import InputError, TemplateError
from pipelines.formats import FileFormat
from pipelines.records.template import TextTemplate
from pipelines.sources.files.discovery import find_inputs
from pipelines.sources.files.schema import infer_schema
from pipelines.sources.files.texts import iterate_rows

__all__ = ["all_rows", "complete_rows", "first_that_fits", "number"]

_Row = tuple[str, ...]
_TITLE = "title"  # the one field that a passage may lack


def complete_rows(
    pattern: str,
    templates: Sequence[str],
    say: Callable[[str], None],
    input_format: FileFormat | None = None,
    *,
    label: str | None = None,
    optional: str | None = None,
) -> Iterator[_Row]:
    """Texts of the records that have all of them; the number of the others is said at the end.

    Args:
        pattern: the files.
        templates: each gives one text of a record.
        say: called with what was passed over.
        input_format: of the files, or None to go by the extensions.
        label: the template that must not be blank either, since CSV has no other way to leave a label out.
        optional: the template that a record may lack; its text is empty then.

    Raises:
        TemplateError: no record has one of the fields.
        InputError: a file is not there or is damaged.
    """
    parsed = [TextTemplate.parse(template) for template in templates]
    files = find_inputs(pattern, input_format)
    fields = list(dict.fromkeys(chain.from_iterable(template.fields for template in parsed)))
    schema = infer_schema(files, fields, ())
    n_unread = n_incomplete = 0

    def on_chunk(_bytes: int, _records: int, bad: int) -> None:
        nonlocal n_unread
        n_unread += bad

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
    if n_unread or n_incomplete:
        say(
            f"{pattern}: passed over {n_unread:,} rows that cannot be read and {n_incomplete:,} without "
            f"{' or '.join(templates)}"
        )


def all_rows(
    pattern: str,
    fields: Sequence[str],
    say: Callable[[str], None],
    *,
    label: str | None = None,
    optional: str | None = None,
) -> list[_Row]:
    """The same as a list.

    Raises:
        TemplateError: as `complete_rows`.
        InputError: as `complete_rows`, or no record is complete.
    """
    found = list(complete_rows(pattern, fields, say, label=label, optional=optional))
    if not found:
        raise InputError(f"{pattern} has no complete record: each needs {' and '.join(fields)}")
    return found


def first_that_fits(pattern: str, choices: Sequence[Sequence[str]], say: Callable[[str], None]) -> list[_Row]:
    """The rows, read by the first of several ways to name their fields that the files have.

    Raises:
        TemplateError: as `complete_rows`, by the last of the ways.
        InputError: as `all_rows`.
    """
    for fields in choices[:-1]:
        try:
            return all_rows(pattern, fields, say, optional=_TITLE)
        except TemplateError:
            continue
    return all_rows(pattern, choices[-1], say, optional=_TITLE)


def number(pattern: str, field: str, text: str) -> float:
    """The number that a field holds.

    Raises:
        InputError: it is none.
    """
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{pattern}: {field} {text!r} is no number") from None
