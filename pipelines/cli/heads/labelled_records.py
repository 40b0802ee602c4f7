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
        multi_label: whether a record may have any number of labels.
    """

    pattern: str
    template: TextTemplate
    label: LabelField
    multi_label: bool
    files: list[InputFile]
    schema: pa.Schema

    @classmethod
    def find(
        cls,
        files: InputOptions,
        text: str,
        label: str | None,
        separator: str | None = None,
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
        schema = labelled_schema(found, template, field)
        return cls(files.inputs, template, field, is_multi_label(schema, field), found, schema)

    def read(self, stages: Stages, max_records: int) -> tuple[list[str], list[tuple[str, ...]]]:
        """Read the texts and labels of the records that have both.

        Args:
            stages: shows the progress and the number of skipped records.
            max_records: read at most this many records.

        Raises:
            InputError: no record has a text and a label.
        """
        texts: list[str] = []
        labels: list[tuple[str, ...]] = []
        n_without = 0
        for one in self._iterate(stages):
            if self.label.name is not None and one.labels is None:
                n_without += 1
                continue
            if len(texts) == max_records:
                stages.print(f"using the first {max_records:,} records: raise --sample to use more")
                break
            texts.append(one.text)
            labels.append(one.labels or ())
        if n_without:
            stages.print(f"skipped {n_without:,} records without {self.label.name!r}")
        if not texts:
            what = "a text" if self.label.name is None else f"a text and the label {self.label.name!r}"
            raise InputError(f"no record of {self.pattern} has {what}: check --text and --label")
        return texts, labels

    def _iterate(self, stages: Stages) -> Iterator[LabelledText]:
        with stages.reading(sum(file.size for file in self.files)) as on_chunk:
            yield from iterate_labelled(self.files, self.schema, self.template, self.label, on_chunk)
