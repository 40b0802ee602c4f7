"""The options of `millstream distill`, by their groups in its help."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from encoder.arrays.dtypes import Dtype
from encoder.errors import ConfigurationError
from pipelines.cli.console import ErrorConsole, Stages
from pipelines.cli.evaluation.options import (
    Input,
    Label,
    ReportModel,
    ReportRecords,
    SetOptions,
    StandardSets,
)
from pipelines.cli.options import (
    DialectOptions,
    LoadingOptions,
    corpus_option,
    evaluation_option,
    table_option,
    teacher_option,
)
from pipelines.formats import FileFormat
from pipelines.records.durations import seconds

if TYPE_CHECKING:
    from pyarrow import Schema

    from pipelines.records.template import TextTemplate
    from pipelines.sources.files.discovery import InputFile

__all__ = ["Corpus", "CorpusOptions", "EvaluationOptions", "TableOptions", "TeacherOptions"]


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """How the teacher runs."""

    pooling: Annotated[
        Literal["mean", "first", "last", "pooler"],
        teacher_option(
            metavar="POOLING",
            help="How the teacher's hidden states become a vector: mean, first, last or pooler.",
        ),
    ] = "mean"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        teacher_option(
            metavar="PRECISION",
            help="Precision of the teacher: float32, bfloat16, or auto for bfloat16 where it is fast.",
        ),
    ] = "auto"
    teacher_revision: Annotated[
        str | None,
        teacher_option(
            metavar="REVISION", help="Branch, tag or commit of the teacher on the Hugging Face Hub."
        ),
    ] = None
    loading: LoadingOptions

    def parameters(self) -> dict[str, Any]:
        """What changes the vectors: parameters of `distill` that the version records."""
        return {
            "pooling": self.pooling,
            "precision": self.precision,
            "revision": self.teacher_revision,
        }

    def place(self) -> dict[str, Any]:
        """What does not: where the teacher runs, and whether its own code may."""
        return asdict(self.loading)


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Which tokens the model has, and how their vectors are made."""

    dims: Annotated[
        str,
        table_option(
            metavar="N|SHARE", help="Dimensions of a vector, the share of the variance to keep, or none."
        ),
    ] = "256"
    sif: Annotated[
        str, table_option(metavar="NUMBER", help="Smooth inverse frequency constant, or none for no weights.")
    ] = "1e-4"
    dtype: Annotated[
        Dtype, table_option(metavar="TYPE", help="Type of the token vectors: float32, float16 or int8.")
    ] = "float16"
    vocabulary: Annotated[
        Path | None,
        table_option(metavar="FILE", help="File of words to add to the vocabulary, one per line."),
    ] = None
    drop_pattern: Annotated[
        str,
        table_option(
            metavar="REGEX", help="Leave out vocabulary entries that match this regular expression."
        ),
    ] = r"\[unused\d+\]"
    clusters: Annotated[
        int | None,
        table_option(
            metavar="N", help="Let all tokens share this many vectors, which makes the model smaller."
        ),
    ] = None

    mask: Annotated[
        list[str] | None,
        table_option(
            metavar="MASKS",
            help="Masks for the texts, such as ip,number,card, or NAME=REGEX for your own. Repeatable.",
            show_default="none",
        ),
    ] = None

    def parse(self) -> dict[str, Any]:
        """The parameters of `distill` but the words.

        Raises:
            ConfigurationError: `dims` or `sif` is not a number.
        """
        return {
            "dims": _number("dims", self.dims),
            "sif": _number("sif", self.sif),
            "drop_pattern": self.drop_pattern or None,
            "dtype": self.dtype,
            "clusters": self.clusters,
            **({"masks": list(self.mask)} if self.mask else {}),
        }

    def words(self) -> list[str]:
        """Read the words to add, one a line; surrounding blanks and empty lines are ignored.

        Raises:
            ConfigurationError: the file cannot be read, or is empty.
        """
        path = self.vocabulary
        if path is None:
            return []
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot read the vocabulary {path}: {error}") from error
        words = [word for line in lines if (word := line.strip())]
        if not words:
            raise ConfigurationError(
                f"the vocabulary {path} is empty: write one word a line, or leave it out"
            )
        return words


@dataclass(frozen=True)
class Corpus:
    """The records that the model is fitted to; the files exist and have the template's fields."""

    files: "list[InputFile]"
    schema: "Schema"
    template: "TextTemplate"

    @classmethod
    def find(cls, pattern: str, options: "CorpusOptions") -> Self:
        """Find the files.

        Raises:
            TemplateError: no record has one of the fields.
            InputError: there are no files, or their schemas differ.
        """
        from pipelines.records.template import TextTemplate
        from pipelines.sources.files.dialects import find_with_dialects
        from pipelines.sources.files.schema import infer_schema

        template = TextTemplate.parse(options.text)
        dialect = options.dialect.parse()
        files = find_with_dialects(pattern, options.input_format, dialect, ErrorConsole().print)
        return cls(files, infer_schema(files, template.fields, ()), template)

    def texts(self, stages: Stages) -> Iterator[str | None]:
        """Read the texts, and show the progress and the number of unreadable rows."""
        from pipelines.sources.files.texts import iterate_texts

        with stages.reading(sum(file.size for file in self.files)) as on_chunk:
            yield from iterate_texts(self.files, self.schema, self.template, on_chunk)


@dataclass(frozen=True, kw_only=True)
class CorpusOptions:
    """The records that the model is fitted to, and how."""

    corpus: Annotated[
        str | None,
        corpus_option(
            metavar="FILES", help="Your own records to fit the model to: Parquet, JSON lines, CSV or text."
        ),
    ] = None
    text: Annotated[
        str,
        corpus_option(
            metavar="TEMPLATE",
            help="Text of a record: a column, or a template such as '{merchant} in {city}'.",
        ),
    ] = "text"
    input_format: Annotated[
        FileFormat | None,
        corpus_option(
            "--input-format",
            metavar="FORMAT",
            help="Format of --corpus, or of --input if there is no corpus: parquet, jsonl, csv or text.",
            show_default="by file extension",
        ),
    ] = None
    dialect: DialectOptions
    sample: Annotated[
        int | None,
        corpus_option(
            metavar="N",
            help="Number of distinct texts to draw from --corpus.",
            show_default="by --time-budget",
        ),
    ] = None
    time_budget: Annotated[
        str | None,
        corpus_option(
            metavar="TIME",
            help="Draw as many texts as the teacher reads in this time, up to a million.",
            show_default="30m",
        ),
    ] = None
    refine: Annotated[
        bool, corpus_option(help="Refine the fit by gradient steps on the teacher's similarities.")
    ] = True
    blend: Annotated[
        float | None,
        corpus_option(
            metavar="NUMBER",
            help="Length of the plain distillation's vectors beside the fitted ones; 0 for none.",
            show_default="more for fewer texts",
        ),
    ] = None
    seed: Annotated[int, corpus_option(metavar="N", help="Random seed for sampling and refinement.")] = 0
    cache: Annotated[
        Path | None,
        corpus_option(
            metavar="FOLDER",
            help="Folder that keeps the teacher's vectors of texts.",
            show_default="the user cache",
        ),
    ] = None

    def find(self) -> Corpus | None:
        """Find the corpus, if there is one."""
        return None if self.corpus is None else Corpus.find(self.corpus, self)

    def budget(self) -> float | None:
        """How long the teacher may read, in seconds; None if the command does not say.

        Raises:
            ConfigurationError: it is not a time.
        """
        return None if self.time_budget is None else seconds(self.time_budget, "--time-budget")


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What the model is measured on, and what it must reach."""

    records: Input = None
    label: Label = None
    standard: StandardSets
    require: Annotated[
        list[str] | None,
        evaluation_option(
            metavar="METRIC>=N",
            help="Publish nothing if a metric is below this, as in 'sts>=75'. Repeatable.",
        ),
    ] = None
    report_records: ReportRecords = 0
    report_model: ReportModel = False

    def sets(self, corpus: CorpusOptions) -> SetOptions:
        """The sets, whose records are read as those of the corpus are."""
        return SetOptions(
            records=self.records,
            text=corpus.text,
            label=self.label,
            input_format=None if corpus.corpus else corpus.input_format,
            dialect=corpus.dialect,
            seed=corpus.seed,
            standard=self.standard,
        )


def _number(option: str, text: str) -> int | float | None:
    """Parse a number or `none`."""
    if text.lower() == "none":
        return None
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise ConfigurationError(f"`{option}` is {text!r}: give a number, or none") from None
