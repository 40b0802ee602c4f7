"""Read labelled records for the commands of `millstream head`, with progress."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Self

import pyarrow as pa

from encoder.errors import InputError
from pipelines.cli.console import ErrorConsole, Stages
from pipelines.cli.options import InputOptions, input_option
from pipelines.records.template import TextTemplate
from pipelines.sources.files.dialects import find_with_dialects
from pipelines.sources.files.discovery import InputFile
from pipelines.sources.files.texts import (
    LabelField,
    LabelledText,
    is_multi_label,
    iterate_labelled,
    labelled_schema,
)

__all__ = ["MAX_RECORDS", "LabelledRecords", "Sample", "Separator"]

MAX_RECORDS = 200_000
"""The default maximum number of records."""

Separator = Annotated[
    str | None,
    input_option(
        metavar="TEXT",
        help="Character between several labels of a record.",
        show_default="one label, or a list",
    ),
]
Sample = Annotated[int, input_option(min=1, metavar="N", help="Maximum number of records to use.")]


@dataclass(frozen=True)
class LabelledRecords:
    """Records whose files exist and have the required fields.

    Attributes:
        pattern: the pattern of the files.
        template: the text of a record.
        label: the field of the labels.
        identity: the id of a record, or None for its number.
        multi_label: whether a record may have any number of labels.
    """

    pattern: str
    template: TextTemplate
    label: LabelField
    multi_label: bool
    files: list[InputFile]
    schema: pa.Schema
    identity: TextTemplate | None = None

    @classmethod
    def find(
        cls,
        files: InputOptions,
        text: str,
        label: str | None,
        separator: str | None = None,
        identity: str | None = None,
    ) -> Self:
        """Find the files, and check the fields.

        Raises:
            TemplateError: no record has one of the fields.
            InputError: there are no files, or the label's type is not supported.
        """
        template, field = TextTemplate.parse(text), LabelField(label, separator)
        found = find_with_dialects(
            files.inputs, files.input_format, files.dialect.parse(), ErrorConsole().print
        )
        ids = None if identity is None else TextTemplate.parse(identity)
        schema = labelled_schema(found, template, field, ids)
        return cls(files.inputs, template, field, is_multi_label(schema, field), found, schema, ids)

    def read(self, stages: Stages, max_records: int) -> tuple[list[str], list[tuple[str, ...]]]:
        """Read the texts and labels of the records that have both.

        Args:
            stages: shows the progress and the number of skipped records.
            max_records: read at most this many records.

        Raises:
            InputError: no record has a text and a label.
        """
        records = self.read_with_ids(stages, max_records)
        return [one.text for one in records], [one.labels or () for one in records]

    def read_with_ids(self, stages: Stages, max_records: int) -> list[LabelledText]:
        """Read the records that have a text, a label and an id; arguments and errors are those of `read`."""
        found: list[LabelledText] = []
        n_without = 0
        for number, one in enumerate(self._iterate(stages), 1):
            known = one if self.identity is not None else one._replace(id=str(number))
            if (self.label.name is not None and one.labels is None) or known.id is None:
                n_without += 1
                continue
            if len(found) == max_records:
                stages.print(f"using the first {max_records:,} records: raise --sample to use more")
                break
            found.append(known)
        if n_without:
            missing = "" if self.identity is None else f" or {self.identity.source!r}"
            stages.print(f"skipped {n_without:,} records without {self.label.name!r}{missing}")
        if not found:
            what = "a text" if self.label.name is None else f"a text and the label {self.label.name!r}"
            raise InputError(f"no record of {self.pattern} has {what}: check --text and --label")
        return found

    def _iterate(self, stages: Stages) -> Iterator[LabelledText]:
        parts = self.files, self.schema, self.template, self.label
        with stages.reading(sum(file.size for file in self.files)) as on_chunk:
            yield from iterate_labelled(*parts, on_chunk, self.identity)
