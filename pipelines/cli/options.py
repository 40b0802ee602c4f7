"""The options that several commands share, and the groups in which help shows options."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from encoder.arrays import dtypes
from pipelines import enrich
from pipelines.formats import FileFormat
from pipelines.formats.dialect import Dialect

if TYPE_CHECKING:
    from pipelines.enrich.enrichment import Enrichment

__all__ = [
    "INPUTS",
    "OPERATIONS",
    "SIGNATURES",
    "TEXT_FILES",
    "AsJson",
    "BeamOptions",
    "Detach",
    "DialectOptions",
    "Encoding",
    "EnrichmentOptions",
    "InputOptions",
    "LoadingOptions",
    "Mask",
    "Model",
    "PartitionBy",
    "Properties",
    "RefArgument",
    "corpus_option",
    "delivery_option",
    "evaluation_option",
    "fit_option",
    "input_option",
    "model_option",
    "neighbours_option",
    "operations_option",
    "output_option",
    "signature_option",
    "split_names",
    "table_option",
    "teacher_option",
    "windows_option",
]

TEXT_FILES, SIGNATURES, OPERATIONS = "Text files", "Signatures", "Operations"
"""The groups that help shows last, in this order; every command has operations, such as `--help`."""

input_option = partial(typer.Option, rich_help_panel="Input")
_text_files_option = partial(typer.Option, rich_help_panel=TEXT_FILES)
model_option = partial(typer.Option, rich_help_panel="Text and model")
teacher_option = partial(typer.Option, rich_help_panel="Teacher")
table_option = partial(typer.Option, rich_help_panel="Vocabulary and token vectors")
corpus_option = partial(typer.Option, rich_help_panel="Corpus fit")
fit_option = partial(typer.Option, rich_help_panel="Fit")
evaluation_option = partial(typer.Option, rich_help_panel="Evaluation")
windows_option = partial(typer.Option, rich_help_panel="Windows")
output_option = partial(typer.Option, rich_help_panel="Output")
neighbours_option = partial(typer.Option, rich_help_panel="Neighbours")
delivery_option = partial(typer.Option, rich_help_panel="Delivery")
signature_option = partial(typer.Option, rich_help_panel=SIGNATURES)
operations_option = partial(typer.Option, rich_help_panel=OPERATIONS)
"""Make an option of a group in the help of commands."""

RefArgument = Annotated[
    str,
    typer.Argument(metavar="REF", help="Model folder, or a version in a store: s3://bucket/models/minilm@7."),
]
Model = Annotated[
    str,
    model_option(
        "--model", metavar="REF", help="Model folder, or a version in a store: s3://bucket/models/minilm@7."
    ),
]
Encoding = Annotated[
    str | None,
    _text_files_option(
        "--encoding",
        metavar="NAME",
        help="Encoding of text files: utf-8, cp1252, utf-16 or another.",
        show_default="guessed",
    ),
]
Mask = Annotated[
    list[str] | None,
    model_option(
        "--mask",
        metavar="MASKS",
        help="Masks for the texts, such as ip,number,card, or NAME=REGEX for your own; or none. Repeatable.",
        show_default="those of the model",
    ),
]
AsJson = Annotated[bool, operations_option("--json", help="Print the result as one JSON object.")]
Detach = Annotated[
    bool,
    operations_option("--detach", help="Return when the job is submitted. For runners on other machines."),
]
Strict = Annotated[
    bool, operations_option("--strict", help="Stop at the first file that cannot be read to its end.")
]
PartitionBy = Annotated[
    str | None,
    output_option(
        "--partition-by",
        metavar="COLUMNS",
        help="Columns, and periods of them, that Parquet rows are kept apart by: 'day(at),country'.",
        show_default="none",
    ),
]
BeamOptions = Annotated[
    list[str] | None,
    typer.Argument(metavar="-- BEAM OPTIONS", help="Beam runner and its options, after --."),
]
Properties = Annotated[
    list[str] | None,
    delivery_option(
        "--property",
        metavar="KEY=VALUE",
        help="librdkafka property; KEY=@FILE reads the value from a file. Repeatable.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class DialectOptions:
    """How text files are written."""

    delimiter: Annotated[
        str | None,
        _text_files_option(
            "--delimiter",
            metavar="CHARACTER",
            help="Character between the fields of CSV, such as ';', tab or \\x01.",
            show_default="guessed from each file",
        ),
    ] = None
    quote: Annotated[
        str | None,
        _text_files_option(
            "--quote",
            metavar="CHARACTER",
            help="Character around quoted fields of CSV, or none.",
            show_default="guessed",
        ),
    ] = None
    escape: Annotated[
        str | None,
        _text_files_option(
            "--escape",
            metavar="CHARACTER",
            help="Character that escapes a quote in a quoted field, or none if quotes are doubled.",
            show_default="guessed",
        ),
    ] = None
    encoding: Encoding = None

    def parse(self) -> Dialect:
        """Parse them.

        Raises:
            ConfigurationError: one of them is not a character of ASCII, two are the same, or the encoding is
                unknown.
        """
        return Dialect.parse(self.delimiter, self.quote, self.escape, self.encoding)


INPUTS = input_option(
    "--input",
    metavar="FILES",
    help="File, folder or glob of Parquet, JSON lines, CSV or text; also .gz and .zst.",
)


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """The files of records that a command reads."""

    inputs: Annotated[str, INPUTS]
    input_format: Annotated[
        FileFormat | None,
        input_option(
            "--input-format",
            metavar="FORMAT",
            help="Input format: parquet, jsonl, csv or text.",
            show_default="by file extension",
        ),
    ] = None
    dialect: DialectOptions


@dataclass(frozen=True, kw_only=True)
class LoadingOptions:
    """How teachers are loaded."""

    device: Annotated[
        str, teacher_option(metavar="DEVICE", help="Device that teachers run on: auto, cpu, cuda or mps.")
    ] = "auto"
    trust_remote_code: Annotated[
        bool, teacher_option("--trust-remote-code", help="Run code that comes with a teacher.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class EnrichmentOptions:
    """What is embedded of a record, and which columns the output has."""

    text: Annotated[
        str,
        model_option(
            metavar="TEMPLATE", help="Column to embed, or a template: '{merchant} in {city}: {user.name}'."
        ),
    ] = "text"
    keep: Annotated[
        str | None,
        output_option(
            metavar="COLUMNS", help="Columns to keep, separated by commas; '' keeps none.", show_default="all"
        ),
    ] = None
    vectors: Annotated[
        enrich.Layout,
        output_option(
            metavar="LAYOUT", help="list, which every tool reads, or binary, which is faster to write."
        ),
    ] = "list"
    dtype: Annotated[
        dtypes.Dtype,
        output_option(
            metavar="TYPE",
            help="Type of the vector elements: float32, float16 or int8, which scales each vector to ±127.",
        ),
    ] = "float32"
    heads: Annotated[
        str | None,
        model_option(
            metavar="NAMES",
            help="Heads whose scores are added, separated by commas, or none.",
            show_default="all",
        ),
    ] = None
    mask: Annotated[
        list[str] | None,
        model_option(
            metavar="MASKS",
            help="Masks that the model must have, such as ip,number; another model is refused. Repeatable.",
            show_default="any",
        ),
    ] = None
    mask_fields: Annotated[
        str | None,
        output_option(
            metavar="FIELDS",
            help="Kept fields to mask with the model's masks, separated by commas. Masks dead letters too.",
            show_default="none",
        ),
    ] = None

    def parse(self) -> "Enrichment":
        """Parse them.

        Raises:
            TemplateError: the template cannot be parsed.
            ConfigurationError: `heads` names no head, or `mask` something else than masks.
        """
        from pipelines.enrich.columns import parse_heads
        from pipelines.enrich.enrichment import Enrichment

        return Enrichment.parse(
            self.text,
            keep=split_names(self.keep),
            vectors=self.vectors,
            dtype=self.dtype,
            heads=parse_heads(self.heads),
            mask_fields=split_names(self.mask_fields) or (),
            masks=self.mask,
        )


def split_names(text: str | None) -> tuple[str, ...] | None:
    """Split names that are separated by commas; None stays None."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())
