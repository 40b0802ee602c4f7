"""`millstream head fit`: heads from labelled records, into a new version of the model or a new folder."""

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from encoder.errors import ConfigurationError
from pipelines.cli.command import Command, Group, with_old_flags
from pipelines.cli.console import ErrorConsole, Stages
from pipelines.cli.heads.fit_cases import cases
from pipelines.cli.heads.fit_drift import drift
from pipelines.cli.heads.fit_groups import groups
from pipelines.cli.heads.fit_options import DestinationOptions, Seed, Text, fitted_to, print_outcome
from pipelines.cli.heads.labelled_records import (
    MAX_RECORDS,
    LabelledRecords,
    Sample,
    Separator,
)
from pipelines.cli.heads.publish import HeadTarget
from pipelines.cli.option_groups import expand_options
from pipelines.cli.options import AsJson, InputOptions, fit_option, input_option
from pipelines.cli.trust import verifying

if TYPE_CHECKING:
    from distill.heads.examples import Examples

__all__ = ["app"]

app = typer.Typer(
    cls=Group,
    help="Fit a head to your records and publish the model with it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command(cls=with_old_flags({"--format": "--input-format"}))
@verifying
@expand_options
def classifier(
    destination: DestinationOptions,
    files: InputOptions,
    label: Annotated[
        str, input_option(metavar="FIELD", help="Field that holds the label. A list holds several labels.")
    ],
    text: Text = "text",
    separator: Separator = None,
    class_weight: Annotated[
        Literal["none", "balanced"],
        fit_option(metavar="WEIGHT", help="balanced: rare labels weigh as much as frequent ones."),
    ] = "none",
    calibration: Annotated[
        Literal["auto", "none", "temperature", "platt", "isotonic"],
        fit_option(
            metavar="METHOD",
            help="How scores become probabilities: auto, none, temperature, platt or isotonic.",
        ),
    ] = "auto",
    sample: Sample = MAX_RECORDS,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Fit a classifier: one label per record, or several, with their probabilities."""
    target = destination.find()
    records = LabelledRecords.find(files, text, label, separator)
    if calibration == "temperature" and records.multi_label:
        raise ConfigurationError(
            "--calibration temperature is for one label per record: give platt or isotonic"
        )
    from distill.heads import fit_classifier

    with Stages(ErrorConsole()) as stages:
        examples = _embedded(target, records, stages, sample)
        head, report = fit_classifier(
            target.name,
            examples,
            multi_label=records.multi_label,
            class_weight=class_weight,
            calibration=None if calibration == "auto" else calibration,
            seed=seed,
            metadata=fitted_to(records),
            progress=partial(stages.tell, "fits"),
        )
    quality = {
        "accuracy": report.accuracy,
        "log_loss": report.log_loss,
        "calibration_error": report.ece,
    }
    outcome = {**target.deliver(head, quality), **asdict(report), "labels": len(head.labels)}
    summary = (
        f"  {len(head.labels)} labels, {report.records:,} records ({report.texts:,} distinct texts)\n"
        f"  held out: accuracy {report.accuracy:.3f}, log loss {report.log_loss:.3f}, calibration error "
        f"{report.ece:.3f} (calibration: {report.calibration})"
    )
    print_outcome(outcome, summary, as_json=as_json)


@app.command(cls=with_old_flags({"--format": "--input-format"}))
@verifying
@expand_options
def prototypes(
    destination: DestinationOptions,
    files: InputOptions,
    label: Annotated[
        str, input_option(metavar="FIELD", help="Field that holds the name, such as an incident.")
    ],
    text: Text = "text",
    threshold: Annotated[
        float | None,
        fit_option(
            min=-1,
            max=1,
            metavar="COSINE",
            help="Lowest cosine that counts as near.",
            show_default="measured by leaving examples out",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit prototypes: the nearest of a few named examples, about five per name."""
    target = destination.find()
    records = LabelledRecords.find(files, text, label)
    if records.multi_label:
        raise ConfigurationError(
            f"`label` is {label}, a list, but an example has one name: give another field"
        )
    from distill.heads import fit_prototypes

    with Stages(ErrorConsole()) as stages:
        examples = _embedded(target, records, stages, MAX_RECORDS)
    head = fit_prototypes(target.name, examples, threshold=threshold, metadata=fitted_to(records))
    outcome = {**target.deliver(head, {}), "names": list(head.names), "threshold": head.threshold}
    summary = (
        f"  {len(head.names)} names, {len(examples)} examples; a match from a cosine of {head.threshold:.3f}"
    )
    print_outcome(outcome, summary, as_json=as_json)


@app.command(cls=with_old_flags({"--format": "--input-format"}))
@verifying
@expand_options
def novelty(
    destination: DestinationOptions,
    files: InputOptions,
    text: Text = "text",
    alert_rate: Annotated[
        str,
        fit_option(
            metavar="SHARE",
            help="Share of normal records that may be reported as novel, such as 0.1% or 0.001.",
        ),
    ] = "0.1%",
    axes: Annotated[
        int,
        fit_option(
            min=1, metavar="N", help="Principal directions to tell apart: more detect more and cost more."
        ),
    ] = 64,
    sample: Sample = MAX_RECORDS,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Fit novelty detection: how far a record is from normal ones, without labels."""
    rate = _share(alert_rate)
    target = destination.find()
    records = LabelledRecords.find(files, text, None)
    from distill.heads import fit_novelty

    with Stages(ErrorConsole()) as stages:
        examples = _embedded(target, records, stages, sample)
    head = fit_novelty(
        target.name, examples, alert_rate=rate, axes=axes, seed=seed, metadata=fitted_to(records)
    )
    outcome = {**target.deliver(head, {}), "records": len(examples), "threshold": head.threshold}
    summary = f"  {len(examples):,} normal records; novel above a distance of {head.threshold:.3f}"
    print_outcome(outcome, summary, as_json=as_json)


app.command(cls=Command)(cases)
app.command(cls=Command)(groups)
app.command(cls=Command)(drift)


def _embedded(target: HeadTarget, records: LabelledRecords, stages: Stages, most: int) -> "Examples":
    from distill.heads import embed
    from encoder.encoder import Encoder

    texts, labels = records.read(stages, most)
    return embed(Encoder(target.model), texts, labels)


def _share(text: str) -> float:
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        raise ConfigurationError(f"--alert-rate is {text!r}: give a share, such as 0.1% or 0.001") from None
    percent = text.endswith("%")
    share = number / 100.0 if percent else number
    if 0 < share < 1:
        return share
    is_percent = not percent and 0 < number / 100.0 < 1
    way_out = f"write {text}% for percent" if is_percent else "give a share, such as 0.1% or 0.001"
    raise ConfigurationError(f"--alert-rate is {text!r}, which is not between 0 and 1: {way_out}")
