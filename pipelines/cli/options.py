"""The flags that say what a model is measured on, shared by the commands that measure."""

from typing import Annotated

import typer

__all__ = [
    "Against",
    "ClassificationSets",
    "Input",
    "Label",
    "PerLabel",
    "ReportRecords",
    "RetrievalSets",
    "Sts",
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
