"""The options that several commands share, and the groups in which help shows options."""

from typing import Annotated

import typer

from encoder import dtypes
from pipelines import enrich
from pipelines.formats import FileFormat

__all__ = [
    "CORPUS",
    "DELIVERY",
    "EVALUATION",
    "FIT",
    "INPUT",
    "NEIGHBOURS",
    "OPERATIONS",
    "OUTPUT",
    "TABLE",
    "TEACHER",
    "TEXT_AND_MODEL",
    "TEXT_FILES",
    "WINDOWS",
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
]

INPUT = "Input"
TEXT_FILES = "Files of text"
TEXT_AND_MODEL = "Text and model"
TEACHER = "Teacher"
TABLE = "Vocabulary and token vectors"
CORPUS = "Corpus fit"
FIT = "Fit"
EVALUATION = "Evaluation"
WINDOWS = "Windows"
OUTPUT = "Output"
NEIGHBOURS = "Neighbours"
DELIVERY = "Delivery"
OPERATIONS = "Operations"
"""Groups of options in the help of commands."""

RefArgument = Annotated[
    str,
    typer.Argument(metavar="REF", help="Model folder, or a version in a store: s3://bucket/models/minilm@7."),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="REF",
        help="Model folder, or a version in a store: s3://bucket/models/minilm@7.",
        rich_help_panel=TEXT_AND_MODEL,
    ),
]
Inputs = Annotated[
    str,
    typer.Option(
        "--input",
        metavar="FILES",
        help="File, folder or glob of Parquet, JSON lines, CSV or text; also .gz and .zst.",
        rich_help_panel=INPUT,
    ),
]
InputFormat = Annotated[
    FileFormat | None,
    typer.Option(
        "--input-format",
        metavar="FORMAT",
        help="Input format: parquet, jsonl, csv or text.",
        show_default="by file extension",
        rich_help_panel=INPUT,
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        "--delimiter",
        metavar="CHARACTER",
        help="Character between the fields of CSV: ';', tab or \\x01.",
        show_default="guessed from each file",
        rich_help_panel=TEXT_FILES,
    ),
]
Quote = Annotated[
    str | None,
    typer.Option(
        "--quote",
        metavar="CHARACTER",
        help="Character around fields of CSV, or none.",
        show_default="guessed",
        rich_help_panel=TEXT_FILES,
    ),
]
Escape = Annotated[
    str | None,
    typer.Option(
        "--escape",
        metavar="CHARACTER",
        help="Character before a quote inside quotes of CSV, or none: it is doubled.",
        show_default="guessed",
        rich_help_panel=TEXT_FILES,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        metavar="NAME",
        help="Encoding of CSV, JSON lines and text: utf-8, cp1252, utf-16 or another.",
        show_default="guessed",
        rich_help_panel=TEXT_FILES,
    ),
]
EvaluationFormat = Annotated[
    FileFormat | None,
    typer.Option(
        "--input-format",
        metavar="FORMAT",
        help="Format of --input: parquet, jsonl, csv or text.",
        show_default="by file extension",
        rich_help_panel=EVALUATION,
    ),
]
EvaluationText = Annotated[
    str,
    typer.Option(
        metavar="TEMPLATE",
        help="Text of a record in --input: a column, or a template such as '{merchant} in {city}'.",
        rich_help_panel=EVALUATION,
    ),
]
EvaluationSample = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Number of records with distinct texts to draw from --input.",
        rich_help_panel=EVALUATION,
    ),
]
EvaluationSeed = Annotated[
    int, typer.Option(metavar="N", help="Random seed for sampling.", rich_help_panel=EVALUATION)
]
Device = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        help="Device that teachers run on: auto, cpu, cuda or mps.",
        rich_help_panel=TEACHER,
    ),
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run code that comes with a teacher.", rich_help_panel=TEACHER),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print the result as one JSON object.", rich_help_panel=OPERATIONS),
]
Detach = Annotated[
    bool,
    typer.Option(
        "--detach",
        help="Return when the job is submitted. For runners on other machines.",
        rich_help_panel=OPERATIONS,
    ),
]
BeamOptions = Annotated[
    list[str] | None,
    typer.Argument(metavar="-- BEAM OPTIONS", help="Beam runner and its options, after --."),
]
Text = Annotated[
    str,
    typer.Option(
        metavar="TEMPLATE",
        help="Column to embed, or a template: '{merchant} in {city}: {user.name}'.",
        rich_help_panel=TEXT_AND_MODEL,
    ),
]
Keep = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMNS",
        help="Columns to keep, separated by commas; '' keeps none.",
        show_default="all",
        rich_help_panel=OUTPUT,
    ),
]
Layout = Annotated[
    enrich.Layout,
    typer.Option(
        metavar="LAYOUT",
        help="list, which every tool reads, or binary, which is faster to write.",
        rich_help_panel=OUTPUT,
    ),
]
Dtype = Annotated[
    dtypes.Dtype,
    typer.Option(
        metavar="TYPE",
        help="Type of the vector elements: float32, float16 or int8, which scales each vector to ±127.",
        rich_help_panel=OUTPUT,
    ),
]
Heads = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Heads whose scores are added, separated by commas, or none.",
        show_default="all",
        rich_help_panel=TEXT_AND_MODEL,
    ),
]
Properties = Annotated[
    list[str] | None,
    typer.Option(
        "--property",
        metavar="KEY=VALUE",
        help="librdkafka property; KEY=@FILE reads the value from a file. Repeatable.",
        rich_help_panel=DELIVERY,
    ),
]

Input = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="FILES",
        help="Your own records: a file, folder or glob of Parquet, JSON lines, CSV or text.",
        rich_help_panel=EVALUATION,
    ),
]
Label = Annotated[
    str | None,
    typer.Option(
        "--label",
        metavar="FIELD",
        help="Field that holds the label of a record in --input.",
        rich_help_panel=EVALUATION,
    ),
]
Sts = Annotated[
    list[str] | None,
    typer.Option(
        "--sts",
        metavar="FILE",
        help="Scored pairs: a file with the fields sentence1, sentence2 and score. Repeatable.",
        rich_help_panel=EVALUATION,
    ),
]
ClassificationSets = Annotated[
    list[str] | None,
    typer.Option(
        "--classification",
        metavar="FILES",
        help="Labelled texts: a folder with train.* and test.*, TRAIN,TEST or one file. Repeatable.",
        rich_help_panel=EVALUATION,
    ),
]
RetrievalSets = Annotated[
    list[str] | None,
    typer.Option(
        "--retrieval",
        metavar="FILES",
        help="A folder with corpus.*, queries.* and qrels.*, or CORPUS,QUERIES,QRELS. Repeatable.",
        rich_help_panel=EVALUATION,
    ),
]
PerLabel = Annotated[
    int,
    typer.Option(
        "--per-label",
        min=1,
        metavar="N",
        help="Training texts per label in --classification; the draw is repeated ten times.",
        rich_help_panel=EVALUATION,
    ),
]
Against = Annotated[
    list[str] | None,
    typer.Option(
        "--against",
        metavar="MODEL",
        help="Model to compare with: a teacher, a REF or word vectors (.vec, .txt). Repeatable.",
        rich_help_panel=EVALUATION,
    ),
]
ReportRecords = Annotated[
    int,
    typer.Option(
        "--report-records",
        min=0,
        metavar="N",
        help="Records to show in the report, as plain text for all who can read the model.",
        rich_help_panel=EVALUATION,
    ),
]
