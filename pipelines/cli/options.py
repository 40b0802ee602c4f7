"""The options that several commands share, and the groups in which help shows options."""

from functools import partial
from typing import Annotated

import typer

from encoder import dtypes
from pipelines import enrich
from pipelines.formats import FileFormat

__all__ = [
    "OPERATIONS",
    "Against",
    "AsJson",
    "BeamOptions",
    "ClassificationSets",
    "Delimiter",
    "Detach",
    "Device",
    "Dtype",
    "Encoding",
    "Escape",
    "EvaluationFormat",
    "EvaluationSample",
    "EvaluationSeed",
    "EvaluationText",
    "Heads",
    "Input",
    "InputFormat",
    "Inputs",
    "Keep",
    "Label",
    "Layout",
    "Model",
    "PerLabel",
    "Properties",
    "Quote",
    "RefArgument",
    "ReportRecords",
    "RetrievalSets",
    "Sts",
    "Text",
    "TrustRemoteCode",
    "corpus_option",
    "delivery_option",
    "evaluation_option",
    "fit_option",
    "input_option",
    "model_option",
    "neighbours_option",
    "operations_option",
    "output_option",
    "table_option",
    "teacher_option",
    "text_files_option",
    "windows_option",
]

OPERATIONS = "Operations"
"""The group of options that every command has, such as `--help`."""

input_option = partial(typer.Option, rich_help_panel="Input")
text_files_option = partial(typer.Option, rich_help_panel="Files of text")
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
Inputs = Annotated[
    str,
    input_option(
        "--input",
        metavar="FILES",
        help="File, folder or glob of Parquet, JSON lines, CSV or text; also .gz and .zst.",
    ),
]
InputFormat = Annotated[
    FileFormat | None,
    input_option(
        "--input-format",
        metavar="FORMAT",
        help="Input format: parquet, jsonl, csv or text.",
        show_default="by file extension",
    ),
]
Delimiter = Annotated[
    str | None,
    text_files_option(
        "--delimiter",
        metavar="CHARACTER",
        help="Character between the fields of CSV: ';', tab or \\x01.",
        show_default="guessed from each file",
    ),
]
Quote = Annotated[
    str | None,
    text_files_option(
        "--quote",
        metavar="CHARACTER",
        help="Character around fields of CSV, or none.",
        show_default="guessed",
    ),
]
Escape = Annotated[
    str | None,
    text_files_option(
        "--escape",
        metavar="CHARACTER",
        help="Character before a quote inside quotes of CSV, or none: it is doubled.",
        show_default="guessed",
    ),
]
Encoding = Annotated[
    str | None,
    text_files_option(
        "--encoding",
        metavar="NAME",
        help="Encoding of CSV, JSON lines and text: utf-8, cp1252, utf-16 or another.",
        show_default="guessed",
    ),
]
EvaluationFormat = Annotated[
    FileFormat | None,
    evaluation_option(
        "--input-format",
        metavar="FORMAT",
        help="Format of --input: parquet, jsonl, csv or text.",
        show_default="by file extension",
    ),
]
EvaluationText = Annotated[
    str,
    evaluation_option(
        metavar="TEMPLATE",
        help="Text of a record in --input: a column, or a template such as '{merchant} in {city}'.",
    ),
]
EvaluationSample = Annotated[
    int,
    evaluation_option(min=1, metavar="N", help="Number of records with distinct texts to draw from --input."),
]
EvaluationSeed = Annotated[int, evaluation_option(metavar="N", help="Random seed for sampling.")]
Device = Annotated[
    str, teacher_option(metavar="DEVICE", help="Device that teachers run on: auto, cpu, cuda or mps.")
]
TrustRemoteCode = Annotated[
    bool, teacher_option("--trust-remote-code", help="Run code that comes with a teacher.")
]
AsJson = Annotated[bool, operations_option("--json", help="Print the result as one JSON object.")]
Detach = Annotated[
    bool,
    operations_option("--detach", help="Return when the job is submitted. For runners on other machines."),
]
BeamOptions = Annotated[
    list[str] | None,
    typer.Argument(metavar="-- BEAM OPTIONS", help="Beam runner and its options, after --."),
]
Text = Annotated[
    str,
    model_option(
        metavar="TEMPLATE", help="Column to embed, or a template: '{merchant} in {city}: {user.name}'."
    ),
]
Keep = Annotated[
    str | None,
    output_option(
        metavar="COLUMNS", help="Columns to keep, separated by commas; '' keeps none.", show_default="all"
    ),
]
Layout = Annotated[
    enrich.Layout,
    output_option(
        metavar="LAYOUT", help="list, which every tool reads, or binary, which is faster to write."
    ),
]
Dtype = Annotated[
    dtypes.Dtype,
    output_option(
        metavar="TYPE",
        help="Type of the vector elements: float32, float16 or int8, which scales each vector to ±127.",
    ),
]
Heads = Annotated[
    str | None,
    model_option(
        metavar="NAMES",
        help="Heads whose scores are added, separated by commas, or none.",
        show_default="all",
    ),
]
Properties = Annotated[
    list[str] | None,
    delivery_option(
        "--property",
        metavar="KEY=VALUE",
        help="librdkafka property; KEY=@FILE reads the value from a file. Repeatable.",
    ),
]

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
Sts = Annotated[
    list[str] | None,
    evaluation_option(
        "--sts",
        metavar="FILE",
        help="Scored pairs: a file with the fields sentence1, sentence2 and score. Repeatable.",
    ),
]
ClassificationSets = Annotated[
    list[str] | None,
    evaluation_option(
        "--classification",
        metavar="FILES",
        help="Labelled texts: a folder with train.* and test.*, TRAIN,TEST or one file. Repeatable.",
    ),
]
RetrievalSets = Annotated[
    list[str] | None,
    evaluation_option(
        "--retrieval",
        metavar="FILES",
        help="A folder with corpus.*, queries.* and qrels.*, or CORPUS,QUERIES,QRELS. Repeatable.",
    ),
]
PerLabel = Annotated[
    int,
    evaluation_option(
        "--per-label",
        min=1,
        metavar="N",
        help="Training texts per label in --classification; the draw is repeated ten times.",
    ),
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
        help="Records to show in the report, as plain text for all who can read the model.",
    ),
]
