"""`millstream head`: the heads of a model: fit, list, evaluate."""

import json
import math
from typing import TYPE_CHECKING, Annotated

import typer

from encoder.errors import ConfigurationError
from encoder.heads.groups import Groups
from pipelines.cli.command import Command, Group, with_old_flags
from pipelines.cli.console import ErrorConsole, Stages, print_table
from pipelines.cli.heads import fit as head_fit
from pipelines.cli.heads.labelled_records import (
    MAX_RECORDS,
    LabelledRecords,
    Sample,
    Separator,
)
from pipelines.cli.option_groups import expand_options
from pipelines.cli.options import AsJson, InputOptions, RefArgument, input_option, model_option, split_names
from pipelines.cli.trust import verifying

if TYPE_CHECKING:
    from distill.evaluation.bootstrap import Estimate
    from distill.heads.evaluation import HeadQuality
    from encoder.heads.scoring import Heads

__all__ = ["app"]

app = typer.Typer(
    cls=Group,
    help="Fit, list and measure heads: small models that predict labels or scores from vectors.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(head_fit.app, name="fit")


@app.command("list", cls=Command)
@verifying
def list_(
    ref: RefArgument,
    as_json: AsJson = False,
) -> None:
    """List the heads of a model and the columns that they add."""
    from pipelines.enrich.columns import score_fields

    heads = _heads(ref)
    rows = [
        {"name": head.name, "kind": head.kind, "columns": fields, **head.metadata}
        for head in heads.heads
        for fields in [{one.name: str(one.type) for one in score_fields(heads.only([head.name]))}]
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif rows:
        table = [[row["name"], row["kind"], ", ".join(row["columns"]), row.get("input", "-")] for row in rows]
        print_table(["head", "kind", "columns", "fitted to"], table)
    else:
        typer.echo(f"{ref} has no heads: `millstream head fit` makes one", err=True)


@app.command(cls=with_old_flags({"--format": "--input-format"}))
@verifying
@expand_options
def evaluate(
    ref: RefArgument,
    name: Annotated[str, model_option(metavar="NAME", help="Name of the head.")],
    files: InputOptions,
    label: Annotated[
        str | None,
        input_option(
            metavar="FIELD", help="Field that holds the label; for novelty, the one that --novel is about."
        ),
    ] = None,
    text: Annotated[
        str | None,
        input_option(
            metavar="TEMPLATE", help="Text of a record: a column or a template.", show_default="as in the fit"
        ),
    ] = None,
    novel: Annotated[
        str | None,
        input_option(metavar="LABELS", help="Labels that novelty should detect, separated by commas."),
    ] = None,
    separator: Separator = None,
    sample: Sample = MAX_RECORDS,
    as_json: AsJson = False,
) -> None:
    """Measure a head on records that it was not fitted to, with 95 % bootstrap intervals."""
    from encoder.encoder import Encoder

    encoder = Encoder.load(ref)
    (head,) = encoder.heads.only([name]).heads
    novel_labels = split_names(novel)
    if label is None and (novel_labels or head.kind not in ("novelty", "drift")):
        raise ConfigurationError("which field holds the label? Give --label FIELD")
    template = text or head.metadata.get("text", "text")
    records = LabelledRecords.find(files, template, label, separator)
    from distill.heads import embed
    from distill.heads.evaluation import evaluate_head
    from distill.heads.group_evaluation import evaluate_groups

    console = ErrorConsole()
    with Stages(console) as stages:
        texts, labels = records.read(stages, sample)
    with console.status("measuring"):
        if isinstance(head, Groups):
            (outcome,) = encoder.heads.only([name])(encoder.encode(texts), texts)
            quality = evaluate_groups(outcome, [" ".join(some) for some in labels])
        else:
            quality = evaluate_head(head, embed(encoder, texts, labels), novel=novel_labels)
    if as_json:
        typer.echo(json.dumps({"head": name, "kind": head.kind, **quality.to_json()}))
    else:
        _print_quality(quality)


def _heads(ref: str) -> "Heads":
    from encoder.encoder import Encoder

    return Encoder.load(ref).heads


def _print_quality(quality: "HeadQuality") -> None:
    n = quality.skipped
    skipped = f"; skipped {n:,} with labels that the head does not know" if n else ""
    typer.echo(f"{quality.records:,} records{skipped}")
    print_table(None, [[name, _interval(one)] for name, one in quality.figures.items()])
    if quality.labels:
        header = ["label", "precision", "recall", "F1", "average precision", "records"]
        rows = [
            [
                one.label,
                *map(_figure, (one.precision, one.recall, one.f1, one.average_precision)),
                f"{one.records:,}",
            ]
            for one in quality.labels
        ]
        print_table(header, rows)
    if quality.confusions:
        rows = [[true, predicted, f"{count:,}"] for true, predicted, count in quality.confusions[:20]]
        print_table(["true label", "predicted", "records"], rows)


def _interval(one: "Estimate") -> str:
    return f"{one.value:.4f}  ({one.low:.4f} to {one.high:.4f})"


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
