"""`millstream evaluate`: how good a model's vectors are, beside its teacher or other models."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from encoder.errors import ConfigurationError, QualityTooLow
from pipelines.cli.console import ErrorConsole, print_table, size_text
from pipelines.cli.evaluation_sets import SetFiles
from pipelines.cli.options import (
    EVALUATION,
    Against,
    AsJson,
    ClassificationSets,
    Device,
    EvaluationFormat,
    Input,
    Label,
    PerLabel,
    RefArgument,
    RetrievalSets,
    Sts,
    TrustRemoteCode,
)

if TYPE_CHECKING:
    from distill.evaluation import Evaluation

__all__ = ["evaluate", "evaluation_table"]


def evaluate(
    ref: RefArgument,
    against: Against = None,
    records: Input = None,
    text: Annotated[
        str,
        typer.Option(
            metavar="TEMPLATE",
            help="Text of a record in --input: a column, or a template such as '{merchant} in {city}'.",
            rich_help_panel=EVALUATION,
        ),
    ] = "text",
    label: Label = None,
    input_format: EvaluationFormat = None,
    sample: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of records with distinct texts to draw from --input.",
            rich_help_panel=EVALUATION,
        ),
    ] = 2000,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Random seed for sampling.", rich_help_panel=EVALUATION)
    ] = 0,
    sts: Sts = None,
    classification: ClassificationSets = None,
    per_label: PerLabel = 8,
    retrieval: RetrievalSets = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC>=N",
            help="Exit with code 1 if a metric is below this, as in 'sts>=75'. Repeatable.",
            rich_help_panel=EVALUATION,
        ),
    ] = None,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
    as_json: AsJson = False,
) -> None:
    """Measure a model on your own records and on standard evaluation sets.

    Every figure has a 95 % bootstrap interval. Give at least one of --input, --sts, --classification and
    --retrieval. With --input, also give --against or --label.
    """
    files = SetFiles(
        input=records,
        text=text,
        label=label,
        input_format=input_format,
        sts=sts or (),
        classification=classification or (),
        retrieval=retrieval or (),
        per_label=per_label,
        sample=sample,
        seed=seed,
    )
    if not files:
        raise ConfigurationError(
            "what should it be measured on? Give --input, --sts, --classification or --retrieval"
        )
    if records is not None and label is None and not against:
        raise ConfigurationError("--input needs labels (--label) or another model to agree with (--against)")

    from distill.evaluation import (
        Requirement,
        check_measurable,
        check_sets,
        open_model,
        unmet,
    )
    from distill.evaluation import evaluate as measure

    requirements = [Requirement.parse(each) for each in require or ()]
    console = ErrorConsole()
    sets = files.read(console.print)
    check_measurable(requirements, sets, reference=bool(against))
    check_sets(sets, reference=bool(against))
    options: dict[str, Any] = {"texts": sets.texts, "device": device, "trust_remote_code": trust_remote_code}
    models = [open_model(each, **options) for each in (ref, *(against or ()))]
    with console.status("") as status:
        reference: Evaluation | None = None
        others = []
        for each in models[1:]:
            others.append(measure(each, sets, against=reference, on_progress=status.update))
            reference = others[0]
        found = measure(models[0], sets, against=reference, on_progress=status.update)
    if as_json:
        typer.echo(json.dumps({**found.to_json(), "against": [other.to_json() for other in others]}))
    else:
        evaluation_table([found, *others])
    if problems := unmet(requirements, found.figures):
        raise QualityTooLow(f"{found.model} does not reach what is required of it: {'; '.join(problems)}")


def evaluation_table(evaluations: "Sequence[Evaluation]") -> None:
    """Print evaluations side by side: a row a figure, then size and speed."""
    from distill.evaluation import METRICS

    by_name = [{(each.metric, each.dataset): each for each in one.figures} for one in evaluations]
    keys = dict.fromkeys(key for figures in by_name for key in figures)
    rows = []
    for metric, dataset in sorted(keys, key=lambda key: list(METRICS).index(key[0])):
        cells = [figures.get((metric, dataset)) for figures in by_name]
        n = next(cell.n for cell in cells if cell is not None)
        rows.append([metric, dataset, f"{n:,}", *("-" if cell is None else str(cell) for cell in cells)])
    for title, values in (
        ("texts/s", [f"{one.texts_per_second:,.0f}" for one in evaluations]),
        ("size", ["-" if one.n_bytes is None else size_text(one.n_bytes) for one in evaluations]),
        ("dimensions", [str(one.dim) for one in evaluations]),
    ):
        rows.append([title, "", "", *values])
    print_table(["", "set", "n", *(one.model for one in evaluations)], rows)
