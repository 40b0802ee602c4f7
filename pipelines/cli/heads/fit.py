"""`millstream head fit`: heads from labelled records, into a new version of the model or a new folder."""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from encoder.errors import ConfigurationError
from pipelines.cli.command import Group, with_old_flags
from pipelines.cli.console import ErrorConsole, Stages
from pipelines.cli.heads.labelled_records import (
    MAX_RECORDS,
    LabelledRecords,
    Sample,
    Separator,
)
from pipelines.cli.heads.publish import HeadTarget
from pipelines.cli.option_groups import expand_options
from pipelines.cli.options import AsJson, InputOptions, Mask, Model, fit_option, input_option, output_option
from pipelines.cli.signing import SigningOptions
from pipelines.cli.trust import verifying
from pipelines.sources.files.filesystem import last_part

if TYPE_CHECKING:
    from distill.heads.examples import Examples

__all__ = ["app"]

app = typer.Typer(
    cls=Group,
    help="Fit a head to your records and publish the model with it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Text = Annotated[
    str,
    input_option(
        metavar="TEMPLATE", help="Text of a record: a column, or a template such as '{merchant} in {city}'."
    ),
]
Seed = Annotated[int, fit_option(metavar="N", help="Random seed for the held-out records.")]


@dataclass(frozen=True, kw_only=True)
class DestinationOptions:
    """The model that a head is fitted to, and where the model goes with the head."""

    model: Model
    name: Annotated[
        str, fit_option(metavar="NAME", help="Name of the head. The names of its columns start with it.")
    ]
    publish: Annotated[
        bool, output_option("--publish", help="Publish the model with the head as its next version.")
    ] = False
    output: Annotated[
        Path | None,
        output_option(
            metavar="FOLDER", help="New folder for the model with the head, instead of publishing it."
        ),
    ] = None
    replace: Annotated[bool, output_option("--replace", help="Replace a head of the same name.")] = False
    mask: Mask = None
    signing: SigningOptions

    def find(self) -> HeadTarget:
        """Check the destination before the work begins, as `HeadTarget.find` does."""
        from encoder.masks import Masks

        return HeadTarget.find(
            self.model,
            self.name,
            publish=self.publish,
            output=self.output,
            replaces=self.replace,
            signing=self.signing.open(),
            masks=None if self.mask is None else Masks.parse(self.mask),
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
            metadata=_metadata(records),
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
    _print(outcome, summary, as_json=as_json)


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
    head = fit_prototypes(target.name, examples, threshold=threshold, metadata=_metadata(records))
    outcome = {**target.deliver(head, {}), "names": list(head.names), "threshold": head.threshold}
    summary = (
        f"  {len(head.names)} names, {len(examples)} examples; a match from a cosine of {head.threshold:.3f}"
    )
    _print(outcome, summary, as_json=as_json)


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
        target.name, examples, alert_rate=rate, axes=axes, seed=seed, metadata=_metadata(records)
    )
    outcome = {**target.deliver(head, {}), "records": len(examples), "threshold": head.threshold}
    summary = f"  {len(examples):,} normal records; novel above a distance of {head.threshold:.3f}"
    _print(outcome, summary, as_json=as_json)


def _embedded(target: HeadTarget, records: LabelledRecords, stages: Stages, most: int) -> "Examples":
    from distill.heads import embed
    from encoder.encoder import Encoder

    texts, labels = records.read(stages, most)
    return embed(Encoder(target.model), texts, labels)


def _metadata(records: LabelledRecords) -> dict[str, Any]:
    """Describe the records that a head is fitted to, without their path, since the head is published."""
    found = {"input": last_part(records.pattern), "text": records.template.source}
    return found if records.label.name is None else {**found, "label": records.label.name}


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


def _print(outcome: dict[str, Any], summary: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(outcome))
        return
    done = f"wrote {outcome['ref']}"
    if "version" in outcome:
        name = outcome["name"]
        done = f"published {name}@{outcome['version']}: {name}@{outcome['based_on']} with this head"
    typer.echo(f"{done}\n{summary}\n  use it as {outcome['ref']}")
