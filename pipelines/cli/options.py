"""Flags that several commands share: what a model is measured on, and what is made of records."""

from typing import Annotated

import typer

from encoder import dtypes
from pipelines import enrich

__all__ = [
    "INPUT",
    "OUTPUT",
    "TEXT_AND_MODEL",
    "Against",
    "ClassificationSets",
    "Dtype",
    "Heads",
    "Input",
    "Keep",
    "Label",
    "Layout",
    "PerLabel",
    "Properties",
    "ReportRecords",
    "RetrievalSets",
    "Sts",
    "Text",
]

INPUT = "Input"
TEXT_AND_MODEL = "Text and model"
OUTPUT = "Output"
"""Groups of options in the help of commands."""

Text = Annotated[
    str, typer.Option(help="Column to embed, or a template: '{merchant} in {city}: {user.name}'.")
]
Keep = Annotated[
    str | None, typer.Option(help="Columns to keep, separated by commas; '' for none.", show_default="all")
]
Layout = Annotated[
    enrich.Layout,
    typer.Option(help="list: every tool reads it; binary: fixed-size bytes, faster to write."),
]
Dtype = Annotated[
    dtypes.Dtype,
    typer.Option(help="Type of the vectors' elements; int8 scales each vector to ±127."),
]
Heads = Annotated[
    str | None,
    typer.Option(help="Heads whose scores are added, separated by commas, or none.", show_default="all"),
]
Properties = Annotated[
    list[str] | None,
    typer.Option("--property", help="librdkafka's KEY=VALUE; KEY=@FILE reads the value from a file."),
]

Input = Annotated[
    str | None,
    typer.Option(
        "--input", help="Your own records: a file, folder or glob of Parquet, JSON lines, CSV, text."
    ),
]
Label = Annotated[
    str | None, typer.Option("--label", metavar="FIELD", help="The field of the records that is their label.")
]
Sts = Annotated[
    list[str] | None,
    typer.Option(
        "--sts",
        metavar="FILE",
        help="Pairs with the fields sentence1, sentence2 and score; may be given several times.",
    ),
]
ClassificationSets = Annotated[
    list[str] | None,
    typer.Option(
        "--classification",
        metavar="FOLDER|TRAIN,TEST|FILE",
        help="Records with the fields text and label: a folder with train.* and test.*, two files, or one "
        "file that is halved; may be given several times.",
    ),
]
RetrievalSets = Annotated[
    list[str] | None,
    typer.Option(
        "--retrieval",
        metavar="FOLDER|CORPUS,QUERIES,QRELS",
        help="A folder with corpus.* (id, title, text), queries.* (id, text) and qrels.* (query-id, "
        "corpus-id, score), or the three files; may be given several times.",
    ),
]
PerLabel = Annotated[
    int,
    typer.Option(
        "--per-label", min=1, help="Training texts of each label in --classification, drawn ten times."
    ),
]
Against = Annotated[
    list[str] | None,
    typer.Option(
        "--against",
        metavar="MODEL",
        help="Measure this one too: a teacher, a REF, or word vectors (.vec, .txt of GloVe). Agreement is "
        "with the first; may be given several times.",
    ),
]
ReportRecords = Annotated[
    int,
    typer.Option(
        "--report-records",
        min=0,
        metavar="N",
        help="Write so many records into the report, in plain text, for everyone who can read the model.",
    ),
]
