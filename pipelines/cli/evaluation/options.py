"""The options that name evaluation sets: the user's own records, and standard sets."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from encoder.errors import ConfigurationError
from pipelines.cli.evaluation.rows import Warn, complete_rows
from pipelines.cli.evaluation.sets import read_classification, read_pairs, read_retrieval
from pipelines.cli.options import DialectOptions, evaluation_option
from pipelines.formats import FileFormat

if TYPE_CHECKING:
    from distill.evaluation import Records, Sets

__all__ = [
    "RECORDS",
    "Against",
    "Input",
    "Label",
    "ReportModel",
    "ReportRecords",
    "SetOptions",
    "StandardSets",
]

RECORDS = "records"
"""The name of the set of the user's own records."""

Input = Annotated[
    str | None,
    evaluation_option(
        "--input",
        metavar="FILES",
        help="Your own records: a file, folder or glob of Parquet, JSON lines, CSV or text.",
    ),
]
Label = Annotated[
    str | None,
    evaluation_option("--label", metavar="FIELD", help="Field that holds the label of a record in --input."),
]
Against = Annotated[
    list[str] | None,
    evaluation_option(
        "--against",
        metavar="MODEL",
        help="Model to compare with: a teacher, a REF or word vectors (.vec, .txt). Repeatable.",
    ),
]
ReportRecords = Annotated[
    int,
    evaluation_option(
        "--report-records",
        min=0,
        metavar="N",
        help="Number of records to show in the report. All who can read the model can read them.",
    ),
]

ReportModel = Annotated[
    bool,
    evaluation_option(
        "--report-model",
        help="Put the model into the report, so that you can try texts there. Adds 4/3 of its size.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class StandardSets:
    """The files of standard sets."""

    sts: Annotated[
        list[str] | None,
        evaluation_option(
            "--sts",
            metavar="FILE",
            help="Scored pairs: a file with the fields sentence1, sentence2 and score. Repeatable.",
        ),
    ] = None
    classification: Annotated[
        list[str] | None,
        evaluation_option(
            "--classification",
            metavar="FILES",
            help="Labelled texts: a folder with train.* and test.*, TRAIN,TEST or one file. Repeatable.",
        ),
    ] = None
    per_label: Annotated[
        int,
        evaluation_option(
            "--per-label",
            min=1,
            metavar="N",
            help="Training texts per label in --classification; the draw is repeated ten times.",
        ),
    ] = 8
    retrieval: Annotated[
        list[str] | None,
        evaluation_option(
            "--retrieval",
            metavar="FILES",
            help="A folder with corpus.*, queries.* and qrels.*, or CORPUS,QUERIES,QRELS. Repeatable.",
        ),
    ] = None

    def __bool__(self) -> bool:
        return bool(self.sts or self.classification or self.retrieval)


@dataclass(frozen=True, kw_only=True)
class SetOptions:
    """The files of all sets, and how the user's own records are read."""

    records: Input = None
    text: Annotated[
        str,
        evaluation_option(
            metavar="TEMPLATE",
            help="Text of a record in --input: a column, or a template such as '{merchant} in {city}'.",
        ),
    ] = "text"
    label: Label = None
    input_format: Annotated[
        FileFormat | None,
        evaluation_option(
            "--input-format",
            metavar="FORMAT",
            help="Format of --input: parquet, jsonl, csv or text.",
            show_default="by file extension",
        ),
    ] = None
    dialect: DialectOptions = field(default_factory=DialectOptions)
    sample: Annotated[
        int,
        evaluation_option(
            min=1, metavar="N", help="Number of records with distinct texts to draw from --input."
        ),
    ] = 2000
    seed: Annotated[int, evaluation_option(metavar="N", help="Random seed for sampling.")] = 0
    standard: StandardSets = field(default_factory=StandardSets)

    def __bool__(self) -> bool:
        return bool(self.records or self.standard)

    def read(self, warn: Warn) -> "Sets":
        """Read all sets.

        Args:
            warn: called with a line about the records that were skipped.

        Raises:
            ConfigurationError: options contradict one another, or two sets have the same name.
            InputError: a file is missing or damaged, or does not hold such a set.
        """
        from distill.evaluation import Sets

        if self.label is not None and self.records is None:
            raise ConfigurationError("`label` names a field of the records: give them with `records`")
        given, dialect = self.standard, self.dialect.parse()
        sets = Sets(
            records=self._records(self.records, warn) if self.records is not None else None,
            pairs=tuple(read_pairs(file, dialect, warn) for file in given.sts or ()),
            classifications=tuple(
                read_classification(files, given.per_label, dialect, warn)
                for files in given.classification or ()
            ),
            retrievals=tuple(read_retrieval(files, dialect, warn) for files in given.retrieval or ()),
        )
        for names in (sets.pairs, sets.classifications, sets.retrievals):
            _check_names([each.name for each in names])
        return sets

    def _records(self, pattern: str, warn: Warn) -> "Records":
        from distill.corpus_fit.sample import sample_distinct
        from distill.evaluation import Records

        templates = [self.text] if self.label is None else [self.text, self.label]
        rows = complete_rows(
            pattern, templates, warn, self.input_format, dialect=self.dialect.parse(), label=self.label
        )
        drawn = sample_distinct(((row[0], row[-1]) for row in rows), self.sample, seed=self.seed)
        labels = None if self.label is None else [label for _, label in drawn]
        return Records(RECORDS, [text for text, _ in drawn], labels)


def _check_names(names: Sequence[str]) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigurationError(f"two sets are called {twice!r}: rename one of the files")
