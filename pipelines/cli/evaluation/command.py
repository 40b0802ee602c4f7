"""`millstream evaluate`: how good a model's vectors are, beside its teacher or other models."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from encoder.errors import ConfigurationError, QualityTooLow
from pipelines.cli.console import ErrorConsole, print_table, size_text
from pipelines.cli.evaluation.drift import evaluate_drift
from pipelines.cli.evaluation.options import Against, SetOptions
from pipelines.cli.evaluation.quality_gate import measure_models
from pipelines.cli.option_groups import expand_options
from pipelines.cli.options import AsJson, LoadingOptions, RefArgument, evaluation_option

if TYPE_CHECKING:
    from distill.evaluation import Evaluation

__all__ = ["evaluate", "evaluation_table"]


@expand_options
def evaluate(
    *,
    ref: RefArgument,
    against: Against = None,
    sets: SetOptions,
    require: Annotated[
        list[str] | None,
        evaluation_option(
            metavar="METRIC>=N",
            help="Exit with code 1 if a metric is below this, as in 'sts>=75'. Repeatable.",
        ),
    ] = None,
    drift: Annotated[
        tuple[str, str] | None,
        evaluation_option(
            metavar="BEFORE AFTER",
            help="Print how far the records of the files AFTER are from those of BEFORE, which may be "
            "'baseline' for the version's own; nothing else is measured.",
        ),
    ] = None,
    loading: LoadingOptions,
    as_json: AsJson = False,
) -> None:
    """Measure a model on your own records and on standard evaluation sets.

    Every figure has a 95 % bootstrap interval. Give at least one of --input, --sts, --classification and
    --retrieval. With --input, also give --against or --label. Or compare two sets of records with --drift.
    """
    if drift is not None:
        if sets or against or require:
            raise ConfigurationError("--drift measures nothing else: leave out the other sets and --against")
        evaluate_drift(ref, *drift, sets, as_json=as_json)
        return
    if not sets:
        raise ConfigurationError(
            "there is nothing to measure on: give --input, --sts, --classification, --retrieval or --drift"
        )
    if sets.records is not None and sets.label is None and not against:
        raise ConfigurationError("--input needs labels (--label) or a model to compare with (--against)")

    from distill.evaluation import Requirement, check_measurable, check_sets, open_model, unmet

    requirements = [Requirement.parse(each) for each in require or ()]
    found = sets.read(ErrorConsole().print)
    check_measurable(requirements, found, reference=bool(against))
    check_sets(found, reference=bool(against))
    models = [
        open_model(
            each,
            texts=found.texts,
            device=loading.device,
            trust_remote_code=loading.trust_remote_code,
        )
        for each in (ref, *(against or ()))
    ]
    measured, *others = measure_models(models, found)
    if as_json:
        typer.echo(json.dumps({**measured.to_json(), "against": [other.to_json() for other in others]}))
    else:
        evaluation_table([measured, *others])
    if problems := unmet(requirements, measured.figures):
        raise QualityTooLow(f"{measured.model} misses its requirements: {'; '.join(problems)}")


def evaluation_table(evaluations: "Sequence[Evaluation]") -> None:
    """Print evaluations side by side: one row per figure, then size and speed."""
    from distill.evaluation import side_by_side

    rows = [
        [
            *(row.metric, row.dataset, f"{row.n:,}"),
            *("-" if figure is None else str(figure) for figure in row.figures),
        ]
        for row in side_by_side(evaluations)
    ]
    for title, values in (
        ("texts/s", [f"{one.texts_per_second:,.0f}" for one in evaluations]),
        ("size", ["-" if one.n_bytes is None else size_text(one.n_bytes) for one in evaluations]),
        ("dimensions", [str(one.dim) for one in evaluations]),
    ):
        rows.append([title, "", "", *values])
    print_table(["", "set", "n", *(one.model for one in evaluations)], rows)
